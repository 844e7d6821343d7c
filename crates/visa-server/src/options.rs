//! How a server is set up. The command line fills these in; each default is written here, once.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use visa_align::{Goal, RewriteOptions};

use crate::engine::EngineOptions;
use crate::keys::Keys;

/// Everything a server is told at its start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Keys that are let in; without any, everybody who reaches the address is.
    pub keys: Keys,
    /// Listen beyond this machine without a key.
    pub open: bool,
    /// Names under which the server is called, beside its address; a browser that was led here by another name is turned
    /// away.
    pub names: Vec<String>,
    /// Where chats are sent; without it a local model answers.
    pub upstream: Option<UpstreamOptions>,
    /// What the proxy does unless a request says otherwise.
    pub proxy: ProxyOptions,
    /// How rewrites are searched unless a request says otherwise.
    pub rewrite: RewriteOptions,
    /// The file that keeps named profiles; in memory when missing.
    pub profiles: Option<PathBuf>,
    /// The folder of trainings that the page follows; without it none are.
    pub runs: Option<PathBuf>,
    /// The models' threads and queues.
    pub engine: EngineOptions,
    /// What a request may cost.
    pub limits: Limits,
    /// Write texts into the log. Off: they are people's.
    pub log_bodies: bool,
    /// How long a stop waits for requests that were accepted.
    pub grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8400,
            keys: Keys::default(),
            open: false,
            names: Vec::new(),
            upstream: None,
            proxy: ProxyOptions::default(),
            rewrite: RewriteOptions::default(),
            profiles: None,
            runs: None,
            engine: EngineOptions::default(),
            limits: Limits::default(),
            log_bodies: false,
            grace: Duration::from_secs(30),
        }
    }
}

/// An OpenAI-compatible server.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Base address, such as `https://host/v1`.
    pub url: String,
    /// Its key. Without one, and without keys of our own, the caller's `Authorization` is passed on.
    pub key: Option<visa_align::Key>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the head of an answer, and between two pieces of it.
    pub idle_timeout: Duration,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// Most bytes of an answer that is held or measured.
    pub max_answer: usize,
}

impl UpstreamOptions {
    /// Defaults for an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            timeout: Duration::from_secs(600),
            max_answer: 4 << 20,
        }
    }
}

/// What happens to an answer that passes the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing leaves before the verdict; then the accepted rewrite, or the original.
    #[default]
    Hold,
    /// It passes as it comes, and its profile is told at the end.
    Audit,
    /// It passes untouched and unread.
    Off,
}

/// What the client gets when the rewriting itself fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The original, with the failure named beside it.
    #[default]
    Original,
    /// An error.
    Error,
}

/// Defaults of the proxy.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// What happens to answers.
    pub mode: Mode,
    /// What happens when rewriting fails.
    pub on_error: OnError,
    /// Where values go when a request does not say.
    pub goal: Option<Goal>,
    /// Longest time for the verdict on one answer.
    pub verdict_timeout: Duration,
    /// How often a client that waits in hold mode hears a comment.
    pub keep_alive: Duration,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Hold,
            on_error: OnError::Original,
            goal: None,
            verdict_timeout: Duration::from_secs(120),
            keep_alive: Duration::from_secs(5),
        }
    }
}

/// What a request may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of a body.
    pub body: usize,
    /// Deepest nesting of JSON.
    pub depth: usize,
    /// Most records of a list.
    pub records: usize,
    /// Most texts of a list that is to be rewritten.
    pub rewrites: usize,
    /// Most messages of a chat.
    pub messages: usize,
    /// Requests answered at once; more are turned away.
    pub requests: usize,
    /// Connections open at once; more wait to be accepted.
    pub connections: usize,
    /// Longest time for the head and the body of a request to arrive.
    pub receive: Duration,
    /// Longest time for an answer that no other limit bounds.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            depth: 64,
            records: 1024,
            rewrites: 32,
            messages: 2048,
            requests: 512,
            connections: 2048,
            receive: Duration::from_secs(30),
            answer: Duration::from_secs(300),
        }
    }
}
