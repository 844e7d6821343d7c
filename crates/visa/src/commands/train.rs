//! `visa train detector|translator|nli|lm|sft`: run a recipe, resumably.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use visa_train::encoder::{Fitted, Recipe, detector, nli, translator};
use visa_train::runlog::read_recipe;
use visa_train::{Metrics, RunContext, lm, tokenizer};

use crate::args::Common;
use crate::exit::{Failure, usage};
use crate::settings::{Origin, Settings};
use crate::{interrupt, output};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// The value detector: adapter and head over the encoder
    Detector(Arguments),
    /// The translator from instructions to shifts
    Translator(Arguments),
    /// The consistency checker, natural language inference
    Nli(Arguments),
    /// The rewriter's tokenizer, byte-level BPE
    Tokenizer(Arguments),
    /// The decoder from scratch on plain text
    Lm(Arguments),
}

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The recipe, a TOML file; it also holds the seed
    #[arg(long, short, value_name = "FILE", env = "VISA_RECIPE", required = true)]
    recipe: PathBuf,
    /// The folder of the data sets
    #[arg(long, value_name = "DIR", env = "VISA_DATA", default_value = "data")]
    data: PathBuf,
    /// The run's folder: checkpoints, metrics.jsonl, the resolved recipe. The same folder resumes the run
    /// [default: runs/ and the recipe's name]
    #[arg(long, short, value_name = "DIR", env = "VISA_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(command: Command, settings: &Settings) -> Result<(), Failure> {
    let (Command::Detector(a)
    | Command::Translator(a)
    | Command::Nli(a)
    | Command::Tokenizer(a)
    | Command::Lm(a)) = &command;
    a.common.apply()?;
    if settings.origin("seed") == Some(Origin::Flag) {
        return Err(usage(
            "--seed has no say in training: the seed stands in the recipe, so that a run can be repeated from it",
        ));
    }
    // Some recipes need no data, so the default folder need not be there.
    if !a.data.is_dir() && settings.origin("data") != Some(Origin::Default) {
        return Err(usage(format!(
            "--data {}: no such folder; name the folder of the data sets by --data or VISA_DATA",
            a.data.display()
        )));
    }
    let out = a
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(a.recipe.file_stem().unwrap_or_default()));
    let context = RunContext {
        data: a.data.clone(),
        out,
        stop: interrupt::graceful(),
        progress: !a.common.quiet,
    };
    let path = a.recipe.as_path();
    let report = match &command {
        Command::Detector(_) => encoder(path, |r| detector::train(r, &context)),
        Command::Translator(_) => encoder(path, |r| translator::train(r, &context)),
        Command::Nli(_) => encoder(path, |r| nli::train(r, &context)),
        Command::Tokenizer(_) => read_recipe(path)
            .and_then(|r| tokenizer::train(&r, &context))
            .map(|_| Metrics::new()),
        Command::Lm(_) => read_recipe(path)
            .and_then(|r| lm::train(&r, &context))
            .map(|s| s.evaluation),
    };
    let report = report.map_err(failure)?;
    finish(&context, report)
}

fn encoder(
    path: &Path,
    train: impl FnOnce(&Recipe) -> visa_train::Result<(Fitted, Metrics)>,
) -> visa_train::Result<Metrics> {
    train(&Recipe::load(path)?).map(|(_, report)| report)
}

/// The result on standard output: where the model is, and what it was measured at.
fn finish(context: &RunContext<'_>, report: Metrics) -> Result<(), Failure> {
    let metrics: serde_json::Map<String, serde_json::Value> = report
        .into_iter()
        .map(|(name, x)| (name, x.into()))
        .collect();
    let line = serde_json::json!({"out": context.out, "metrics": metrics});
    output::open("-", "-")?;
    output::write(&format!("{line}\n"))
}

fn failure(error: visa_train::Error) -> Failure {
    use visa_train::Error;
    match error {
        Error::Interrupted { .. } | Error::InterruptedEarly { .. } => {
            eprintln!("visa: {error}");
            Failure::Interrupted
        }
        Error::Recipe { .. } => Failure::Usage(error.into()),
        Error::Model(_) => Failure::Model(error.into()),
        other => Failure::Input(other.into()),
    }
}
