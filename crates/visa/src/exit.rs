//! How a run ends: the exit codes of the contract, and the message that goes with each.

use std::io::Write;
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
    note(&words(error));
    code
}

/// Says something on stderr, which may be closed: that is no reason to fail.
pub(crate) fn note(message: &str) {
    let _ = writeln!(std::io::stderr(), "visa: {message}");
}

/// The whole chain of an error in one line; a cause that its error has told already is not told again.
pub(crate) fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Sorts errors of a step that loads models.
pub(crate) fn model(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Model(error.into())
}

/// Sorts errors of settings.
pub(crate) fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::Usage(anyhow::anyhow!("{message}"))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let check = |error: anyhow::Error, expected: &str| assert_eq!(words(&error), expected);
        check(
            anyhow!("a: no such file; fetch it").context("line 3"),
            "line 3: a: no such file; fetch it",
        );
        let told: anyhow::Result<()> =
            Err(anyhow!("no such file")).context("a: no such file; fetch it");
        check(told.expect_err("an error"), "a: no such file; fetch it");
    }
}
