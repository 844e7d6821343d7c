//! What can be wrong with values given from outside, in words that name place and remedy.

use thiserror::Error;

/// Why a value, profile, shift, target or theory was refused.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// No value, category or group has this name.
    #[error("unknown {what} \"{name}\"; {}", hint(.suggestion.as_deref(), .known))]
    Unknown {
        /// `value`, `category`, …
        what: &'static str,
        /// The name given.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
        /// All known names, comma separated.
        known: String,
    },
    /// A number is NaN or infinite.
    #[error("{what} of \"{name}\" is not a finite number; give one between {low} and {high}")]
    NotFinite {
        /// `profile` or `shift`.
        what: &'static str,
        /// The value's name.
        name: String,
        /// Smallest allowed.
        low: f32,
        /// Largest allowed.
        high: f32,
    },
    /// A number is outside its range.
    #[error("{what} of \"{name}\" is {got}; give a number between {low} and {high}")]
    OutOfRange {
        /// `profile` or `shift`.
        what: &'static str,
        /// The value's name.
        name: String,
        /// The number given.
        got: f32,
        /// Smallest allowed.
        low: f32,
        /// Largest allowed.
        high: f32,
    },
    /// A value is named twice.
    #[error("\"{name}\" is given twice in one {what}; give it once")]
    Twice {
        /// `profile`, `shift`, `theory`, …
        what: &'static str,
        /// The repeated name.
        name: String,
    },
    /// Text that is not `name=number, name=number`.
    #[error("cannot read \"{part}\" as name=number; write for example tradition=+0.8, power=-0.5")]
    Syntax {
        /// The part that could not be read, shortened.
        part: String,
    },
    /// The TOML of a theory cannot be read.
    #[error("theory: {message}")]
    Toml {
        /// The parser's words, with line and column.
        message: String,
    },
    /// The TOML of a theory can be read and makes no sense.
    #[error("theory \"{theory}\": {problem}")]
    Theory {
        /// The theory's name.
        theory: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// As many numbers as the theory has values are needed.
    #[error(
        "{what} has {got} numbers, the theory \"{theory}\" has {wanted} values; give one number for each"
    )]
    Length {
        /// `profile` or `shift`.
        what: &'static str,
        /// The theory's name.
        theory: String,
        /// Numbers given.
        got: usize,
        /// Values of the theory.
        wanted: usize,
    },
}

fn hint(suggestion: Option<&str>, known: &str) -> String {
    match suggestion {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known are {known}"),
    }
}
