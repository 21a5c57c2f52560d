//! Where members may be placed: Marathon's constraints, parsed once into types.
//!
//! What is a constraint text is decided in `parse`; whether an agent keeps a
//! constraint is the planner's to say. The grammar is that of the DC/OS SDK
//! (`MarathonConstraintParser`), which the original package passed its option to,
//! and one form of Marathon's own beside it: `CLUSTER` without a value.

mod colons;
mod json;
mod parse;
mod pattern;

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use parse::BadConstraint;
pub use pattern::{BadPattern, Pattern};

/// Which agents may hold a member: all of these constraints together. None at all
/// allows every agent.
///
/// Read with [`str::parse`] from either form that operators write. Written, stored
/// and compared in one form only, the JSON list: `[["hostname", "UNIQUE"]]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlacementConstraints(Vec<Constraint>);

impl PlacementConstraints {
    /// What is understood, in words for an operator.
    pub const ALLOWED: &str = "a list of constraints, each [field, operator] or [field, \
        operator, parameter], like [[\"hostname\", \"UNIQUE\"], [\"@zone\", \"GROUP_BY\", \
        \"3\"]] or hostname:UNIQUE,@zone:GROUP_BY:3; [] or empty for any agent";

    /// No constraint: any agent.
    #[must_use]
    pub const fn anywhere() -> Self {
        Self(Vec::new())
    }

    /// One member a host: `[["hostname", "UNIQUE"]]`.
    #[must_use]
    pub fn unique_hostname() -> Self {
        Self(vec![Constraint {
            field: Field::Hostname,
            rule: Rule::Unique,
        }])
    }

    /// The constraints, in the order in which they were written.
    #[must_use]
    pub fn constraints(&self) -> &[Constraint] {
        &self.0
    }

    /// Whether a constraint speaks of regions. It then replaces the rule that
    /// members stay in the local region, as with the SDK.
    #[must_use]
    pub fn names_region(&self) -> bool {
        self.0
            .iter()
            .any(|constraint| constraint.field == Field::Region)
    }
}

impl Default for PlacementConstraints {
    /// One member a host, as in the original package.
    fn default() -> Self {
        Self::unique_hostname()
    }
}

impl FromIterator<Constraint> for PlacementConstraints {
    fn from_iter<Constraints: IntoIterator<Item = Constraint>>(
        constraints: Constraints,
    ) -> Self {
        Self(constraints.into_iter().collect())
    }
}

/// One constraint: what it looks at and what it demands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    /// What it looks at.
    pub field: Field,
    /// What it demands of it.
    pub rule: Rule,
}

/// What a constraint looks at on an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Field {
    /// The agent's host name: `hostname`, also written `@hostname`.
    Hostname,
    /// The zone of the agent's fault domain: `@zone`.
    Zone,
    /// The region of the agent's fault domain: `@region`.
    Region,
    /// An attribute that the agent was started with, by its name.
    Attribute(String),
}

/// What a constraint demands of the field's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    /// No two members share a value.
    Unique,
    /// All members share this value or, where none is given, the value that the
    /// first one got. (The SDK demands a value, Marathon does not.)
    Cluster(Option<String>),
    /// Members are spread evenly over the values. The number says over how many;
    /// without it only values in use are compared.
    GroupBy(Option<NonZeroU32>),
    /// The value matches the pattern.
    Like(Pattern),
    /// No value matches the pattern.
    Unlike(Pattern),
    /// At most so many members share a value.
    MaxPer(NonZeroU32),
    /// The value is this one.
    Is(String),
    /// The value is not this one.
    IsNot(String),
}

impl Rule {
    /// The operator's name, in the case in which it is documented.
    #[must_use]
    pub const fn operator(&self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster(_) => "CLUSTER",
            Self::GroupBy(_) => "GROUP_BY",
            Self::Like(_) => "LIKE",
            Self::Unlike(_) => "UNLIKE",
            Self::MaxPer(_) => "MAX_PER",
            Self::Is(_) => "IS",
            Self::IsNot(_) => "IS_NOT",
        }
    }

    /// The parameter as text, where there is one.
    #[must_use]
    pub fn parameter(&self) -> Option<String> {
        match self {
            Self::Unique | Self::Cluster(None) | Self::GroupBy(None) => None,
            Self::Cluster(Some(value)) | Self::Is(value) | Self::IsNot(value) => {
                Some(value.clone())
            }
            Self::GroupBy(Some(number)) | Self::MaxPer(number) => {
                Some(number.to_string())
            }
            Self::Like(pattern) | Self::Unlike(pattern) => Some(pattern.to_string()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Hostname => "hostname",
            Self::Zone => "@zone",
            Self::Region => "@region",
            Self::Attribute(name) => name,
        })
    }
}

impl fmt::Display for Constraint {
    /// For sentences: `@zone GROUP_BY 3`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.field, self.rule.operator())?;
        match self.rule.parameter() {
            Some(parameter) => write!(out, " {parameter}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PlacementConstraints {
    /// The canonical JSON list: `[["hostname", "UNIQUE"]]`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[")?;
        for (place, Constraint { field, rule }) in self.0.iter().enumerate() {
            if place > 0 {
                out.write_str(", ")?;
            }
            let (field, operator) = (field.to_string(), rule.operator());
            write!(out, "[{}, \"{operator}\"", json::quoted(&field))?;
            if let Some(parameter) = rule.parameter() {
                write!(out, ", {}", json::quoted(&parameter))?;
            }
            out.write_str("]")?;
        }
        out.write_str("]")
    }
}

impl TryFrom<String> for PlacementConstraints {
    type Error = BadConstraint;

    fn try_from(text: String) -> Result<Self, BadConstraint> {
        text.parse()
    }
}

impl From<PlacementConstraints> for String {
    fn from(constraints: PlacementConstraints) -> Self {
        constraints.to_string()
    }
}

#[cfg(test)]
mod tests;
