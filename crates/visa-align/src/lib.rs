//! Detector, translator, consistency checker, rewriter backends and the closed loop.
//!
//! The product side of the method: a text goes in, its values are read ([`Detector`]), an instruction becomes a shift
//! ([`Translator`]), a [`Backend`] proposes rewrites, detector and [`Checker`] judge them, and the [`Loop`] accepts the
//! best, asks again, or answers the original with the reason. Nothing here trains, and nothing here prints.

pub mod acts;
pub mod backend;
pub mod checker;
pub mod detector;
pub mod embedded;
pub mod endpoint;
pub mod error;
pub mod format;
pub mod head;
#[cfg(test)]
mod journeys;
pub mod models;
pub mod person;
pub mod record;
pub mod rewrite;
pub mod sense;
pub mod shield;
#[doc(hidden)]
pub mod testing;
pub mod translator;
mod trunk;
mod windows;

pub use acts::Acts;
pub use backend::{Backend, Consistent, Proposal, Sensible, Values};
pub use checker::Checker;
pub use detector::{DetectOptions, Detection, Detector, Span, Text};
pub use embedded::{EmbeddedBackend, EmbeddedOptions};
pub use endpoint::{EndpointBackend, EndpointError, EndpointOptions, Key, Prompt};
pub use error::{AlignError, Result};
pub use models::{Models, Part};
pub use person::NamedProfile;
pub use rewrite::{
    Acceptance, Cancel, Goal, Judged, Loop, Outcome, OutcomeKind, Progress, RewriteOptions,
    RewriteRequest,
};
pub use sense::Sense;
pub use translator::{Notice, Translation, Translator, explicit};
pub use trunk::Trunk;
