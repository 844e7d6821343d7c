//! The comparison as Markdown tables.

use std::fmt::Write;

use super::compare::{Comparison, ReaderReport};
use crate::Figure;

/// Columns of the main table: the name of a figure, and its heading.
pub(super) const COLUMNS: [(&str, &str); 9] = [
    (super::HARD, "JSR, \\|Δv\\| ≥ 0.8 ↑"),
    ("JSR", "JSR ↑"),
    ("movement cosine", "movement cosine ↑"),
    ("progress", "progress ↑"),
    ("consistency", "consistency ↑"),
    ("forward", "forward ↑"),
    ("backward", "backward ↑"),
    ("L2", "L2 ↓"),
    ("leakage", "leakage ↓"),
];

impl Comparison {
    /// The report as Markdown: the systems under each reader, the texts alone, the sizes, the agreement of the readers.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("### rewriter\n\n{} paragraphs.\n", self.items);
        for reader in self.readers() {
            let _ = writeln!(out, "\nUnder the {reader}, with 95 % intervals:\n");
            let headings: Vec<&str> = COLUMNS.iter().map(|(_, heading)| *heading).collect();
            head(&mut out, "system", &headings);
            for (system, report) in self.under(reader) {
                let cells = COLUMNS.iter().map(|(name, _)| cell(report.figure(name)));
                row(&mut out, system, cells);
            }
        }
        self.texts(&mut out);
        self.sizes(&mut out);
        self.agreements(&mut out);
        for remark in &self.remarks {
            let _ = writeln!(out, "\n{remark}");
        }
        out
    }

    /// Names of the readers.
    pub(super) fn readers(&self) -> Vec<&'static str> {
        let first = self.systems.first().map(|s| s.readers.as_slice());
        // The judge first: what the reward models say flatters.
        let mut names: Vec<_> = first.unwrap_or_default().iter().map(|r| r.reader).collect();
        names.reverse();
        names
    }

    /// The systems' names with what `reader` says.
    pub(super) fn under(&self, reader: &str) -> Vec<(&str, &ReaderReport)> {
        (self.systems.iter())
            .filter_map(|s| {
                let report = s.readers.iter().find(|r| r.reader == reader)?;
                Some((s.name.as_str(), report))
            })
            .collect()
    }

    fn texts(&self, out: &mut String) {
        let _ = writeln!(out, "\nThe texts alone, and the gap between the readers:\n");
        let mut names: Vec<&str> = Vec::new();
        for figure in self.systems.iter().flat_map(|s| &s.surface) {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
        let mut headings = names.clone();
        headings.push("gap in movement cosine (reward less judge)");
        head(out, "system", &headings);
        for system in &self.systems {
            let of = |name: &str| system.surface.iter().find(|f| f.name == name);
            let cells = names.iter().map(|name| cell(of(name)));
            row(out, &system.name, cells.chain([cell(system.gap.as_ref())]));
        }
    }

    fn sizes(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nBy size of the shift (light: |Δv| < 0.8; medium: < 1.5; radical):\n"
        );
        head(
            out,
            "system",
            &[
                "reader",
                "size",
                "n",
                "JSR",
                "movement cosine",
                "progress",
                "consistency",
            ],
        );
        for system in &self.systems {
            for report in &system.readers {
                for bin in &report.bins {
                    let of = |name: &str| {
                        let figure = bin.figures.iter().find(|f| f.name == name);
                        figure.map_or_else(|| "–".into(), |f| number(f.value))
                    };
                    let cells = [
                        report.reader.to_owned(),
                        bin.size.to_owned(),
                        bin.n.to_string(),
                        of("JSR"),
                        of("movement cosine"),
                        of("progress"),
                        of("consistency"),
                    ];
                    row(out, &system.name, cells.into_iter());
                }
            }
        }
    }

    fn agreements(&self, out: &mut String) {
        if self.agreement.is_empty() {
            return;
        }
        let _ = writeln!(out, "\nCorrelation of the two detectors, value by value:\n");
        head(out, "value", &["originals", "rewrites", "movements"]);
        for value in &self.agreement {
            let of = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), number);
            let cells = [value.originals, value.rewrites, value.movements].map(of);
            row(out, value.value, cells.into_iter());
        }
    }
}

fn head(out: &mut String, first: &str, headings: &[&str]) {
    let _ = writeln!(out, "| {first} | {} |", headings.join(" | "));
    let _ = writeln!(out, "|{}", " --- |".repeat(headings.len() + 1));
}

fn row(out: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(out, "| {first} | {} |", cells.join(" | "));
}

/// A figure with its interval; a dash where it does not exist.
pub(super) fn cell(figure: Option<&Figure>) -> String {
    let Some(figure) = figure else {
        return "–".into();
    };
    let value = number(figure.value);
    match figure.interval {
        Some((low, high)) if high - low > 5e-7 => {
            format!("{value} ({} … {})", number(low), number(high))
        }
        _ => value,
    }
}

/// Three figures for a perplexity, thousandths otherwise.
fn number(x: f64) -> String {
    if x.abs() >= 10.0 {
        format!("{x:.1}")
    } else {
        // No minus before nothing.
        format!("{:.3}", if x.abs() < 5e-4 { 0.0 } else { x })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_say_what_is_known() {
        let check = |figure: Option<Figure>, expected: &str| {
            assert_eq!(cell(figure.as_ref()), expected);
        };
        check(None, "–");
        check(Some(Figure::single("x", 0.5, 3)), "0.500");
        check(Some(Figure::mean("x", &[1.0; 9], 1)), "1.000");
        check(Some(Figure::single("perplexity", 31.26, 3)), "31.3");
        check(Some(Figure::single("x", -1e-9, 3)), "0.000");
        let between = cell(Some(&Figure::mean("x", &[0.0, 1.0, 1.0, 0.0], 1)));
        assert!(
            between.starts_with("0.500 (") && between.contains('…'),
            "{between}"
        );
    }
}
