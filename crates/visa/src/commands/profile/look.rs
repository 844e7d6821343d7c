//! Profiles shown, compared and averaged.

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use visa_align::NamedProfile;
use visa_align::person::average as mean;
use visa_values::{NAMES, Profile, Shift, Value, metrics};

use super::{KeepArgs, Keeper, Made, bars, begin, head, say_saved, view};
use crate::args::{Common, Format, IoArgs, OnError};
use crate::commands::goal;
use crate::exit::{Failure, usage};
use crate::output;
use crate::view::bars::{Column, table};
use crate::view::wrap::paragraph;
use crate::view::{HEADING, Style};

/// Where results go, for commands that read no records.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutArgs {
    /// A file to write, - for standard output
    #[arg(
        long,
        short,
        value_name = "FILE|-",
        env = "VISA_OUTPUT",
        default_value = "-",
        hide_default_value = true
    )]
    output: String,
    /// Form of the results [default: text on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORM", env = "VISA_FORMAT", value_enum)]
    format: Option<Format>,
}

impl OutArgs {
    fn io(&self) -> IoArgs {
        IoArgs {
            input: "-".into(),
            input_format: crate::args::InputFormat::Auto,
            output: self.output.clone(),
            format: self.format,
            on_error: OnError::Stop,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    /// Profiles: files, JSON, or value=x
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<String>,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn show(arguments: ShowArguments) -> Result<(), Failure> {
    let ShowArguments {
        profiles,
        out,
        common,
    } = arguments;
    let style = begin(&common, &out.io())?;
    let all = profiles
        .iter()
        .map(|given| goal::named("profile", given))
        .collect::<anyhow::Result<Vec<_>>>()
        .map_err(Failure::Input)?;
    let texts: Vec<String> = all.iter().map(|named| shown(&style, named)).collect();
    emit(&out, &all, &texts.join("\n"))
}

fn shown(style: &Style, named: &NamedProfile) -> String {
    let mut out = head(style, named);
    match (&named.target, &named.shift, &named.persona) {
        (Some(target), ..) => out.push_str(&bars(style, target, named.uncertainty.as_ref())),
        (_, Some(shift), _) => {
            let column = Column {
                title: "shift",
                numbers: shift.as_array(),
                scale: 2.0,
            };
            out.push_str(&table(style, &NAMES, &[column], &[]));
        }
        (.., persona) => {
            let words = crate::view::printable(persona.as_deref().unwrap_or_default());
            out.push_str(&paragraph(&words, 2, style.width));
        }
    }
    out
}

#[derive(Args, Debug)]
pub(crate) struct CompareArguments {
    /// One profile: a file, JSON, or value=x
    #[arg(value_name = "PROFILE")]
    one: String,
    /// The other
    #[arg(value_name = "OTHER")]
    other: String,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Comparison {
    /// 1 for the same direction, −1 for the opposite one.
    cosine: f32,
    /// Euclidean, 0 to √40.
    distance: f32,
    /// The other minus the one.
    difference: Shift,
    /// Values that differ by more than chance; only where both profiles know their uncertainty.
    #[serde(skip_serializing_if = "Option::is_none")]
    clear: Option<Vec<Value>>,
}

pub(crate) fn compare(arguments: CompareArguments) -> Result<(), Failure> {
    let CompareArguments {
        one,
        other,
        out,
        common,
    } = arguments;
    let style = begin(&common, &out.io())?;
    let read = |given: &str| -> anyhow::Result<(Profile, Option<Profile>)> {
        let values = goal::profile("profile", given)?;
        Ok((values, goal::named("profile", given)?.uncertainty))
    };
    let (a, ua) = read(&one).map_err(Failure::Input)?;
    let (b, ub) = read(&other).map_err(Failure::Input)?;
    let difference = a.shift_to(&b);
    let clear = ua.zip(ub).map(|(ua, ub)| {
        let beyond = |v: &Value| {
            let chance = ua.get(*v).hypot(ub.get(*v));
            difference.get(*v).abs() > chance
        };
        Value::ALL.into_iter().filter(beyond).collect::<Vec<_>>()
    });
    let found = Comparison {
        cosine: metrics::cosine(a.as_array(), b.as_array()),
        distance: metrics::l2(a.as_array(), b.as_array()),
        difference,
        clear,
    };
    let text = compared(&style, &a, &b, &found);
    emit(&out, &[found], &text)
}

fn compared(style: &Style, a: &Profile, b: &Profile, found: &Comparison) -> String {
    let numbers = found.difference.as_array();
    let moved: Vec<bool> = match &found.clear {
        Some(clear) => Value::ALL.iter().map(|v| clear.contains(v)).collect(),
        None => numbers.iter().map(|d| d.abs() >= 0.2).collect(),
    };
    let columns = [
        ("one", a.as_array(), 1.0),
        ("other", b.as_array(), 1.0),
        ("difference", numbers, 2.0),
    ];
    let columns = columns.map(|(title, numbers, scale)| Column {
        title,
        numbers,
        scale,
    });
    let mut out = table(style, &NAMES, &columns, &moved);
    let alike = match found.cosine {
        c if c >= 0.8 => "much alike",
        c if c >= 0.3 => "somewhat alike",
        c if c > -0.3 => "about different things",
        c if c > -0.8 => "rather opposed",
        _ => "opposed",
    };
    let mut words = format!(
        "{alike}: direction {:+.2}, distance {:.2}.",
        found.cosine, found.distance
    );
    if let Some(clear) = &found.clear {
        let names: Vec<&str> = clear.iter().map(|v| v.name()).collect();
        words.push_str(&if names.is_empty() {
            " No value differs by more than the uncertainty of the two.".to_string()
        } else {
            format!(" Beyond the uncertainty of the two: {}.", names.join(", "))
        });
    }
    let words = paragraph(&words, 2, style.width);
    out.push_str(&format!("\n{}", style.paint(HEADING, words.trim_end())));
    out.push('\n');
    out
}

#[derive(Args, Debug)]
pub(crate) struct AverageArguments {
    /// Profiles: files, JSON, or value=x
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<String>,
    /// How much each counts, in their order; equally when missing
    #[arg(long, value_name = "X,X,…", value_delimiter = ',')]
    weights: Vec<f32>,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn average(arguments: AverageArguments) -> Result<(), Failure> {
    let AverageArguments {
        profiles,
        weights,
        keep,
        out,
        common,
    } = arguments;
    let style = begin(&common, &out.io())?;
    let keeper = Keeper::new(keep)?;
    let mut all = Vec::new();
    let mut names = Vec::new();
    for given in &profiles {
        let values = goal::profile("profile", given).map_err(Failure::Input)?;
        let named = goal::named("profile", given).map_err(Failure::Input)?;
        all.push((values, named.uncertainty));
        names.push(if named.name.is_empty() {
            given.clone()
        } else {
            named.name
        });
    }
    let weights = if weights.is_empty() {
        vec![1.0; all.len()]
    } else {
        weights
    };
    let (target, uncertainty) = mean(&all, &weights).map_err(usage)?;
    let mut made = Made::new(NamedProfile {
        uncertainty,
        ..NamedProfile::of(target, format!("the mean of {}", names.join(", ")))
    });
    keeper.keep(&mut made.profile).map_err(Failure::Input)?;
    let text = view(&style, &made);
    emit(&out, &[made], &text)?;
    say_saved(&keeper, common.quiet);
    Ok(())
}

/// Writes results in the form asked for: one document, or one line each.
fn emit<T: Serialize>(out: &OutArgs, results: &[T], text: &str) -> Result<(), Failure> {
    output::open(&out.output, "-")?;
    let printed =
        |result: serde_json::Result<String>| result.context("a result").map_err(Failure::Input);
    match out.io().format() {
        Format::Text => output::write(text),
        Format::Json => {
            let document = match results {
                [one] => serde_json::to_string_pretty(one),
                many => serde_json::to_string_pretty(many),
            };
            output::write(&format!("{}\n", printed(document)?))
        }
        Format::Jsonl => {
            for result in results {
                output::write(&format!("{}\n", printed(serde_json::to_string(result))?))?;
            }
            Ok(())
        }
    }
}
