//! Guesses which option was meant.

use crate::option_table;

/// The option whose name is nearest to `name`, if any is near. A right key under a
/// wrong section, or under none, counts as near.
pub(super) fn nearest_option(name: &str) -> Option<&'static str> {
    let by_name =
        option_table().filter_map(|row| Some((near(name, row.name)?, row.name)));
    // A key alone is a weaker sign than the whole name.
    let by_key = option_table()
        .filter_map(|row| Some((near(key_of(name), key_of(row.name))? + 1, row.name)));
    by_name.chain(by_key).min().map(|(_, name)| name)
}

/// The word of `words` that is nearest to `given`, if any is near.
pub(super) fn nearest_word(given: &str, words: &[&'static str]) -> Option<&'static str> {
    let near_words = words
        .iter()
        .filter_map(|word| Some((near(given, word)?, *word)));
    near_words.min().map(|(_, word)| word)
}

/// How many edits lead from `given` to `wanted`, if that is few: a third of the
/// letters may be wrong. With more, the guess would be no help.
fn near(given: &str, wanted: &str) -> Option<usize> {
    let given = letters(given);
    let most = (given.len() / 3).max(1);
    let edits = distance(&given, &letters(wanted));
    (edits <= most).then_some(edits)
}

fn key_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, key)| key)
}

/// Only letters and digits, in lower case: `NODE_COUNT` and `node.count` are one.
fn letters(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many letters must be added, dropped or changed (Levenshtein).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        row[0] = left;
        for (column, other) in to.iter().enumerate() {
            let above = row[column + 1];
            left = (above.min(left) + 1).min(diagonal + usize::from(letter != other));
            diagonal = above;
            row[column + 1] = left;
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: Option<&str>) {
        assert_eq!(nearest_option(given), expected, "{given:?}");
    }

    #[test]
    fn guesses_what_was_meant() {
        check("node.conut", Some("node.count"));
        check("node.counts", Some("node.count"));
        check("count", Some("node.count"));
        check("nodes.count", Some("node.count"));
        check("NODE_COUNT", Some("node.count"));
        check("etcd.clientport", Some("etcd.client_port"));
        check("service.cpus", Some("node.cpus"));
        check("node.memory", Some("node.mem"));
        check("something.else", None);
        check("", None);
    }

    #[test]
    fn counts_edits() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(
                distance(&letters(from), &letters(to)),
                expected,
                "{from} {to}"
            );
        }
    }
}
