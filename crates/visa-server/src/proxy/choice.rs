//! The texts inside an answer's choices: found, judged whether they may be touched, and put back, with everything else
//! left byte for byte.

use serde_json::Value;
use serde_json::value::RawValue;
use visa_wire::raw::{RawError, RawObject, raw_list};

/// Which of the two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

impl Kind {
    /// The path below the base address.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Chat => "chat/completions",
            Kind::Text => "completions",
        }
    }
}

/// What a choice holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Texts to be judged, in order: one, or those of the text parts.
    Texts(Vec<String>),
    /// Nothing that may be rewritten, and why.
    Untouched(&'static str),
}

/// Members of a message that repeat, or point into, the original text; a rewritten message cannot keep them.
const OF_THE_ORIGINAL: [&str; 4] = [
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "annotations",
];

/// A choice of a whole answer.
pub(crate) struct WholeChoice {
    pub(crate) index: usize,
    choice: RawObject,
    kind: Kind,
}

impl WholeChoice {
    pub(crate) fn parse(raw: &RawValue, place: usize, kind: Kind) -> Result<Self, RawError> {
        let choice = RawObject::parse(raw.get().as_bytes())?;
        let index = choice.value("index")?.and_then(|v| v.as_u64());
        Ok(Self {
            index: index.and_then(|i| usize::try_from(i).ok()).unwrap_or(place),
            choice,
            kind,
        })
    }

    /// The texts, or why they stay as they are.
    pub(crate) fn held(&self) -> Result<Held, RawError> {
        if self.choice.value("finish_reason")? == Some("content_filter".into()) {
            return Ok(Held::Untouched("content-filter"));
        }
        if self.kind == Kind::Text {
            return Ok(held_text(self.choice.value("text")?));
        }
        held_message(&self.message()?)
    }

    fn message(&self) -> Result<RawObject, RawError> {
        RawObject::parse(self.choice.get("message").unwrap_or("null").as_bytes())
    }

    /// Puts other texts in the place of [`Self::held`]'s, one for each.
    pub(crate) fn put(&mut self, texts: &[String]) -> Result<(), RawError> {
        let print = |e: serde_json::Error| RawError::NotAnObject {
            problem: e.to_string(),
        };
        if self.choice.get("logprobs").is_some() {
            // Log-probabilities spell the original's tokens.
            self.choice.set("logprobs", &Value::Null).map_err(print)?;
        }
        if self.kind == Kind::Text {
            return self.choice.set("text", &texts.concat()).map_err(print);
        }
        let mut message = self.message()?;
        for name in OF_THE_ORIGINAL {
            message.remove(name);
        }
        let content = message.get("content").unwrap_or("null").to_string();
        if content.trim_start().starts_with('[') {
            let mut texts = texts.iter();
            let mut parts = Vec::new();
            for raw in raw_list(&content)? {
                let mut part = RawObject::parse(raw.get().as_bytes())?;
                if is_text_part(&part)?
                    && let Some(text) = texts.next()
                {
                    part.remove("annotations");
                    part.set("text", text).map_err(print)?;
                }
                parts.push(part.into_raw().map_err(print)?);
            }
            message.set("content", &parts).map_err(print)?;
        } else {
            message.set("content", &texts.concat()).map_err(print)?;
        }
        self.choice
            .set_raw("message", message.into_raw().map_err(print)?);
        Ok(())
    }

    pub(crate) fn into_raw(self) -> serde_json::Result<Box<RawValue>> {
        self.choice.into_raw()
    }
}

fn is_text_part(part: &RawObject) -> Result<bool, RawError> {
    Ok(part.value("text")?.is_some_and(|t| t.is_string()))
}

fn held_text(text: Option<Value>) -> Held {
    match text {
        Some(Value::String(text)) if !text.trim().is_empty() => Held::Texts(vec![text]),
        _ => Held::Untouched("no-text"),
    }
}

fn held_message(message: &RawObject) -> Result<Held, RawError> {
    let given = |name: &str| {
        Ok(match message.value(name)? {
            None | Some(Value::Null) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        })
    };
    if given("tool_calls")? || given("function_call")? {
        return Ok(Held::Untouched("tool-call"));
    }
    if given("refusal")? {
        return Ok(Held::Untouched("refusal"));
    }
    if given("audio")? {
        return Ok(Held::Untouched("audio"));
    }
    match message.get("content") {
        Some(content) if content.trim_start().starts_with('[') => held_parts(content),
        _ => Ok(held_text(message.value("content")?)),
    }
}

/// The texts among a message's parts; what the other parts hold is not looked at.
fn held_parts(content: &str) -> Result<Held, RawError> {
    let mut texts = Vec::new();
    for raw in raw_list(content)? {
        let part = RawObject::parse(raw.get().as_bytes())?;
        if part.get("refusal").is_some() {
            return Ok(Held::Untouched("refusal"));
        }
        if let Some(Value::String(text)) = part.value("text")? {
            texts.push(text);
        }
    }
    if texts.is_empty() || texts.iter().any(|t| t.trim().is_empty()) {
        return Ok(Held::Untouched("no-text"));
    }
    Ok(Held::Texts(texts))
}

/// A choice of a stream, put together from its deltas.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamChoice {
    pub(crate) text: String,
    untouched: Option<&'static str>,
    pub(crate) finished: bool,
}

impl StreamChoice {
    /// Takes one delta's choice.
    pub(crate) fn push(&mut self, choice: &Value, kind: Kind) {
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finished = true;
            if reason == "content_filter" {
                self.untouched = Some("content-filter");
            }
        }
        let piece = match kind {
            Kind::Text => choice.get("text"),
            Kind::Chat => choice.get("delta").and_then(|d| d.get("content")),
        };
        match piece {
            Some(Value::String(piece)) => self.text.push_str(piece),
            Some(Value::Array(parts)) => {
                for part in parts {
                    self.text
                        .push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
                }
            }
            _ => {}
        }
        let Some(delta) = choice.get("delta") else {
            return;
        };
        let given = |name: &str| match delta.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        };
        if given("tool_calls") || given("function_call") {
            self.untouched = Some("tool-call");
        } else if given("refusal") {
            self.untouched = Some("refusal");
        } else if given("audio") {
            self.untouched = Some("audio");
        }
    }

    pub(crate) fn held(&self) -> Held {
        match self.untouched {
            Some(why) => Held::Untouched(why),
            None => held_text(Some(Value::String(self.text.clone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(json: &str, kind: Kind) -> WholeChoice {
        let raw = RawValue::from_string(json.to_string()).expect("JSON");
        WholeChoice::parse(&raw, 7, kind).expect("a choice")
    }

    #[test]
    fn what_may_be_rewritten_is_told_from_what_may_not() {
        let check = |json: &str, expected: Held| {
            assert_eq!(
                whole(json, Kind::Chat).held().expect("held"),
                expected,
                "{json}"
            );
        };
        let texts = |list: &[&str]| Held::Texts(list.iter().map(|t| t.to_string()).collect());
        check(r#"{"message":{"content":"a"}}"#, texts(&["a"]));
        check(
            r#"{"message":{"content":"a","tool_calls":[],"refusal":null,"function_call":null}}"#,
            texts(&["a"]),
        );
        check(
            r#"{"message":{"content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}},{"type":"text","text":"b"}]}}"#,
            texts(&["a", "b"]),
        );
        check(
            r#"{"message":{"content":"a","tool_calls":[{"id":"1"}]}}"#,
            Held::Untouched("tool-call"),
        );
        check(
            r#"{"message":{"content":"a","function_call":{"name":"f"}}}"#,
            Held::Untouched("tool-call"),
        );
        check(
            r#"{"message":{"content":null,"refusal":"no"}}"#,
            Held::Untouched("refusal"),
        );
        check(
            r#"{"message":{"content":[{"type":"refusal","refusal":"no"}]}}"#,
            Held::Untouched("refusal"),
        );
        check(
            r#"{"message":{"content":"a"},"finish_reason":"content_filter"}"#,
            Held::Untouched("content-filter"),
        );
        check(r#"{"message":{"content":" "}}"#, Held::Untouched("no-text"));
        check(r#"{"message":{"content":5}}"#, Held::Untouched("no-text"));
        check(
            r#"{"message":{"content":[{"type":"text","text":"a"},{"type":"x","n":1e400}]}}"#,
            texts(&["a"]),
        );
    }

    /// A text that cannot be read is not the same as none: it would pass unjudged.
    #[test]
    fn what_cannot_be_read_is_no_silence() {
        for json in [
            r#"{"message":{"content":"half a pair: \ud83d"}}"#,
            r#"{"message":{"content":[{"type":"text","text":"\ud83d"}]}}"#,
            r#"{"message":{"content":"a","tool_calls":[1e400]}}"#,
        ] {
            let error = whole(json, Kind::Chat).held().expect_err(json).to_string();
            assert!(error.contains("cannot be read"), "{json}: {error}");
        }
    }

    #[test]
    fn only_the_text_and_what_spells_it_changes() {
        let check = |kind: Kind, json: &str, put: &[&str], expected: &str| {
            let mut choice = whole(json, kind);
            let texts: Vec<String> = put.iter().map(|t| t.to_string()).collect();
            choice.put(&texts).expect("put");
            assert_eq!(choice.into_raw().expect("JSON").get(), expected);
        };
        check(
            Kind::Chat,
            r#"{"index":0,"message":{"role":"assistant","content":"a","x":1.50,"reasoning_content":"a!"},"logprobs":{"content":[{"token":"a"}]},"finish_reason":"stop"}"#,
            &["b"],
            r#"{"index":0,"message":{"role":"assistant","content":"b","x":1.50},"logprobs":null,"finish_reason":"stop"}"#,
        );
        check(
            Kind::Chat,
            r#"{"message":{"content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"u":1e400}},{"type":"text","text":"b"}]}}"#,
            &["c", "d"],
            r#"{"message":{"content":[{"type":"text","text":"c"},{"type":"image_url","image_url":{"u":1e400}},{"type":"text","text":"d"}]}}"#,
        );
        check(
            Kind::Text,
            r#"{"text":"a","index":1,"logprobs":null}"#,
            &["b"],
            r#"{"text":"b","index":1,"logprobs":null}"#,
        );
    }
}
