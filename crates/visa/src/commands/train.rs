//! `visa train detector|translator|nli|sense|tokenizer|lm|sft|grpo|prefs`: run a recipe, resumably.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use visa_align::{Checker, Detector, Sense, Sensible, Trunk};
use visa_train::encoder::{Fitted, Recipe, detector, nli, sense, translator};
use visa_train::judges::Judges;
use visa_train::rewriter::{grpo, prefs};
use visa_train::runlog::read_recipe;
use visa_train::{Metrics, RunContext, lm, sft, tokenizer};

use crate::args::{Common, ModelArgs};
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
    /// The sense reader: whether a clause belongs behind a sentence
    Sense(Arguments),
    /// The rewriter's tokenizer, byte-level BPE
    Tokenizer(Arguments),
    /// The decoder from scratch on plain text
    Lm(Arguments),
    /// The rewriter: the decoder on pairs that put value-bearing clauses back (`visa data pairs`)
    Sft(Arguments),
    /// The rewriter by reinforcement: its own clauses, judged by detector and checker
    Grpo(JudgedArguments),
    /// The rewriter by comparisons of its own clauses: DPO or SimPO
    Prefs(JudgedArguments),
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

#[derive(Args, Debug)]
pub(crate) struct JudgedArguments {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    shared: Arguments,
}

impl Command {
    fn arguments(&self) -> &Arguments {
        match self {
            Command::Detector(a)
            | Command::Translator(a)
            | Command::Nli(a)
            | Command::Sense(a)
            | Command::Tokenizer(a)
            | Command::Lm(a)
            | Command::Sft(a) => a,
            Command::Grpo(a) | Command::Prefs(a) => &a.shared,
        }
    }
}

/// Refuses a folder of data that was named and is not there. Some recipes need no data, so the default one may be missing.
pub(super) fn check_data(data: &Path, settings: &Settings) -> Result<(), Failure> {
    if data.is_dir() || settings.origin("data") == Some(Origin::Default) {
        return Ok(());
    }
    Err(usage(format!(
        "--data {}: no such folder; name the folder of the data sets by --data or VISA_DATA",
        data.display()
    )))
}

pub(crate) fn run(command: Command, settings: &Settings) -> Result<(), Failure> {
    let a = command.arguments();
    a.common.apply()?;
    if settings.origin("seed") == Some(Origin::Flag) {
        return Err(usage(
            "--seed has no say in training: the seed stands in the recipe, so that a run can be repeated from it",
        ));
    }
    check_data(&a.data, settings)?;
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
        Command::Sense(_) => encoder(path, |r| sense::train(r, &context)),
        Command::Tokenizer(_) => read_recipe(path)
            .and_then(|r| tokenizer::train(&r, &context))
            .map(|_| Metrics::new())
            .map_err(failure),
        Command::Lm(_) => read_recipe(path)
            .and_then(|r| lm::train(&r, &context))
            .map(|s| s.evaluation)
            .map_err(failure),
        Command::Sft(_) => read_recipe(path)
            .and_then(|r| sft::train(&r, &context))
            .map(|s| s.evaluation)
            .map_err(failure),
        Command::Grpo(a) => judged(&a.model, |judges| {
            let recipe = read_recipe(path)?;
            grpo::train(&recipe, judges, &context).map(|s| s.evaluation)
        }),
        Command::Prefs(a) => judged(&a.model, |judges| {
            let recipe = read_recipe(path)?;
            prefs::train(&recipe, judges, &context).map(|s| s.evaluation)
        }),
    };
    let report = report?;
    finish(&context, report)
}

fn encoder(
    path: &Path,
    train: impl FnOnce(&Recipe) -> visa_train::Result<(Fitted, Metrics)>,
) -> Result<Metrics, Failure> {
    let recipe = Recipe::load(path).map_err(failure)?;
    train(&recipe).map(|(_, report)| report).map_err(failure)
}

/// Runs what needs the models that judge texts.
pub(super) fn judged<T>(
    model: &ModelArgs,
    run: impl FnOnce(Judges<'_>) -> visa_train::Result<T>,
) -> Result<T, Failure> {
    let models = model.find()?;
    let trunk = Trunk::find(&models).map_err(crate::exit::model)?;
    let detector = Detector::find(&models, &trunk).map_err(crate::exit::model)?;
    let checker = Checker::find(&models, &trunk).map_err(crate::exit::model)?;
    let sense: Arc<dyn Sensible> =
        Arc::new(Sense::find(&models, &trunk).map_err(crate::exit::model)?);
    let judges = Judges {
        values: &detector,
        checker: &checker,
        sense: Some(&sense),
    };
    run(judges).map_err(failure)
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

pub(super) fn failure(error: visa_train::Error) -> Failure {
    use visa_train::Error;
    match error {
        Error::Interrupted { .. } | Error::InterruptedEarly { .. } => {
            crate::exit::note(&error.to_string());
            Failure::Interrupted
        }
        Error::Recipe { .. } => Failure::Usage(error.into()),
        Error::Model(_) => Failure::Model(error.into()),
        other => Failure::Input(other.into()),
    }
}
