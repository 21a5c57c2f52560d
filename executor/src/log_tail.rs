//! What a crash report shows of etcd's log: its end, and why it ended.

use std::collections::VecDeque;

/// Lines in a report, besides the reason.
const LAST_LINES: usize = 12;

/// Bytes of a line in a report. Thirteen lines are five kilobytes: agent and
/// master keep some hundred reports in memory.
const LINE_LIMIT: usize = 400;

/// How a line begins in which etcd says why it ends: zap's JSON, then the two
/// ways of the Go runtime.
const REASONS: [&str; 4] = [
    r#"{"level":"fatal""#,
    r#"{"level":"panic""#,
    "panic: ",
    "fatal error: ",
];

/// Whether this line says why etcd ends.
pub fn is_reason(line: &str) -> bool {
    REASONS.iter().any(|start| line.starts_with(start))
}

/// The end of a log of any length, in bounded memory.
#[derive(Debug, Default)]
pub struct LogTail {
    /// The beginning of the line that has no end yet.
    line: Vec<u8>,
    last: VecDeque<String>,
    /// The first reason: what follows it tells less. Behind it Go prints the
    /// stack, which is longer than any report.
    reason: Option<String>,
}

impl LogTail {
    /// Takes the next piece of the log.
    pub fn feed(&mut self, mut piece: &[u8]) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.extend(&piece[..end]);
            self.end_line();
            piece = &piece[end + 1..];
        }
        self.extend(piece);
    }

    fn extend(&mut self, part: &[u8]) {
        let room = LINE_LIMIT - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if self.reason.is_none() && is_reason(&line) {
            self.reason = Some(line.clone());
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The lines for the report, oldest first: the reason, then the end.
    pub fn into_lines(mut self) -> Vec<String> {
        if !self.line.is_empty() {
            self.end_line();
        }
        let missing = self.reason.filter(|reason| !self.last.contains(reason));
        missing.into_iter().chain(self.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], expected: &[&str]) {
        let mut tail = LogTail::default();
        for piece in pieces {
            tail.feed(piece.as_bytes());
        }
        assert_eq!(tail.into_lines(), expected, "{pieces:?}");
    }

    #[test]
    fn lines_in_any_pieces() {
        check(&[], &[]);
        check(&["one\ntwo\n"], &["one", "two"]);
        check(&["on", "e\nt", "wo"], &["one", "two"]);
        check(&["\n\n"], &["", ""]);
    }

    #[test]
    fn the_end_of_a_long_log() {
        let log: String = (0..100).map(|n| format!("{n}\n")).collect();
        let expected: Vec<String> = (88..100).map(|n| n.to_string()).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&[&log], &expected);
        let long = "x".repeat(LINE_LIMIT * 3);
        check(&[&long, &long, "\nnext"], &[&long[..LINE_LIMIT], "next"]);
    }

    #[test]
    fn the_reason_is_not_lost_behind_the_stack() {
        let reason = r#"{"level":"panic","msg":"failed to open database"}"#;
        check(&[reason, "\npanic: failed\n"], &[reason, "panic: failed"]);
        let stack = "stack\n".repeat(50);
        let lines: Vec<&str> = std::iter::once(reason)
            .chain(["stack"; LAST_LINES])
            .collect();
        check(&["before\n", reason, "\npanic: x\n", &stack], &lines);
        check(&["before\npanic: x\n", &stack], &{
            let mut lines = lines.clone();
            lines[0] = "panic: x";
            lines
        });
    }
}
