//! Trains or measures one of the encoder tasks:
//! `encoder train detector|translator|nli RECIPE DATA OUT`, `encoder measure detector|nli RECIPE DATA MODEL`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use visa_train::encoder::{Recipe, detector, nli, translator};
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
        ("measure", "nli") => nli::evaluate(place, &recipe, &context)?,
        _ => return Err(format!("no task {task:?} to {verb:?}").into()),
    };
    for (name, value) in report {
        eprintln!("{name:48} {value:.4}");
    }
    Ok(())
}
