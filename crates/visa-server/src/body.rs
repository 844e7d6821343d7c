//! Bodies of requests: read within limits, one record or a list of them, answers in their order.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use visa_align::record::{WithError, WithId};

use crate::app::{App, Shared};
use crate::error::ApiError;
use crate::options::Limits;

/// The bytes of a JSON body.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl FromRequest<Shared> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        // A page of another site can send any body but not this type without asking first, and asking is refused.
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "the body must be JSON; send content-type: application/json",
            ));
        }
        let limits = &app.options.limits;
        let read = read(request.into_body(), limits);
        let bytes = tokio::time::timeout(limits.receive, read)
            .await
            .map_err(|_| {
                ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the body did not arrive in time",
                )
            })??;
        let depth = visa_wire::raw::depth(&bytes);
        if depth > limits.depth {
            return Err(ApiError::bad(format!(
                "the JSON nests {depth} deep and the limit is {}",
                limits.depth
            )));
        }
        if app.options.log_bodies {
            tracing::info!(body = %String::from_utf8_lossy(&bytes), "request body");
        }
        Ok(Self(bytes))
    }
}

async fn read(body: Body, limits: &Limits) -> Result<Bytes, ApiError> {
    match Limited::new(body, limits.body).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::too_large(format!(
                "the body has more than the {} bytes allowed; send it in parts",
                limits.body
            )))
        }
        Err(error) => Err(ApiError::bad(format!("the body broke off: {error}"))),
    }
}

impl JsonBytes {
    /// The body as one value.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.0).map_err(|e| ApiError::bad(format!("the body: {e}")))
    }
}

/// One record with its id, or why it is none.
pub(crate) type Row<T> = (Value, Result<T, ApiError>);

/// One record or a list of them.
pub(crate) struct Records<T> {
    pub(crate) rows: Vec<Row<T>>,
    pub(crate) list: bool,
}

impl<T: DeserializeOwned> Records<T> {
    /// Reads one object, or a list of at most `most`. Records without an id are numbered from 1.
    pub(crate) fn parse(body: &JsonBytes, most: usize) -> Result<Self, ApiError> {
        let value: Value = body.parse()?;
        let (values, list) = match value {
            Value::Array(values) => (values, true),
            other => (vec![other], false),
        };
        if values.len() > most {
            return Err(ApiError::too_large(format!(
                "the list has {} records and the limit is {most}; send it in parts",
                values.len()
            )));
        }
        let rows = values.into_iter().enumerate().map(|(i, v)| row(i, v));
        Ok(Self {
            rows: rows.collect(),
            list,
        })
    }
}

fn row<T: DeserializeOwned>(index: usize, value: Value) -> Row<T> {
    let number = Value::from(index + 1);
    let Value::Object(mut object) = value else {
        return (number, Err(ApiError::bad("a record is one JSON object")));
    };
    let id = match object.remove("id") {
        Some(Value::Null) | None => number,
        Some(given) => given,
    };
    let record = serde_json::from_value(Value::Object(object)).map_err(ApiError::bad);
    (id, record)
}

impl<T> Records<T> {
    /// Lets `work` answer the good records, one answer each, in order, and puts everything in its place: an object
    /// for an object, whose failure is the answer's failure; a list for a list, where a failure stays in its place.
    pub(crate) async fn answer<R: Serialize>(
        self,
        app: &App,
        work: impl AsyncFnOnce(Vec<T>) -> Result<Vec<Result<R, ApiError>>, ApiError>,
    ) -> Result<Response, ApiError> {
        let mut good = Vec::new();
        let mut slots = Vec::with_capacity(self.rows.len());
        for (id, record) in self.rows {
            match record {
                Ok(record) => {
                    good.push(record);
                    slots.push((id, None));
                }
                Err(error) => slots.push((id, Some(error))),
            }
        }
        let count = good.len();
        let mut done = if good.is_empty() {
            Vec::new()
        } else {
            work(good).await?
        }
        .into_iter();
        if done.len() != count {
            return Err(ApiError::internal("the models gave too few answers"));
        }
        let results = slots.into_iter().filter_map(|(id, error)| match error {
            Some(error) => Some((id, Err(error))),
            None => done.next().map(|result| (id, result)),
        });
        let mut values = Vec::new();
        for (id, result) in results {
            let value = match result {
                Ok(result) => serde_json::to_value(WithId {
                    id: &id,
                    result: &result,
                }),
                Err(error) if self.list => serde_json::to_value(WithError {
                    id: &id,
                    error: &error.message,
                }),
                Err(error) => return Err(error),
            };
            values.push(value.map_err(ApiError::internal)?);
        }
        let answer = match values.pop() {
            Some(value) if !self.list => value,
            last => {
                values.extend(last);
                Value::Array(values)
            }
        };
        if app.options.log_bodies {
            tracing::info!(body = %answer, "answer body");
        }
        Ok(axum::Json(answer).into_response())
    }
}
