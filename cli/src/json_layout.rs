//! JSON with two spaces, as the SDK's CLI shows it.
//!
//! The text is laid out anew without being read into numbers and maps, so that no
//! digit is lost and keys keep their order.

use serde::de::IgnoredAny;

const INDENT: &str = "  ";

/// The same JSON with two spaces; none if the text is no JSON.
pub(crate) fn indented(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(lay_out(text))
}

/// Lays out what is known to be JSON.
fn lay_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth: usize = 0;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for letter in letters.by_ref() {
                    out.push(letter);
                    match letter {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(letter);
                while letters
                    .next_if(|letter| letter.is_ascii_whitespace())
                    .is_some()
                {}
                if let Some(end) = letters.next_if(|letter| matches!(letter, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            letter if letter.is_ascii_whitespace() => {}
            letter => out.push(letter),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str(INDENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(indented(text).as_deref(), expected, "{text}");
        }
        check("[]", Some("[]"));
        check(" { } ", Some("{}"));
        check(r#"["a","b"]"#, Some("[\n  \"a\",\n  \"b\"\n]"));
        check(
            r#"{"b":1,"a":{"c":[ ],"d":[{}]}}"#,
            Some(
                "{\n  \"b\": 1,\n  \"a\": {\n    \"c\": [],\n    \"d\": [\n      {}\n    ]\n  }\n}",
            ),
        );
        check(
            r#"{"n":12345678901234567890123,"x":1.0}"#,
            Some("{\n  \"n\": 12345678901234567890123,\n  \"x\": 1.0\n}"),
        );
        check(r#""a \" { , : \\""#, Some(r#""a \" { , : \\""#));
        check("<html>", None);
        check("", None);
        check("[1", None);
    }

    #[test]
    fn what_was_laid_out_stays() {
        let text = r#"{"a":[1,{"b":"x, y: z"}],"c":null,"d":{}}"#;
        let once = indented(text).unwrap();
        assert_eq!(indented(&once).as_deref(), Some(once.as_str()));
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string_pretty(&value).unwrap(), once);
    }
}
