//! `visa serve`: the commands over HTTP, and the proxy people put before their model.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use visa_align::Key;
use visa_server::{
    EngineOptions, Keys, Limits, Mode, OnError, ProxyOptions, ServerError, ServerOptions,
    UpstreamOptions, new_key,
};

use super::rewrite::{EndpointArgs, SearchArgs, default_goal};
use crate::args::{Common, ModelArgs};
use crate::exit::{Failure, model, note, usage};
use crate::interrupt;
use crate::output;
use crate::settings::Settings;

/// The variable that holds the upstream's key: a flag would show it to everybody who lists processes.
const UPSTREAM_KEY: &str = "VISA_UPSTREAM_KEY";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The port; 0 takes a free one
    #[arg(long, short, value_name = "N", env = "VISA_PORT", default_value_t = ServerOptions::default().port)]
    port: u16,
    /// The address to listen on; beyond this machine a key is needed
    #[arg(long, value_name = "ADDRESS", env = "VISA_HOST", default_value_t = ServerOptions::default().host)]
    host: IpAddr,
    /// Named profiles are kept in this SQLite file [default: visa/profiles.sqlite in the user's data]
    #[arg(long, value_name = "FILE", env = "VISA_PROFILES")]
    profiles: Option<PathBuf>,
    /// The folder of trainings that the page follows: each run's --out lies in it
    #[arg(long, value_name = "DIR", env = "VISA_RUNS")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

/// Who may ask.
#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// SHA-256 of a key that is let in, or name:digest; may be given several times
    #[arg(
        long,
        value_name = "DIGEST",
        env = "VISA_KEY_SHA256",
        value_delimiter = ','
    )]
    key_sha256: Vec<String>,
    /// Print a fresh key and its digest, and exit
    #[arg(long)]
    new_key: bool,
    /// Listen beyond this machine without a key
    #[arg(long, env = "VISA_OPEN", value_parser = clap::builder::BoolishValueParser::new())]
    open: bool,
    /// A name under which browsers may call this server, beside its address; may be given several times
    #[arg(
        long,
        value_name = "NAME",
        env = "VISA_SERVER_NAME",
        value_delimiter = ','
    )]
    server_name: Vec<String>,
}

/// Where chats go, and what becomes of their answers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Proxy")]
struct ProxyArgs {
    /// The OpenAI-compatible server behind this one, such as http://localhost:8000/v1; its key is read from VISA_UPSTREAM_KEY. Without it a local model answers
    #[arg(long, value_name = "URL", env = "VISA_UPSTREAM")]
    upstream: Option<String>,
    /// Longest wait for the upstream to say something, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "VISA_UPSTREAM_TIMEOUT",
        default_value_t = 120.0
    )]
    upstream_timeout: f64,
    /// The folder of a decoder that answers when there is no upstream [default: the rewriter]
    #[arg(long, value_name = "DIR", env = "VISA_LM")]
    lm: Option<PathBuf>,
    /// What happens to answers, unless a request says otherwise
    #[arg(long, value_name = "MODE", env = "VISA_MODE", value_enum, default_value_t = ModeArg::Hold)]
    mode: ModeArg,
    /// What the client gets when the rewriting itself fails
    #[arg(long, value_name = "WHAT", env = "VISA_ON_FAILURE", value_enum, default_value_t = FailureArg::Original)]
    on_failure: FailureArg,
    /// Whose values answers should speak when a request does not say, in plain words
    #[arg(long, value_name = "WORDS", env = "VISA_PERSONA")]
    persona: Option<String>,
    /// The profile they should speak: a file, JSON, or value=x
    #[arg(long, value_name = "FILE|JSON", env = "VISA_TARGET")]
    target: Option<String>,
    /// How far each value should move
    #[arg(long, value_name = "VALUE=±X", num_args = 1.., env = "VISA_SHIFT")]
    shift: Vec<String>,
    /// Longest time for the verdict on one answer, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "VISA_VERDICT_TIMEOUT",
        default_value_t = 120.0
    )]
    verdict_timeout: f64,
}

/// What may come together, and what is told of it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Requests answered at once; more are turned away with 429
    #[arg(long, value_name = "N", env = "VISA_REQUESTS", default_value_t = Limits::default().requests)]
    requests: usize,
    /// Requests that may wait for each model; more are turned away with 429
    #[arg(long, value_name = "N", env = "VISA_QUEUE", default_value_t = EngineOptions::default().queue)]
    queue: usize,
    /// Rewrites that may wait
    #[arg(long, value_name = "N", env = "VISA_REWRITE_QUEUE", default_value_t = EngineOptions::default().rewrite_queue)]
    rewrite_queue: usize,
    /// Rewrites that run at once
    #[arg(long, value_name = "N", env = "VISA_REWRITERS", default_value_t = EngineOptions::default().rewriters)]
    rewriters: usize,
    /// Most bytes of a request's body
    #[arg(long, value_name = "BYTES", env = "VISA_BODY_LIMIT", default_value_t = Limits::default().body)]
    body_limit: usize,
    /// How long a stop waits for requests that were accepted, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "VISA_GRACE",
        default_value_t = 30.0
    )]
    grace: f64,
    /// The log as text or as one JSON object a line, on stderr
    #[arg(long, value_name = "FORM", env = "VISA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Write the texts of requests and answers into the log
    #[arg(long, env = "VISA_LOG_BODIES", value_parser = clap::builder::BoolishValueParser::new())]
    log_bodies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// Nothing leaves before the verdict; then the accepted rewrite, or the original
    Hold,
    /// Answers pass as they come, and end with their profile
    Audit,
    /// Answers pass untouched and unread
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailureArg {
    /// The original, with the failure named beside it
    Original,
    /// An error
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(crate) fn run(arguments: Arguments, settings: &Settings) -> Result<(), Failure> {
    if arguments.access.new_key {
        let (key, digest) = new_key();
        output::open("-", "-")?;
        return output::write(&format!(
            "key     {key}\ndigest  {digest}\n\nGive the key to who may ask; start with --key-sha256 {digest}\n"
        ));
    }
    arguments
        .common
        .apply_staying(arguments.load.log_format == LogFormat::Json)?;
    let quiet = arguments.common.quiet;
    let models = arguments.model.find()?;
    let options = options(arguments, settings)?;
    let stop = interrupt::graceful();
    visa_server::run(options, &models, stop, |address| {
        if !quiet {
            note(&format!("listening on http://{address}"));
        }
    })
    .map_err(|error| match error {
        ServerError::Model(error) => model(error),
        ServerError::Open { .. } | ServerError::Option(_) => usage(error),
        other => Failure::Input(other.into()),
    })
}

fn options(arguments: Arguments, settings: &Settings) -> Result<ServerOptions, Failure> {
    let Arguments {
        port,
        host,
        profiles,
        runs,
        access,
        proxy,
        load,
        search,
        endpoint,
        common,
        ..
    } = arguments;
    let (goal, _) = default_goal(proxy.persona, proxy.target, proxy.shift, None, settings)?;
    let upstream = proxy
        .upstream
        .map(|url| -> Result<UpstreamOptions, Failure> {
            let mut upstream = UpstreamOptions::new(url);
            upstream.key = std::env::var(UPSTREAM_KEY)
                .ok()
                .filter(|k| !k.trim().is_empty())
                .map(|k| Key::new(k.trim()));
            upstream.idle_timeout = seconds("upstream-timeout", proxy.upstream_timeout)?;
            Ok(upstream)
        })
        .transpose()?;
    let temperature = search.temperature;
    Ok(ServerOptions {
        host,
        port,
        keys: Keys::parse(&access.key_sha256).map_err(usage)?,
        open: access.open,
        names: access.server_name,
        upstream,
        proxy: ProxyOptions {
            mode: match proxy.mode {
                ModeArg::Hold => Mode::Hold,
                ModeArg::Audit => Mode::Audit,
                ModeArg::Off => Mode::Off,
            },
            on_error: match proxy.on_failure {
                FailureArg::Original => OnError::Original,
                FailureArg::Error => OnError::Error,
            },
            goal,
            verdict_timeout: seconds("verdict-timeout", proxy.verdict_timeout)?,
            ..ProxyOptions::default()
        },
        rewrite: search.options(common.seed)?,
        profiles: profiles.or_else(default_profiles),
        runs,
        engine: EngineOptions {
            queue: load.queue,
            rewrite_queue: load.rewrite_queue,
            rewriters: load.rewriters,
            endpoint: endpoint.options(temperature)?,
            temperature,
            lm: proxy.lm,
        },
        limits: Limits {
            requests: load.requests,
            body: load.body_limit,
            ..Limits::default()
        },
        log_bodies: load.log_bodies,
        grace: seconds("grace", load.grace)?,
    })
}

fn seconds(name: &str, given: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(given).map_err(|e| usage(format!("--{name} {given}: {e}")))
}

/// The user's data folder, as for models.
fn default_profiles() -> Option<PathBuf> {
    visa_align::models::user_data_dir().map(|dir| dir.join("visa/profiles.sqlite"))
}
