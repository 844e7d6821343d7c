//! How long to try, what to accept, and who proposes.

use std::time::Duration;

use clap::{Args, ValueEnum};
use visa_align::{EmbeddedOptions, EndpointBackend, EndpointOptions, Prompt, RewriteOptions};

use crate::exit::{Failure, usage};

/// How long to try, and what to accept.
#[derive(Args, Debug)]
#[command(next_help_heading = "Search")]
pub(in crate::commands) struct SearchArgs {
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
    pub(in crate::commands) temperature: f64,
}

impl SearchArgs {
    pub(in crate::commands) fn options(&self, seed: u64) -> Result<RewriteOptions, Failure> {
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

/// A language model elsewhere in place of the embedded one.
#[derive(Args, Debug)]
#[command(next_help_heading = "Endpoint")]
pub(in crate::commands) struct EndpointArgs {
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

impl EndpointArgs {
    pub(in crate::commands) fn options(
        self,
        temperature: f64,
    ) -> Result<Option<EndpointOptions>, Failure> {
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
