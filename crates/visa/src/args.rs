//! The groups of arguments that commands share, each default written once, here.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use visa_nn::WeightType;

use crate::exit::{Failure, usage};

/// Settings of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "General")]
pub(crate) struct Common {
    /// Settings in TOML: `option = value` for all commands, `[command]` tables for one; flags and VISA_* variables win
    #[arg(long, value_name = "FILE", env = "VISA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Seed of everything random: the same seed gives the same bytes on the same machine
    #[arg(long, value_name = "N", env = "VISA_SEED", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Threads to compute with; 0 takes every core the process may use
    #[arg(long, value_name = "N", env = "VISA_THREADS", default_value_t = 0)]
    pub(crate) threads: usize,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", env = "VISA_DEVICE", default_value = "cpu", value_parser = parse_device)]
    pub(crate) device: Device,
    /// Colours and marks in text output
    #[arg(long, value_name = "WHEN", env = "VISA_COLOR", value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// No progress, no notices: only results and errors
    #[arg(long, short, env = "VISA_QUIET", value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) quiet: bool,
}

impl Common {
    /// Sets up what the whole process shares: diagnostics and the thread pool.
    ///
    /// # Errors
    /// A device this build cannot use, or a thread pool that cannot start.
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        let filter = self.filter("warn");
        // A second call in one process keeps the first subscriber.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .without_time()
            .with_target(false)
            .try_init();
        self.compute()
    }

    /// As [`Self::apply`] for a command that stays: its log tells what it answers, with the time, as text or JSON.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) fn apply_staying(&self, json: bool) -> Result<(), Failure> {
        let log = tracing_subscriber::fmt()
            .with_env_filter(self.filter("info"))
            .with_writer(std::io::stderr);
        let _ = if json {
            log.json().flatten_event(true).try_init()
        } else {
            log.with_target(false).try_init()
        };
        self.compute()
    }

    fn filter(&self, level: &str) -> tracing_subscriber::EnvFilter {
        let level = if self.quiet { "error" } else { level };
        tracing_subscriber::EnvFilter::try_from_env("VISA_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level))
    }

    fn compute(&self) -> Result<(), Failure> {
        visa_kernels::isa::choose().map_err(usage)?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build_global()
            .map_err(|e| usage(format!("--threads {}: {e}", self.threads)))?;
        if let Device::Cuda(n) = self.device {
            return Err(Failure::Model(anyhow::anyhow!(
                "--device cuda:{n}: this build computes on the CPU only; use --device cpu"
            )));
        }
        Ok(())
    }
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Cuda(usize),
}

fn parse_device(text: &str) -> Result<Device, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", n)) => n
            .parse()
            .map(Device::Cuda)
            .map_err(|_| format!("{n:?} is no device number")),
        _ => Err("expected cpu, cuda or cuda:N".into()),
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Which model to use.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelArgs {
    /// A models folder, the folder of one model, or a hub id `owner/name`; without it the usual places are searched
    #[arg(long, value_name = "DIR|HUB-ID", env = "VISA_MODEL")]
    pub(crate) model: Option<String>,
    /// In what the models compute: auto takes bf16 where the processor multiplies it, else f32; int8 is fastest on
    /// processors that multiply bytes, and moves values by about 0.01
    #[arg(long, value_name = "TYPE", env = "VISA_WEIGHTS", value_enum, default_value_t = Weights::Auto)]
    pub(crate) weights: Weights,
}

/// In what models hold their weights and multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weights {
    Auto,
    F32,
    Bf16,
    Int8,
}

impl ModelArgs {
    /// Decides where models are looked for.
    pub(crate) fn find(&self) -> Result<visa_align::Models, Failure> {
        let models = visa_align::Models::find(self.model.as_deref()).map_err(crate::exit::model)?;
        Ok(match self.weights {
            Weights::Auto => models,
            Weights::F32 => models.with_weights(WeightType::F32),
            Weights::Bf16 => models.with_weights(WeightType::Bf16),
            Weights::Int8 => models.with_weights(WeightType::Int8),
        })
    }
}

/// Where records come from and go to.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input and output")]
pub(crate) struct IoArgs {
    /// A file to read, - for standard input
    #[arg(
        long,
        short,
        value_name = "FILE|-",
        env = "VISA_INPUT",
        default_value = "-",
        hide_default_value = true
    )]
    pub(crate) input: String,
    /// How to read it: auto takes JSON Lines when the name says so or the first character is {, else one whole text
    #[arg(long, value_name = "KIND", env = "VISA_INPUT_FORMAT", value_enum, default_value_t = InputFormat::Auto)]
    pub(crate) input_format: InputFormat,
    /// A file to write, - for standard output
    #[arg(
        long,
        short,
        value_name = "FILE|-",
        env = "VISA_OUTPUT",
        default_value = "-",
        hide_default_value = true
    )]
    pub(crate) output: String,
    /// Form of the results [default: text on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORM", env = "VISA_FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
    /// What a bad record does: stop there, or skip it, leaving {"id", "error"} in its place
    #[arg(long, value_name = "WHAT", env = "VISA_ON_ERROR", value_enum, default_value_t = OnError::Stop)]
    pub(crate) on_error: OnError,
}

impl IoArgs {
    /// The form of the results, decided by the terminal when the caller did not.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or_else(|| default_format(&self.output))
    }
}

/// Text for a person at a terminal, JSON Lines for a program.
pub(crate) fn default_format(output: &str) -> Format {
    if crate::output::is_terminal(output) {
        Format::Text
    } else {
        Format::Jsonl
    }
}

/// How to read an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// JSON Lines when the name ends in .jsonl, .ndjson or .json, or the first character is {
    Auto,
    /// One JSON object a line
    Jsonl,
    /// The whole input is one text
    Text,
}

/// The form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One document: an object for one text, an array for JSON Lines
    Json,
    /// One object a line
    Jsonl,
}

/// What a bad record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    Stop,
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        assert_eq!(parse_device("cpu"), Ok(Device::Cpu));
        assert_eq!(parse_device("cuda"), Ok(Device::Cuda(0)));
        assert_eq!(parse_device("cuda:3"), Ok(Device::Cuda(3)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1"] {
            assert!(parse_device(wrong).is_err(), "{wrong}");
        }
    }
}
