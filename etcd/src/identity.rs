//! Who the founders of a cluster will be, computed before any of them starts.
//!
//! etcd derives a founder's id from its peer URLs and the cluster token, and
//! the cluster's id from the founders' ids, without clock or chance. (Members
//! that are added later get the time mixed in; those ids only etcd can tell.)
//! Knowing the ids beforehand lets us record them first and refuse any data
//! directory, and any answer, that belongs to somebody else.
//!
//! The rule was read from etcd's `membership` package and holds for every
//! version since 2.0; the tests compare it with ids that real servers gave.

use sha1::{Digest, Sha1};

use crate::EtcdError;

/// The ids that etcd will give the founders of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BirthIdentity {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The founders' ids, in the order in which the founders were given.
    pub member_ids: Vec<u64>,
}

/// Computes the ids of a cluster that is born from a static list of founders.
///
/// `token` is etcd's `initial-cluster-token`; `founders` are names and
/// advertised peer URLs as they stand in `initial-cluster`. Names do not enter
/// the ids; they only make errors readable.
///
/// URLs must be in the form in which etcd prints them back (lower-case scheme,
/// host and port, no path), for the ids are made from that very text.
///
/// # Errors
///
/// [`EtcdError::BadFounders`] when the list is one that etcd would refuse: no
/// founder, a founder without a URL, a URL that etcd would not take or would
/// rewrite, or one URL used twice.
pub fn static_birth(
    token: &str,
    founders: &[(String, Vec<String>)],
) -> Result<BirthIdentity, EtcdError> {
    check_founders(founders)?;
    let member_ids: Vec<u64> = founders
        .iter()
        .map(|(_, peer_urls)| founder_id(token, peer_urls))
        .collect();
    let mut sorted_ids = member_ids.clone();
    sorted_ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in &sorted_ids {
        hash.update(id.to_be_bytes());
    }
    Ok(BirthIdentity {
        cluster_id: first_eight_bytes(hash),
        member_ids,
    })
}

fn founder_id(token: &str, peer_urls: &[String]) -> u64 {
    let mut sorted_urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    sorted_urls.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted_urls {
        hash.update(url.as_bytes());
    }
    hash.update(token.as_bytes());
    first_eight_bytes(hash)
}

fn first_eight_bytes(hash: Sha1) -> u64 {
    let digest: [u8; 20] = hash.finalize().into();
    digest[..8]
        .iter()
        .fold(0, |id, byte| (id << 8) | u64::from(*byte))
}

fn check_founders(founders: &[(String, Vec<String>)]) -> Result<(), EtcdError> {
    let refuse = |problem: String| Err(EtcdError::BadFounders { problem });
    if founders.is_empty() {
        return refuse("a cluster needs at least one founder".to_owned());
    }
    let mut seen_urls = std::collections::BTreeMap::new();
    for (name, peer_urls) in founders {
        if peer_urls.is_empty() {
            return refuse(format!("founder {name} has no peer url"));
        }
        for url in peer_urls {
            if let Some(problem) = problem_of_peer_url(url) {
                return refuse(format!("peer url {url:?} of founder {name} {problem}"));
            }
            if let Some(other) = seen_urls.insert(url.as_str(), name) {
                return refuse(format!("peer url {url} is given for {other} and {name}"));
            }
        }
    }
    Ok(())
}

/// What is wrong with a peer URL, if etcd would refuse it or print it back in
/// another form (which would change the ids).
fn problem_of_peer_url(url: &str) -> Option<&'static str> {
    let Some(authority) = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    else {
        return Some("must begin with http:// or https:// in lower case");
    };
    if authority.contains(['/', '?', '#', '@', ' ']) {
        return Some("must be scheme, host and port alone, without path or user");
    }
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Some("needs a port");
    };
    if host.is_empty() || host.contains(':') != host.starts_with('[') {
        return Some("needs a host; an IPv6 address stands in brackets");
    }
    match port.parse::<u16>() {
        Ok(number) if number.to_string() == port => None,
        _ => Some("needs a port between 0 and 65535"),
    }
}

/// An id as etcd's tools print it: hexadecimal, lower case, no leading zeros.
pub fn format_id(id: u64) -> String {
    format!("{id:x}")
}

/// Reads an id that [`format_id`] or etcdctl wrote.
///
/// # Errors
///
/// [`EtcdError::BadId`] when the text is not up to 16 hexadecimal digits.
pub fn parse_id(text: &str) -> Result<u64, EtcdError> {
    let bad_id = || EtcdError::BadId {
        text: text.to_owned(),
    };
    // from_str_radix would take a sign, which no id has.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad_id());
    }
    u64::from_str_radix(text, 16).map_err(|_| bad_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founders(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        list.iter()
            .map(|(name, urls)| {
                (
                    name.to_string(),
                    urls.iter().map(|url| url.to_string()).collect(),
                )
            })
            .collect()
    }

    /// The expected ids are those that etcd 3.4.23 and 3.5.30 logged (both the
    /// same) when started with these tokens and lists.
    #[test]
    fn ids_are_those_of_real_servers() {
        #[track_caller]
        fn check(token: &str, list: &[(&str, &[&str])], cluster: &str, members: &str) {
            let birth = static_birth(token, &founders(list)).unwrap();
            let ids: Vec<String> =
                birth.member_ids.iter().copied().map(format_id).collect();
            assert_eq!(format_id(birth.cluster_id), cluster);
            assert_eq!(ids.join(" "), members);
        }
        check(
            "dcos-one",
            &[
                ("etcd-0-node", &["http://127.0.0.2:2380"]),
                ("etcd-1-node", &["http://127.0.0.3:2380"]),
                ("etcd-2-node", &["http://127.0.0.4:2380"]),
            ],
            "d9e31a0cfd119b87",
            "713e69dde06124c9 464ca23821fad634 859d02fce29701e",
        );
        check(
            "2d7e3a2e-9f51-4f0c-8a55-0d6f5c6a1c11",
            &[("etcd-0-node", &["https://etcd-0-node.etcd.mesos:2380"])],
            "95eedcc328302b8",
            "6a236935e5fdd266",
        );
        // Two URLs, given here in the order that etcd does not hash them in.
        check(
            "two",
            &[("a", &["http://127.0.0.2:2380", "http://127.0.0.2:12380"])],
            "ed86b92f3cbf13a8",
            "ba23edc0c045923",
        );
        check(
            "six",
            &[("a", &["http://[::1]:2380"])],
            "5d8e71f055c44044",
            "f59d51003d3461a6",
        );
    }

    #[test]
    fn another_token_makes_another_cluster() {
        let list = founders(&[("a", &["http://127.0.0.2:2380"])]);
        let one = static_birth("one", &list).unwrap();
        let two = static_birth("two", &list).unwrap();
        assert_ne!(one.cluster_id, two.cluster_id);
        assert_ne!(one.member_ids, two.member_ids);
    }

    #[test]
    fn lists_that_etcd_would_refuse() {
        #[track_caller]
        fn check(list: &[(&str, &[&str])], expected: &str) {
            let error = static_birth("t", &founders(list)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(&[], "at least one founder");
        check(&[("a", &[])], "founder a has no peer url");
        check(&[("a", &["127.0.0.2:2380"])], "must begin with http://");
        check(&[("a", &["HTTP://127.0.0.2:2380"])], "lower case");
        check(&[("a", &["http://127.0.0.2"])], "needs a port");
        check(&[("a", &["http://127.0.0.2:"])], "needs a port");
        check(&[("a", &["http://127.0.0.2:070"])], "between 0 and 65535");
        check(&[("a", &["http://127.0.0.2:65536"])], "between 0 and 65535");
        check(&[("a", &["http://127.0.0.2:2380/"])], "without path");
        check(&[("a", &["http://:2380"])], "needs a host");
        check(&[("a", &["http://::1:2380"])], "stands in brackets");
        check(
            &[("a", &["http://h:2380"]), ("b", &["http://h:2380"])],
            "peer url http://h:2380 is given for a and b",
        );
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        for id in [1, 0x0a1a_f28e_26eb_474d, u64::MAX] {
            assert_eq!(parse_id(&format_id(id)).unwrap(), id);
        }
        assert_eq!(format_id(0x0a1a_f28e_26eb_474d), "a1af28e26eb474d");
        for text in ["", "+1", "xyz", "10000000000000000"] {
            assert!(parse_id(text).is_err(), "{text:?}");
        }
    }
}
