//! `visa doctor`: what hardware, models and settings were found, whether they work, and what to do about it.
//!
//! Every model is loaded and asked once, because a file that is there is not yet a model that answers.

mod show;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Command, CommandFactory};
use serde::Serialize;
use visa_align::embedded::Writer;
use visa_align::{Checker, Detector, Models, Part, Sense, Sensible, Text, Translator, Trunk};

use crate::args::{Common, Format, ModelArgs, default_format};
use crate::cli::Cli;
use crate::exit::{Failure, INPUT, MODEL};
use crate::output;
use crate::settings::{Setting, Settings, unknown};
use crate::view::Style;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Form of the report [default: text on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORM", env = "VISA_FORMAT", value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

/// Everything found.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    system: System,
    places: Vec<PlaceReport>,
    models: Vec<ModelReport>,
    endpoint: Endpoint,
    settings_file: Option<PathBuf>,
    settings: Vec<Setting>,
    advice: Vec<String>,
    ok: bool,
    #[serde(skip)]
    code: u8,
}

#[derive(Serialize)]
struct System {
    os: &'static str,
    arch: &'static str,
    cpu: Option<String>,
    /// The instruction set in use, or why none could be chosen.
    isa: Result<String, String>,
    bf16: bool,
    cores: usize,
    memory_bytes: Option<u64>,
    available_bytes: Option<u64>,
}

#[derive(Serialize)]
struct PlaceReport {
    path: PathBuf,
    reason: &'static str,
    exists: bool,
}

#[derive(Serialize)]
struct ModelReport {
    name: &'static str,
    path: Option<PathBuf>,
    bytes: u64,
    problem: Option<String>,
    /// Seconds to load it and get one answer.
    seconds: Option<f64>,
}

#[derive(Serialize)]
struct Endpoint {
    url: Option<String>,
    model: Option<String>,
    /// The variable that holds a key; never the key.
    key_variable: Option<&'static str>,
}

/// Variables that are not options.
const OTHER_VARIABLES: [&str; 6] = [
    "VISA_MODELS",
    "VISA_LOG",
    "VISA_ISA",
    "VISA_API_KEY",
    "VISA_CI_TOOLS",
    "VISA_PYTHON",
];

pub(crate) fn run(arguments: Arguments, settings: &Settings) -> Result<(), Failure> {
    let Arguments {
        format,
        model: which,
        common,
    } = arguments;
    let report = examine(&which, settings);
    let text = match format.unwrap_or_else(|| default_format("-")) {
        Format::Text => show::report(&Style::new(common.color, output::is_terminal("-")), &report),
        Format::Json => to_text(serde_json::to_string_pretty(&report))?,
        Format::Jsonl => to_text(serde_json::to_string(&report))?,
    };
    output::open("-", "-")?;
    output::write(&text)?;
    match report.code {
        0 => Ok(()),
        MODEL => Err(Failure::Model(anyhow::anyhow!(
            "the models are not complete; see the advice above"
        ))),
        _ => Err(Failure::Input(anyhow::anyhow!(
            "the settings are not usable; see the advice above"
        ))),
    }
}

fn to_text(json: serde_json::Result<String>) -> Result<String, Failure> {
    json.map(|t| t + "\n").map_err(|e| Failure::Input(e.into()))
}

fn examine(which: &ModelArgs, settings: &Settings) -> Report {
    let mut advice = Vec::new();
    let system = system();
    let mut code = 0;
    if let Err(problem) = &system.isa {
        advice.push(problem.clone());
        code = INPUT;
    } else if system.isa.as_deref() == Ok("portable") && cfg!(target_arch = "x86_64") {
        advice.push("the processor offers no AVX2, or VISA_ISA forbids it: expect everything to be several times slower".into());
    }
    if system.available_bytes.is_some_and(|b| b < 512 << 20) {
        advice.push("less than 512 MB of memory is available: stop other programs first".into());
    }
    let (places, models) = match which.find() {
        Ok(found) if code == 0 => (places(&found), models(&found)),
        Ok(found) => (places(&found), Vec::new()),
        Err(failure) => {
            if let Failure::Model(e) = failure {
                advice.push(format!("{e:#}"));
            }
            code = MODEL;
            (Vec::new(), Vec::new())
        }
    };
    let endpoint = endpoint(settings);
    for model in &models {
        let Some(problem) = &model.problem else {
            continue;
        };
        advice.push(format!("{}: {problem}", model.name));
        code = MODEL;
    }
    if models.iter().any(|m| m.path.is_none()) {
        advice.push(
            "put the missing models into one of the places above, name their folder by --model or VISA_MODELS, or train them by `visa train`"
                .into(),
        );
    }
    if endpoint.url.is_some() && endpoint.key_variable.is_none() {
        advice.push("an endpoint is set and no key: set VISA_API_KEY if it wants one".into());
    }
    advice.extend(strange_variables());
    Report {
        version: env!("CARGO_PKG_VERSION"),
        system,
        places,
        models,
        endpoint,
        settings_file: settings.file.clone(),
        settings: settings.entries.clone(),
        ok: code == 0,
        advice,
        code,
    }
}

fn system() -> System {
    let isa = visa_kernels::isa::choose();
    System {
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        cpu: proc_field("/proc/cpuinfo", "model name"),
        bf16: isa.is_ok() && visa_kernels::isa::has_bf16(),
        isa: isa
            .map(|i| format!("{i:?}").to_lowercase())
            .map_err(|e| e.to_string()),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: kilobytes("MemTotal"),
        available_bytes: kilobytes("MemAvailable"),
    }
}

fn proc_field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn kilobytes(name: &str) -> Option<u64> {
    let field = proc_field("/proc/meminfo", name)?;
    field
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|k| k << 10)
}

fn places(models: &Models) -> Vec<PlaceReport> {
    models
        .places()
        .iter()
        .map(|p| PlaceReport {
            path: tidy(&p.path),
            reason: p.reason,
            exists: p.path.is_dir(),
        })
        .collect()
}

fn tidy(path: &std::path::Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn models(found: &Models) -> Vec<ModelReport> {
    let mut trunk = None;
    found
        .report()
        .into_iter()
        .map(|part| {
            let start = Instant::now();
            let problem = part
                .problem
                .or_else(|| try_out(found, part.part, &mut trunk).err());
            let seconds = problem.is_none().then(|| start.elapsed().as_secs_f64());
            let path = part.path.map(|p| tidy(&p));
            ModelReport {
                name: part.part.folder(),
                path,
                bytes: part.bytes,
                problem,
                seconds,
            }
        })
        .collect()
}

/// Loads a model and asks it once. The trunk comes first and is kept for those that stand on it.
fn try_out(found: &Models, part: Part, trunk: &mut Option<Trunk>) -> Result<(), String> {
    let text = |e: visa_align::AlignError| e.to_string();
    if trunk.is_none() {
        *trunk = Some(Trunk::find(found).map_err(text)?);
    }
    let Some(trunk) = trunk else { return Ok(()) };
    match part {
        Part::Detector => {
            let detector = Detector::find(found, trunk).map_err(text)?;
            detector
                .detect(&[Text::new("Safety comes first.")])
                .map(|_| ())
                .map_err(text)
        }
        Part::Translator => {
            let translator = Translator::find(found, trunk).map_err(text)?;
            translator
                .translate("more safety")
                .map(|_| ())
                .map_err(text)
        }
        Part::Nli => {
            let checker = Checker::find(found, trunk).map_err(text)?;
            checker
                .consistency(&[("It rains.", "It rains.")])
                .map(|_| ())
                .map_err(text)
        }
        Part::Sense => {
            let sense = Sense::find(found, trunk).map_err(text)?;
            sense
                .sense(&[("It rains", ", so that all is wet")])
                .map(|_| ())
                .map_err(text)
        }
        Part::Rewriter => Writer::find(found, trunk).map(|_| ()).map_err(text),
        // The judge is no part of the program's work, and is not reported.
        Part::Encoder | Part::JudgeDetector | Part::JudgeChecker => Ok(()),
    }
}

fn endpoint(settings: &Settings) -> Endpoint {
    let value = |name: &str| {
        settings
            .entries
            .iter()
            .find(|s| s.name == name)
            .map(|s| s.value.clone())
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    Endpoint {
        url: value("endpoint").or_else(|| variable("VISA_ENDPOINT")),
        model: value("endpoint-model").or_else(|| variable("VISA_ENDPOINT_MODEL")),
        key_variable: visa_align::endpoint::KEY_VARIABLES
            .into_iter()
            .find(|name| variable(name).is_some()),
    }
}

/// Variables that look like ours and mean nothing: most likely misspelt.
fn strange_variables() -> Vec<String> {
    let mut known: BTreeSet<String> = OTHER_VARIABLES.iter().map(|v| (*v).to_string()).collect();
    collect_variables(&Cli::command(), &mut known);
    let known: Vec<String> = known.into_iter().collect();
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("VISA_") && !known.contains(name))
        .map(|name| unknown("variable", &name, &known))
        .collect()
}

fn collect_variables(command: &Command, known: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        known.extend(
            argument
                .get_env()
                .and_then(|e| e.to_str())
                .map(str::to_string),
        );
    }
    for sub in command.get_subcommands() {
        collect_variables(sub, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_variable_that_doctor_knows() {
        let mut known = BTreeSet::new();
        collect_variables(&Cli::command(), &mut known);
        for name in [
            "VISA_SEED",
            "VISA_THREADS",
            "VISA_DEVICE",
            "VISA_MODEL",
            "VISA_CONFIG",
            "VISA_DATA",
        ] {
            assert!(known.contains(name), "{name}");
        }
    }
}
