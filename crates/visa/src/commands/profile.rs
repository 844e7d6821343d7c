//! `visa profile`: a person's values as a file – made from words, texts, answers or by hand, shown, compared, averaged.
//!
//! How a profile is estimated and what its file looks like is decided in `visa_align::person`.

mod ask;
mod look;
mod make;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use visa_align::NamedProfile;
use visa_align::person::{NAME_BYTES, is_name};
use visa_values::{NAMES, Profile};

use crate::args::{Common, IoArgs};
use crate::exit::{Failure, note, usage};
use crate::view::bars::{Column, table};
use crate::view::wrap::paragraph;
use crate::view::{DIM, HEADING, Style, printable};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// From a description: "a cautious parent who cares about tradition"
    Words(make::WordsArguments),
    /// From a person's own texts: the mean of what they speak, how sure it is, and how many texts it needs
    Texts(make::TextsArguments),
    /// From twenty questions, answered here, in a file, or on the page of visa serve
    Ask(ask::Arguments),
    /// By hand: tradition=+0.8 power=-0.5
    Set(make::SetArguments),
    /// Show profiles
    Show(look::ShowArguments),
    /// How alike two profiles are, and where they differ
    Compare(look::CompareArguments),
    /// The mean of several profiles, of a team say
    Average(look::AverageArguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Words(a) => make::words(a),
        Command::Texts(a) => make::texts(a),
        Command::Ask(a) => ask::run(a),
        Command::Set(a) => make::set(a),
        Command::Show(a) => look::show(a),
        Command::Compare(a) => look::compare(a),
        Command::Average(a) => look::average(a),
    }
}

/// What becomes of a profile that was made.
#[derive(Args, Debug)]
#[command(next_help_heading = "Keep it")]
pub(in crate::commands) struct KeepArgs {
    /// Write the profile as TOML, for --target and for another visa profile; a file of that name is replaced
    #[arg(long, short, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Its name, for the server's store: letters, digits, dots, hyphens and underscores
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where it comes from, in words, in place of what the command says of itself
    #[arg(long, value_name = "WORDS")]
    about: Option<String>,
}

/// Names profiles and writes the one there may be.
pub(in crate::commands) struct Keeper {
    args: KeepArgs,
    saved: RefCell<bool>,
}

impl Keeper {
    pub(in crate::commands) fn new(args: KeepArgs) -> Result<Self, Failure> {
        match &args.name {
            Some(name) if !is_name(name) => Err(usage(format!(
                "--name {name:?}: use up to {NAME_BYTES} letters, digits, dots, hyphens and underscores"
            ))),
            _ => Ok(Self {
                args,
                saved: RefCell::new(false),
            }),
        }
    }

    /// Gives the profile its name, and saves it when that is wanted.
    pub(in crate::commands) fn keep(&self, made: &mut NamedProfile) -> anyhow::Result<()> {
        if let Some(name) = &self.args.name {
            made.name.clone_from(name);
        }
        if let Some(about) = &self.args.about {
            made.about.clone_from(about);
        }
        let Some(path) = &self.args.save else {
            return Ok(());
        };
        if self.saved.replace(true) {
            anyhow::bail!(
                "--save {} keeps one profile, and this is the second; give one record, or leave --save out and use the output",
                path.display()
            );
        }
        write(path, made)
    }
}

fn write(path: &Path, made: &NamedProfile) -> anyhow::Result<()> {
    visa_nn::files::write_atomic(path, made.to_toml().as_bytes())
        .with_context(|| format!("--save {}", path.display()))
}

/// A profile as the output tells it: the store's members, and what only its making knows.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Made {
    #[serde(flatten)]
    pub(in crate::commands) profile: NamedProfile,
    /// Texts that bring every half width to the precision wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
}

impl Made {
    pub(in crate::commands) fn new(profile: NamedProfile) -> Self {
        Self {
            profile,
            needed: None,
            notice: None,
        }
    }
}

/// The profile for a person: name, bars, uncertainty and what there is to say.
pub(in crate::commands) fn view(style: &Style, made: &Made) -> String {
    let mut out = head(style, &made.profile);
    let target = made.profile.target.clone().unwrap_or_default();
    out.push_str(&bars(style, &target, made.profile.uncertainty.as_ref()));
    if let Some(notice) = &made.notice {
        out.push_str(&format!("\n{}", paragraph(notice, 2, style.width)));
    }
    out
}

/// Name and origin, a line each, where there are any.
fn head(style: &Style, profile: &NamedProfile) -> String {
    let mut out = String::new();
    if !profile.name.is_empty() {
        out.push_str(&format!("  {}\n", style.paint(HEADING, &profile.name)));
    }
    if !profile.about.is_empty() {
        let words = paragraph(&printable(&profile.about), 2, style.width);
        for line in words.lines() {
            out.push_str(&format!("{}\n", style.paint(DIM, line)));
        }
    }
    out
}

fn bars(style: &Style, values: &Profile, uncertainty: Option<&Profile>) -> String {
    let values = Column {
        title: "value",
        numbers: values.as_array(),
        scale: 1.0,
    };
    match uncertainty {
        None => table(style, &NAMES, &[values], &[]),
        Some(half) => {
            let half = Column {
                title: "± (95 %)",
                numbers: half.as_array(),
                scale: 1.0,
            };
            table(style, &NAMES, &[values, half], &[])
        }
    }
}

/// Sets up the process and answers how text output looks.
fn begin(common: &Common, io: &IoArgs) -> Result<Style, Failure> {
    common.apply()?;
    let terminal = crate::output::is_terminal(&io.output);
    Ok(Style::new(
        common.color,
        io.format() == crate::args::Format::Text && terminal,
    ))
}

/// Says on stderr where the profile lies now.
pub(in crate::commands) fn say_saved(keeper: &Keeper, quiet: bool) {
    if let (Some(path), true, false) = (&keeper.args.save, *keeper.saved.borrow(), quiet) {
        note(&format!(
            "saved {path}; use it: visa rewrite --target {path}",
            path = path.display()
        ));
    }
}
