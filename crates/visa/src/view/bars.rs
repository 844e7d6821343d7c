//! Profiles as bars: −1…1 around an axis, one value a row, one profile a column.

use std::fmt::Write;

use super::{DIM, HEADING, NEGATIVE, POSITIVE, Style};

/// A column of bars.
pub(crate) struct Column<'a> {
    pub(crate) title: &'a str,
    /// One number a row, each −1…1 (or −2…2 for a shift, with [`Self::scale`] 2).
    pub(crate) numbers: &'a [f32],
    /// The number a full bar stands for.
    pub(crate) scale: f32,
}

/// Draws rows of bars, `indent` columns in. Rows in `emphasis` are set apart.
pub(crate) fn table(
    style: &Style,
    names: &[&str],
    columns: &[Column<'_>],
    emphasis: &[bool],
) -> String {
    let name_width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let half = half_width(style.width, name_width, columns.len());
    let mut out = String::new();
    if columns.len() > 1 {
        let mut head = format!("  {:name_width$} ", "");
        for column in columns {
            let _ = write!(head, " {:<width$}", column.title, width = cell_width(half));
        }
        out.push_str(&style.paint(HEADING, head.trim_end()));
        out.push('\n');
    }
    for (row, name) in names.iter().enumerate() {
        let strong = emphasis.get(row).copied().unwrap_or(false);
        let label = format!("{name:<name_width$}");
        let label = if strong {
            style.paint(HEADING, &label)
        } else {
            label
        };
        let mark = if strong { style.sign("▸", ">") } else { " " };
        let mut line = format!("{mark} {label} ");
        for column in columns {
            let number = column.numbers.get(row).copied().unwrap_or(0.0);
            let _ = write!(
                line,
                " {} {}",
                bar(style, number / column.scale, half),
                signed(style, number)
            );
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Cells on each side of the axis.
fn half_width(width: usize, name_width: usize, columns: usize) -> usize {
    let rest = width.saturating_sub(name_width + 3) / columns.max(1);
    // One blank, the axis, one blank, and a number of five.
    (rest.saturating_sub(8) / 2).clamp(2, 20)
}

fn cell_width(half: usize) -> usize {
    2 * half + 1 + 1 + 5
}

/// One bar of 2·half + 1 cells; `number` is clipped to −1…1.
fn bar(style: &Style, number: f32, half: usize) -> String {
    let number = number.clamp(-1.0, 1.0);
    // Half cells; what rounds to nothing but is not nothing keeps the smallest sign.
    let mut units = (number.abs() * (2 * half) as f32).round() as usize;
    if units == 0 && number.abs() >= 0.02 {
        units = 1;
    }
    let (full, odd) = if style.unicode {
        (units / 2, units % 2 == 1)
    } else {
        (units.div_ceil(2), false)
    };
    let block = style.sign("█", "#").repeat(full);
    let drawn = full + usize::from(odd);
    let blank = " ".repeat(half - drawn.min(half));
    let axis = style.paint(DIM, style.sign("│", "|"));
    if number < 0.0 {
        let block = format!("{}{block}", if odd { "▐" } else { "" });
        format!(
            "{blank}{}{axis}{}",
            style.paint(NEGATIVE, &block),
            " ".repeat(half)
        )
    } else {
        let block = format!("{block}{}", if odd { "▌" } else { "" });
        format!(
            "{}{axis}{}{blank}",
            " ".repeat(half),
            style.paint(POSITIVE, &block)
        )
    }
}

fn signed(style: &Style, number: f32) -> String {
    let text = format!("{number:+.2}");
    if text == "+0.00" || text == "-0.00" {
        return style.paint(DIM, " 0.00");
    }
    let paint = if number < 0.0 { NEGATIVE } else { POSITIVE };
    style.paint(paint, &text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAIN, check};
    use super::*;

    #[test]
    fn one_profile() {
        let style = Style { width: 44, ..PLAIN };
        let drawn = table(
            &style,
            &["power", "security", "tradition", "hedonism"],
            &[Column {
                title: "",
                numbers: &[1.0, -0.5, 0.04, 0.0],
                scale: 1.0,
            }],
            &[false, true],
        );
        check(
            &drawn,
            "
  power                  │████████████ +1.00
▸ security         ██████│             -0.50
  tradition              │▌            +0.04
  hedonism               │              0.00",
        );
    }

    #[test]
    fn three_profiles_in_ascii() {
        let style = Style {
            width: 64,
            unicode: false,
            ..PLAIN
        };
        let columns = [("before", [-1.0f32]), ("after", [0.5]), ("target", [0.9])];
        let columns: Vec<Column<'_>> = columns
            .iter()
            .map(|(title, n)| Column {
                title,
                numbers: n,
                scale: 1.0,
            })
            .collect();
        check(
            &table(&style, &["power"], &columns, &[true]),
            "
         before            after             target
> power  #####|      -1.00      |###   +0.50      |##### +0.90",
        );
    }

    #[test]
    fn bars_never_overflow_their_cells() {
        for width in [40, 47, 80, 120] {
            for columns in 1..=3 {
                let style = Style { width, ..PLAIN };
                let numbers = [1.0, -1.0, 0.333, -0.999, 7.0];
                let columns: Vec<Column<'_>> = (0..columns)
                    .map(|_| Column {
                        title: "t",
                        numbers: &numbers,
                        scale: 1.0,
                    })
                    .collect();
                let drawn = table(&style, &["a", "b", "c", "d", "e"], &columns, &[]);
                for line in drawn.lines() {
                    assert!(line.chars().count() <= width, "{width}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn colours_surround_the_blocks_only() {
        let style = Style {
            color: true,
            ..PLAIN
        };
        let drawn = bar(&style, -1.0, 2);
        assert_eq!(drawn, "\u{1b}[33m██\u{1b}[0m\u{1b}[2m│\u{1b}[0m  ");
    }
}
