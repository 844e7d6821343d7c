//! `visa eval`: measure the models as a user meets them, each figure with baseline, sample size and interval.

use std::path::PathBuf;

use clap::Args;
use visa_eval::EvalError;
use visa_eval::suites::{Setting, Suite};

use crate::args::{Common, Format, ModelArgs, default_format};
use crate::exit::{Failure, usage};
use crate::output;
use crate::view::progress::spinner;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which suites: detector, signs, pvq, translator, nli, guards, speed, rewrite; all when none is named
    suites: Vec<String>,
    /// The folder of the data sets, for suites that read one
    #[arg(long, value_name = "DIR", env = "VISA_DATA")]
    data: Option<PathBuf>,
    /// At most this many items a suite, for a quick look
    #[arg(long, value_name = "N", env = "VISA_LIMIT")]
    limit: Option<usize>,
    /// A folder for what was judged: SUITE.jsonl, from suites with examples worth reading
    #[arg(long, value_name = "DIR", env = "VISA_EXAMPLES")]
    examples: Option<PathBuf>,
    /// Form of the report: text is Markdown [default: text on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORM", env = "VISA_FORMAT", value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        suites,
        data,
        limit,
        examples,
        format,
        model,
        common,
    } = arguments;
    common.apply()?;
    let suites: Vec<Suite> = if suites.is_empty() {
        Suite::ALL.to_vec()
    } else {
        suites
            .iter()
            .map(|s| s.parse().map_err(usage))
            .collect::<Result<_, _>>()?
    };
    let setting = Setting {
        models: model.find()?,
        data,
        seed: common.seed,
        limit,
        examples,
    };
    let format = format.unwrap_or_else(|| default_format("-"));
    output::open("-", "-")?;
    let spinner = spinner(common.quiet);
    for (n, suite) in suites.iter().enumerate() {
        spinner.say(format!(
            "suite {} ({} of {})",
            suite.name(),
            n + 1,
            suites.len()
        ));
        let report = suite.run(&setting).map_err(failure)?;
        spinner.clear();
        let text = match format {
            Format::Text => report.markdown() + "\n",
            Format::Json => json(serde_json::to_string_pretty(&report))?,
            Format::Jsonl => json(serde_json::to_string(&report))?,
        };
        output::write(&text)?;
        output::flush()?;
    }
    Ok(())
}

fn json(text: serde_json::Result<String>) -> Result<String, Failure> {
    text.map(|t| t + "\n").map_err(|e| Failure::Input(e.into()))
}

fn failure(error: EvalError) -> Failure {
    match error {
        EvalError::NoData { .. } => usage(error),
        EvalError::Align(error) if error.is_model() => Failure::Model(error.into()),
        other => Failure::Input(other.into()),
    }
}
