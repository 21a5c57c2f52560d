//! Where members may be placed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Refused;

/// The rule that says which agents may hold a member. Applied when a member is
/// placed, never to one that runs.
///
/// Only the two rules that a cluster must have are understood so far; everything
/// else is refused instead of ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Placement {
    /// Any agent, also one that holds another member.
    Anywhere,
    /// At most one member on each host name.
    UniqueHostname,
}

impl Placement {
    /// What is understood, in words for an operator.
    pub const ALLOWED: &str = "[[\"hostname\", \"UNIQUE\"]] (or hostname:UNIQUE) for one \
        member a host, [] or empty for any agent";

    /// The rule as Marathon writes it and as the original package stored it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Anywhere => "[]",
            Self::UniqueHostname => "[[\"hostname\", \"UNIQUE\"]]",
        }
    }

    /// Whether a text is a rule that is understood.
    #[must_use]
    pub fn accepts(text: &str) -> bool {
        text.parse::<Self>().is_ok()
    }
}

impl FromStr for Placement {
    type Err = Refused;

    /// Reads Marathon's JSON list, a single rule of it, or the colon form.
    /// Operators may be in any case, as with the SDK.
    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut quoted = false;
        let squeezed: String = text
            .chars()
            .filter(|&character| {
                quoted ^= character == '"';
                quoted || !character.is_whitespace()
            })
            .collect();
        let squeezed = squeezed.replace("@hostname", "hostname");
        match squeezed.to_ascii_lowercase().as_str() {
            "" | "[]" | "[[]]" => Ok(Self::Anywhere),
            r#"[["hostname","unique"]]"# | r#"["hostname","unique"]"# => {
                Ok(Self::UniqueHostname)
            }
            "hostname:unique" => Ok(Self::UniqueHostname),
            _ => Err(Refused::new(text, Self::ALLOWED)),
        }
    }
}

impl TryFrom<String> for Placement {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        text.parse()
    }
}

impl From<Placement> for String {
    fn from(placement: Placement) -> Self {
        placement.as_str().to_owned()
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Placement>) {
        assert_eq!(text.parse().ok(), expected, "{text:?}");
    }

    #[test]
    fn understands_the_forms_that_operators_write() {
        check("", Some(Placement::Anywhere));
        check("  ", Some(Placement::Anywhere));
        check("[]", Some(Placement::Anywhere));
        check(
            "[[\"hostname\", \"UNIQUE\"]]",
            Some(Placement::UniqueHostname),
        );
        check(
            "[ [\"hostname\",\n\"unique\"] ]",
            Some(Placement::UniqueHostname),
        );
        check(
            "[\"hostname\", \"UNIQUE\"]",
            Some(Placement::UniqueHostname),
        );
        check(
            "[[\"@hostname\", \"UNIQUE\"]]",
            Some(Placement::UniqueHostname),
        );
        check("hostname:UNIQUE", Some(Placement::UniqueHostname));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        check("[[\"@zone\", \"GROUP_BY\", \"3\"]]", None);
        check("[[\"host name\", \"UNIQUE\"]]", None);
        check("rack:UNIQUE", None);
        check("hostname:UNIQUE,rack:LIKE:r1", None);
        check("[[\"hostname\", \"UNIQUE\"]", None);
        check("UNIQUE", None);
    }
}
