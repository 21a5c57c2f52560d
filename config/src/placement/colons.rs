//! The form with colons: `field:operator:parameter,field:operator`.

use super::parse::{Row, Word};

/// Splits a text at commas and colons. A backslash takes the meaning from a comma
/// or colon after it, and stays where it is before anything else, so that regular
/// expressions keep theirs. Blanks round a word do not count.
///
/// Every text can be split; whether the words make sense is decided elsewhere.
pub(super) fn rows(text: &str) -> Vec<Row> {
    let mut splitter = Splitter::default();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        splitter.character += 1;
        match character {
            '\\' => match characters.next() {
                Some(escaped) => {
                    if !matches!(escaped, ',' | ':') {
                        splitter.take('\\');
                    }
                    splitter.take(escaped);
                    splitter.character += 1;
                }
                None => splitter.take('\\'),
            },
            ':' => splitter.end_word(),
            ',' => splitter.end_row(),
            other => splitter.take(other),
        }
    }
    splitter.character += 1;
    splitter.end_row();
    splitter.rows
}

#[derive(Default)]
struct Splitter {
    rows: Vec<Row>,
    words: Vec<Word>,
    /// The word so far, without the blanks before it.
    word: String,
    /// Where that word begins.
    begins: Option<usize>,
    /// The character that is looked at, from 1.
    character: usize,
}

impl Splitter {
    fn take(&mut self, character: char) {
        if self.begins.is_none() && character.is_whitespace() {
            return;
        }
        self.begins.get_or_insert(self.character);
        self.word.push(character);
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        self.words.push(Word {
            text: word.trim_end().to_owned(),
            character: self.begins.take().unwrap_or(self.character),
        });
    }

    fn end_row(&mut self) {
        self.end_word();
        self.rows.push(Row {
            words: std::mem::take(&mut self.words),
            end: self.character,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::rows;

    /// Compares the words, with `|` between words and ` / ` between rows.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let rows: Vec<String> = rows(text)
            .iter()
            .map(|row| {
                let words: Vec<&str> =
                    row.words.iter().map(|word| word.text.as_str()).collect();
                words.join("|")
            })
            .collect();
        assert_eq!(rows.join(" / "), expected, "{text:?}");
    }

    #[test]
    fn words_are_split_as_the_sdk_splits_them() {
        check("", "");
        check("a", "a");
        check("a:b:c,d:e,f:g:", "a|b|c / d|e / f|g|");
        check(" a : b : c , : d : e , : f : ", "a|b|c / |d|e / |f|");
        check("::,:", "|| / |");
        check("hi,,   ,  hey  ", "hi /  /  / hey");
    }

    #[test]
    fn backslashes_escape_commas_and_colons_only() {
        check(r"hi\,hey", "hi,hey");
        check(r"hi\,,hey", "hi, / hey");
        check(r"hi,\,hey", "hi / ,hey");
        check(r"hello,hi\", r"hello / hi\");
        check(r"rack-{1\,3}:foo\:bar", "rack-{1,3}|foo:bar");
        check(r"10\.0\.\d+", r"10\.0\.\d+");
        check(r"a\\,b\\:c", r"a\\ / b\\|c");
    }

    #[test]
    fn positions_are_those_of_the_text() {
        let rows = rows(r" a :\:b, é:  d");
        let positions: Vec<Vec<usize>> = rows
            .iter()
            .map(|row| row.words.iter().map(|word| word.character).collect())
            .collect();
        assert_eq!(positions, [vec![2, 5], vec![10, 14]]);
        assert_eq!(rows.iter().map(|row| row.end).collect::<Vec<_>>(), [8, 15]);
    }
}
