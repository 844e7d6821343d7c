//! The one error of this crate: what went wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

use crate::endpoint::EndpointError;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, AlignError>;

/// Everything that can go wrong between a text and its rewrite.
///
/// A rewrite that was *not accepted* is no error: it is the outcome
/// [`Outcome::kept_original`](crate::rewrite::Outcome), with its reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// No place that was looked at holds the model; `looked` lists them, one a line.
    #[error(
        "the {part} model was not found; looked at\n{looked}\npass --model DIR, or set VISA_MODELS to the folder that holds {part}/"
    )]
    ModelNotFound {
        /// The folder name of the missing part, such as `detector`.
        part: &'static str,
        /// The places looked at, one a line.
        looked: String,
    },
    /// A file of a model is missing, truncated, or says something this program cannot use.
    #[error("{}: {problem}", path.display())]
    ModelFile {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// A model named by hub id could not be fetched.
    #[error(
        "model {id} could not be fetched from the hub: {problem}; download it elsewhere and pass its folder by --model DIR"
    )]
    Hub {
        /// The hub id, `owner/name`.
        id: String,
        /// What the client said.
        problem: String,
    },
    /// The files of a model are there, but do not make a model.
    #[error("{0}")]
    Load(visa_nn::Error),
    /// The network code refused its input.
    #[error("{doing}: {source}")]
    Nn {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        source: visa_nn::Error,
    },
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A profile, shift or target is out of range.
    #[error(transparent)]
    Value(#[from] visa_values::ValueError),
    /// The score could not be computed.
    #[error(transparent)]
    Score(#[from] visa_score::ScoreError),
    /// The rewriting endpoint failed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The input is empty or only white space.
    #[error("the {what} is empty; give at least one word")]
    Empty {
        /// Which input: `text`, `persona`, …
        what: &'static str,
    },
    /// One text of a list is empty or only white space.
    #[error("text {number} is empty; give at least one word")]
    EmptyText {
        /// Its place, from 1.
        number: usize,
    },
    /// The input is longer than this program handles.
    #[error("the {what} has {size} bytes and the limit is {limit}; split it into parts")]
    TooLong {
        /// Which input.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A model gave a number that is not finite.
    #[error(
        "the {part} gave a number that is not finite for {text:?}; its weights are damaged or do not fit this version"
    )]
    NotFinite {
        /// The model.
        part: &'static str,
        /// The beginning of the text.
        text: String,
    },
    /// A record says too much or too little.
    #[error("{problem}")]
    Record {
        /// What is wrong, and the remedy.
        problem: &'static str,
    },
    /// A text is no profile file; the problem names line and cause.
    #[error("{problem}")]
    ProfileText {
        /// What is wrong.
        problem: String,
    },
    /// An option makes no sense.
    #[error("{option} is {given}, but must be {wanted}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was given.
        given: String,
        /// What is possible.
        wanted: &'static str,
    },
    /// The goal of a rewrite is a persona or instruction, and no translator was given.
    #[error(
        "an instruction in words needs the translator model; give a shift or a target instead, or install the model"
    )]
    NoTranslator,
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl AlignError {
    /// Whether a model could not be loaded (exit code 3 of the command line).
    pub fn is_model(&self) -> bool {
        matches!(
            self,
            Self::ModelNotFound { .. } | Self::ModelFile { .. } | Self::Load(_) | Self::Hub { .. }
        )
    }

    pub(crate) fn file(path: impl AsRef<Path>, problem: impl ToString) -> Self {
        Self::ModelFile {
            path: path.as_ref().to_path_buf(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn nn(doing: &'static str) -> impl FnOnce(visa_nn::Error) -> Self {
        move |source| Self::Nn { doing, source }
    }
}
