//! From words to constraints, whichever form the words were written in.

use std::num::NonZeroU32;
use std::str::FromStr;

use super::{Constraint, Field, Pattern, PlacementConstraints, Rule, colons, json};

/// Why a text is not a list of constraints, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "constraint {constraint}, character {character}: found {found}, expected {expected}"
)]
pub struct BadConstraint {
    /// Which constraint, from 1.
    pub constraint: usize,
    /// Where in the whole text, in characters from 1.
    pub character: usize,
    /// What stands there.
    pub found: String,
    /// What would be taken there.
    pub expected: String,
}

/// One constraint, split into its words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) words: Vec<Word>,
    /// Where the constraint ends, in characters from 1: where a word is missing.
    pub(super) end: usize,
}

/// A field, an operator or a parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Where it begins, in characters from 1.
    pub(super) character: usize,
}

const FIELDS: &str = "a field: hostname, @zone, @region or the name of an attribute";
const OPERATORS: &str =
    "an operator: UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS or IS_NOT";
const TOO_MANY_WORDS: &str = "the end of the constraint: it has a field, an operator and \
    at most one parameter (with colons, a ':' or ',' inside a parameter is written '\\:' \
    or '\\,')";

impl FromStr for PlacementConstraints {
    type Err = BadConstraint;

    /// Reads Marathon's JSON list, a single constraint of it, or the colon form.
    fn from_str(text: &str) -> Result<Self, BadConstraint> {
        let rows = if text.trim().is_empty() {
            Vec::new()
        } else if text.trim_start().starts_with('[') {
            json::rows(text)?
        } else {
            colons::rows(text)
        };
        rows.iter()
            .enumerate()
            .map(|(place, row)| RowReader { place, row }.constraint())
            .collect()
    }
}

/// Reads one row; knows which one it is, for its errors.
struct RowReader<'a> {
    place: usize,
    row: &'a Row,
}

impl RowReader<'_> {
    fn constraint(&self) -> Result<Constraint, BadConstraint> {
        let field = self.field()?;
        let rule = self.rule()?;
        match self.row.words.get(3) {
            Some(word) => Err(self.wrong(word, TOO_MANY_WORDS)),
            None => Ok(Constraint { field, rule }),
        }
    }

    fn field(&self) -> Result<Field, BadConstraint> {
        let word = self.word(0, FIELDS)?;
        match word.text.trim() {
            "hostname" | "@hostname" => Ok(Field::Hostname),
            "@zone" => Ok(Field::Zone),
            "@region" => Ok(Field::Region),
            // The SDK would look for an attribute of that name and wait for ever.
            name if name.starts_with('@') => Err(self.wrong(word, FIELDS)),
            name => Ok(Field::Attribute(name.to_owned())),
        }
    }

    fn rule(&self) -> Result<Rule, BadConstraint> {
        let operator = self.word(1, OPERATORS)?;
        let has_parameter = self.row.words.len() > 2;
        match operator.text.trim().to_ascii_uppercase().as_str() {
            "UNIQUE" => match self.row.words.get(2) {
                Some(word) => Err(self.wrong(word, "no parameter after UNIQUE")),
                None => Ok(Rule::Unique),
            },
            "CLUSTER" if !has_parameter => Ok(Rule::Cluster(None)),
            "CLUSTER" => {
                let value = self.value("after CLUSTER nothing or the value to share")?;
                Ok(Rule::Cluster(Some(value)))
            }
            "GROUP_BY" if !has_parameter => Ok(Rule::GroupBy(None)),
            "GROUP_BY" => {
                let values = self.number(
                    "after GROUP_BY nothing or the number of different values, 1 or more",
                )?;
                Ok(Rule::GroupBy(Some(values)))
            }
            "LIKE" => self.pattern("LIKE").map(Rule::Like),
            "UNLIKE" => self.pattern("UNLIKE").map(Rule::Unlike),
            "MAX_PER" => self
                .number(
                    "after MAX_PER the most members that may share a value, 1 or more",
                )
                .map(Rule::MaxPer),
            "IS" => self.value("after IS the value").map(Rule::Is),
            "IS_NOT" => self.value("after IS_NOT the value").map(Rule::IsNot),
            _ => Err(self.wrong(operator, OPERATORS)),
        }
    }

    fn value(&self, expected: &str) -> Result<String, BadConstraint> {
        Ok(self.word(2, expected)?.text.clone())
    }

    fn number(&self, expected: &str) -> Result<NonZeroU32, BadConstraint> {
        let word = self.word(2, expected)?;
        word.text
            .trim()
            .parse()
            .map_err(|_| self.wrong(word, expected))
    }

    fn pattern(&self, operator: &str) -> Result<Pattern, BadConstraint> {
        let expected = format!("after {operator} a regular expression");
        let word = self.word(2, &expected)?;
        word.text.parse().map_err(|error: super::BadPattern| {
            self.wrong(word, &format!("{expected} ({})", error.reason))
        })
    }

    /// The word at this place; it must be there and hold something.
    fn word(&self, place: usize, expected: &str) -> Result<&Word, BadConstraint> {
        let (found, character) = match self.row.words.get(place) {
            Some(word) if !word.text.trim().is_empty() => return Ok(word),
            Some(word) => ("an empty text", word.character),
            None => ("the end of the constraint", self.row.end),
        };
        Err(self.error(character, found.to_owned(), expected))
    }

    fn wrong(&self, word: &Word, expected: &str) -> BadConstraint {
        self.error(word.character, format!("{:?}", word.text), expected)
    }

    fn error(&self, character: usize, found: String, expected: &str) -> BadConstraint {
        BadConstraint {
            constraint: self.place + 1,
            character,
            found,
            expected: expected.to_owned(),
        }
    }
}
