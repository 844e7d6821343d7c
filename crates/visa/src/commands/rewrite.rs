//! `visa rewrite`: the closed loop on a text, with the proof.

use std::time::Duration;

use clap::{Args, ValueEnum};
use visa_align::record::RewriteInput;
use visa_align::{
    Backend, Cancel, Checker, Detector, EmbeddedBackend, EmbeddedOptions, EndpointBackend,
    EndpointOptions, Goal, Loop, Models, Outcome, OutcomeKind, Progress, Prompt, RewriteOptions,
    RewriteRequest, Translator, Trunk,
};

use super::detect::Lazy;
use super::score::profiles;
use super::{goal, not_empty};
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record};
use crate::exit::{Failure, model, usage};
use crate::settings::{Origin, Settings};
use crate::view::wrap::paragraph;
use crate::view::{ADDED, HEADING, NEGATIVE, Style, diff, progress, words};

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

/// How long to try, and what to accept.
#[derive(Args, Debug)]
#[command(next_help_heading = "Search")]
pub(super) struct SearchArgs {
    /// Candidates a round
    #[arg(long, value_name = "N", env = "VISA_CANDIDATES", default_value_t = RewriteOptions::default().candidates)]
    candidates: usize,
    /// Rounds at most; each is told what gap remains
    #[arg(long, value_name = "N", env = "VISA_ROUNDS", default_value_t = RewriteOptions::default().rounds)]
    rounds: usize,
    /// Accept only above this consistency of meaning, 0 to 1
    #[arg(long, value_name = "X", env = "VISA_MIN_CONSISTENCY", default_value_t = RewriteOptions::default().acceptance.consistency)]
    min_consistency: f32,
    /// Accept from this share of the way to the target, 0 to 1
    #[arg(long, value_name = "X", env = "VISA_MIN_PROGRESS", default_value_t = RewriteOptions::default().acceptance.progress)]
    min_progress: f32,
    /// Sampling temperature; higher dares more
    #[arg(long, value_name = "X", env = "VISA_TEMPERATURE", default_value_t = EmbeddedOptions::default().temperature)]
    pub(super) temperature: f64,
}

/// A language model elsewhere in place of the embedded one.
#[derive(Args, Debug)]
#[command(next_help_heading = "Endpoint")]
pub(super) struct EndpointArgs {
    /// An OpenAI-compatible endpoint that proposes rewrites, such as http://localhost:8000/v1; the key is read from VISA_API_KEY or OPENAI_API_KEY
    #[arg(
        long = "endpoint",
        value_name = "URL",
        env = "VISA_ENDPOINT",
        requires = "name"
    )]
    url: Option<String>,
    /// The model's name there
    #[arg(
        long = "endpoint-model",
        id = "name",
        value_name = "NAME",
        env = "VISA_ENDPOINT_MODEL"
    )]
    name: Option<String>,
    /// How it is asked: the paper's three baselines
    #[arg(long, value_name = "KIND", env = "VISA_PROMPT", value_enum, default_value_t = PromptKind::Rules)]
    prompt: PromptKind,
    /// Longest wait for an answer, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "VISA_ENDPOINT_TIMEOUT",
        default_value_t = 180.0
    )]
    endpoint_timeout: f64,
    /// Further tries after a failure that may pass
    #[arg(
        long,
        value_name = "N",
        env = "VISA_ENDPOINT_RETRIES",
        default_value_t = 3
    )]
    endpoint_retries: u32,
    /// Requests in flight at once
    #[arg(
        long,
        value_name = "N",
        env = "VISA_ENDPOINT_PARALLEL",
        default_value_t = 4
    )]
    endpoint_parallel: usize,
    /// Ask for answers as event streams
    #[arg(long, env = "VISA_ENDPOINT_STREAM", value_parser = clap::builder::BoolishValueParser::new())]
    endpoint_stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PromptKind {
    /// One plain request
    Simple,
    /// Rules on what must stay
    Rules,
    /// Reason first, then rewrite
    Think,
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

impl SearchArgs {
    pub(super) fn options(&self, seed: u64) -> Result<RewriteOptions, Failure> {
        let share = |name: &str, x: f32| {
            if (0.0..=1.0).contains(&x) {
                Ok(x)
            } else {
                Err(usage(format!("--{name} is {x}; give a number from 0 to 1")))
            }
        };
        let count = |name: &str, n: usize, most: usize| {
            if (1..=most).contains(&n) {
                Ok(n)
            } else {
                Err(usage(format!("--{name} is {n}; give 1 to {most}")))
            }
        };
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(usage(format!(
                "--temperature is {}; give a number from 0 to 2",
                self.temperature
            )));
        }
        let mut options = RewriteOptions {
            candidates: count("candidates", self.candidates, 256)?,
            rounds: count("rounds", self.rounds, 100)?,
            seed,
            ..RewriteOptions::default()
        };
        options.acceptance.consistency = share("min-consistency", self.min_consistency)?;
        options.acceptance.progress = share("min-progress", self.min_progress)?;
        Ok(options)
    }
}

impl EndpointArgs {
    pub(super) fn options(self, temperature: f64) -> Result<Option<EndpointOptions>, Failure> {
        let Some((url, name)) = self.url.zip(self.name) else {
            return Ok(None);
        };
        let timeout = Duration::try_from_secs_f64(self.endpoint_timeout)
            .map_err(|e| usage(format!("--endpoint-timeout {}: {e}", self.endpoint_timeout)))?;
        let mut options = EndpointOptions::new(url, name);
        options.prompt = match self.prompt {
            PromptKind::Simple => Prompt::Simple,
            PromptKind::Rules => Prompt::Rules,
            PromptKind::Think => Prompt::Think,
        };
        options.timeout = timeout;
        options.retries = self.endpoint_retries;
        options.parallel = self.endpoint_parallel;
        options.temperature = temperature as f32;
        options.stream = self.endpoint_stream;
        // Wrong options are wrong usage, found before a model is loaded.
        EndpointBackend::new(options.clone()).map_err(usage)?;
        Ok(Some(options))
    }
}

/// The models of a run.
struct Tools {
    detector: &'static Detector,
    checker: Checker,
    translator: Option<Translator>,
    models: Models,
    trunk: Trunk,
    backend: Box<dyn Backend>,
}

impl Tools {
    fn load(
        models: &Models,
        endpoint: Option<EndpointOptions>,
        temperature: f64,
    ) -> Result<Self, Failure> {
        let trunk = Trunk::find(models).map_err(model)?;
        // The embedded rewriter reads values while it writes. Both live until the program ends, and so does this.
        let detector: &'static Detector =
            Box::leak(Box::new(Detector::find(models, &trunk).map_err(model)?));
        let backend: Box<dyn Backend> = match endpoint {
            Some(options) => Box::new(EndpointBackend::new(options).map_err(usage)?),
            None => {
                let mut backend = EmbeddedBackend::find(models, detector).map_err(model)?;
                backend.options.temperature = temperature;
                Box::new(backend)
            }
        };
        Ok(Self {
            detector,
            checker: Checker::find(models, &trunk).map_err(model)?,
            translator: None,
            models: models.clone(),
            trunk,
            backend,
        })
    }

    /// Loads what only this goal needs: words need the translator.
    fn prepare(&mut self, goal: &Goal) -> Result<(), Failure> {
        if self.translator.is_none() && matches!(goal, Goal::Instruction(_)) {
            let translator = Translator::find(&self.models, &self.trunk).map_err(model)?;
            self.translator = Some(translator);
        }
        Ok(())
    }

    fn rewrite(
        &mut self,
        request: &RewriteRequest,
        options: &RewriteOptions,
        say: &dyn Fn(String),
    ) -> anyhow::Result<Outcome> {
        let mut rewriting = Loop {
            values: self.detector,
            checker: &self.checker,
            translator: self.translator.as_ref(),
            backend: self.backend.as_mut(),
            options: options.clone(),
        };
        let outcome =
            rewriting.rewrite(request, &Cancel::new(), &mut |progress| match progress {
                Progress::Asking { round, of } => {
                    say(format!(
                        "round {} of {of}: {} candidates",
                        round + 1,
                        options.candidates
                    ));
                }
                Progress::Judged {
                    best: Some(best), ..
                } => {
                    say(format!(
                        "values {}",
                        words::progress(best.score.value.progress)
                    ));
                }
                _ => {}
            })?;
        Ok(outcome)
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
