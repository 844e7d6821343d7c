//! Trains or measures one of the encoder tasks:
//! `encoder train detector|translator|nli RECIPE DATA OUT`, `encoder measure detector|nli RECIPE DATA MODEL`.
//! `encoder measure translator RECIPE INSTRUCTIONS.jsonl MODEL` prints every instruction that goes the wrong way.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use visa_train::encoder::{Recipe, Trained, detector, nli, translator};
use visa_train::{Metrics, RunContext};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, task, recipe, data, place] = arguments.as_slice() else {
        eprintln!("usage: encoder train|measure detector|translator|nli RECIPE DATA OUT");
        std::process::exit(2);
    };
    if let Err(error) = run(
        verb,
        task,
        Path::new(recipe),
        Path::new(data),
        Path::new(place),
    ) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run(
    verb: &str,
    task: &str,
    recipe: &Path,
    data: &Path,
    place: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let recipe = Recipe::load(recipe)?;
    let stop = AtomicBool::new(false);
    let context = RunContext {
        data: data.into(),
        out: PathBuf::from(place),
        stop: &stop,
        progress: true,
    };
    let report: Metrics = match (verb, task) {
        ("train", "detector") => detector::train(&recipe, &context)?.1,
        ("train", "translator") => translator::train(&recipe, &context)?.1,
        ("train", "nli") => nli::train(&recipe, &context)?.1,
        ("measure", "detector") => detector::evaluate(place, &recipe, &context)?,
        ("measure", "translator") => instructions(&recipe, data, place)?,
        ("measure", "nli") => nli::evaluate(place, &recipe, &context)?,
        _ => return Err(format!("no task {task:?} to {verb:?}").into()),
    };
    for (name, value) in report {
        eprintln!("{name:48} {value:.4}");
    }
    Ok(())
}

/// Direction on lines of `{"instruction", "direction": {value: sign}}`, as the evaluation crate counts it: named values
/// move their way by 0.1 at least, and nothing moves where nothing is named.
fn instructions(
    recipe: &Recipe,
    file: &Path,
    model: &Path,
) -> Result<Metrics, Box<dyn std::error::Error>> {
    let model = Trained::load(model, &recipe.encoder)?;
    let text = std::fs::read_to_string(file)?;
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let asked =
        |line: &serde_json::Value| line["instruction"].as_str().unwrap_or_default().to_owned();
    let texts: Vec<(String, Option<String>)> = lines.iter().map(|l| (asked(l), None)).collect();
    let said = model.predict(&texts)?;
    let mut right = 0.0;
    for ((line, direction), strength) in lines.iter().zip(&said[0]).zip(&said[1]) {
        let shift = visa_align::head::shift(direction, strength);
        let named = line["direction"].as_object().cloned().unwrap_or_default();
        let fits = match named.is_empty() {
            true => shift.iter().all(|s| s.abs() < 0.1),
            false => (visa_values::NAMES.iter().zip(shift)).all(|(name, s)| {
                named
                    .get(*name)
                    .and_then(serde_json::Value::as_f64)
                    .is_none_or(|sign| f64::from(s) * sign >= 0.1)
            }),
        };
        right += f64::from(u8::from(fits));
        if !fits {
            eprintln!("{} {} {shift:.2?}", line["instruction"], line["direction"]);
        }
    }
    Ok(vec![
        ("direction".into(), right / lines.len().max(1) as f64),
        ("n".into(), lines.len() as f64),
    ])
}
