//! `visa completions SHELL`: the completion script on standard output.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Failure;
use crate::output;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The shell; for bash: visa completions bash > ~/.local/share/bash-completion/completions/visa
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "visa", &mut script);
    output::open("-", "-")?;
    output::write(&String::from_utf8_lossy(&script))
}
