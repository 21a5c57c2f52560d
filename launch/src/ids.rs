//! Names and numbers that identify things, parsed once at the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The number of a pod: 2 for `etcd-2`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PodIndex(pub u16);

/// What is added to the number of a pod for its member that leaves while a
/// successor joins. No service has that many pods.
const LEAVING: u16 = 10_000;

impl PodIndex {
    /// The pod's member that leaves, while its successor is the pod.
    #[must_use]
    pub fn leaving(self) -> Self {
        PodIndex(self.successor().0 + LEAVING)
    }

    /// Whether this is a member that leaves.
    pub fn is_leaving(self) -> bool {
        self.0 >= LEAVING
    }

    /// The pod that a member which leaves makes way for; itself for all others.
    #[must_use]
    pub fn successor(self) -> Self {
        PodIndex(self.0 % LEAVING)
    }

    /// The task's name, which is also the name of the etcd member.
    pub fn task_name(self) -> String {
        format!("{self}-node")
    }

    /// The pod of a task name such as `etcd-2-node`.
    pub fn of_task_name(name: &str) -> Option<Self> {
        name.strip_suffix("-node")?.parse().ok()
    }
}

impl fmt::Display for PodIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaving = if self.is_leaving() { "-leaving" } else { "" };
        write!(f, "etcd-{}{leaving}", self.successor().0)
    }
}

/// The text is not the name of a pod of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAPodName;

impl fmt::Display for NotAPodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a pod name such as etcd-0")
    }
}

impl std::error::Error for NotAPodName {}

impl FromStr for PodIndex {
    type Err = NotAPodName;

    fn from_str(text: &str) -> Result<Self, NotAPodName> {
        let digits = text.strip_prefix("etcd-").ok_or(NotAPodName)?;
        let index: u16 = digits.parse().map_err(|_| NotAPodName)?;
        // `etcd-01` and `etcd-+1` parse as numbers but name no pod.
        if PodIndex(index).to_string() == text {
            Ok(PodIndex(index))
        } else {
            Err(NotAPodName)
        }
    }
}

/// Counts the lives of a pod: raised whenever what may be done for the pod
/// changes meaning (another placement, another launch). An effect that carries
/// an older one is void.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
pub struct PodGeneration(pub u64);

impl PodGeneration {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        PodGeneration(self.0 + 1)
    }
}

impl fmt::Display for PodGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

macro_rules! hexadecimal_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u64::from_str_radix(text, 16).map($name)
            }
        }

        // As text: 64 bits do not survive readers that know only doubles.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|error| {
                    de::Error::custom(format!("{text:?} is not a hexadecimal id: {error}"))
                })
            }
        }
    };
}

hexadecimal_id! {
    /// What etcd calls a member ID. Written as etcdctl prints it: hexadecimal,
    /// no leading zeros.
    MemberId
}

hexadecimal_id! {
    /// What etcd calls a cluster ID; it is made from the founders' member ids.
    ClusterId
}

/// The `initial-cluster-token` of one incarnation of the cluster. Never used
/// twice: two births under one token could not be told apart by etcd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterToken(pub String);

impl fmt::Display for ClusterToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a file, as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sha256(String);

impl Sha256 {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a SHA-256 in hexadecimal.
#[derive(Debug, PartialEq, Eq)]
pub struct NotASha256;

impl fmt::Display for NotASha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a SHA-256: 64 hexadecimal digits")
    }
}

impl std::error::Error for NotASha256 {}

impl FromStr for Sha256 {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, NotASha256> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Sha256(text.to_ascii_lowercase()))
        } else {
            Err(NotASha256)
        }
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_names() {
        #[track_caller]
        fn check(text: &str, expected: Option<u16>) {
            assert_eq!(text.parse().ok(), expected.map(PodIndex), "{text}");
        }
        check("etcd-0", Some(0));
        check("etcd-12", Some(12));
        check("etcd-01", None);
        check("etcd-", None);
        check("etcd-+1", None);
        check("etcd-70000", None);
        check("kafka-1", None);
        assert_eq!(PodIndex(2).task_name(), "etcd-2-node");
        assert_eq!(PodIndex::of_task_name("etcd-2-node"), Some(PodIndex(2)));
        assert_eq!(PodIndex(2).leaving().to_string(), "etcd-2-leaving");
        assert_eq!(PodIndex(2).leaving().leaving(), PodIndex(2).leaving());
        assert_eq!(PodIndex(2).leaving().successor(), PodIndex(2));
        assert_eq!("etcd-10002".parse::<PodIndex>(), Err(NotAPodName));
        assert_eq!("etcd-2-leaving".parse::<PodIndex>(), Err(NotAPodName));
        assert_eq!(PodIndex::of_task_name("etcd-2"), None);
    }

    #[test]
    fn ids_are_hexadecimal_text() {
        let id = MemberId(0x8e9e_05c5_2164_694d);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"8e9e05c52164694d\"");
        assert_eq!(serde_json::from_str::<MemberId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<MemberId>("\"xyz\"").is_err());
    }

    #[test]
    fn checksums() {
        assert!("ab".parse::<Sha256>().is_err());
        let text = "AB".repeat(32);
        assert_eq!(text.parse::<Sha256>().unwrap().as_str(), "ab".repeat(32));
    }
}
