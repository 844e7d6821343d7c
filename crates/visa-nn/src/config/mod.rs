//! Hugging Face `config.json` of the two architectures built here.
//!
//! Fields that change the computation are read or refused by name; all others
//! (dropout, initialiser notes, library versions) are ignored.

mod decoder;
mod encoder;

use std::path::Path;

use serde_json::Value as Json;

pub use decoder::DecoderConfig;
pub use encoder::EncoderConfig;

use crate::{Error, Result};

/// A parsed `config.json` with the path that its errors name.
struct Fields<'a> {
    path: &'a Path,
    json: serde_json::Map<String, Json>,
}

impl<'a> Fields<'a> {
    fn parse(text: &str, path: &'a Path) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(Json::Object(json)) => Ok(Self { path, json }),
            Ok(_) => Err(Error::config(path, "expected a JSON object")),
            Err(error) => Err(Error::not_json(path, error)),
        }
    }

    fn error(&self, detail: impl Into<String>) -> Error {
        Error::config(self.path, detail)
    }

    /// The field, unless absent or null.
    fn get(&self, name: &str) -> Option<&Json> {
        self.json.get(name).filter(|value| !value.is_null())
    }

    fn size(&self, name: &str) -> Result<usize> {
        self.size_or_none(name)?
            .ok_or_else(|| self.error(format!("field `{name}` is missing")))
    }

    fn size_or_none(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_u64() {
            // A width or count beyond 2^31 is a damaged file, and would only
            // fail later, in an allocation.
            Some(n) if n > 0 && n < 1 << 31 => Ok(Some(n as usize)),
            _ => Err(self.error(format!(
                "field `{name}` is {value}, expected a positive integer"
            ))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
            _ => Err(self.error(format!(
                "field `{name}` is {value}, expected a positive number"
            ))),
        }
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(value) => {
                Err(self.error(format!("field `{name}` is {value}, expected true or false")))
            }
        }
    }

    /// Refuses every value of a text field but the accepted ones; absent means
    /// the first of them.
    fn only(&self, name: &str, accepted: &[&str]) -> Result<()> {
        match self.get(name) {
            None => Ok(()),
            Some(Json::String(text)) if accepted.contains(&text.as_str()) => Ok(()),
            Some(value) => Err(self.error(format!(
                "field `{name}` is {value}, which is not supported; supported: {}",
                accepted.join(", ")
            ))),
        }
    }

    /// The architecture must be named, and be the expected one.
    fn model_type(&self, expected: &str, what: &str) -> Result<()> {
        match self.get("model_type") {
            Some(Json::String(text)) if text == expected => Ok(()),
            Some(value) => Err(self.error(format!(
                "model_type is {value}, but the {what} needs \"{expected}\"; choose a {expected} model"
            ))),
            None => Err(self.error(format!(
                "field `model_type` is missing; expected \"{expected}\""
            ))),
        }
    }

    /// A token id, or a list of them; absent means none.
    fn token_ids(&self, name: &str) -> Result<Vec<u32>> {
        let id = |value: &Json| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = match self.get(name) {
            None => Some(Vec::new()),
            Some(Json::Array(list)) => list.iter().map(id).collect(),
            Some(value) => id(value).map(|id| vec![id]),
        };
        ids.ok_or_else(|| {
            self.error(format!(
                "field `{name}` must be a token id or a list of token ids"
            ))
        })
    }
}
