//! Tables of text, with columns as wide as their widest cell.

use crate::output::{Paint, Tone};

/// Between two columns.
const GAP: &str = "  ";

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

/// Where a table has nothing to say.
const NOTHING: &str = "-";

impl Cell {
    /// Text as it is.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Cell { text, tone: None }
    }

    /// Text that may be missing.
    pub(crate) fn maybe(text: Option<&str>) -> Self {
        Cell::plain(text.unwrap_or(NOTHING))
    }

    /// Text with a tone.
    pub(crate) fn toned(tone: Tone, text: &str) -> Self {
        Cell {
            text: text.to_owned(),
            tone: Some(tone),
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn drawn(&self, paint: Paint) -> String {
        match self.tone {
            Some(tone) => paint.tone(tone, &self.text),
            None => self.text.clone(),
        }
    }
}

/// Draws a table: the heads, then the rows.
pub(crate) fn drawn<const COLUMNS: usize>(
    heads: [&str; COLUMNS],
    rows: &[[Cell; COLUMNS]],
    paint: Paint,
) -> String {
    let heads = heads.map(Cell::plain);
    let all = || std::iter::once(&heads).chain(rows);
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        all().map(|row| row[column].width()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&cell.drawn(paint));
            line.push_str(&" ".repeat(width.saturating_sub(cell.width())));
            line.push_str(GAP);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let rows = [
            [
                Cell::plain("etcd-0"),
                Cell::toned(Tone::Good, "yes"),
                Cell::plain("x"),
            ],
            [Cell::plain("ü"), Cell::maybe(None), Cell::plain("")],
        ];
        let heads = ["POD", "HEALTHY", "HOST"];
        assert_eq!(
            drawn(heads, &rows, Paint::Plain),
            "POD     HEALTHY  HOST\netcd-0  yes      x\nü       -\n"
        );
        assert!(
            drawn(heads, &rows, Paint::Colours)
                .contains("etcd-0  \x1b[32myes\x1b[0m      x\n")
        );
    }
}
