//! The translator: an instruction in plain words → which values it moves, which way and how far.
//!
//! Trained on generated instructions and written wishes; generated ones with another seed, without a text of the training
//! part, and wishes held out decide stopping.
//! Instructions written by people are a test for others to read.

use std::collections::{BTreeMap, HashSet};

use visa_align::head::{HeadKind, Output, shift};
use visa_nn::Encoding;
use visa_values::NAMES;

use super::fit::Verdict;
use super::soup::soup;
use super::{Example, Fitted, Model, Recipe, Target, fit, measure};
use crate::generate::{InstructionExample, instructions, wishes};
use crate::{Metrics, Result, RunContext};

/// Classes of the direction output.
pub const CLASSES: [&str; 3] = ["down", "none", "up"];

/// Shifts smaller than this are no wish: the generator's traces of neighbouring values are neither taught nor asked.
const TRACE: f32 = 0.15;

/// One written wish in so many is held out.
const HELD_WISHES: usize = 12;

/// Trains, keeps the best model in `context.out/model`, and measures it on the held-out instructions by kind.
///
/// # Errors
/// Whatever stops training.
pub fn train(recipe: &Recipe, context: &RunContext) -> Result<(Fitted, Metrics)> {
    context.save_recipe(recipe)?;
    let task = &recipe.translator;
    let sets: Vec<Vec<InstructionExample>> = (0..task.folds as u64)
        .map(|fold| instructions(recipe.seed + fold, task.instructions))
        .collect();
    // One written wish in so many is held out; the others come several times in an epoch.
    let (mut held_wishes, mut own_wishes) = (Vec::new(), Vec::new());
    let wishes = if task.written == 0 {
        Vec::new()
    } else {
        wishes()
    };
    for (i, wish) in wishes.into_iter().enumerate() {
        if i % HELD_WISHES == 0 {
            held_wishes.push(wish);
        } else {
            own_wishes.extend(std::iter::repeat_n(wish, task.written));
        }
    }
    let known: HashSet<&str> = sets.iter().flatten().map(|m| m.text.as_str()).collect();
    let held: Vec<InstructionExample> = instructions(recipe.seed ^ 0x7E57, 2 * task.hold_out)
        .into_iter()
        .filter(|m| !known.contains(m.text.as_str()))
        .take(task.hold_out)
        .chain(held_wishes)
        .collect();
    let mut parts = Vec::new();
    let mut score = 0.0;
    for (fold, set) in sets.iter().enumerate() {
        let made: Vec<&InstructionExample> = set.iter().chain(&own_wishes).collect();
        context.say(&format!(
            "model {fold}: {} instructions, {} held out",
            made.len(),
            held.len()
        ));
        // One start for all, so that their weights can be averaged; other instructions in another order for each.
        let outputs = vec![
            Output::new("direction", &NAMES, &CLASSES),
            Output::new("strength", &NAMES, &[]),
        ];
        let model = Model::new(recipe, HeadKind::Translator, outputs)?;
        let own = Recipe {
            seed: recipe.seed + fold as u64,
            ..recipe.clone()
        };
        let texts: Vec<(&str, Option<&str>)> =
            made.iter().map(|m| (m.text.as_str(), None)).collect();
        let examples: Vec<Example> = (made.iter().zip(model.encode(&texts)?))
            .map(|(m, tokens)| Example {
                tokens,
                other: None,
                targets: targets(&m.shift),
                rate: 1.0,
            })
            .collect();
        let held_texts: Vec<(&str, Option<&str>)> =
            held.iter().map(|m| (m.text.as_str(), None)).collect();
        let held_tokens = model.encode(&held_texts)?;
        let judge = |model: &Model| judge(model, &held, &held_tokens);
        let weights = [1.0, f64::from(task.strength_weight)];
        let fitted = fit(
            &model,
            &own,
            &fit::fold(context, fold),
            &examples,
            &weights,
            &judge,
        )?;
        score += fitted.score / task.folds as f64;
        parts.push(fitted.model);
    }
    let model = context.out.join("model");
    let config = super::Trained::load(&parts[0], &recipe.encoder)?
        .config()
        .clone();
    soup(&parts, &config, &model, None)?;
    let fitted = Fitted { model, score };
    let held_texts: Vec<(&str, Option<&str>)> =
        held.iter().map(|m| (m.text.as_str(), None)).collect();
    let trained = super::Trained::load(&fitted.model, &recipe.encoder)?;
    let said = trained.predict(&held_texts)?;
    let shifts: Vec<[f32; 10]> = said[0]
        .iter()
        .zip(&said[1])
        .map(|(d, s)| shift(d, s))
        .collect();
    let mut by_kind: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (m, s) in held.iter().zip(&shifts) {
        by_kind
            .entry(format!("held/{:?}", m.kind))
            .or_default()
            .push(right(s, &m.shift));
    }
    let mut report = Metrics::new();
    for (kind, hits) in by_kind {
        let (share, n) = measure::share(hits);
        report.push((format!("{kind}/n"), n as f64));
        report.push((kind, share));
    }
    Ok((fitted, report))
}

/// Direction and strength of a shift; the strength of a value that does not move is unknown.
fn targets(shift: &[f32; 10]) -> Vec<Target> {
    let mut direction = Target {
        value: vec![1.0; 10],
        weight: vec![1.0; 10],
    };
    let mut strength = Target::unknown(10);
    for (v, &s) in shift.iter().enumerate() {
        if s == 0.0 {
            continue;
        }
        direction.value[v] = if s > 0.0 { 2.0 } else { 0.0 };
        if s.abs() < TRACE {
            direction.weight[v] = 0.0;
        }
        strength.value[v] = s.abs().min(1.0);
        strength.weight[v] = 1.0;
    }
    vec![direction, strength]
}

fn right(shift: &[f32; 10], gold: &[f32; 10]) -> bool {
    let named = gold.map(|g| if g.abs() < TRACE { 0.0 } else { g });
    measure::direction_right(shift, &named, 0.3)
}

fn judge(model: &Model, held: &[InstructionExample], tokens: &[Encoding]) -> Result<Verdict> {
    let logits = model.predict(&tokens.iter().collect::<Vec<_>>())?;
    let config = model.head.config.clone();
    let outputs = &config.outputs;
    let shifts: Vec<[f32; 10]> = (logits[0].iter().zip(&logits[1]))
        .map(|(d, s)| shift(&outputs[0].calibrate(d), &outputs[1].calibrate(s)))
        .collect();
    let (direction, _) = measure::share(shifts.iter().zip(held).map(|(s, m)| right(s, &m.shift)));
    let (mut error, mut n) = (0.0, 0.0);
    for (s, m) in shifts.iter().zip(held) {
        for v in (0..10).filter(|&v| m.shift[v].abs() >= TRACE) {
            error += f64::from((s[v] - m.shift[v]).abs());
            n += 1.0;
        }
    }
    let error = error / f64::max(n, 1.0);
    let metrics = vec![
        ("held_direction".to_owned(), direction),
        ("held_error".to_owned(), error),
    ];
    Ok(Verdict {
        score: direction - error,
        metrics,
        config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_shift_teaches_none_and_no_strength() {
        let t = targets(&[0.0; 10]);
        assert_eq!(t[0], Target::known(vec![1.0; 10]));
        assert_eq!(t[1], Target::unknown(10));
    }

    #[test]
    fn traces_are_neither_taught_nor_asked() {
        let mut shift = [0.0; 10];
        shift[2] = -0.8;
        shift[3] = 0.1;
        let t = targets(&shift);
        assert_eq!((t[0].value[2], t[0].weight[2]), (0.0, 1.0));
        assert_eq!(t[0].weight[3], 0.0);
        let mut said = [0.0; 10];
        said[2] = -0.5;
        assert!(right(&said, &shift));
    }
}
