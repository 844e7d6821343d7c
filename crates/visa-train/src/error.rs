//! The one error of this crate: what was wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}; check that the path exists and is accessible", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A recipe is malformed or asks for something impossible.
    #[error("{path}: {detail}", path = path.display())]
    Recipe {
        /// The recipe, or the part of it.
        path: PathBuf,
        /// The field, and what to do.
        detail: String,
    },
    /// Training data is missing, malformed, or too little.
    #[error("{path}: {detail}", path = path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// The line where known, and what to do.
        detail: String,
    },
    /// A checkpoint is not whole, or belongs to another model or recipe.
    #[error("{path}: {detail}", path = path.display())]
    Checkpoint {
        /// The checkpoint's folder or file.
        path: PathBuf,
        /// What does not fit, and what to do.
        detail: String,
    },
    /// A trainable tensor never received a gradient.
    #[error(
        "tensor `{name}` received no gradient in the first {steps} steps; its layer is not part of the loss, freeze it or use it"
    )]
    NoGradient {
        /// The tensor.
        name: String,
        /// How long it was waited for.
        steps: u64,
    },
    /// A loss or a gradient is not finite.
    #[error(
        "step {step}: the {what} is {value}; lower the learning rate or resume from the checkpoint before with another seed"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// "loss" or "gradient norm".
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// The stop flag was raised; a checkpoint was written.
    #[error("interrupted at step {step}; the checkpoint is in {path}, run the same command to go on", path = path.display())]
    Interrupted {
        /// Steps done.
        step: u64,
        /// The checkpoint.
        path: PathBuf,
    },
    /// The stop flag was raised while data was being prepared; nothing half-done is left behind.
    #[error("interrupted while {doing}; run the same command to start that part again")]
    InterruptedEarly {
        /// What was under way.
        doing: &'static str,
    },
    /// An argument is out of range.
    #[error("{0}")]
    Input(String),
    /// A model could not be loaded, run or saved.
    #[error(transparent)]
    Model(#[from] visa_nn::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn data(path: &Path, detail: impl Into<String>) -> Self {
        Self::Data {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }

    pub(crate) fn checkpoint(path: &Path, detail: impl Into<String>) -> Self {
        Self::Checkpoint {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }

    pub(crate) fn recipe(path: &Path, detail: impl Into<String>) -> Self {
        Self::Recipe {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }

    /// Whether this is the stop flag's doing rather than a failure (exit code 130).
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted { .. } | Self::InterruptedEarly { .. }
        )
    }
}
