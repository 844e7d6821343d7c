//! What a client is told when something does not work: a status, a kind for programs, and words for people.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use visa_align::AlignError;

use crate::engine::EngineError;

/// An answer that is an error, in the shape OpenAI's clients know.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// For programs; also the metric's and the log's word.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// Seconds after which another try makes sense.
    pub(crate) retry_after: Option<u32>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl ToString) -> Self {
        Self {
            status,
            kind,
            message: message.to_string(),
            retry_after: None,
        }
    }

    /// The request makes no sense.
    pub(crate) fn bad(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(crate) fn too_large(message: impl ToString) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Something of ours failed.
    pub(crate) fn internal(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// As many requests as may are being answered.
    pub(crate) fn busy() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", EngineError::Busy)
        }
    }

    /// The error object, also for streams that have begun.
    pub(crate) fn body(&self) -> serde_json::Value {
        json!({"error": {"message": self.message, "type": self.kind, "code": self.kind, "param": null}})
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy => Self::busy(),
            EngineError::Stopping => Self {
                retry_after: Some(5),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error)
            },
            EngineError::Lost => Self::internal(error),
            EngineError::Timeout(_) => Self {
                retry_after: Some(5),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", error)
            },
            EngineError::Align(error) => error.into(),
        }
    }
}

impl From<AlignError> for ApiError {
    fn from(error: AlignError) -> Self {
        match &error {
            AlignError::Empty { .. }
            | AlignError::EmptyText { .. }
            | AlignError::Value(_)
            | AlignError::Record { .. }
            | AlignError::Option { .. } => Self::bad(error),
            AlignError::TooLong { .. } => Self::too_large(error),
            AlignError::Cancelled => EngineError::Stopping.into(),
            AlignError::Endpoint(_) => Self::new(StatusCode::BAD_GATEWAY, "endpoint", error),
            _ => {
                // Paths of model files are the operator's affair.
                tracing::error!(%error, "a model failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "model",
                    "a model failed on this text; the server's log says more",
                )
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Named(self.kind));
        response
    }
}

/// The kind of an error, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named(pub(crate) &'static str);

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Nobody may listen publicly without a key by accident.
    #[error(
        "{address} can be reached from other machines and no key is set; make one with `visa serve --new-key` and pass its digest by --key-sha256, or say --open if that is meant"
    )]
    Open {
        /// The address asked for.
        address: std::net::SocketAddr,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
    /// The port cannot be had.
    #[error("{address}: {source}; take another --port, or end what listens there")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store of profiles cannot be opened.
    #[error("{path}: {problem}; pass another --profiles FILE", path = path.display())]
    Profiles {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A model cannot be loaded.
    #[error(transparent)]
    Model(#[from] AlignError),
    /// Counters or threads cannot be set up.
    #[error("starting: {0}")]
    Start(String),
}
