//! `visa rewrite`: the closed loop on a text, with the proof.

mod options;
mod tools;

use clap::Args;
use visa_align::record::RewriteInput;
use visa_align::{Goal, Outcome, OutcomeKind};

use super::detect::Lazy;
use super::score::profiles;
use super::{goal, not_empty};
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record};
use crate::exit::{Failure, usage};
use crate::settings::{Origin, Settings};
use crate::view::wrap::paragraph;
use crate::view::{ADDED, HEADING, NEGATIVE, Style, diff, progress, words};
pub(super) use options::{EndpointArgs, SearchArgs};
use tools::Tools;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The text; without it --input is read
    text: Option<String>,
    /// Whose values it should speak, in plain words: "a cautious parent who cares about tradition"
    #[arg(
        long,
        short,
        value_name = "WORDS",
        env = "VISA_PERSONA",
        help_heading = "Where to"
    )]
    persona: Option<String>,
    /// The profile it should speak: a file, JSON, or value=x
    #[arg(
        long,
        value_name = "FILE|JSON",
        env = "VISA_TARGET",
        help_heading = "Where to"
    )]
    target: Option<String>,
    /// How far each value should move: --shift tradition=+0.8 power=-0.5 "The text"
    #[arg(long, value_name = "VALUE=±X", num_args = 1.., env = "VISA_SHIFT", help_heading = "Where to")]
    shift: Vec<String>,
    /// What the text answers, if anything
    #[arg(long, value_name = "TEXT", env = "VISA_QUERY")]
    query: Option<String>,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

impl Record for RewriteInput {
    fn from_text(text: String) -> anyhow::Result<Self> {
        Ok(Self::plain(text))
    }
}

pub(crate) fn run(arguments: Arguments, settings: &Settings) -> Result<(), Failure> {
    let Arguments {
        text,
        persona,
        target,
        shift,
        query,
        search,
        endpoint,
        model: which,
        io,
        common,
    } = arguments;
    common.apply()?;
    let (default, text) = default_goal(persona, target, shift, text, settings)?;
    if text.is_some() && default.is_none() {
        return Err(usage(
            "nothing says where the values should go; give --persona WORDS, --target FILE|JSON or --shift value=±x",
        ));
    }
    let options = search.options(common.seed)?;
    let temperature = search.temperature;
    let endpoint = endpoint.options(temperature)?;
    let text_format = io.format() == Format::Text;
    let style = Style::new(
        common.color,
        text_format && crate::output::is_terminal(&io.output),
    );
    let spinner = progress::spinner(common.quiet);
    let mut tools = Lazy::new(|| {
        spinner.say("loading models".into());
        Tools::load(&which.find()?, endpoint.clone(), temperature)
    });
    batch::run(
        Job {
            io: &io,
            single: text.map(RewriteInput::plain),
            // Each is a long job, and its result is wanted when it is done.
            chunk: 1,
            progress: &|_| (),
        },
        |items: &[Item<RewriteInput>]| {
            let mut results = Vec::with_capacity(items.len());
            for item in items {
                let request = match item.record.request(default.as_ref(), query.as_deref()) {
                    Ok(request) => request,
                    Err(e) => {
                        results.push(Err(e.into()));
                        continue;
                    }
                };
                let tools = tools.get()?;
                tools.prepare(&request.goal)?;
                results.push(tools.rewrite(&request, &options, &|words| spinner.say(words)));
                spinner.clear();
            }
            Ok(results)
        },
        |_, outcome| view(&style, outcome),
    )
}

/// The goal for records that name none. Flag, variable and file may each name one; the strongest origin counts.
pub(super) fn default_goal(
    persona: Option<String>,
    target: Option<String>,
    shift: Vec<String>,
    text: Option<String>,
    settings: &Settings,
) -> Result<(Option<Goal>, Option<String>), Failure> {
    let given = [
        ("persona", persona.is_some()),
        ("target", target.is_some()),
        ("shift", !shift.is_empty()),
    ];
    let mut named: Vec<(Origin, &str)> = given
        .iter()
        .filter(|(_, is)| *is)
        .map(|(name, _)| (settings.origin(name).unwrap_or(Origin::Default), *name))
        .collect();
    named.sort();
    let winner = match named.as_slice() {
        [] => return Ok((None, text)),
        [(a, first), (b, second), ..] if a == b => {
            return Err(usage(format!(
                "--{first} and --{second} were both given; give one of them"
            )));
        }
        [(_, name), ..] => *name,
    };
    match winner {
        "persona" => {
            let persona = persona.unwrap_or_default();
            not_empty("persona", &persona).map_err(Failure::Usage)?;
            Ok((Some(Goal::Instruction(persona)), text))
        }
        "target" => {
            let target = goal::target(&target.unwrap_or_default()).map_err(Failure::Usage)?;
            Ok((Some(Goal::Target(target)), text))
        }
        _ => {
            let (shift, swallowed) = goal::split_shift(shift).map_err(Failure::Usage)?;
            if let (Some(one), Some(other)) = (&text, &swallowed) {
                return Err(usage(format!(
                    "two texts were given, {one:?} and {other:?}; quote one text"
                )));
            }
            Ok((shift.map(Goal::Shift), text.or(swallowed)))
        }
    }
}

fn view(style: &Style, outcome: &Outcome) -> String {
    let (sign, paint, title) = match outcome.outcome {
        OutcomeKind::Rewritten => (style.sign("✓", "+"), ADDED, "rewritten"),
        OutcomeKind::Unchanged => (style.sign("=", "="), HEADING, "unchanged"),
        OutcomeKind::KeptOriginal => (style.sign("✗", "x"), NEGATIVE, "original kept"),
    };
    let mut out = if outcome.outcome == OutcomeKind::Rewritten {
        diff::side_by_side(style, &outcome.original, &outcome.rewritten)
    } else {
        paragraph(&outcome.original, 2, style.width)
    };
    out.push('\n');
    out.push_str(&profiles(
        style,
        &outcome.before,
        &outcome.after,
        &outcome.target,
    ));
    out.push('\n');
    if outcome.outcome == OutcomeKind::Rewritten {
        out.push_str(&words::score(style, &outcome.score));
    }
    let title = style.paint(paint, &format!("{sign} {title}"));
    let reason = paragraph(&outcome.reason, 2, style.width);
    out.push_str(&format!("  {title}\n{reason}"));
    out
}
