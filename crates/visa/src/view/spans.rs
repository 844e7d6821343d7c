//! A text with its value-bearing stretches marked.

use super::wrap::{Piece, wrap};
use super::{NEGATIVE, POSITIVE, Style};

/// A stretch to mark: bytes of the text, the value's name, and its signed weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) name: String,
    pub(crate) weight: f32,
}

/// The text, wrapped, with the spans numbered and marked, and a line a span under it.
pub(crate) fn marked(style: &Style, text: &str, spans: &[Mark]) -> String {
    let mut spans: Vec<&Mark> = spans
        .iter()
        .filter(|s| {
            s.start < s.end && text.is_char_boundary(s.start) && text.is_char_boundary(s.end)
        })
        .collect();
    spans.sort_by_key(|s| (s.start, std::cmp::Reverse(s.end)));
    let mut out = String::new();
    for line in wrap(&pieces(text, &spans), style.width.saturating_sub(4)) {
        out.push_str("  ");
        for piece in line {
            out.push_str(&draw(style, &piece));
        }
        out.push('\n');
    }
    if !spans.is_empty() {
        out.push('\n');
    }
    let name_width = spans.iter().map(|s| s.name.len()).max().unwrap_or(0);
    let shown = if style.unicode {
        ('“', '”', '…')
    } else {
        ('"', '"', '.')
    };
    for span in &spans {
        let paint = if span.weight < 0.0 {
            NEGATIVE
        } else {
            POSITIVE
        };
        let quoted = excerpt(
            &text[span.start..span.end],
            style.width.saturating_sub(name_width + 12),
            shown.2,
        );
        let label = format!("{:<name_width$} {:+.2}", span.name, span.weight);
        out.push_str(&format!(
            "  {}  {}{quoted}{}\n",
            style.paint(paint, &label),
            shown.0,
            shown.1
        ));
    }
    out
}

/// 0: no mark; 1: embraced; −1: rejected.
type Side = i8;

/// The text cut at the spans. Where spans overlap the earlier, longer one is drawn.
fn pieces(text: &str, spans: &[&Mark]) -> Vec<Piece<Side>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for span in spans {
        let start = span.start.max(at);
        if start >= span.end {
            continue;
        }
        pieces.push(Piece {
            text: text[at..start].to_string(),
            mark: 0,
        });
        let side = if span.weight < 0.0 { -1 } else { 1 };
        pieces.push(Piece {
            text: text[start..span.end].to_string(),
            mark: side,
        });
        at = span.end;
    }
    pieces.push(Piece {
        text: text[at..].to_string(),
        mark: 0,
    });
    pieces
}

fn draw(style: &Style, piece: &Piece<Side>) -> String {
    match piece.mark {
        0 => piece.text.clone(),
        side if style.color => {
            let paint = if side < 0 { NEGATIVE } else { POSITIVE };
            style.paint(paint.underline(), &piece.text)
        }
        side => format!("[{}{}]", if side < 0 { "-" } else { "+" }, piece.text),
    }
}

fn excerpt(text: &str, most: usize, dots: char) -> String {
    let flat = super::printable(text)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if flat.chars().count() <= most {
        return flat;
    }
    let mut short: String = flat.chars().take(most.saturating_sub(1)).collect();
    short.push(dots);
    short
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAIN, check};
    use super::*;

    fn mark(text: &str, part: &str, name: &str, weight: f32) -> Mark {
        let start = text.find(part).expect("the part is in the text");
        Mark {
            start,
            end: start + part.len(),
            name: name.into(),
            weight,
        }
    }

    #[test]
    fn spans_are_marked_and_listed() {
        let text =
            "We lock the doors at night, so the children sleep safely; fame does not matter.";
        let spans = [
            mark(text, "fame does not matter", "power", -0.31),
            mark(text, "so the children sleep safely", "security", 0.42),
        ];
        check(
            &marked(&Style { width: 50, ..PLAIN }, text, &spans),
            "
  We lock the doors at night, [+so the children]
  [+sleep safely]; [-fame does not matter].

  security +0.42  “so the children sleep safely”
  power    -0.31  “fame does not matter”",
        );
    }

    #[test]
    fn overlapping_spans_and_bad_offsets_do_no_harm() {
        let text = "Naïve trust.";
        let spans = [
            mark(text, "Naïve trust", "benevolence", 0.5),
            mark(text, "trust", "security", 0.2),
            Mark {
                start: 3,
                end: 99,
                name: "power".into(),
                weight: 1.0,
            },
        ];
        check(
            &marked(&PLAIN, text, &spans[..2]),
            "
  [+Naïve trust].

  benevolence +0.50  “Naïve trust”
  security    +0.20  “trust”",
        );
        check(&marked(&PLAIN, text, &spans[2..]), "  Naïve trust.");
    }
}
