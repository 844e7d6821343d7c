//! Two versions of a text, side by side with the changed words marked; one under the other where it is narrow.
//!
//! Each sentence that both versions share ends a row, so that the sides stay level however much one of them grows.

use similar::{Algorithm, ChangeTag, utils::diff_unicode_words};

use super::wrap::{Piece, width, wrap};
use super::{ADDED, DIM, HEADING, REMOVED, Style};

/// The narrowest terminal that gets two columns.
const TWO_COLUMNS: usize = 64;

/// 0: as before; −1: only before; 1: only after.
type Side = i8;

/// A stretch of both versions, level on the screen.
#[derive(Default)]
struct Row {
    before: Vec<Piece<Side>>,
    after: Vec<Piece<Side>>,
}

/// Draws both versions.
pub(crate) fn side_by_side(style: &Style, before: &str, after: &str) -> String {
    let rows = rows(before, after);
    if style.width < TWO_COLUMNS {
        stacked(style, &rows)
    } else {
        columns(style, &rows)
    }
}

fn rows(before: &str, after: &str) -> Vec<Row> {
    let mut rows = vec![Row::default()];
    for (tag, text) in diff_unicode_words(Algorithm::Patience, before, after) {
        let Some(row) = rows.last_mut() else { break };
        let piece = |mark| Piece {
            text: text.to_string(),
            mark,
        };
        match tag {
            ChangeTag::Delete => row.before.push(piece(-1)),
            ChangeTag::Insert => row.after.push(piece(1)),
            ChangeTag::Equal => {
                let parts = sentences(text);
                for (n, part) in parts.iter().enumerate() {
                    let Some(row) = rows.last_mut() else { break };
                    row.before.push(Piece {
                        text: (*part).to_string(),
                        mark: 0,
                    });
                    row.after.push(Piece {
                        text: (*part).to_string(),
                        mark: 0,
                    });
                    if n + 1 < parts.len() {
                        rows.push(Row::default());
                    }
                }
            }
        }
    }
    rows
}

/// Cuts after `. `, `! `, `? ` and line ends; the parts make up the text.
fn sentences(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let line = bytes[at] == b'\n';
        let stop = bytes[at] == b' ' && at > 0 && matches!(bytes[at - 1], b'.' | b'!' | b'?');
        if line || stop {
            parts.push(&text[start..=at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

fn columns(style: &Style, rows: &[Row]) -> String {
    let bar = style.paint(DIM, style.sign("│", "|"));
    // Two blanks, the bar between blanks.
    let column = (style.width - 2 - 3) / 2;
    let mut out = format!(
        "  {}{} {bar} {}\n",
        style.paint(HEADING, "before"),
        " ".repeat(column - 6),
        style.paint(HEADING, "after"),
    );
    for row in rows {
        let left = lines(style, &row.before, column);
        let right = lines(style, &row.after, column);
        for n in 0..left.len().max(right.len()) {
            let (drawn, used) = left.get(n).cloned().unwrap_or_default();
            let pad = " ".repeat(column.saturating_sub(used));
            let other = right.get(n).map(|l| l.0.as_str()).unwrap_or_default();
            out.push_str(format!("  {drawn}{pad} {bar} {other}").trim_end());
            out.push('\n');
        }
    }
    out
}

fn stacked(style: &Style, rows: &[Row]) -> String {
    let mut out = String::new();
    let before = |row: &Row| row.before.clone();
    let after = |row: &Row| row.after.clone();
    for (title, pieces) in [
        ("before", rows.iter().flat_map(before).collect::<Vec<_>>()),
        ("after", rows.iter().flat_map(after).collect()),
    ] {
        out.push_str(&format!("  {}\n", style.paint(HEADING, title)));
        for (drawn, _) in lines(style, &pieces, style.width - 2) {
            out.push_str(format!("  {drawn}").trim_end());
            out.push('\n');
        }
    }
    out
}

/// Lines as drawn, each with its width on the screen.
fn lines(style: &Style, pieces: &[Piece<Side>], columns: usize) -> Vec<(String, usize)> {
    // Marks without colour take four columns a piece and line; a few words of room are kept for them.
    let marked = pieces.iter().any(|p| p.mark != 0);
    let room = if marked && !style.color {
        columns.saturating_sub(8).max(8)
    } else {
        columns
    };
    let mut lines = wrap(pieces, room);
    while lines.len() > 1 && lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
        .iter()
        .map(|line| {
            let drawn: Vec<(String, usize)> = line.iter().map(|p| draw(style, p)).collect();
            let used = drawn.iter().map(|d| d.1).sum();
            (drawn.into_iter().map(|d| d.0).collect(), used)
        })
        .collect()
}

/// A piece as drawn, and its width. Without colour, marks are those of `wdiff`.
fn draw(style: &Style, piece: &Piece<Side>) -> (String, usize) {
    let bare = width(&piece.text);
    match piece.mark {
        0 => (piece.text.clone(), bare),
        -1 if style.color => (style.paint(REMOVED, &piece.text), bare),
        _ if style.color => (style.paint(ADDED, &piece.text), bare),
        -1 => (format!("[-{}-]", piece.text), bare + 4),
        _ => (format!("{{+{}+}}", piece.text), bare + 4),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAIN, check};
    use super::*;

    const BEFORE: &str = "The market closes at noon. We will miss it. It was loud.";
    const AFTER: &str = "The market closes at noon, because our elders asked for quiet. We will miss it. It was calm.";

    #[test]
    fn sentences_stay_level() {
        check(
            &side_by_side(&Style { width: 70, ..PLAIN }, BEFORE, AFTER),
            "
  before                           │ after
  The market closes at noon.       │ The market closes at
                                   │ noon{+, because our elders+}
                                   │ {+asked for quiet+}.
  We will miss it.                 │ We will miss it.
  It was [-loud-].                 │ It was {+calm+}.",
        );
    }

    #[test]
    fn narrow_terminals_get_one_column() {
        check(
            &side_by_side(
                &Style { width: 40, ..PLAIN },
                "It was loud.",
                "It was calm.",
            ),
            "
  before
  It was [-loud-].
  after
  It was {+calm+}.",
        );
    }

    #[test]
    fn nothing_is_lost_and_nothing_overflows() {
        for width_ in [40, 64, 65, 80, 120] {
            for color in [false, true] {
                let style = Style {
                    width: width_,
                    color,
                    ..PLAIN
                };
                let drawn = side_by_side(&style, BEFORE, AFTER);
                let bare = strip(&drawn);
                for line in bare.lines() {
                    assert!(width(line) <= width_ + 4, "{width_}: {line:?}");
                }
                for word in ["market", "elders", "loud", "calm"] {
                    assert!(bare.contains(word), "{width_} lost {word}");
                }
            }
        }
    }

    fn strip(text: &str) -> String {
        let mut out = String::new();
        let mut escape = false;
        for c in text.chars() {
            match c {
                '\u{1b}' => escape = true,
                'm' if escape => escape = false,
                c if !escape => out.push(c),
                _ => {}
            }
        }
        out
    }
}
