//! The name under which a service runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Refused;

/// The name of the service: the framework's name, its Marathon app id, its path
/// behind Admin Router and a part of its DNS names.
///
/// Like a Marathon app id it may have folders (`team-a/etcd`, `/team-a/etcd`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// What a name may be, in words for an operator.
    pub const ALLOWED: &str = "lower-case letters, digits, dots and inner dashes in \
        folders separated by '/', at most 63 characters without the slashes, like etcd \
        or team-a/etcd";

    /// The name without its slashes becomes one label of a DNS name, and a label
    /// holds at most 63 characters (RFC 1035, section 2.3.4).
    const LONGEST: usize = 63;

    /// The name of the original package's default service.
    #[must_use]
    pub fn etcd() -> Self {
        Self("etcd".to_owned())
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without a leading slash, folders joined by two underscores:
    /// `/team-a/etcd` gives `team-a__etcd`. The SDK makes its role from this, and
    /// it is why a name itself may not hold underscores.
    #[must_use]
    pub fn folders_joined(&self) -> String {
        self.0.trim_start_matches('/').replace('/', "__")
    }

    /// The name without any slash, as DNS names hold it.
    #[must_use]
    pub fn without_slashes(&self) -> String {
        self.0.replace('/', "")
    }

    /// Whether a text is a name.
    #[must_use]
    pub fn accepts(text: &str) -> bool {
        let path = text.strip_prefix('/').unwrap_or(text);
        path.split('/').all(is_folder) && text.replace('/', "").len() <= Self::LONGEST
    }
}

/// One folder: labels with dots between them, none of them empty.
fn is_folder(folder: &str) -> bool {
    folder.split('.').all(|label| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(plain)
            && bytes.last().copied().is_some_and(plain)
            && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
    })
}

impl FromStr for ServiceName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if Self::accepts(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refused::new(text, Self::ALLOWED))
        }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in [
            "etcd",
            "e",
            "3etcd",
            "/etcd",
            "team-a/etcd",
            "a.b/c-d",
            "/x/y/z",
        ] {
            assert!(ServiceName::accepts(good), "{good:?} should be taken");
        }
        let longest = "e".repeat(63);
        assert!(ServiceName::accepts(&longest));
        assert!(
            ServiceName::accepts(&format!("/{longest}")),
            "slashes do not count"
        );
        for bad in [
            "", "/", "Etcd", "etcd_1", "a__b", "-etcd", "etcd-", "a//b", "etcd/", "..",
            "a/../b", "a..b", ".a", "e t", "étcd", "//etcd",
        ] {
            assert!(!ServiceName::accepts(bad), "{bad:?} should be refused");
        }
        assert!(!ServiceName::accepts(&"e".repeat(64)));
    }

    #[test]
    fn names_become_parts_of_other_names() {
        let name: ServiceName = "/team-a/etcd".parse().expect("a good name");
        assert_eq!(name.folders_joined(), "team-a__etcd");
        assert_eq!(name.without_slashes(), "team-aetcd");
    }
}
