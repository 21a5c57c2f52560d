//! Server-sent events, read from bytes as they come. Knows no network.

/// A longer line is no event of ours: the largest are some kilobytes.
const LONGEST_LINE: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
    /// Its name; none for ordinary ones.
    pub(crate) name: Option<String>,
    /// Its data, lines joined.
    pub(crate) data: String,
}

/// A line that never ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the event stream is longer than {LONGEST_LINE} bytes")]
pub(crate) struct EndlessLine;

/// Puts pieces of a stream together.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    line: Vec<u8>,
    event: Sent,
    has_data: bool,
}

impl EventStream {
    /// Takes the next piece, and gives the events that end in it.
    ///
    /// Lines end with LF or CR LF; that a lone CR may end one, too, is left out, for
    /// no server does it.
    ///
    /// # Errors
    ///
    /// When a line is longer than anything that is sent.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<Vec<Sent>, EndlessLine> {
        let mut events = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LONGEST_LINE {
                return Err(EndlessLine);
            }
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                events.extend(self.take_line(line.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Sent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // Without data nothing happened, says the standard.
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => self.event.name = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments (an empty field name) are signs of life.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(events: &[Sent]) -> Vec<String> {
        let show = |event: &Sent| {
            let id = event.id.as_deref().unwrap_or("-");
            let name = event.name.as_deref().unwrap_or("-");
            format!("{id} {name} {}", event.data)
        };
        events.iter().map(show).collect()
    }

    #[test]
    fn streams_in_every_cut() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            for size in 1..=text.len() {
                let mut stream = EventStream::default();
                let mut events = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    events.extend(stream.take(piece).unwrap());
                }
                assert_eq!(shown(&events), expected, "in pieces of {size}");
            }
        }
        check("id: 7\ndata: {}\n\n", &["7 - {}"]);
        check(
            "id:7\r\ndata:a\r\ndata: b\r\n\r\n: alive\r\n\r\ndata: c\r\n\r\n",
            &["7 - a\nb", "- - c"],
        );
        check(
            "event: missed\ndata: {\"ü\":1}\n\n",
            &["- missed {\"ü\":1}"],
        );
        check("id: 1\n\ndata\n\n", &["- - "]);
        check("data: not yet ended\n", &[]);
    }

    #[test]
    fn a_line_without_an_end() {
        let mut stream = EventStream::default();
        let piece = vec![b'x'; LONGEST_LINE];
        assert_eq!(stream.take(&piece), Ok(Vec::new()));
        assert_eq!(stream.take(b"x"), Err(EndlessLine));
    }
}
