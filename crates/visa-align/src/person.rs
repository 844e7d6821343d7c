//! A person's values: how they are come by, and the form in which files and the server's store keep them.
//!
//! A profile of a person comes from words (the [`Translator`](crate::Translator)), from the person's own texts
//! ([`estimate()`]), from answers to a [`questionnaire`], from choices between texts ([`preference`]), or by hand. What is kept is a [`NamedProfile`]: the same members
//! as TOML in a file and as JSON in the store. Nothing here runs a model or touches a file.

mod estimate;
mod named;
pub mod preference;
pub mod questionnaire;
mod texts;

pub use estimate::{Estimate, average, estimate};
pub use named::{NAME_BYTES, NamedProfile, is_name};
pub use texts::{PRECISION, TextsInput, TextsOutput};
