//! Instructions written apart from the generator that trains the translator.
//!
//! *Direction* is right when every value that the instruction names moves the right way by at least [`MOVED`] and, for
//! an instruction about no value, when none does. *Order of strength* is right when the value wanted more moves further,
//! within one instruction or between two of a series ("a bit safer" under "as safe as can be"). Baseline: never move.

use serde::Deserialize;
use std::collections::BTreeMap;
use visa_align::{Translator, Trunk};
use visa_values::{Shift, Value};

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

/// The smallest movement that counts as one.
const MOVED: f32 = 0.1;

const INSTRUCTIONS: &str = include_str!("../../data/instructions.jsonl");

#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    instruction: String,
    /// Values named, with the sign they should move by.
    direction: BTreeMap<Value, f32>,
    stronger: Option<Value>,
    weaker: Option<Value>,
    series: Option<char>,
    grade: Option<u8>,
}

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let cases: Vec<Case> = INSTRUCTIONS
        .lines()
        .map(|line| serde_json::from_str(line).expect("the committed instructions are valid"))
        .collect();
    let cases = data::limited(cases, setting.limit);
    let trunk = Trunk::find(&setting.models)?;
    let translator = Translator::find(&setting.models, &trunk)?;
    let mut shifts = Vec::with_capacity(cases.len());
    for case in &cases {
        shifts.push(translator.translate(&case.instruction)?.shift);
    }
    let direction: Vec<f64> = cases
        .iter()
        .zip(&shifts)
        .map(|(case, shift)| f64::from(u8::from(points_right(case, shift))))
        .collect();
    let silent = cases
        .iter()
        .filter(|case| case.direction.is_empty())
        .count() as f64
        / cases.len() as f64;
    let order = orders(&cases, &shifts);
    let judged = cases.iter().zip(&shifts).map(|(case, shift)| {
        serde_json::json!({
            "id": case.id,
            "instruction": case.instruction,
            "expected": case.direction,
            "shift": shift,
            "right": points_right(case, shift),
        })
    });
    data::examples(setting, "translator", judged)?;
    Ok(Report {
        suite: "translator".into(),
        figures: vec![
            Figure::mean("direction right", &direction, setting.seed).against("never move", silent),
            Figure::mean("strength ordered right", &order, setting.seed).against("chance", 0.5),
        ],
        remarks: vec!["Unnamed values are not judged; a related value may move along.".into()],
    })
}

fn points_right(case: &Case, shift: &Shift) -> bool {
    if case.direction.is_empty() {
        return shift.as_array().iter().all(|d| d.abs() < MOVED);
    }
    case.direction
        .iter()
        .all(|(value, sign)| shift.get(*value) * sign >= MOVED)
}

fn orders(cases: &[Case], shifts: &[Shift]) -> Vec<f64> {
    let mut right = Vec::new();
    let mut series: BTreeMap<char, Vec<(u8, f32)>> = BTreeMap::new();
    for (case, shift) in cases.iter().zip(shifts) {
        if let (Some(stronger), Some(weaker)) = (case.stronger, case.weaker) {
            right.push(f64::from(u8::from(
                shift.get(stronger).abs() > shift.get(weaker).abs(),
            )));
        }
        if let (Some(name), Some(grade)) = (case.series, case.grade) {
            let (value, sign) = case
                .direction
                .first_key_value()
                .expect("a series moves a value");
            series
                .entry(name)
                .or_default()
                .push((grade, shift.get(*value) * sign));
        }
    }
    for grades in series.values_mut() {
        grades.sort_by_key(|(grade, _)| *grade);
        right.extend(
            grades
                .windows(2)
                .map(|pair| f64::from(u8::from(pair[1].1 > pair[0].1))),
        );
    }
    right
}
