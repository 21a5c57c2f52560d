//! Labels for a network plugin, parsed once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Refused;

/// Labels as the original package wrote them: `k0:v0,k1:v1`, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginLabels(Vec<(String, String)>);

impl PluginLabels {
    /// What is understood, in words for an operator.
    pub const ALLOWED: &str =
        "key:value pairs with commas between them, like k0:v0,k1:v1, or empty";

    /// Keys with their values, in the operator's order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl FromStr for PluginLabels {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let refused = || Refused::new(text, Self::ALLOWED);
        let pair = |pair: &str| {
            let (key, value) = pair.split_once(':').ok_or_else(refused)?;
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty() || value.contains(':') {
                return Err(refused());
            }
            Ok((key.to_owned(), value.to_owned()))
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',')
            .map(pair)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TryFrom<String> for PluginLabels {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        text.parse()
    }
}

impl From<PluginLabels> for String {
    fn from(labels: PluginLabels) -> Self {
        labels.to_string()
    }
}

impl fmt::Display for PluginLabels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (key, value)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(out, "{comma}{key}:{value}")?;
        }
        Ok(())
    }
}
