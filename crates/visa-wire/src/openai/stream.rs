//! A streamed answer, put together from its deltas.

use super::response::{content_of, index_of, parse_json, problem_of, text_of};
use super::{ChatResponse, Choice, Event, WireError};

/// Collects the deltas of a stream into a [`ChatResponse`].
#[derive(Debug, Default)]
pub struct StreamAssembler {
    choices: Vec<Choice>,
    model: Option<String>,
    done: bool,
}

impl StreamAssembler {
    /// An assembler with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event.
    ///
    /// # Errors
    /// [`WireError::Api`] when the server reports an error inside the stream, [`WireError::NotJson`] and its kin when
    /// an event is not a delta.
    pub fn push(&mut self, event: &Event) -> Result<(), WireError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let value = parse_json(data.as_bytes())?;
        if let Some(problem) = problem_of(&value) {
            return Err(WireError::Api(problem));
        }
        self.model = self.model.take().or_else(|| text_of(value.get("model")));
        let Some(deltas) = value.get("choices").and_then(|c| c.as_array()) else {
            // Usage and keep-alive chunks carry no choices.
            return Ok(());
        };
        for (place, delta) in deltas.iter().enumerate() {
            let index = index_of(delta).unwrap_or(place.min(1023));
            if self.choices.len() <= index {
                self.choices.resize_with(index + 1, Choice::default);
            }
            let choice = &mut self.choices[index];
            choice.index = index;
            if let Some(delta) = delta.get("delta") {
                choice.content.push_str(&content_of(delta.get("content")));
                if let Some(refusal) = text_of(delta.get("refusal")) {
                    choice.refusal.get_or_insert_default().push_str(&refusal);
                }
            }
            if let Some(reason) = text_of(delta.get("finish_reason")) {
                choice.finish_reason = Some(reason);
            }
        }
        Ok(())
    }

    /// Whether the server said that it is done.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes of answer so far.
    pub fn bytes(&self) -> usize {
        self.choices.iter().map(|c| c.content.len()).sum()
    }

    /// The answer, once the stream has ended.
    ///
    /// # Errors
    /// [`WireError::CutStream`] when neither `[DONE]` nor a finish reason for each choice came,
    /// [`WireError::NoText`] when it ended properly with nothing in it.
    pub fn finish(self) -> Result<ChatResponse, WireError> {
        let bytes = self.bytes();
        let closed =
            !self.choices.is_empty() && self.choices.iter().all(|c| c.finish_reason.is_some());
        if !self.done && !closed {
            return Err(WireError::CutStream { bytes });
        }
        if self
            .choices
            .iter()
            .all(|c| c.content.trim().is_empty() && c.refusal.is_none())
        {
            return Err(WireError::NoText);
        }
        Ok(ChatResponse {
            model: self.model,
            choices: self.choices,
            usage: None,
        })
    }
}
