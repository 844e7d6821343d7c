//! What an addition to a sentence moves: clauses and sentences of `data/additions.txt` that embrace or reject a value,
//! read with and without.
//!
//! This is what the loop asks of its detector, and evaluation of the judge. The texts were written for the judge, whose training
//! leaves these out; neither detector has seen them. A value counts as moved from [`MOVED`] on, so that silence is no luck. Baseline:
//! a reader for whom every addition embraces.

use visa_align::{Detector, Part, Text, Trunk};
use visa_train::pairs::row::in_context;
use visa_train::pairs::{Pair, written};
use visa_values::metrics::{l2, movement_cosine};

use super::Setting;
use crate::{EvalError, Figure, Report};

/// The least movement of a value that counts.
const MOVED: f32 = 0.1;

const ADDITIONS: &str = include_str!("../../data/additions.txt");

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let trunk = Trunk::find(&setting.models)?;
    let mut pairs = additions();
    pairs.truncate(setting.limit.unwrap_or(pairs.len()));
    let mut figures = read(
        &Detector::find(&setting.models, &trunk)?,
        &pairs,
        "",
        setting,
    )?;
    let mut remarks = Vec::new();
    if setting.models.holds(Part::JudgeDetector) {
        let judge = Detector::judge(&setting.models, &trunk)?;
        figures.extend(read(&judge, &pairs, "judge: ", setting)?);
    } else {
        remarks.push("No judge: the folder judge-detector is not among the models.".to_owned());
    }
    Ok(Report {
        suite: "additions".into(),
        figures,
        remarks,
    })
}

fn additions() -> Vec<Pair> {
    (written::parse(ADDITIONS).expect("the committed additions parse")).pairs()
}

fn read(
    detector: &Detector,
    pairs: &[Pair],
    who: &str,
    setting: &Setting,
) -> Result<Vec<Figure>, EvalError> {
    let texts: Vec<Text> = (pairs.iter())
        .flat_map(|pair| [pair.before(), pair.after()].map(|s| in_context(&pair.context, &s)))
        .map(Text::new)
        .collect();
    let read = detector.detect(&texts)?;
    let (mut embraced, mut rejected, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    let mut cosines = Vec::new();
    for (pair, two) in pairs.iter().zip(read.chunks_exact(2)) {
        let (before, after) = (two[0].profile.as_array(), two[1].profile.as_array());
        let wanted = pair.shift.unwrap_or_default();
        if wanted == [0.0; 10] {
            silent.push(f64::from(l2(before, after)));
            continue;
        }
        cosines.push(f64::from(movement_cosine(before, after, &wanted)));
        for v in (0..10).filter(|&v| wanted[v] != 0.0) {
            let moved = (after[v] - before[v]) * wanted[v].signum();
            let right = f64::from(u8::from(moved >= MOVED));
            if wanted[v] > 0.0 {
                embraced.push(right);
            } else {
                rejected.push(right);
            }
        }
    }
    let figure = |name: &str, items: &[f64]| {
        (!items.is_empty()).then(|| Figure::mean(&format!("{who}{name}"), items, setting.seed))
    };
    let figures = [
        figure("embraced, read rightly", &embraced).map(|f| f.against("all embrace", 1.0)),
        figure("rejected, read rightly", &rejected).map(|f| f.against("all embrace", 0.0)),
        figure("movement cosine with what was written", &cosines),
        figure("length of the movement where nothing is spoken", &silent),
    ];
    Ok(figures.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_additions_speak_every_value_both_ways_and_none() {
        let pairs = additions();
        for v in 0..10 {
            for sign in [1.0, -1.0] {
                let of = |pair: &&Pair| pair.shift.is_some_and(|s| s[v] * sign > 0.0);
                let n = pairs.iter().filter(of).count();
                assert!(n >= 20, "{n} of value {v}, sign {sign}");
            }
        }
        assert!(pairs.iter().any(|pair| pair.shift == Some([0.0; 10])));
    }
}
