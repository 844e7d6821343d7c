//! Texts a second through the detector: 24-token texts, one process, after one batch to warm up.

use std::time::Instant;

use visa_align::{Detector, Text, Trunk};

use super::Setting;
use crate::{EvalError, Figure, Report};

/// A sentence of 22 word pieces, 24 with the two specials.
const SENTENCE: &str = "We keep the old house in good repair because our children should grow up where their parents once learned to walk.";

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let trunk = Trunk::find(&setting.models)?;
    let detector = Detector::find(&setting.models, &trunk)?;
    let n = setting.limit.unwrap_or(2048);
    let texts: Vec<Text> = (0..n)
        .map(|_| Text {
            text: SENTENCE.to_owned(),
            context: None,
        })
        .collect();
    detector.detect(&texts[..n.min(64)])?;
    let rounds = 3;
    let mut rates = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        detector.detect(&texts)?;
        rates.push(n as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(Report {
        suite: "speed".into(),
        figures: vec![
            Figure::single(
                "detect, 24-token texts a second, median of 3",
                rates[rounds / 2],
                n,
            ),
            Figure::single("slowest of 3", rates[0], n),
            Figure::single("fastest of 3", rates[rounds - 1], n),
        ],
        remarks: Vec::new(),
    })
}
