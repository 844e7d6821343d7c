//! The one error of this crate: what was wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong while loading, running or saving a model.
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
    /// A configuration file is malformed or asks for something not built here.
    #[error("{path}: {detail}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, and what to do.
        detail: String,
    },
    /// A safetensors file is truncated or otherwise not whole.
    #[error(
        "{path}: not a whole safetensors file ({detail}); copy or download it again",
        path = path.display()
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        detail: String,
    },
    /// A tensor the model needs is not in the file.
    #[error(
        "{path}: tensor `{name}` is missing; the file does not belong to this config.json or is of another architecture",
        path = path.display()
    )]
    MissingTensor {
        /// The file that was read.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "{path}: tensor `{name}` has shape {got:?}, expected {expected:?}; the file does not belong to this config.json",
        path = path.display()
    )]
    Shape {
        /// The file that was read.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor is stored in a type that is not read here.
    #[error(
        "{path}: tensor `{name}` is stored as {dtype}; convert it to f32, f16 or bf16",
        path = path.display()
    )]
    Dtype {
        /// The file that was read.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type in the file.
        dtype: String,
    },
    /// A tokenizer file is malformed, or a text could not be encoded.
    #[error("{path}: {detail}", path = path.display())]
    Tokenizer {
        /// The tokenizer's file, or a name for one that was trained here.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
    /// The tokenizer makes ids for which the model has no embedding.
    #[error(
        "{path}: token {token:?} has id {id}, but the model has {rows} embedding rows; use the tokenizer.json that was saved with the model",
        path = path.display()
    )]
    Vocabulary {
        /// The tokenizer's file.
        path: PathBuf,
        /// The first token that does not fit.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A chat template is malformed or refused the messages.
    #[error("{path}: chat template: {detail}", path = path.display())]
    Template {
        /// The file the template came from.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
    /// An adapter does not fit its model.
    #[error("{path}: {detail}", path = path.display())]
    Adapter {
        /// The adapter's file.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
    /// An argument is out of range.
    #[error("{0}")]
    Input(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn config(path: &Path, detail: impl Into<String>) -> Self {
        Self::Config {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }

    /// A JSON file of a model that does not parse.
    pub(crate) fn not_json(path: &Path, cause: serde_json::Error) -> Self {
        Self::config(
            path,
            format!("not valid JSON: {cause}; the file is damaged, fetch the model again"),
        )
    }

    pub(crate) fn tokenizer(path: &Path, detail: impl ToString) -> Self {
        Self::Tokenizer {
            path: path.to_path_buf(),
            detail: detail.to_string(),
        }
    }

    pub(crate) fn adapter(path: &Path, detail: impl Into<String>) -> Self {
        Self::Adapter {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }
}
