//! Whole texts rewritten by people: what a clause cannot do, for rewriters that write more than clauses.
//!
//! Minimal edits that turn a review around, rude sentences said politely, sentences split in two or said in simpler words:
//! the first two move what is meant, the last two must keep it. Training parts alone, where a data set has parts.

use std::fs;
use std::path::Path;

use visa_wire::datasets::wiki_split;

use super::row::{Kind, Row, Split};
use crate::data::sources::{clean_markup, sentence};
use crate::{Error, Result};

/// Longest text in bytes: these pairs are about sentences and short paragraphs.
const LONGEST: usize = 1200;

/// All of them, each data set in its order.
///
/// # Errors
/// A file that is missing, or whose layout is another.
pub fn rows(data: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let path =
        data.join("counterfactually-augmented-data/sentiment/combined/paired/train_paired.tsv");
    rows.extend(reviews(&read(&path)?).map_err(|detail| Error::data(&path, detail))?);
    let path = data.join("paradetox/paradetox.tsv");
    rows.extend(polite(&read(&path)?));
    let path = data.join("wiki-split/tune.tsv");
    let splits =
        wiki_split::splits(&read(&path)?).map_err(|e| Error::data(&path, e.to_string()))?;
    rows.extend(splits.iter().filter_map(|(whole, parts)| {
        let target = parts
            .iter()
            .map(|p| untokenised(p))
            .collect::<Vec<_>>()
            .join(" ");
        row(Kind::Split, whole, untokenised(whole), target)
    }));
    for name in ["ADV-ELE", "ADV-INT", "ELE-INT"] {
        let path = data.join(format!("onestopenglish/Sentence-Aligned/{name}.txt"));
        rows.extend(simpler(&read(&path)?, name.starts_with("ELE")));
    }
    Ok(rows)
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    Ok(String::from_utf8_lossy(&bytes)
        .trim_start_matches('\u{feff}')
        .to_owned())
}

/// A row unless a side is empty, too long, or nothing differs.
fn row(kind: Kind, topic: &str, source: String, target: String) -> Option<Row> {
    let fits = |text: &str| !text.is_empty() && text.len() <= LONGEST;
    (fits(&source) && fits(&target) && source != target).then(|| Row {
        kind,
        topic: topic.to_owned(),
        split: Split::Train,
        context: String::new(),
        source,
        target,
        clause: None,
        terminator: String::new(),
        shift: None,
        before: None,
        after: None,
        consistency: None,
        guards: 0,
    })
}

/// `Sentiment<TAB>Text<TAB>batch_id`, the two of a pair side by side; both directions.
fn reviews(text: &str) -> std::result::Result<Vec<Row>, String> {
    let lines: Vec<(usize, Vec<&str>)> = (text.lines().enumerate().skip(1))
        .map(|(i, line)| (i + 1, line.split('\t').collect()))
        .collect();
    let mut rows = Vec::new();
    for pair in lines.chunks(2) {
        let [(line, one), (_, other)] = pair else {
            continue;
        };
        let ([_, one, batch], [_, other, same]) = (&one[..], &other[..]) else {
            return Err(format!("line {line}: not three columns"));
        };
        if batch != same {
            return Err(format!("line {line}: its other half is not behind it"));
        }
        let (one, other) = (clean_markup(one), clean_markup(other));
        let topic = format!("review {batch}");
        rows.extend(row(
            Kind::Counterfactual,
            &topic,
            one.clone(),
            other.clone(),
        ));
        rows.extend(row(Kind::Counterfactual, &topic, other, one));
    }
    Ok(rows)
}

/// `toxic<TAB>neutral1<TAB>neutral2<TAB>neutral3`.
fn polite(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        let mut cells = line.split('\t').map(str::trim);
        let rude = cells.next().unwrap_or_default();
        let said = cells.filter(|cell| !cell.is_empty());
        rows.extend(said.filter_map(|polite| {
            row(
                Kind::Detoxified,
                rude,
                sentence(&spaced(rude)),
                sentence(&spaced(polite)),
            )
        }));
    }
    rows
}

/// Two sentences, a line of asterisks; the harder one stands first but in one file.
fn simpler(text: &str, turned: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for block in text.split("*******") {
        let mut lines = block.lines().map(str::trim).filter(|line| !line.is_empty());
        let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
            continue;
        };
        let (hard, simple) = if turned {
            (second, first)
        } else {
            (first, second)
        };
        rows.extend(row(
            Kind::Simplified,
            hard,
            hard.to_owned(),
            simple.to_owned(),
        ));
    }
    rows
}

/// Text as people write it, of text with blanks around its marks.
fn untokenised(text: &str) -> String {
    let text = text
        .replace("''", "\"")
        .replace("``", "\"")
        .replace(" n't", "n't");
    let mut out = String::with_capacity(text.len());
    let mut open = false;
    // Whether the next word joins what stands before it.
    let mut glued = true;
    for word in text.split_whitespace() {
        let quote = word == "\"";
        let closing = (quote && open)
            || matches!(
                word,
                "." | "," | ";" | ":" | "!" | "?" | ")" | "]" | "%" | "'s" | "'"
            );
        if !(glued || closing || out.is_empty()) {
            out.push(' ');
        }
        out.push_str(word);
        glued = (quote && !open) || matches!(word, "(" | "[" | "$");
        open ^= quote;
    }
    spaced(&out)
}

/// No blank in front of a mark, and one between words.
fn spaced(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for mark in [".", ",", "!", "?", ";"] {
        text = text.replace(&format!(" {mark}"), mark);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(rows: &[Row]) -> Vec<(&str, &str)> {
        rows.iter()
            .map(|r| (r.source.as_str(), r.target.as_str()))
            .collect()
    }

    #[test]
    fn reviews_go_both_ways() {
        let text = "Sentiment\tText\tbatch_id\nNegative\tBad.<br /><br />\"\"No\"\".\t4\nPositive\tGood.\t4\n";
        let rows = reviews(text).unwrap();
        assert_eq!(
            sides(&rows),
            [("Bad.\n\"No\".", "Good."), ("Good.", "Bad.\n\"No\".")]
        );
        let torn = text.replace("Good.\t4", "Good.\t5");
        assert!(reviews(&torn).unwrap_err().contains("line 2"));
    }

    #[test]
    fn politeness_has_up_to_three_forms() {
        let rows = polite(
            "toxic\tneutral1\tneutral2\tneutral3\nyou fool , stop !\tplease stop\t\tstop it .\n",
        );
        let expected = [
            ("You fool, stop!", "Please stop."),
            ("You fool, stop!", "Stop it."),
        ];
        assert_eq!(sides(&rows), expected);
    }

    #[test]
    fn simpler_sentences_come_second() {
        let text = "hard one\r\neasy one\r\n*******\nsame\nsame\n*******\nalone\n";
        assert_eq!(sides(&simpler(text, false)), [("hard one", "easy one")]);
        assert_eq!(sides(&simpler(text, true)), [("easy one", "hard one")]);
    }

    #[test]
    fn blanks_around_marks_go() {
        let check = |text: &str, expected: &str| assert_eq!(untokenised(text), expected);
        check(
            "He said , `` No way '' ( again ) .",
            "He said, \"No way\" (again).",
        );
        check("It did n't rain , it 's dry .", "It didn't rain, it's dry.");
    }
}
