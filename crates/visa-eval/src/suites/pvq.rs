//! The forty items of the Portrait Values Questionnaire, held out from training: is the strongest value the item's own?
//! Baseline: the most frequent value.

use visa_align::{Detector, Text, Trunk};
use visa_values::Value;
use visa_wire::datasets::valuebench;

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let path = data::folder(setting, "pvq", "valuebench")?.join("value_orientation.csv");
    let items = data::parsed(&path, valuebench::items)?;
    let items: Vec<_> = items
        .into_iter()
        .filter(|item| item.questionnaire == "PVQ40")
        .collect();
    let mut expected = Vec::with_capacity(items.len());
    for item in &items {
        let value: Value =
            item.value
                .to_lowercase()
                .parse()
                .map_err(|problem| EvalError::Data {
                    path: path.clone(),
                    problem: format!("item {:?}: {problem}", item.item),
                })?;
        expected.push(value);
    }
    let texts: Vec<Text> = items
        .iter()
        .map(|item| Text {
            text: item.item.trim().to_owned(),
            context: None,
        })
        .collect();
    let trunk = Trunk::find(&setting.models)?;
    let detector = Detector::find(&setting.models, &trunk)?;
    let right: Vec<f64> = detector
        .detect(&texts)?
        .iter()
        .zip(&expected)
        .map(|(detection, value)| {
            let strongest = Value::ALL.into_iter().max_by(|a, b| {
                detection
                    .profile
                    .get(*a)
                    .total_cmp(&detection.profile.get(*b))
            });
            f64::from(u8::from(strongest == Some(*value)))
        })
        .collect();
    let frequent = Value::ALL
        .iter()
        .map(|v| expected.iter().filter(|e| *e == v).count())
        .max()
        .unwrap_or(0);
    Ok(Report {
        suite: "pvq".into(),
        figures: vec![
            Figure::mean("strongest value right", &right, setting.seed).against(
                "most frequent value",
                frequent as f64 / expected.len().max(1) as f64,
            ),
        ],
        remarks: Vec::new(),
    })
}
