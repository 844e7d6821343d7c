//! Documents from the data folder, one string each, in a fixed order.
//!
//! Long texts come from zstd files with a paragraph a line and a blank line between documents.
//! Short texts (arguments, statements, scenarios) are joined to documents of about a paragraph, so
//! that a language model sees them the way it sees prose. Test and validation files are never opened;
//! the pool of `perspectrum` and the persona statements have no split and are read whole.

use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::{Deserialize, Serialize};
use visa_wire::datasets::{ethics, kpa, moralchoice, persona, perspectrum, touche};

use crate::{Error, Result};

/// Characters at which a document of joined short texts is full.
const JOINED: usize = 600;

/// What a source's files hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A zstd file: a paragraph a line, a blank line between documents.
    #[default]
    Text,
    /// Arguments and perspectives: `touche23` and `kpa` (training parts), `perspectrum` (the pool).
    Arguments,
    /// First-person statements (`persona-statements`) and scenarios (`ethics`, `moralchoice`).
    Statements,
    /// Everyday posts that ask for judgement (`ethics/commonsense/cm_ambig.csv`).
    Posts,
    /// Film reviews of `counterfactually-augmented-data` (training part).
    Reviews,
    /// News articles of `onestopenglish`, advanced level.
    News,
}

/// One source of documents, and its share of the training mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A short name for metrics and caches.
    pub name: String,
    /// What the files hold.
    #[serde(default)]
    pub kind: Kind,
    /// The zstd file in the data folder; used by [`Kind::Text`] alone.
    #[serde(default)]
    pub path: PathBuf,
    /// Share of the sequences, relative to the other sources.
    #[serde(default = "one")]
    pub weight: f64,
    /// Takes every n-th document.
    #[serde(default = "first")]
    pub every: usize,
    /// Leaves out documents in which this regular expression is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
}

fn one() -> f64 {
    1.0
}

fn first() -> usize {
    1
}

impl Source {
    /// The files that are read, in order.
    pub fn files(&self, data: &Path) -> Result<Vec<PathBuf>> {
        let names: &[&str] = match self.kind {
            Kind::Text => return Ok(vec![data.join(&self.path)]),
            Kind::Arguments => &[
                "touche23/arguments-training.tsv",
                "kpa/arguments_train.csv",
                "perspectrum/perspective_pool_v1.0.json",
            ],
            Kind::Statements => {
                let mut files = folder(&data.join("persona-statements"), "jsonl")?;
                for name in [
                    "ethics/justice/justice_train.csv",
                    "ethics/utilitarianism/util_train.csv",
                    "ethics/deontology/deontology_train.csv",
                    "moralchoice/moralchoice_high_ambiguity.csv",
                    "moralchoice/moralchoice_low_ambiguity.csv",
                ] {
                    files.push(data.join(name));
                }
                return Ok(files);
            }
            Kind::Posts => &["ethics/commonsense/cm_ambig.csv"],
            Kind::Reviews => &["counterfactually-augmented-data/sentiment/combined/train.tsv"],
            Kind::News => {
                let texts = data.join("onestopenglish/Texts-SeparatedByReadingLevel/Adv-Txt");
                return folder(&texts, "txt");
            }
        };
        Ok(names.iter().map(|name| data.join(name)).collect())
    }

    /// Gives every document to `take` until that breaks.
    pub fn documents(
        &self,
        data: &Path,
        take: &mut dyn FnMut(String) -> ControlFlow<()>,
    ) -> Result<()> {
        let skip = self
            .skip
            .as_deref()
            .map(Regex::new)
            .transpose()
            .map_err(|e| {
                Error::recipe(Path::new(&self.name), format!("`skip` of this source: {e}"))
            })?;
        let mut count = 0usize;
        let mut take = |document: String| {
            count += 1;
            let wanted = (count - 1).is_multiple_of(self.every.max(1))
                && !document.trim().is_empty()
                && !skip.as_ref().is_some_and(|skip| skip.is_match(&document));
            if wanted {
                take(document)
            } else {
                ControlFlow::Continue(())
            }
        };
        for file in self.files(data)? {
            let flow = match self.kind {
                Kind::Text => text(&file, &mut take)?,
                Kind::Arguments | Kind::Statements => join(short(&file)?, &mut take),
                Kind::Posts => each(posts(&file)?, &mut take),
                Kind::Reviews => each(reviews(&file)?, &mut take),
                Kind::News => {
                    let article = read(&file)?;
                    let lines: Vec<&str> = article.lines().map(str::trim).collect();
                    let text = lines.join("\n").replace("\n\n", "\n");
                    take(text.trim_start_matches('\u{feff}').to_owned())
                }
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn folder(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Paragraph lines of a zstd file, joined to documents.
fn text(path: &Path, take: &mut dyn FnMut(String) -> ControlFlow<()>) -> Result<ControlFlow<()>> {
    let file = fs::File::open(path).map_err(Error::io(path))?;
    let stream = zstd::stream::read::Decoder::new(file).map_err(Error::io(path))?;
    let mut document = String::new();
    for line in BufReader::with_capacity(1 << 20, stream).lines() {
        let line = line.map_err(Error::io(path))?;
        if line.trim().is_empty() {
            if !document.is_empty() && take(std::mem::take(&mut document)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            continue;
        }
        if !document.is_empty() {
            document.push('\n');
        }
        document.push_str(line.trim_end());
    }
    if !document.is_empty() {
        return Ok(take(document));
    }
    Ok(ControlFlow::Continue(()))
}

/// The short texts of one file, spread so that neighbours come from different places in it.
fn short(path: &Path) -> Result<Vec<String>> {
    let text = read(path)?;
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let bad = |e: visa_wire::datasets::DatasetError| Error::data(path, e.to_string());
    let texts: Vec<String> = if name == "arguments-training.tsv" {
        let rows = touche::arguments(&text).map_err(bad)?;
        rows.into_iter()
            .map(|a| format!("{} {}", sentence(&a.conclusion), sentence(&a.premise)))
            .collect()
    } else if name.starts_with("arguments_") {
        let rows = kpa::arguments(&text).map_err(bad)?;
        rows.into_iter()
            .map(|claim| sentence(&claim.text))
            .collect()
    } else if name.starts_with("perspective_pool") {
        let rows = perspectrum::perspectives(&text).map_err(bad)?;
        rows.into_iter().map(|p| sentence(&p.text)).collect()
    } else if name.ends_with(".jsonl") {
        let rows = persona::statements(&text).map_err(bad)?;
        rows.into_iter().map(|s| sentence(&s.statement)).collect()
    } else if name.starts_with("justice") {
        let rows = ethics::justice(&text).map_err(bad)?;
        rows.into_iter()
            .filter(|s| s.label)
            .map(|s| sentence(&s.text))
            .collect()
    } else if name.starts_with("util") {
        let rows = ethics::utilitarianism(&text).map_err(bad)?;
        rows.into_iter()
            .map(|(better, _)| sentence(&better))
            .collect()
    } else if name.starts_with("deontology") {
        let rows = ethics::deontology(&text).map_err(bad)?;
        let said = |s: ethics::Scenario| {
            format!(
                "{} {}",
                sentence(&s.text),
                sentence(&s.second.unwrap_or_default())
            )
        };
        rows.into_iter().filter(|s| s.label).map(said).collect()
    } else {
        let rows = moralchoice::dilemmas(&text).map_err(bad)?;
        rows.into_iter()
            .map(|d| format!("{} {}", d.context.trim(), d.actions[0].trim()))
            .collect()
    };
    // Files list variants of one item in a row; a stride keeps them apart.
    let rows = texts.len().div_ceil(JOINED / 8).max(1);
    let mut spread = Vec::with_capacity(texts.len());
    for start in 0..rows {
        spread.extend(texts.iter().skip(start).step_by(rows).cloned());
    }
    Ok(spread)
}

/// A text with a capital at its start and a mark at its end.
pub fn sentence(text: &str) -> String {
    let text = text.trim().trim_matches('`').trim();
    let mut out = String::with_capacity(text.len() + 1);
    let mut chars = text.chars();
    out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
    out.push_str(
        &chars
            .as_str()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    );
    // `split_whitespace` drops a space behind a first word of one letter.
    if text.chars().nth(1).is_some_and(char::is_whitespace) {
        out.insert(out.chars().next().map_or(0, char::len_utf8), ' ');
    }
    if !out.is_empty() && !out.ends_with(['.', '!', '?', '"', '”']) {
        out.push('.');
    }
    out
}

fn join(texts: Vec<String>, take: &mut dyn FnMut(String) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut document = String::new();
    for text in texts {
        if !document.is_empty() {
            document.push('\n');
        }
        document.push_str(&text);
        if document.len() >= JOINED {
            take(std::mem::take(&mut document))?;
        }
    }
    if document.is_empty() {
        ControlFlow::Continue(())
    } else {
        take(document)
    }
}

fn each(texts: Vec<String>, take: &mut dyn FnMut(String) -> ControlFlow<()>) -> ControlFlow<()> {
    texts.into_iter().try_for_each(take)
}

/// Posts without a header line, a column of title and text.
fn posts(path: &Path) -> Result<Vec<String>> {
    let text = read(path)?;
    let with_header = format!("label,input\n{}", prefix_rows(&text));
    let rows = ethics::commonsense(&with_header).map_err(|e| Error::data(path, e.to_string()))?;
    Ok(rows
        .into_iter()
        .map(|s| s.text.replace(" | ", "\n"))
        .collect())
}

/// Puts a label in front of every record, so that one parser reads both layouts.
fn prefix_rows(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 100);
    let (mut quoted, mut start) = (false, true);
    for c in text.chars() {
        if start && !c.is_whitespace() {
            out.push_str("0,");
            start = false;
        }
        match c {
            '"' => quoted = !quoted,
            '\n' if !quoted => start = true,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// `Sentiment<TAB>Text` with quotation marks as in CSV and line breaks as HTML.
fn reviews(path: &Path) -> Result<Vec<String>> {
    let text = read(path)?;
    let rows = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once('\t'));
    Ok(rows.map(|(_, text)| clean_markup(text)).collect())
}

/// A cell as CSV quotes it, with HTML's line breaks, as plain text.
pub fn clean_markup(text: &str) -> String {
    let text = text.trim();
    let inner = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text);
    inner
        .replace("\"\"", "\"")
        .replace("<br /><br />", "\n")
        .replace("<br />", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: Kind, path: &str) -> Source {
        Source {
            name: "s".into(),
            kind,
            path: path.into(),
            weight: 1.0,
            every: 1,
            skip: None,
        }
    }

    fn collect(source: &Source, data: &Path) -> Vec<String> {
        let mut all = Vec::new();
        let mut take = |d| {
            all.push(d);
            ControlFlow::Continue(())
        };
        source.documents(data, &mut take).unwrap();
        all
    }

    fn zstd_file(dir: &Path, text: &str) {
        fs::write(
            dir.join("a.txt.zst"),
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        )
        .unwrap();
    }

    #[test]
    fn paragraphs_join_to_documents_and_some_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        zstd_file(dir.path(), "one\ntwo\n\nA: hi\nB: ho\n\n\nthree\n\nfour");
        let mut text = source(Kind::Text, "a.txt.zst");
        assert_eq!(
            collect(&text, dir.path()),
            ["one\ntwo", "A: hi\nB: ho", "three", "four"]
        );
        text.skip = Some("^A: ".into());
        assert_eq!(collect(&text, dir.path()), ["one\ntwo", "three", "four"]);
        text.every = 2;
        assert_eq!(collect(&text, dir.path()), ["one\ntwo", "three"]);
    }

    #[test]
    fn a_truncated_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        zstd_file(dir.path(), &"some words here and there\n\n".repeat(500));
        let path = dir.path().join("a.txt.zst");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
        let result = source(Kind::Text, "a.txt.zst")
            .documents(dir.path(), &mut |_| ControlFlow::Continue(()));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("a.txt.zst"), "{message}");
    }

    #[test]
    fn short_texts_become_sentences() {
        let check = |text: &str, expected: &str| assert_eq!(sentence(text), expected);
        check("we should  ban it", "We should ban it.");
        check("a dog is good", "A dog is good.");
        check("`is it so?", "Is it so?");
        check("I know.", "I know.");
        check("", "");
    }

    #[test]
    fn posts_have_one_record_for_each_quoted_text() {
        let rows = prefix_rows("\"a | b\nc\"\nplain\n");
        assert_eq!(rows, "0,\"a | b\nc\"\n0,plain\n");
    }
}
