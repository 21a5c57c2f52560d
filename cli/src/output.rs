//! What is written where: plain text for pipes, colours for terminals.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// On a terminal, unless `NO_COLOR` is set.
    Colours,
    /// Everywhere else.
    Plain,
}

/// What a piece of text tells an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// On its way, or waiting.
    Busy,
    /// Somebody has to look.
    Bad,
    /// For those who want to know more.
    Faint,
}

impl Paint {
    /// The text in the colour of its tone.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let colour = match tone {
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("\x1b[{colour}m{text}\x1b[0m"),
        }
    }

    /// A status of the SDK's, or a state of Mesos', in its colour.
    pub(crate) fn status(self, status: &str) -> String {
        let tone = match status.trim_start_matches("TASK_") {
            "COMPLETE" | "RUNNING" => Tone::Good,
            "ERROR" | "FAILED" | "LOST" | "GONE" | "GONE_BY_OPERATOR" | "DROPPED"
            | "UNREACHABLE" => Tone::Bad,
            _ => Tone::Busy,
        };
        self.tone(tone, status)
    }
}

/// The standard output.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether colours are used.
    pub(crate) paint: Paint,
    /// Whether somebody looks at it as it grows.
    pub(crate) is_terminal: bool,
}

impl Output {
    /// The standard output of this process; `no_color` and `term` are variables.
    pub(crate) fn standard(no_color: Option<&str>, term: Option<&str>) -> Self {
        let is_terminal = io::stdout().is_terminal() && term != Some("dumb");
        let paint = if is_terminal && no_color.is_none() {
            Paint::Colours
        } else {
            Paint::Plain
        };
        Output { paint, is_terminal }
    }

    /// Writes text, with one line end behind it, at once.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let text = text.trim_end_matches('\n');
        self.write(&format!("{text}\n"))
    }

    /// Writes text as it is, at once.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }
}

/// Words of others in one line and without control characters, so that neither a
/// line of ours nor a terminal is led astray by them.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours() {
        assert_eq!(Paint::Plain.status("COMPLETE"), "COMPLETE");
        assert_eq!(Paint::Colours.status("COMPLETE"), "\x1b[32mCOMPLETE\x1b[0m");
        assert_eq!(
            Paint::Colours.status("TASK_LOST"),
            "\x1b[31mTASK_LOST\x1b[0m"
        );
        assert_eq!(Paint::Colours.status("PENDING"), "\x1b[33mPENDING\x1b[0m");
    }

    #[test]
    fn words_of_others() {
        assert_eq!(one_line("a\n\tb\x1b[2Jc  d\r\n"), "a b [2Jc d");
        assert_eq!(one_line("etcd-0 läuft"), "etcd-0 läuft");
    }
}
