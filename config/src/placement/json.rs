//! The JSON form: a list of constraints, each a list of texts.
//!
//! A reader of its own, because an operator is told the character at which the
//! text goes wrong and the constraint that it is in.

use std::fmt::Write as _;

use super::BadConstraint;
use super::parse::{Row, Word};

/// Reads `[["f", "OP"], ["f", "OP", "p"]]`, or a single constraint `["f", "OP"]`.
/// A number stands for its digits, as in `["@zone", "GROUP_BY", 3]`.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, BadConstraint> {
    let mut reader = Reader {
        characters: text.chars().collect(),
        place: 0,
        constraint: 1,
    };
    reader.expect('[', "a list in '[' and ']'")?;
    let rows = match reader.peek() {
        Some(']') => {
            reader.place += 1;
            Vec::new()
        }
        Some('[') => reader.rows()?,
        _ => vec![reader.row()?],
    };
    match reader.peek() {
        None => Ok(rows),
        Some(_) => Err(reader.wrong("the end of the text")),
    }
}

/// A text as JSON writes it, in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() && u32::from(control) < 0x20 => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

struct Reader {
    characters: Vec<char>,
    /// How many characters are read.
    place: usize,
    /// Which constraint is being read, from 1.
    constraint: usize,
}

impl Reader {
    /// The rest of a list of constraints, after its bracket.
    fn rows(&mut self) -> Result<Vec<Row>, BadConstraint> {
        let mut rows = Vec::new();
        loop {
            self.expect('[', "the next constraint in '[' and ']'")?;
            rows.push(self.row()?);
            match self.peek() {
                Some(',') => self.place += 1,
                Some(']') => break,
                _ => return Err(self.wrong("',' and a constraint, or ']'")),
            }
            self.constraint += 1;
        }
        self.place += 1;
        Ok(rows)
    }

    /// The rest of a constraint, after its bracket.
    fn row(&mut self) -> Result<Row, BadConstraint> {
        let mut words = Vec::new();
        if self.peek() != Some(']') {
            loop {
                words.push(self.word()?);
                match self.peek() {
                    Some(',') => self.place += 1,
                    Some(']') => break,
                    _ => return Err(self.wrong("',' and a text, or ']'")),
                }
            }
        }
        let end = self.character();
        self.place += 1;
        Ok(Row { words, end })
    }

    fn word(&mut self) -> Result<Word, BadConstraint> {
        let next = self.peek();
        let character = self.character();
        let text = match next {
            Some('"') => self.text()?,
            Some('0'..='9' | '-') => self.number(),
            Some('\\') => {
                return Err(self.wrong(
                    "a text in double quotes (they are escaped once more than needed)",
                ));
            }
            _ => return Err(self.wrong("a text in double quotes")),
        };
        Ok(Word { text, character })
    }

    /// What looks like a number; whether it is one that is taken is seen later.
    fn number(&mut self) -> String {
        let is_of_number = |&&c: &&char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let rest = self.characters[self.place..].iter();
        let digits: String = rest.take_while(is_of_number).collect();
        self.place += digits.len();
        digits
    }

    /// A text in quotes.
    fn text(&mut self) -> Result<String, BadConstraint> {
        let mut text = String::new();
        self.place += 1;
        loop {
            match self.characters.get(self.place) {
                Some('"') => break,
                Some('\\') => text.push(self.escape()?),
                Some(&character) if character >= ' ' => text.push(character),
                _ => return Err(self.wrong("the '\"' that ends a text")),
            }
            self.place += 1;
        }
        self.place += 1;
        Ok(text)
    }

    /// An escaped character; ends on its last character.
    fn escape(&mut self) -> Result<char, BadConstraint> {
        self.place += 1;
        Ok(match self.characters.get(self.place) {
            Some(&itself @ ('"' | '\\' | '/')) => itself,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let character = self.code_point();
                return character.ok_or_else(|| {
                    self.wrong("after '\\u' the four hexadecimal digits of a character")
                });
            }
            _ => {
                return Err(self.wrong(
                    "after '\\' one of \" \\ / b f n r t u (JSON takes a backslash in a \
                     regular expression twice: \"\\\\d\")",
                ));
            }
        })
    }

    /// The character after `\u`: four digits, or eight in two halves.
    fn code_point(&mut self) -> Option<char> {
        let half = |reader: &Self, from: usize| {
            let digits: String = reader.characters.get(from..from + 4)?.iter().collect();
            u32::from_str_radix(&digits, 16).ok()
        };
        let first = half(self, self.place + 1)?;
        let (code, length) = match first {
            0xd800..0xdc00 => {
                let after = self.characters.get(self.place + 5..self.place + 7)?;
                let second =
                    half(self, self.place + 7).filter(|_| after == ['\\', 'u'])?;
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                (0x10000 + ((first - 0xd800) << 10) + low, 10)
            }
            code => (code, 4),
        };
        self.place += length;
        char::from_u32(code)
    }

    /// The next character that is not a blank; it is not taken.
    fn peek(&mut self) -> Option<char> {
        while self
            .characters
            .get(self.place)
            .is_some_and(|c| c.is_ascii_whitespace())
        {
            self.place += 1;
        }
        self.characters.get(self.place).copied()
    }

    fn expect(&mut self, wanted: char, expected: &str) -> Result<(), BadConstraint> {
        if self.peek() != Some(wanted) {
            return Err(self.wrong(expected));
        }
        self.place += 1;
        Ok(())
    }

    /// Where the reader is, in characters from 1.
    fn character(&self) -> usize {
        self.place + 1
    }

    fn wrong(&self, expected: &str) -> BadConstraint {
        let found = match self.characters.get(self.place) {
            Some(character) => format!("{:?}", character.to_string()),
            None => "the end of the text".to_owned(),
        };
        BadConstraint {
            constraint: self.constraint,
            character: self.character(),
            found,
            expected: expected.to_owned(),
        }
    }
}
