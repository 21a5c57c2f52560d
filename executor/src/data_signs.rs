//! What etcd's last words say about its data.
//!
//! etcd ends with the same words at every start on damaged data, and an executor
//! that only starts it again would do so for ever. These words are etcd's own, from
//! the sources of 3.4, 3.5 and 3.6; the tests make most of them with real ones.

use crate::log_tail::is_reason;

/// What is the matter with the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSign {
    /// The leader knows the member to have acknowledged entries that its log does
    /// not have. After a change of leaders nobody would know any more, so etcd must
    /// not be started once again on this data.
    Behind {
        /// Index of the newest entry that the member had acknowledged.
        acknowledged: u64,
        /// Index of the last entry in its log.
        last: u64,
    },
    /// etcd cannot read its data, or its parts contradict each other.
    Damaged {
        /// What etcd said.
        words: String,
    },
}

/// Words of a fatal or panic line that mean damaged data.
///
/// Not among them: `failed to open WAL` and `failed to open database` by themselves,
/// which etcd also says for missing permission or a full disk.
const DAMAGED: [&str; 35] = [
    // wal: every one of its errors that says what is wrong with a file.
    "wal: crc mismatch",
    "walpb: crc mismatch",
    "wal: file not found",
    "wal: snapshot not found",
    "wal: slice bounds out of range",
    "wal: conflicting metadata found",
    "wal: max entry size limit exceeded",
    "[wal] max entry size limit exceeded",
    "failed to read WAL, cannot be repaired",
    "failed to repair WAL",
    // raft, at the start: the log is shorter than its own state says, or than what
    // the database has applied.
    " is out of range [",
    "unexpected committed entry index",
    "isn't equal to snapshot index",
    "is older than snapshot index",
    // snap: the newest snapshot in the log has no file.
    "failed to recover from snapshot",
    "failed to recover v3 backend from snapshot",
    "failed to find database snapshot file",
    "snap: crc mismatch",
    // bbolt, when it opens the file and when it walks its pages.
    "invalid database",
    "checksum error",
    "file size too small",
    "invalid freelist page",
    "invalid meta pages",
    "invalid page type: ",
    "Page expected to be: ",
    " has unexpected type/flags: ",
    " above high water mark (",
    " already freed",
    "detected duplicated free",
    "pgids not sorted",
    "freepages: failed to get all reachable pages",
    // A truncated file or a bad disk under the database, which etcd maps.
    "fatal error: fault",
    // mvcc: the index names a revision that the database does not have.
    "failed to recover store from backend",
    "range failed to find revision pair",
    // etcdserver, before it serves: other members hash to something else.
    DIFFERS,
];

/// Ends the words of a member whose own check at its start found that another
/// member has other data at the same revision. etcd cannot tell who is wrong.
const DIFFERS: &str = "found data inconsistency with peers";

/// What we add to that: resetting the wrong member would keep the bad copy.
const WHO_IS_WRONG: &str =
    " (either may be the damaged one: compare the hashes of all members first)";

/// How much of etcd's words is repeated; its lines end in a stack.
const WORDS_LIMIT: usize = 200;

/// Reads the last lines of etcd's log.
pub fn read(last_log_lines: &[String]) -> Option<DataSign> {
    let reasons = last_log_lines.iter().filter(|line| is_reason(line));
    reasons.clone().find_map(|line| behind(line)).or_else(|| {
        reasons
            .filter(|line| DAMAGED.iter().any(|words| line.contains(words)))
            .map(|line| DataSign::Damaged {
                words: words_of(line),
            })
            .next()
    })
}

/// Reads `tocommit(107) is out of range [lastIndex(84)]`: in a heartbeat a leader
/// never names more than what the member has acknowledged to it.
fn behind(line: &str) -> Option<DataSign> {
    let (_, rest) = line.split_once("tocommit(")?;
    let (acknowledged, rest) = rest.split_once(") is out of range [lastIndex(")?;
    let (last, _) = rest.split_once(')')?;
    Some(DataSign::Behind {
        acknowledged: acknowledged.parse().ok()?,
        last: last.parse().ok()?,
    })
}

/// Message and error of a JSON line; the beginning of any other. A line that was
/// cut short is no JSON any more, so its fields are looked for as text.
fn words_of(line: &str) -> String {
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!(r#""{name}":""#))?;
        Some(rest.split_once('"').map_or(rest, |(value, _)| value))
    };
    let words = match (field("msg"), field("error")) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => line.to_owned(),
    };
    let words: String = words.chars().take(WORDS_LIMIT).collect();
    if words.contains(DIFFERS) {
        words + WHO_IS_WRONG
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let text = match read(&lines) {
            None => "nothing".to_owned(),
            Some(DataSign::Behind { acknowledged, last }) => {
                format!("behind: {last} of {acknowledged}")
            }
            Some(DataSign::Damaged { words }) => format!("damaged: {words}"),
        };
        assert_eq!(text, expected, "{lines:?}");
    }

    #[test]
    fn a_log_that_lacks_what_was_acknowledged() {
        let panic = "tocommit(107) is out of range [lastIndex(84)]. Was the raft log \
            corrupted, truncated, or lost?";
        check(&[&format!("panic: {panic}")], "behind: 84 of 107");
        let json = format!(
            r#"{{"level":"panic","ts":"x","caller":"raft/log.go:237","msg":"{panic}","stacktrace":"go.etcd.io"}}"#
        );
        check(&["before", &json, "goroutine 1"], "behind: 84 of 107");
        check(
            &["panic: tocommit(99999999999999999999) is out of range [lastIndex(1)]"],
            "damaged: panic: tocommit(99999999999999999999) is out of range \
                [lastIndex(1)]",
        );
    }

    #[test]
    fn damaged_data() {
        check(
            &[
                r#"{"level":"fatal","caller":"etcdserver/storage.go:105","msg":"failed to read WAL, cannot be repaired","error":"wal: crc mismatch","stacktrace":"x"}"#,
            ],
            "damaged: failed to read WAL, cannot be repaired: wal: crc mismatch",
        );
        check(
            &[
                r#"{"level":"panic","msg":"failed to open database","path":"/d","error":"invalid database","stack"#,
            ],
            "damaged: failed to open database: invalid database",
        );
        check(
            &["unexpected fault address 0x7f", "fatal error: fault"],
            "damaged: fatal error: fault",
        );
        check(
            &[
                r#"{"level":"fatal","caller":"etcdmain/etcd.go:181","msg":"discovery failed","error":"8211f1d0f64f3269 found data inconsistency with peers"}"#,
            ],
            "damaged: discovery failed: 8211f1d0f64f3269 found data inconsistency with \
                peers (either may be the damaged one: compare the hashes of all \
                members first)",
        );
        let long = format!("panic: snap: crc mismatch {}", "x".repeat(500));
        check(&[&long], &format!("damaged: {}", &long[..WORDS_LIMIT]));
    }

    #[test]
    fn what_says_nothing_of_the_data() {
        check(&[], "nothing");
        check(&["panic: runtime error: index out of range"], "nothing");
        check(
            &[
                r#"{"level":"fatal","msg":"failed to open WAL","error":"open /d/member/wal: permission denied"}"#,
                r#"{"level":"panic","msg":"failed to open database","error":"open /d/db: permission denied"}"#,
            ],
            "nothing",
        );
        // What etcd only warns of is no reason for its end.
        check(
            &[
                r#"{"level":"warn","msg":"failed to read a snap file","error":"snap: crc mismatch"}"#,
            ],
            "nothing",
        );
        // What a client wrote may stand in a line; it cannot begin one.
        check(&["a key named panic: wal: crc mismatch"], "nothing");
    }
}
