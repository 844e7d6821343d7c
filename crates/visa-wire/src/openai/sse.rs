//! Server-sent events, as WHATWG specifies them: bytes in, events out, in whatever pieces the network cuts.
//!
//! Only `event` and `data` are kept; `id`, `retry` and comments are skipped.

use super::WireError;

/// Most bytes of one event: a chat delta is a few hundred bytes, so a megabyte without an end is no event stream.
pub const MAX_EVENT: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty for the unnamed events of the chat format.
    pub name: String,
    /// Its data, lines joined by a line feed.
    pub data: String,
}

/// An incremental parser.
#[derive(Debug, Default)]
pub struct SseParser {
    /// Bytes of the line being read.
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed next belongs to it.
    after_cr: bool,
    /// A byte-order mark may only come first.
    started: bool,
    event: Event,
    has_data: bool,
}

impl SseParser {
    /// A parser at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and answers the events they complete.
    ///
    /// # Errors
    /// [`WireError::EventTooLong`]; the parser is then of no further use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, WireError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let joined_feed = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            if joined_feed {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                events.extend(self.end_line());
            } else {
                self.line.push(byte);
            }
            if self.line.len() + self.event.data.len() > MAX_EVENT {
                return Err(WireError::EventTooLong { limit: MAX_EVENT });
            }
        }
        Ok(events)
    }

    /// The stream ended: an event that lacks its final blank line is given up by the specification, but some servers
    /// omit it after `[DONE]`, so it is answered here and the caller decides.
    pub fn finish(mut self) -> Option<Event> {
        let last = if self.line.is_empty() {
            None
        } else {
            self.end_line()
        };
        last.or_else(|| self.dispatch())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if !self.started {
            self.started = true;
            if let Some(rest) = line.strip_prefix('\u{feff}') {
                line = rest.to_string();
            }
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "event" => self.event.name = value.to_string(),
            // Comments (an empty field name), `id`, `retry` and fields of the future.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}
