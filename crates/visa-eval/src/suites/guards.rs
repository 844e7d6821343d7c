//! Changed numbers, names and negations caught; paraphrases let through.
//!
//! Cases are made by `visa_score::cases` from real sentences of the data folder, and from our own sentences when there is
//! none. False alarms are counted on generated paraphrases and on human ones: a sentence and the two it was split into.

use visa_score::cases::{
    Case, SENTENCES, added_clauses, changed_names, changed_negations, changed_numbers, paraphrases,
};
use visa_score::guards;
use visa_wire::datasets::wiki_split;

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

/// Cases of a kind.
const CASES: usize = 1000;

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let mut sentences: Vec<String> = SENTENCES.lines().map(str::to_owned).collect();
    let mut splits = Vec::new();
    if let Some(folder) = &setting.data {
        splits = data::parsed(&folder.join("wiki-split/test.tsv"), wiki_split::splits)?;
        sentences.extend(splits.iter().map(|(sentence, _)| sentence.clone()));
    }
    let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
    let limit = setting.limit.unwrap_or(CASES);
    let share = |name: &str, cases: Vec<Case>| {
        let alarms: Vec<f64> = data::limited(cases, Some(limit))
            .iter()
            .map(|case| alarm(&case.original, &case.candidate))
            .collect();
        Figure::mean(name, &alarms, setting.seed)
    };
    let seed = setting.seed;
    let mut figures = vec![
        share("changed number caught", changed_numbers(&sentences, seed)).against("no guard", 0.0),
        share("changed name caught", changed_names(&sentences, seed)).against("no guard", 0.0),
        share(
            "changed negation caught",
            changed_negations(&sentences, seed),
        )
        .against("no guard", 0.0),
        share(
            "false alarms, generated paraphrases",
            paraphrases(&sentences, seed),
        ),
        share(
            "false alarms, an added clause",
            added_clauses(&sentences, seed),
        ),
    ];
    if !splits.is_empty() {
        let alarms: Vec<f64> = splits
            .iter()
            .take(limit)
            .map(|(whole, parts)| alarm(whole, &parts.join(" ")))
            .collect();
        figures.push(Figure::mean("alarms on human splits", &alarms, seed));
    }
    Ok(Report {
        suite: "guards".into(),
        figures,
        remarks: vec!["Human splits of the data set add and drop facts themselves now and then, so part of their alarms is right.".into()],
    })
}

fn alarm(original: &str, candidate: &str) -> f64 {
    f64::from(u8::from(!guards(original, candidate).is_empty()))
}
