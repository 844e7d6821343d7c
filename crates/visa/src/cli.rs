//! The command line as a whole: which commands there are. Their arguments stand with them, in `commands`.

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, completions, data, detect, doctor, eval, lm, profile, rewrite, score, search, serve,
    train, translate,
};
use crate::exit::Failure;
use crate::settings::Settings;

/// Keep what an answer says; choose whose values it speaks.
///
/// visa reads which of ten basic human values a text speaks, takes whose values it should speak in plain words, and
/// rewrites the text so that its meaning stays and its values move, with the proof in numbers. Everything runs on this
/// machine unless an endpoint is named.
#[derive(Parser, Debug)]
#[command(
    name = "visa",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(after_help = "\
Exit codes: 0 done, 1 some input failed, 2 wrong usage, 3 a model could not be loaded, 130 interrupted.
Every option has a variable (--on-error: VISA_ON_ERROR) and can stand in a TOML file named by --config; `visa doctor`
shows what is set, and by whom.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Which values a text speaks, and where
    Detect(detect::Arguments),
    /// What an instruction or persona asks of the values
    Translate(translate::Arguments),
    /// How good a rewrite is: values, meaning, guards
    Score(score::Arguments),
    /// Rewrite a text to a persona, a target or a shift
    Rewrite(rewrite::Arguments),
    /// Answer over HTTP: the same commands, and a proxy for OpenAI-compatible clients
    Serve(serve::Arguments),
    /// Whose values: profiles from words, from a person's texts, from a questionnaire or by hand
    #[command(subcommand)]
    Profile(profile::Command),
    /// Whose values, found from choices between texts or from ratings
    Search(search::Arguments),
    /// Any decoder as a plain language model: generate or score
    #[command(subcommand)]
    Lm(lm::Command),
    /// Make training data from data sets
    #[command(subcommand)]
    Data(data::Command),
    /// Train the models from recipes
    #[command(subcommand)]
    Train(train::Command),
    /// Measure the models on data sets and on our own suites
    Eval(eval::Arguments),
    /// How fast everything runs here, beside what the machine could do at most
    Bench(bench::Arguments),
    /// What hardware, models and settings were found, with advice
    Doctor(doctor::Arguments),
    /// Completions for a shell
    Completions(completions::Arguments),
}

impl Command {
    pub(crate) fn run(self, settings: &Settings) -> Result<(), Failure> {
        match self {
            Command::Detect(a) => detect::run(a),
            Command::Translate(a) => translate::run(a),
            Command::Score(a) => score::run(a),
            Command::Rewrite(a) => rewrite::run(a, settings),
            Command::Serve(a) => serve::run(a, settings),
            Command::Profile(c) => profile::run(c),
            Command::Search(a) => search::run(a),
            Command::Lm(c) => lm::run(c),
            Command::Data(c) => data::run(c, settings),
            Command::Train(c) => train::run(c, settings),
            Command::Eval(a) => eval::run(a),
            Command::Bench(a) => bench::run(a),
            Command::Doctor(a) => doctor::run(a, settings),
            Command::Completions(a) => completions::run(&a),
        }
    }
}
