//! Profiles from words, from texts, and by hand.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use visa_align::person::{PRECISION, TextsInput};
use visa_align::{Detector, NamedProfile, Text, Translation, Translator, Trunk, explicit};
use visa_values::{Profile, Target};

use super::{KeepArgs, Keeper, Made, begin, say_saved, view};
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record};
use crate::commands::detect::Lazy;
use crate::commands::not_empty;
use crate::exit::{Failure, model, usage};
use crate::view::progress::Counter;

#[derive(Args, Debug)]
pub(crate) struct WordsArguments {
    /// Who it is; without it --input is read
    words: Option<String>,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct WordsInput {
    persona: String,
}

impl Record for WordsInput {
    fn from_text(persona: String) -> anyhow::Result<Self> {
        Ok(Self { persona })
    }
}

pub(crate) fn words(arguments: WordsArguments) -> Result<(), Failure> {
    let WordsArguments {
        words,
        keep,
        model: which,
        io,
        common,
    } = arguments;
    let style = begin(&common, &io)?;
    let keeper = Keeper::new(keep)?;
    let mut translator = Lazy::new(|| {
        let models = which.find()?;
        let trunk = Trunk::find(&models).map_err(model)?;
        Translator::find(&models, &trunk).map_err(model)
    });
    batch::run(
        Job {
            io: &io,
            single: words.map(|persona| WordsInput { persona }),
            chunk: 64,
            progress: &|_| (),
        },
        |items: &[Item<WordsInput>]| {
            let mut results = Vec::with_capacity(items.len());
            for item in items {
                let persona = &item.record.persona;
                let translation =
                    match not_empty("persona", persona).and_then(|()| Ok(explicit(persona)?)) {
                        Ok(Some(shift)) => Ok(Translation {
                            shift,
                            notice: None,
                        }),
                        Ok(None) => translator.get()?.translate(persona).map_err(Into::into),
                        Err(e) => Err(e),
                    };
                results.push(translation.and_then(|t| {
                    let target = Target::from_shift(&Profile::zero(), &t.shift);
                    let mut made =
                        Made::new(NamedProfile::of(target.profile().clone(), persona.trim()));
                    made.notice = t.notice.map(|n| n.to_string());
                    keeper.keep(&mut made.profile)?;
                    Ok(made)
                }));
            }
            Ok(results)
        },
        |_, made| view(&style, made),
    )?;
    say_saved(&keeper, common.quiet);
    Ok(())
}

#[derive(Args, Debug)]
pub(crate) struct TextsArguments {
    /// Files of one person: each a text, or JSON Lines of {"text", "context"?}; without them --input is read, a person a line: {"texts"}
    files: Vec<PathBuf>,
    /// Half the width of the 95 % interval that every value should have, for the count of texts needed
    #[arg(long, value_name = "X", env = "VISA_PRECISION", default_value_t = PRECISION)]
    precision: f32,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

impl Record for TextsInput {
    /// Paragraphs of a whole text are its texts.
    fn from_text(text: String) -> anyhow::Result<Self> {
        let mut texts = vec![String::new()];
        for line in text.lines() {
            match texts.last_mut() {
                Some(last) if !line.trim().is_empty() => {
                    last.push_str(line);
                    last.push('\n');
                }
                Some(last) if last.is_empty() => {}
                _ => texts.push(String::new()),
            }
        }
        texts.retain(|t| !t.trim().is_empty());
        Ok(Self::new(texts.into_iter().map(Text::new)))
    }
}

pub(crate) fn texts(arguments: TextsArguments) -> Result<(), Failure> {
    let TextsArguments {
        files,
        precision,
        keep,
        model: which,
        io,
        common,
    } = arguments;
    let style = begin(&common, &io)?;
    if !(precision > 0.0 && precision <= 1.0) {
        return Err(usage(format!(
            "--precision is {precision}; give a number above 0 and at most 1"
        )));
    }
    let keeper = Keeper::new(keep)?;
    let single = if files.is_empty() {
        None
    } else {
        let mut texts = Vec::new();
        for file in &files {
            texts.extend(read(file).map_err(Failure::Input)?);
        }
        Some(TextsInput::new(texts))
    };
    let mut detector = Lazy::new(|| {
        let models = which.find()?;
        let trunk = Trunk::find(&models).map_err(model)?;
        Detector::find(&models, &trunk).map_err(model)
    });
    let counter = Counter::new(common.quiet || io.format() == Format::Text, "people");
    batch::run(
        Job {
            io: &io,
            single,
            chunk: 1,
            progress: &|done| counter.set(done),
        },
        |items: &[Item<TextsInput>]| {
            let detector = detector.get()?;
            Ok(items
                .iter()
                .map(|item| person(detector, &item.record, precision, &keeper))
                .collect())
        },
        |_, made| view(&style, made),
    )?;
    say_saved(&keeper, common.quiet);
    Ok(())
}

fn person(
    detector: &Detector,
    input: &TextsInput,
    precision: f32,
    keeper: &Keeper,
) -> anyhow::Result<Made> {
    let readings: Vec<Profile> = detector
        .detect(&input.texts()?)?
        .into_iter()
        .map(|d| d.profile)
        .collect();
    let found = input.person(&readings, precision)?;
    let mut made = Made::new(found.profile);
    made.needed = found.needed;
    made.notice = Some(found.notice);
    keeper.keep(&mut made.profile)?;
    Ok(made)
}

/// One file as texts: a line a text when it is JSON Lines, else one text.
fn read(path: &Path) -> anyhow::Result<Vec<Text>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.trim_start().starts_with('{');
    if !lines {
        if text.trim().is_empty() {
            bail!("{}: the file is empty", path.display());
        }
        return Ok(vec![Text::new(text)]);
    }
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}: line {}", path.display(), i + 1))
        })
        .collect()
}

#[derive(Args, Debug)]
pub(crate) struct SetArguments {
    /// Values from -1 to 1; those not named are 0
    #[arg(value_name = "VALUE=±X", required = true)]
    values: Vec<String>,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct SetInput {
    target: Profile,
}

impl Record for SetInput {
    fn from_text(text: String) -> anyhow::Result<Self> {
        Ok(Self {
            target: Profile::parse(&text)?,
        })
    }
}

pub(crate) fn set(arguments: SetArguments) -> Result<(), Failure> {
    let SetArguments {
        values,
        keep,
        io,
        common,
    } = arguments;
    let style = begin(&common, &io)?;
    let keeper = Keeper::new(keep)?;
    let target = Profile::parse(&values.join(", ")).map_err(usage)?;
    batch::run(
        Job {
            io: &io,
            single: Some(SetInput { target }),
            chunk: 1,
            progress: &|_| (),
        },
        |items: &[Item<SetInput>]| {
            Ok(items
                .iter()
                .map(|item| {
                    let target = item.record.target.clone();
                    let mut made = Made::new(NamedProfile::of(target, "set by hand"));
                    keeper.keep(&mut made.profile)?;
                    Ok(made)
                })
                .collect())
        },
        |_, made| view(&style, made),
    )?;
    say_saved(&keeper, common.quiet);
    Ok(())
}
