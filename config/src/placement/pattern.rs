//! Regular expressions that must match a whole value.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// A regular expression that a whole value must match, as with Java's `matches`,
/// by which the SDK compares. Two patterns are equal when their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    whole_value: Regex,
}

/// A text that is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a regular expression: {reason}")]
pub struct BadPattern {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Pattern {
    /// Whether the whole value matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.whole_value.is_match(value)
    }

    /// The text as the operator wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let compile = |regex: &str| {
            Regex::new(regex).map_err(|error| BadPattern {
                text: text.to_owned(),
                reason: error.to_string(),
            })
        };
        // By itself first: `a)(b` is good only between the brackets that we add.
        compile(text)?;
        let whole_value = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(Self {
            text: text.to_owned(),
            whole_value,
        })
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pattern({:?})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern: Pattern = pattern.parse().expect("a good pattern");
        for value in matching {
            assert!(pattern.matches(value), "{pattern} and {value}");
        }
        for value in others {
            assert!(!pattern.matches(value), "{pattern} and {value}");
        }
    }

    #[test]
    fn the_whole_value_must_match() {
        check(
            "rack-[1-3]",
            &["rack-1", "rack-3"],
            &["rack-4", "rack-11", "a rack-1"],
        );
        check("a|ab", &["a", "ab"], &["abc", ""]);
        check(".*", &["", "anything"], &["two\nlines"]);
        check("rack-1{1,3}", &["rack-1", "rack-111"], &["rack-1111"]);
        check(r"10\.0\.\d+\.6", &["10.0.3.6"], &["10a0.3.6"]);
        check("(?i)north", &["North"], &["northern"]);
        check("^north$", &["north"], &["northern"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["rack-[1", "(", "a)(b", "*", r"\", "(?=a)", r"(a)\1"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_are_stored_as_text() {
        let pattern: Pattern = "a|b".parse().expect("a good pattern");
        let stored = serde_json::to_string(&pattern).expect("a pattern as JSON");
        assert_eq!(stored, r#""a|b""#);
        assert_eq!(serde_json::from_str::<Pattern>(&stored).ok(), Some(pattern));
        assert!(serde_json::from_str::<Pattern>(r#""(""#).is_err());
    }
}
