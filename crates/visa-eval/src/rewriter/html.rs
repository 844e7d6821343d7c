//! The comparison as one page that needs nothing else: tables, bars with intervals drawn as SVG, some rewrites.

use std::fmt::Write;

use super::compare::Comparison;
use super::markdown::{COLUMNS, cell};
use crate::Figure;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2530}\
table{border-collapse:collapse;margin:1rem 0;font-size:13px}th,td{border-bottom:1px solid #d5dbe1;padding:.25rem .6rem;text-align:right}\
th:first-child,td:first-child{text-align:left}svg{margin:.5rem 1rem .5rem 0}blockquote{margin:.3rem 0;padding-left:.8rem;border-left:3px solid #d5dbe1}\
.judge{fill:#1f6f8b}.reward{fill:#c9a227}.axis{stroke:#8894a0;stroke-width:1}.whisker{stroke:#1c2530;stroke-width:1.5}\
text{font:12px system-ui,sans-serif;fill:#1c2530}.small{color:#5b6773;font-size:13px}";

/// What is plotted: figure, from, to.
const PLOTS: [(&str, f64, f64); 6] = [
    (super::HARD, 0.0, 1.0),
    ("movement cosine", -0.2, 1.0),
    ("progress", -0.2, 1.0),
    ("consistency", 0.0, 1.0),
    ("L2", 0.0, 1.6),
    ("leakage", 0.0, 0.3),
];

/// The page.
pub(super) fn page(comparison: &Comparison) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Rewriters compared</title>\n<style>{STYLE}</style>\n\
         <h1>Rewriters compared</h1>\n<p>{} paragraphs, seed {}. Bars: <svg width=\"12\" height=\"12\"><rect class=\"judge\" width=\"12\" height=\"12\"/></svg> judge, \
         <svg width=\"12\" height=\"12\"><rect class=\"reward\" width=\"12\" height=\"12\"/></svg> reward models; lines are 95 % intervals.</p>\n",
        comparison.items, comparison.seed
    );
    for (name, from, to) in PLOTS {
        out.push_str(&plot(comparison, name, from, to));
    }
    for reader in comparison.readers() {
        let _ = writeln!(out, "<h2>Under the {reader}</h2>");
        let headings: Vec<String> = COLUMNS.iter().map(|c| c.1.replace('\\', "")).collect();
        let rows = (comparison.under(reader).into_iter()).map(|(system, report)| {
            let cells = COLUMNS.iter().map(|(name, _)| cell(report.figure(name)));
            (system.to_owned(), cells.collect())
        });
        table(&mut out, "system", &headings, rows);
    }
    texts(&mut out, comparison);
    if !comparison.agreement.is_empty() {
        out.push_str("<h2>Do the two detectors agree?</h2>\n<p>Correlation over texts, value by value.</p>\n");
        let headings = ["originals", "rewrites", "movements"].map(str::to_owned);
        let rows = comparison.agreement.iter().map(|a| {
            let of = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.2}"));
            let cells = [a.originals, a.rewrites, a.movements].map(of);
            (a.value.to_owned(), cells.to_vec())
        });
        table(&mut out, "value", &headings, rows);
    }
    examples(&mut out, comparison);
    out.push_str("<h2>Remarks</h2>\n<ul>\n");
    for remark in &comparison.remarks {
        let _ = writeln!(out, "<li>{}</li>", escaped(remark));
    }
    out.push_str("</ul>\n</html>\n");
    out
}

fn texts(out: &mut String, comparison: &Comparison) {
    out.push_str("<h2>The texts alone</h2>\n");
    let mut names: Vec<String> = Vec::new();
    for figure in comparison.systems.iter().flat_map(|s| &s.surface) {
        if !names.contains(&figure.name) {
            names.push(figure.name.clone());
        }
    }
    let mut headings = names.clone();
    headings.push("gap in movement cosine (reward less judge)".into());
    let rows = comparison.systems.iter().map(|system| {
        let of = |name: &String| system.surface.iter().find(|f| f.name == *name);
        let mut cells: Vec<String> = names.iter().map(|name| cell(of(name))).collect();
        cells.push(cell(system.gap.as_ref()));
        (format!("{} ({})", system.name, system.kind), cells)
    });
    table(out, "system", &headings, rows);
}

fn examples(out: &mut String, comparison: &Comparison) {
    out.push_str("<h2>To read</h2>\n");
    for system in &comparison.systems {
        if system.examples.is_empty() {
            continue;
        }
        let _ = writeln!(out, "<h3>{}</h3>", escaped(&system.name));
        for example in &system.examples {
            let _ = writeln!(
                out,
                "<p class=\"small\">{} – {}</p>\n<blockquote class=\"small\">{}</blockquote>\n<blockquote>{}</blockquote>",
                escaped(&example.id),
                escaped(&example.persona),
                escaped(&example.original),
                escaped(&example.rewrite)
            );
        }
    }
}

fn table(
    out: &mut String,
    first: &str,
    headings: &[String],
    rows: impl Iterator<Item = (String, Vec<String>)>,
) {
    let _ = write!(out, "<table><tr><th>{first}</th>");
    for heading in headings {
        let _ = write!(out, "<th>{}</th>", escaped(heading));
    }
    out.push_str("</tr>\n");
    for (name, cells) in rows {
        let _ = write!(out, "<tr><td>{}</td>", escaped(&name));
        for cell in cells {
            let _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

/// Bars of one figure: a row a system, a bar a reader.
fn plot(comparison: &Comparison, name: &str, from: f64, to: f64) -> String {
    const LABEL: f64 = 120.0;
    const WIDTH: f64 = 260.0;
    const BAR: f64 = 11.0;
    let readers = comparison.readers();
    let step = BAR * readers.len() as f64 + 10.0;
    let height = 26.0 + step * comparison.systems.len() as f64;
    let x = |value: f64| LABEL + (value.clamp(from, to) - from) / (to - from) * WIDTH;
    let mut out = format!(
        "<svg width=\"{}\" height=\"{height}\" role=\"img\" aria-label=\"{name}\"><text x=\"0\" y=\"14\" font-weight=\"bold\">{}</text>\n\
         <line class=\"axis\" x1=\"{zero:.1}\" x2=\"{zero:.1}\" y1=\"20\" y2=\"{height}\"/>\n",
        LABEL + WIDTH + 50.0,
        escaped(name),
        zero = x(0.0),
    );
    for (i, system) in comparison.systems.iter().enumerate() {
        let top = 24.0 + step * i as f64;
        let _ = writeln!(
            out,
            "<text x=\"0\" y=\"{:.1}\">{}</text>",
            top + step / 2.0,
            escaped(&system.name)
        );
        for (k, reader) in readers.iter().enumerate() {
            let report = system.readers.iter().find(|r| r.reader == *reader);
            if let Some(figure) = report.and_then(|r| r.figure(name)) {
                bar(
                    &mut out,
                    figure,
                    reader,
                    top + BAR * k as f64,
                    BAR - 2.0,
                    &x,
                );
            }
        }
    }
    out.push_str("</svg>\n");
    out
}

fn bar(
    out: &mut String,
    figure: &Figure,
    class: &str,
    y: f64,
    height: f64,
    x: &dyn Fn(f64) -> f64,
) {
    let (left, right) = (x(figure.value.min(0.0)), x(figure.value.max(0.0)));
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
        right - left,
        escaped(&cell(Some(figure)))
    );
    if let Some((low, high)) = figure.interval {
        let middle = y + height / 2.0;
        let _ = writeln!(
            out,
            "<line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
            x(low),
            x(high)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::compare::{Example, ReaderReport, SystemReport};
    use super::super::measure::Reading;
    use super::*;

    #[test]
    fn the_page_is_whole_needs_nothing_and_shows_texts_as_text() {
        let reading = Reading {
            distance: 1.0,
            forward: 1.0,
            backward: 0.5,
            l2: 0.4,
            cosine: 0.9,
            progress: 0.6,
            movement: 0.7,
            leakage: 0.0,
        };
        let comparison = Comparison {
            suite: "rewriter",
            items: 2,
            seed: 1,
            systems: vec![SystemReport {
                name: "a<b".into(),
                kind: "policy".into(),
                surface: vec![Figure::single("unchanged", 0.0, 2)],
                readers: (["reward", "judge"].into_iter())
                    .map(|reader| ReaderReport::new(reader, &[reading; 2], 1))
                    .collect(),
                gap: None,
                examples: vec![Example {
                    id: "i".into(),
                    persona: "p".into(),
                    original: "o".into(),
                    rewrite: "<script>alert(1)</script>".into(),
                }],
            }],
            agreement: vec![],
            remarks: vec!["read \"this\" & that".into()],
        };
        let page = page(&comparison);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(!page.contains("<script") && !page.contains("http") && !page.contains("a<b"));
        assert!(page.contains("&lt;script&gt;") && page.contains("&quot;this&quot; &amp; that"));
        assert_eq!(page.matches("class=\"whisker\"").count(), 2 * PLOTS.len());
        let table = comparison.markdown();
        assert!(table.contains("| a<b | 1.000 |"), "{table}");
    }
}
