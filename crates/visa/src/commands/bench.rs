//! `visa bench`: how fast the kernels and whole models run here, beside what the machine could do at most.
//!
//! Weights are random and of known shapes, so that it runs anywhere without models or data, and so that peers can be
//! given the same work (`benches/peers`). Nothing here judges a figure.

mod growth;
mod kernels;
mod measure;
mod memory;
mod models;
mod peaks;
mod report;
mod sizes;

use clap::Args;
use visa_nn::WeightType;

use self::measure::{Case, Row, interleave};
use self::peaks::Peaks;
use self::report::Report;
use self::sizes::{Size, Sizes};
use crate::args::{Common, Format, default_format};
use crate::exit::{Failure, note, usage};
use crate::output;
use crate::view::progress::spinner;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[arg(long, value_name = "NAME,…", env = "VISA_ONLY", value_delimiter = ',', help = only_help())]
    only: Vec<String>,
    /// One JSON object a line: name, value, unit, share_of_peak; the same as --format jsonl
    #[arg(long, env = "VISA_JSON", value_parser = clap::builder::BoolishValueParser::new(), conflicts_with = "format")]
    json: bool,
    /// Form of the figures [default: text on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORM", env = "VISA_FORMAT", value_enum)]
    format: Option<Format>,
    /// How often each is measured, in turns, after one warm-up; the median is the figure
    #[arg(long, value_name = "N", env = "VISA_ROUNDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How large the models are
    #[arg(long, value_name = "SIZE", env = "VISA_SIZE", value_enum, default_value_t = Size::Standard)]
    size: Size,
    /// Train a few steps and print the most memory ever held, in bytes
    #[arg(long = memory::CHILD, hide = true)]
    child: bool,
    #[command(flatten)]
    common: Common,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Peaks,
    Kernels,
    Train,
    Memory,
    Grpo,
    Rollout,
    DecodeBf16,
    DecodeInt8,
    Prefill,
    Encoder24,
    Encoder128,
    Growth,
}

/// Each with its name, and what it is.
const PARTS: [(Part, &str, &str); 12] = [
    (
        Part::Peaks,
        "peaks",
        "multiply-adds in registers and reading memory, the yardsticks of every share",
    ),
    (Part::Kernels, "kernels", "each kernel alone"),
    (
        Part::Train,
        "train_tokens_per_s",
        "training step, 16 sequences of 256 tokens, bf16 and f32",
    ),
    (
        Part::Memory,
        "train_peak_mb",
        "most memory that a process doing it holds",
    ),
    (
        Part::Grpo,
        "grpo_step_s",
        "such rollouts, a stand-in reward, and an update with a reference",
    ),
    (
        Part::Rollout,
        "rollout_tokens_per_s",
        "drawn tokens, 4 prompts of 128 × 8 completions of 64",
    ),
    (
        Part::DecodeBf16,
        "decode1_bf16_tokens_per_s",
        "one sequence, behind a prompt of 128",
    ),
    (
        Part::DecodeInt8,
        "decode1_int8_tokens_per_s",
        "the same with weights in bytes",
    ),
    (Part::Prefill, "prefill_tokens_per_s", "one prompt of 128"),
    (
        Part::Encoder24,
        "encoder24_texts_per_s",
        "MiniLM on texts of 24 tokens, bf16, without tokenizing",
    ),
    (
        Part::Encoder128,
        "encoder128_texts_per_s",
        "the same on 128 tokens",
    ),
    (
        Part::Growth,
        "growth",
        "the training step by context, threads and weights; minutes",
    ),
];

fn only_help() -> String {
    let parts: Vec<String> = PARTS
        .iter()
        .map(|(_, name, what)| format!("{name} ({what})"))
        .collect();
    format!(
        "Which figures, separated by commas; all but growth when none is named: {}",
        parts.join("; ")
    )
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        only,
        json,
        format,
        rounds,
        size,
        child,
        common,
    } = arguments;
    common.apply()?;
    output::open("-", "-")?;
    if child {
        return output::write(&memory::run_child(size).map_err(Failure::Input)?);
    }
    let mut parts = chosen(&only)?;
    if parts.contains(&Part::Memory) && !memory::is_told() {
        let why = "train_peak_mb: only Linux tells the largest memory of a process";
        if !only.is_empty() {
            return Err(usage(format!("{why}; leave it out of --only")));
        }
        note(&format!("{why}; it is left out"));
        parts.retain(|p| *p != Part::Memory);
    }
    let format = match format {
        _ if json => Format::Jsonl,
        Some(format) => format,
        None => default_format("-"),
    };
    let mut report = Report::new(format);
    report.begin()?;
    let spinner = spinner(common.quiet);
    let say = |words| spinner.say(words);
    let sizes = size.sizes();
    let mut peaks = Peaks::new(sizes.numbers * 4);
    let rounds = usize::from(rounds);

    say("making the models".into());
    let mut cases = Vec::new();
    for part in &parts {
        cases.extend(make(*part, &sizes, size, common.threads).map_err(Failure::Input)?);
    }
    let wants_peaks = parts.contains(&Part::Peaks);
    if wants_peaks && !cases.iter().any(Case::has_share) {
        (0..rounds).for_each(|_| peaks.sample());
    }
    let mut rows = interleave(&mut cases, rounds, &mut peaks, &say).map_err(Failure::Input)?;
    drop(cases);
    if wants_peaks {
        rows.splice(0..0, peaks.rows().map_err(Failure::Input)?);
    }
    spinner.clear();
    report.rows(&rows)?;
    if parts.contains(&Part::Growth) {
        let mut done = |rows: Vec<Row>| {
            spinner.clear();
            report.rows(&rows)
        };
        growth::run(&sizes, rounds, &mut peaks, &say, &mut done)?;
    }
    report.end()
}

/// The parts that were named, in our order.
fn chosen(only: &[String]) -> Result<Vec<Part>, Failure> {
    let known = || PARTS.iter().map(|(_, name, _)| (*name).to_string());
    if let Some(wrong) = only.iter().find(|o| !known().any(|k| k == **o)) {
        let known: Vec<String> = known().collect();
        return Err(usage(format!(
            "--only: unknown name {wrong:?}; known are {}",
            known.join(", ")
        )));
    }
    Ok(PARTS
        .iter()
        .filter(|(part, name, _)| match only {
            [] => *part != Part::Growth,
            only => only.iter().any(|o| o == name),
        })
        .map(|(part, ..)| *part)
        .collect())
}

fn make(part: Part, sizes: &Sizes, size: Size, threads: usize) -> anyhow::Result<Vec<Case>> {
    match part {
        // Neither is a case: the peaks are measured with all others, growth makes its own models one by one.
        Part::Peaks | Part::Growth => Ok(Vec::new()),
        Part::Kernels => kernels::cases(sizes),
        Part::Train => models::train(sizes),
        Part::Memory => Ok(memory::cases(size, threads)),
        Part::Grpo => models::grpo(sizes),
        Part::Rollout => models::rollout(sizes),
        Part::DecodeBf16 => {
            models::decode(sizes, "decode1_bf16_tokens_per_s", WeightType::Bf16, 2.0)
        }
        Part::DecodeInt8 => {
            models::decode(sizes, "decode1_int8_tokens_per_s", WeightType::Int8, 1.0)
        }
        Part::Prefill => models::prefill(sizes),
        Part::Encoder24 => models::encode(sizes, 24),
        Part::Encoder128 => models::encode(sizes, 128),
    }
}
