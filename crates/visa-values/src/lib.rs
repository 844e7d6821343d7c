//! The value theory as data: ten values, twenty categories, the circle, profiles, shifts, targets and metrics.
//!
//! What a text speaks is a [`Profile`]; what somebody wants of it is a [`Shift`] or a [`Target`]; how near the one came
//! to the other is in [`metrics`]. The ten values are Schwartz's and are compiled in; another theory is read from TOML
//! as a [`Theory`]. This crate does no I/O and knows no model: it never says *which* values a text speaks.

mod category;
mod circle;
mod error;
pub mod metrics;
mod names;
mod profile;
mod theory;
mod value;

pub use category::{Category, fold};
pub use circle::HigherOrder;
pub use error::ValueError;
pub use profile::{Profile, Shift, Target};
pub use theory::{Theory, TheoryProfile};
pub use value::{NAMES, Value};
