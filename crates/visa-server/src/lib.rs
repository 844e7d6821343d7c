//! VISA over HTTP: the native API, a proxy for OpenAI-compatible clients, and what other programs plug into.
//!
//! A shell around [`visa_align`]: it reads requests within limits, brings the texts of many requests together for the
//! models, and answers in the caller's format. What a good rewrite is, it does not decide. [`Server::bind`] takes the
//! port, [`Server::run`] answers until it is told to stop.
//!
//! Where things are: `routes` is the table of paths; `guard` is what every request passes (names, keys, room, headers,
//! counts, log); `engine` runs the models behind bounded queues; `native` is the API of our own, `proxy` the one of
//! OpenAI's clients, `plug` what other programs' clients speak; `runs` what trainings write; `assets` serves the files of
//! `web/app/`, which are compiled in.

mod app;
mod assets;
mod body;
mod engine;
mod error;
mod events;
mod guard;
mod keys;
mod metrics;
mod native;
mod options;
mod plug;
mod profiles;
mod proxy;
mod routes;
mod runs;
mod serve;

pub use engine::EngineOptions;
pub use error::ServerError;
pub use keys::{KeyError, Keys, new_key};
pub use options::{Limits, Mode, OnError, ProxyOptions, ServerOptions, UpstreamOptions};
pub use serve::{Server, run};
