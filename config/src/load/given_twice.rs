//! Finds names that stand twice in an options file.
//!
//! JSON readers keep the last of two and say nothing; an operator who pasted a
//! second `"node"` section would lose the first without a word.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The names, dotted, of sections and options that stand twice in `text`, which is
/// known to be an object in good JSON.
pub(super) fn given_twice(text: &[u8]) -> Vec<String> {
    let Ok(Entries(sections)) = serde_json::from_slice::<Entries<&RawValue>>(text) else {
        return Vec::new();
    };
    let mut twice = doubles(sections.iter().map(|(section, _)| section.clone()));
    for (section, body) in &sections {
        // What is no object is reported elsewhere.
        if let Ok(Entries(options)) =
            serde_json::from_str::<Entries<IgnoredAny>>(body.get())
        {
            let names = options
                .into_iter()
                .map(|(key, _)| format!("{section}.{key}"));
            twice.extend(doubles(names));
        }
    }
    twice
}

fn doubles(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(name.clone())).collect()
}

/// All entries of a JSON object, doubles included.
struct Entries<Body>(Vec<(String, Body)>);

impl<'de, Body: Deserialize<'de>> Deserialize<'de> for Entries<Body> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<Body>(PhantomData<Body>);

        impl<'de, Body: Deserialize<'de>> Visitor<'de> for Collect<Body> {
            type Value = Entries<Body>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<Map: MapAccess<'de>>(
                self,
                mut map: Map,
            ) -> Result<Self::Value, Map::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(given_twice(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn finds_what_stands_twice() {
        check("{}", &[]);
        check(r#"{"node": {"count": 3}, "etcd": {"count": 3}}"#, &[]);
        check(r#"{"node": {"count": 3}, "node": {"cpus": 1}}"#, &["node"]);
        check(
            r#"{"node": {"count": 3, "cpus": 1, "count": 5}}"#,
            &["node.count"],
        );
        check(r#"{"node": 3, "node": {}}"#, &["node"]);
    }
}
