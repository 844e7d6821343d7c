//! Sign of first-person statements, for traits that training never saw.
//!
//! A statement that somebody with the trait would make should move the trait's values the trait's way, one that they
//! would not make the other way. Statements whose label is less sure than [`SURE`] are left out, as the label itself is a
//! machine's. Baseline: always "embraces".

use visa_align::{Detector, Text, Trunk};
use visa_train::encoder::signed::TRAITS;
use visa_wire::datasets::persona;

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

/// The least label confidence.
const SURE: f32 = 0.8;
/// Statements of a trait, at most: more would only narrow the interval.
const OF_A_TRAIT: usize = 400;

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let folder = data::folder(setting, "signs", "persona-statements")?;
    let trunk = Trunk::find(&setting.models)?;
    let detector = Detector::find(&setting.models, &trunk)?;
    let (mut all, mut embraced, mut figures) = (Vec::new(), 0, Vec::new());
    for (name, signs) in &TRAITS.hold_out {
        let statements = data::parsed(&folder.join(format!("{name}.jsonl")), persona::statements)?;
        let sure: Vec<_> = statements
            .into_iter()
            .filter(|s| s.confidence >= SURE)
            .take(OF_A_TRAIT)
            .collect();
        let sure = data::limited(sure, setting.limit);
        let texts: Vec<Text> = sure
            .iter()
            .map(|s| Text {
                text: s.statement.clone(),
                context: None,
            })
            .collect();
        let mut right = Vec::new();
        for (statement, detection) in sure.iter().zip(detector.detect(&texts)?) {
            for (value, embraces) in signs {
                let wanted = *embraces == statement.matches;
                let found = detection.profile.get(*value);
                right.push(f64::from(u8::from(if wanted {
                    found > 0.0
                } else {
                    found < 0.0
                })));
                embraced += usize::from(wanted);
            }
        }
        figures.push(Figure::mean(name, &right, setting.seed));
        all.extend(right);
    }
    let always = embraced as f64 / all.len().max(1) as f64;
    figures.insert(
        0,
        Figure::mean("sign right, all held-out traits", &all, setting.seed)
            .against("always embraces", always),
    );
    Ok(Report {
        suite: "signs".into(),
        figures,
        remarks: vec![format!(
            "Statements whose label confidence is at least {SURE}; an exact zero counts as wrong."
        )],
    })
}
