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

/// Values named for a stretch: the strongest, and no more than say something.
const NAMED: usize = 3;
/// Weights below this are not worth a person's time.
const WEAK: f32 = 0.1;

/// The text, wrapped, with its value-bearing stretches marked, and under it what each of them speaks.
pub(crate) fn marked(style: &Style, text: &str, spans: &[Mark]) -> String {
    let stretches = stretches(text, spans);
    let mut out = String::new();
    for line in wrap(&pieces(text, &stretches), style.width.saturating_sub(4)) {
        out.push_str("  ");
        for piece in line {
            out.push_str(&draw(style, &piece));
        }
        out.push('\n');
    }
    if !stretches.is_empty() {
        out.push('\n');
    }
    let (open, close, dots) = if style.unicode {
        ('“', '”', '…')
    } else {
        ('"', '"', '.')
    };
    for stretch in &stretches {
        let quoted = excerpt(
            &text[stretch.start..stretch.end],
            style.width.saturating_sub(6),
            dots,
        );
        out.push_str(&format!("  {open}{quoted}{close}\n     "));
        for (name, weight) in &stretch.values {
            let paint = if *weight < 0.0 { NEGATIVE } else { POSITIVE };
            out.push_str(&format!(
                " {}",
                style.paint(paint, &format!("{name} {weight:+.2}"))
            ));
        }
        out.push('\n');
    }
    out
}

/// A stretch of the text with the values it speaks, strongest first; at least one.
struct Stretch<'a> {
    start: usize,
    end: usize,
    values: Vec<(&'a str, f32)>,
}

/// Marks of the same stretch together, in the order of the text; weak ones and offsets that do not fit left out.
fn stretches<'a>(text: &str, spans: &'a [Mark]) -> Vec<Stretch<'a>> {
    let mut sorted: Vec<&Mark> = spans
        .iter()
        .filter(|s| s.weight.abs() >= WEAK && s.start < s.end)
        .filter(|s| text.is_char_boundary(s.start) && text.is_char_boundary(s.end))
        .collect();
    sorted.sort_by(|a, b| {
        let place = |s: &Mark| (s.start, std::cmp::Reverse(s.end));
        place(a)
            .cmp(&place(b))
            .then(b.weight.abs().total_cmp(&a.weight.abs()))
    });
    let mut stretches: Vec<Stretch<'a>> = Vec::new();
    for span in sorted {
        match stretches.last_mut() {
            Some(last) if (last.start, last.end) == (span.start, span.end) => {
                if last.values.len() < NAMED {
                    last.values.push((&span.name, span.weight));
                }
            }
            _ => stretches.push(Stretch {
                start: span.start,
                end: span.end,
                values: vec![(&span.name, span.weight)],
            }),
        }
    }
    stretches
}

/// 0: no mark; 1: embraced; −1: rejected.
type Side = i8;

/// The text cut at the stretches, each with the side of its strongest value. Where they overlap the earlier, longer one
/// is drawn.
fn pieces(text: &str, spans: &[Stretch<'_>]) -> Vec<Piece<Side>> {
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
        let side = if span.values.first().is_some_and(|v| v.1 < 0.0) {
            -1
        } else {
            1
        };
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
            mark(text, "so the children sleep safely", "tradition", 0.04),
            mark(text, "fame does not matter", "achievement", -0.2),
        ];
        check(
            &marked(&Style { width: 50, ..PLAIN }, text, &spans),
            "
  We lock the doors at night, [+so the children]
  [+sleep safely]; [-fame does not matter].

  “so the children sleep safely”
      security +0.42
  “fame does not matter”
      power -0.31 achievement -0.20",
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

  “Naïve trust”
      benevolence +0.50
  “trust”
      security +0.20",
        );
        check(&marked(&PLAIN, text, &spans[2..]), "  Naïve trust.");
    }
}
