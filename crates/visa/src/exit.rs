//! How a run ends: the exit codes of the contract, and the message that goes with each.

use std::process::ExitCode;

/// Why a command ended early. The variant decides the exit code; the message names place and remedy.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Some input failed: exit 1.
    Input(anyhow::Error),
    /// Wrong usage, or settings that make no sense: exit 2.
    Usage(anyhow::Error),
    /// A model could not be loaded: exit 3.
    Model(anyhow::Error),
    /// The argument parser ends the run: help and version on 0, wrong usage on 2.
    Arguments(clap::Error),
    /// Inputs failed and have been reported one by one already: exit 1.
    Reported,
    /// The caller asked to stop: exit 130.
    Interrupted,
    /// Whoever read our output has seen enough, which is success.
    BrokenPipe,
}

/// The exit code when some input failed.
pub(crate) const INPUT: u8 = 1;
/// The exit code for wrong usage.
pub(crate) const USAGE: u8 = 2;
/// The exit code when a model could not be loaded.
pub(crate) const MODEL: u8 = 3;
/// The exit code after an interrupt, as shells spell it: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

impl Failure {
    /// Prints what there is to say on stderr and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        // Lines finished before the failure belong to the reader.
        let flushed = crate::output::flush();
        let code = match self {
            Failure::Input(e) => say(&e, INPUT),
            Failure::Usage(e) => say(&e, USAGE),
            Failure::Model(e) => say(&e, MODEL),
            Failure::Arguments(e) => {
                let code = u8::try_from(e.exit_code()).unwrap_or(USAGE);
                // A closed terminal is no reason to change the code.
                let _ = e.print();
                code
            }
            Failure::Reported => INPUT,
            Failure::Interrupted => INTERRUPTED,
            Failure::BrokenPipe => 0,
        };
        match flushed {
            Err(Failure::Input(e)) if code == 0 => ExitCode::from(say(&e, INPUT)),
            _ => ExitCode::from(code),
        }
    }
}

fn say(error: &anyhow::Error, code: u8) -> u8 {
    eprintln!("visa: {error:#}");
    code
}

/// Sorts errors of a step that loads models.
pub(crate) fn model(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Model(error.into())
}

/// Sorts errors of settings.
pub(crate) fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::Usage(anyhow::anyhow!("{message}"))
}
