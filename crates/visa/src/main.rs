//! The `visa` binary: one file a subcommand, under `commands`.
//!
//! The binary knows arguments, files and terminals. What is worth reusing lives in the libraries: no model, no score
//! and no loss is written here. Every command reads its settings through [`settings`], its records through [`batch`],
//! and says how it ended by [`exit::Failure`], which fixes the exit code.

mod args;
mod batch;
mod cli;
mod commands;
mod exit;
mod input;
mod interrupt;
mod output;
mod settings;
mod view;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: visa_kernels::startup::Allocator = visa_kernels::startup::Allocator;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<(), exit::Failure> {
    // Before any thread starts. A wrong VISA_ISA is reported by the commands that compute, and shown by the doctor.
    let _ = visa_kernels::startup::prepare();
    interrupt::install()?;
    let (cli, settings) = settings::parse(std::env::args_os().collect())?;
    cli.command.run(&settings)?;
    output::flush()?;
    Ok(())
}
