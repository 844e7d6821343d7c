//! Three-way relation on the counterfactually-augmented NLI test set. Baseline: the most frequent class.

use visa_align::{Checker, Trunk};
use visa_train::encoder::measure::strongest;
use visa_wire::datasets::cad_nli::{self, Relation};

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let folder = data::folder(setting, "nli", "counterfactually-augmented-data")?;
    let pairs = data::parsed(&folder.join("NLI/all_combined/test.tsv"), cad_nli::pairs)?;
    let pairs = data::limited(pairs, setting.limit);
    let trunk = Trunk::find(&setting.models)?;
    let checker = Checker::find(&setting.models, &trunk)?;
    let texts: Vec<(&str, &str)> = pairs
        .iter()
        .map(|p| (p.premise.as_str(), p.hypothesis.as_str()))
        .collect();
    let classes = checker.classes();
    let right: Vec<f64> = checker
        .relations(&texts)?
        .iter()
        .zip(&pairs)
        .map(|(relation, pair)| {
            f64::from(u8::from(
                classes[strongest(relation)] == name(pair.relation),
            ))
        })
        .collect();
    let majority = [
        Relation::Entailment,
        Relation::Neutral,
        Relation::Contradiction,
    ]
    .iter()
    .map(|class| pairs.iter().filter(|p| p.relation == *class).count())
    .max()
    .unwrap_or(0) as f64
        / pairs.len().max(1) as f64;
    Ok(Report {
        suite: "nli".into(),
        figures: vec![
            Figure::mean("accuracy, three classes", &right, setting.seed)
                .against("majority class", majority),
        ],
        remarks: Vec::new(),
    })
}

/// The class as head files name it.
pub(super) fn name(relation: Relation) -> &'static str {
    match relation {
        Relation::Entailment => "entailment",
        Relation::Neutral => "neutral",
        Relation::Contradiction => "contradiction",
    }
}
