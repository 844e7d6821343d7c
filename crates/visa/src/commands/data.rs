//! `visa data pairs`: the rewriting data that the rewriter is trained on, as a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use visa_train::runlog::read_recipe;
use visa_train::{RunContext, pairs};

use super::train::{failure, judged};
use crate::args::{Common, ModelArgs};
use crate::exit::{Failure, usage};
use crate::settings::{Origin, Settings};
use crate::{interrupt, output};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Pairs of texts that say the same and speak other values, or say it more simply: JSON Lines
    Pairs(Arguments),
}

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The recipe, a TOML file; it also holds the seed
    #[arg(long, short, value_name = "FILE", env = "VISA_RECIPE", required = true)]
    recipe: PathBuf,
    /// The folder of the data sets
    #[arg(long, value_name = "DIR", env = "VISA_DATA", default_value = "data")]
    data: PathBuf,
    /// The file; recipe.toml, as it was resolved, comes beside it
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "VISA_OUT",
        default_value = "runs/pairs/pairs.jsonl"
    )]
    out: PathBuf,
    /// Do not ask detector and checker: mined pairs have no shift then, and none is left out for its score
    #[arg(long, env = "VISA_UNLABELLED", value_parser = clap::builder::BoolishValueParser::new())]
    unlabelled: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(command: Command, settings: &Settings) -> Result<(), Failure> {
    let Command::Pairs(a) = command;
    a.common.apply()?;
    if settings.origin("seed") == Some(Origin::Flag) {
        return Err(usage(
            "--seed has no say here: the seed stands in the recipe, so that the data can be made again from it",
        ));
    }
    super::train::check_data(&a.data, settings)?;
    let beside = a.out.parent().map_or_else(PathBuf::new, PathBuf::from);
    let context = RunContext {
        data: a.data.clone(),
        out: if beside.as_os_str().is_empty() {
            ".".into()
        } else {
            beside
        },
        stop: interrupt::graceful(),
        progress: !a.common.quiet,
    };
    let recipe = read_recipe(&a.recipe).map_err(failure)?;
    let counts = if a.unlabelled {
        pairs::write(&recipe, None, &a.out, &context).map_err(failure)?
    } else {
        judged(&a.model, |judges| {
            pairs::write(&recipe, Some(&judges), &a.out, &context)
        })?
    };
    let counts: serde_json::Map<String, serde_json::Value> = counts
        .into_iter()
        .map(|(name, n)| (name, n.into()))
        .collect();
    output::open("-", "-")?;
    let line = serde_json::json!({"out": a.out, "pairs": counts});
    output::write(&format!("{line}\n"))
}
