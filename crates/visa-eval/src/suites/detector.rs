//! Twenty value categories on the ValueEval'23 validation split, which training never sees.
//!
//! The task's formula: the harmonic mean of macro precision and macro recall. Beside it the mean of the per-category F1.
//! Baseline: every category always.

use visa_align::{Detector, Text, Trunk};
use visa_train::encoder::measure::{Multilabel, multilabel};
use visa_wire::datasets::touche;

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

const CATEGORIES: usize = 20;

/// Predicted and true categories of one argument.
type Row = (Vec<bool>, Vec<bool>);

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let folder = data::folder(setting, "detector", "touche23")?;
    let arguments = data::parsed(&folder.join("arguments-validation.tsv"), touche::arguments)?;
    let labels_path = folder.join("labels-validation.tsv");
    let labels = data::parsed(&labels_path, touche::labels)?;
    let texts: Vec<Text> = arguments
        .iter()
        .map(|a| Text {
            text: a.premise.clone(),
            context: Some(a.context()),
        })
        .collect();
    let texts = data::limited(texts, setting.limit);
    let trunk = Trunk::find(&setting.models)?;
    let detector = Detector::find(&setting.models, &trunk)?;
    let mut rows: Vec<Row> = Vec::with_capacity(texts.len());
    for ((argument, (id, truth)), detection) in arguments
        .iter()
        .zip(&labels.rows)
        .zip(detector.detect(&texts)?)
    {
        if argument.id != *id || truth.len() != CATEGORIES {
            return Err(EvalError::Data {
                path: labels_path,
                problem: format!("row {id} does not belong to argument {}", argument.id),
            });
        }
        rows.push((
            detection.categories.iter().map(|p| *p > 0.5).collect(),
            truth.clone(),
        ));
    }
    let always: Vec<Row> = rows
        .iter()
        .map(|(_, truth)| (vec![true; CATEGORIES], truth.clone()))
        .collect();
    let always = quality(&always.iter().collect::<Vec<_>>());
    Ok(Report {
        suite: "detector".into(),
        figures: vec![
            Figure::resampled("F1, task formula", &rows, setting.seed, |rows| {
                quality(rows).task_f1
            })
            .against("every category", always.task_f1),
            Figure::resampled("F1, mean of categories", &rows, setting.seed, |rows| {
                quality(rows).mean_f1
            })
            .against("every category", always.mean_f1),
        ],
        remarks: Vec::new(),
    })
}

fn quality(rows: &[&Row]) -> Multilabel {
    let (decided, gold): (Vec<_>, Vec<_>) = rows
        .iter()
        .map(|row| (row.0.clone(), row.1.clone()))
        .unzip();
    multilabel(&decided, &gold)
}
