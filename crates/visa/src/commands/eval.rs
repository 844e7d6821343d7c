//! `visa eval`: measure the models as a user meets them, each figure with baseline, sample size and interval.
//!
//! `rewriter` is named among the suites, but it compares systems and leaves a folder: rewrites that an interrupted run
//! need not make again, and the report as Markdown, JSON and a page.

use std::path::PathBuf;

use clap::Args;
use visa_align::EmbeddedOptions;
use visa_eval::EvalError;
use visa_eval::rewriter::{self, System};
use visa_eval::suites::{Setting, Suite};

use super::rewrite::EndpointArgs;
use crate::args::{Common, Format, ModelArgs, default_format};
use crate::exit::{Failure, usage};
use crate::output;
use crate::view::progress::{Counter, spinner};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which suites: detector, signs, additions, pvq, translator, nli, guards, speed, rewrite, judge, search; all of these when none is named.
    /// Or rewriter, which compares systems
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
    compared: ComparedArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

/// What `visa eval rewriter` compares.
#[derive(Args, Debug)]
#[command(next_help_heading = "Systems (visa eval rewriter)")]
struct ComparedArgs {
    /// A system as NAME=KIND; once each. KIND is copy, lexicon, policy, best-of-N, loop (the last three with :DIR for
    /// another rewriter than the default), the folder of a rewriter (its policy), or endpoint:simple|rules|think
    /// [default: copy lexicon policy best-of-8 loop]
    #[arg(
        long = "system",
        value_name = "NAME=KIND",
        env = "VISA_SYSTEM",
        value_delimiter = ','
    )]
    systems: Vec<System>,
    /// The folder of the report and of the rewrites; the same folder goes on where a run stopped
    #[arg(
        long,
        value_name = "DIR",
        env = "VISA_OUT",
        default_value = "runs/eval-rewriter"
    )]
    out: PathBuf,
    /// The folder of a language model that was not trained to rewrite, for perplexity
    #[arg(long, value_name = "DIR", env = "VISA_LM")]
    lm: Option<PathBuf>,
}

const REWRITER: &str = "rewriter";

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        suites,
        data,
        limit,
        examples,
        format,
        compared,
        endpoint,
        model,
        common,
    } = arguments;
    common.apply()?;
    let compares = suites.iter().any(|suite| suite == REWRITER);
    let suites: Vec<Suite> = if suites.is_empty() {
        Suite::ALL.to_vec()
    } else {
        suites
            .iter()
            .filter(|suite| *suite != REWRITER)
            .map(|s| {
                s.parse::<Suite>()
                    .map_err(|e| usage(format!("{e}, {REWRITER}")))
            })
            .collect::<Result<_, _>>()?
    };
    if !compares && !compared.systems.is_empty() {
        return Err(usage(
            "--system names what visa eval rewriter compares; name that suite too",
        ));
    }
    let options = compares.then(|| options(compared, endpoint)).transpose()?;
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
    if let Some(options) = options {
        compare(&setting, &options, format, &spinner, common.quiet)?;
    }
    Ok(())
}

fn options(compared: ComparedArgs, endpoint: EndpointArgs) -> Result<rewriter::Options, Failure> {
    let systems = if compared.systems.is_empty() {
        System::defaults()
    } else {
        compared.systems
    };
    for (i, system) in systems.iter().enumerate() {
        if systems[..i].iter().any(|s| s.name == system.name) {
            return Err(usage(format!(
                "two systems are named {:?}; write NAME=KIND with another name",
                system.name
            )));
        }
    }
    Ok(rewriter::Options {
        systems,
        out: compared.out,
        lm: compared.lm,
        endpoint: endpoint.options(EmbeddedOptions::default().temperature)?,
    })
}

fn compare(
    setting: &Setting,
    options: &rewriter::Options,
    format: Format,
    spinner: &Counter,
    quiet: bool,
) -> Result<(), Failure> {
    let comparison =
        rewriter::run(setting, options, &|words| spinner.say(words)).map_err(failure)?;
    spinner.clear();
    output::write(&match format {
        Format::Text => comparison.markdown() + "\n",
        Format::Json => json(serde_json::to_string_pretty(&comparison))?,
        Format::Jsonl => json(serde_json::to_string(&comparison))?,
    })?;
    if !quiet {
        let page = options.out.join("report.html");
        crate::exit::note(&format!("the report with plots is {}", page.display()));
    }
    Ok(())
}

fn json(text: serde_json::Result<String>) -> Result<String, Failure> {
    text.map(|t| t + "\n").map_err(|e| Failure::Input(e.into()))
}

fn failure(error: EvalError) -> Failure {
    match error {
        EvalError::NoData { .. } | EvalError::NoEndpoint => usage(error),
        EvalError::Align(error) if error.is_model() => Failure::Model(error.into()),
        other => Failure::Input(other.into()),
    }
}
