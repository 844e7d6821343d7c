//! Answers that come as event streams.
//!
//! *Hold*: events are collected and nothing of them leaves; the client hears comments meanwhile. After the verdict they
//! are played back, a rewritten choice with its accepted text in place of its own. *Audit*: events leave as they come,
//! and one more tells the profile before the end. Either way a stream that breaks ends with an error, never as if it
//! were complete.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use visa_wire::openai::{Event, SseParser};
use visa_wire::raw::{RawObject, raw_list};

use super::choice::{Kind, StreamChoice};
use super::upstream::{Pieces, UpstreamError};
use super::verdict::{Judge, Report, Told, Verdict, outcome};
use crate::error::ApiError;
use crate::options::OnError;

/// How a stream is treated.
#[derive(Clone, Debug)]
pub(crate) struct StreamOptions {
    pub(crate) kind: Kind,
    pub(crate) on_error: OnError,
    pub(crate) keep_alive: Duration,
    /// Most bytes that are held or measured.
    pub(crate) limit: usize,
}

/// What is heard while nothing may be said. Comments are not part of the answer.
const WAIT: &[u8] = b": visa holds the answer until it is judged\n\n";
/// About as many characters leave at once as a model says at once.
const PIECE: usize = 24;
/// Most choices of a stream.
const CHOICES: u64 = 128;

/// The client left; there is nobody to tell.
pub(crate) struct Gone;

/// What a stream held, in order.
#[derive(Default)]
struct Held {
    events: Vec<String>,
    choices: BTreeMap<usize, StreamChoice>,
    bytes: usize,
    done: bool,
}

impl Held {
    /// Takes an event; its data is an answer's part or the end.
    fn push(&mut self, event: &Event, kind: Kind) -> Result<(), UpstreamError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        if data.is_empty() || self.done {
            return Ok(());
        }
        let value: Value = serde_json::from_str(data).map_err(|e| {
            if e.is_eof() {
                UpstreamError::Cut
            } else {
                UpstreamError::Shape(e.to_string())
            }
        })?;
        if let Some(error) = value.get("error").filter(|e| !e.is_null()) {
            let words = error.get("message").and_then(Value::as_str);
            let words = words.map_or_else(|| error.to_string(), str::to_string);
            return Err(UpstreamError::Reports(words.chars().take(300).collect()));
        }
        if let Some(choices) = value.get("choices").and_then(Value::as_array) {
            for (place, choice) in choices.iter().enumerate() {
                let index = index_of(choice, place)?;
                self.choices.entry(index).or_default().push(choice, kind);
            }
        }
        self.bytes += data.len();
        self.events.push(data.to_string());
        Ok(())
    }

    /// Whether the answer is complete, now that the stream has ended.
    fn complete(&self) -> Result<(), UpstreamError> {
        let finished = !self.choices.is_empty() && self.choices.values().all(|c| c.finished);
        if self.done || finished {
            Ok(())
        } else {
            Err(UpstreamError::Cut)
        }
    }
}

fn index_of(choice: &Value, place: usize) -> Result<usize, UpstreamError> {
    let index = choice
        .get("index")
        .and_then(Value::as_u64)
        .unwrap_or(place as u64);
    if index >= CHOICES {
        return Err(UpstreamError::Shape(format!("choice {index} of a stream")));
    }
    Ok(index as usize)
}

/// A stream in hold mode. Answers the outcome.
pub(crate) async fn hold<J: Judge>(
    mut pieces: Pieces,
    options: &StreamOptions,
    judge: &J,
    told: Told,
    out: &Sender<Bytes>,
) -> Result<&'static str, Gone> {
    let held = match waiting(options, out, collect(&mut pieces, options)).await? {
        Ok(held) => held,
        Err(error) => return fail(out, &told, error.into()).await,
    };
    drop(pieces);
    let verdicts = held
        .choices
        .iter()
        .map(|(index, choice)| judge.judge(*index, choice.held()));
    let verdicts = waiting(options, out, join_all(verdicts)).await?;
    if let Some(bad) = verdicts.iter().find(|v| v.failed())
        && options.on_error == OnError::Error
    {
        let error = super::whole::failed(&bad.report.reason);
        return fail(out, &told, error).await;
    }
    let played = match play(&held, &verdicts, options.kind) {
        Ok(played) => played,
        Err(error) => return fail(out, &told, error.into()).await,
    };
    for data in played {
        say(out, &data).await?;
    }
    let reports = verdicts.into_iter().map(|v| v.report).collect();
    finish(out, held.events.last(), told, reports).await
}

/// Reads a stream to its end, and keeps it.
async fn collect(pieces: &mut Pieces, options: &StreamOptions) -> Result<Held, UpstreamError> {
    let mut held = Held::default();
    let mut parser = SseParser::new();
    while let Some(piece) = pieces.next().await? {
        let events = parser
            .push(&piece)
            .map_err(|e| UpstreamError::Shape(e.to_string()))?;
        for event in &events {
            held.push(event, options.kind)?;
        }
        if held.bytes > options.limit {
            return Err(UpstreamError::TooLarge(options.limit));
        }
        if held.done {
            break;
        }
    }
    if !held.done
        && let Some(last) = parser.finish()
    {
        held.push(&last, options.kind)?;
    }
    held.complete()?;
    Ok(held)
}

/// Waits for some work while the client hears comments. A client that leaves ends the work.
async fn waiting<T>(
    options: &StreamOptions,
    out: &Sender<Bytes>,
    work: impl Future<Output = T>,
) -> Result<T, Gone> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = out.closed() => return Err(Gone),
            () = tokio::time::sleep(options.keep_alive) => {
                // A comment that finds no room is one of many.
                let _ = out.try_send(Bytes::from_static(WAIT));
            }
        }
    }
}

/// The events to send: those of the original, with rewritten choices exchanged.
fn play(held: &Held, verdicts: &[Verdict], kind: Kind) -> Result<Vec<String>, UpstreamError> {
    let rewritten: BTreeMap<usize, String> = verdicts
        .iter()
        .filter_map(|v| Some((v.report.index, v.texts.as_ref()?.concat())))
        .collect();
    if rewritten.is_empty() {
        return Ok(held.events.clone());
    }
    let mut out = Vec::new();
    let mut begun = std::collections::BTreeSet::new();
    for data in &held.events {
        let chunk = RawObject::parse(data.as_bytes())?;
        let list = match chunk.get("choices") {
            Some(list) if list.trim() != "null" => raw_list(list)?,
            _ => Vec::new(),
        };
        let had_choices = !list.is_empty();
        let mut kept: Vec<Box<RawValue>> = Vec::new();
        let mut begins = Vec::new();
        for (place, raw) in list.into_iter().enumerate() {
            let choice = RawObject::parse(raw.get().as_bytes())?;
            let value = choice.value("index")?.unwrap_or(place.into());
            let index = index_of(&json!({"index": value}), place)?;
            if !rewritten.contains_key(&index) {
                kept.push(raw);
                continue;
            }
            let first = begun.insert(index);
            if first {
                begins.push(index);
            }
            let ends = choice.value("finish_reason")?.is_some_and(|r| !r.is_null());
            if first || ends {
                kept.push(empty(choice, kind, first, ends)?);
            }
        }
        // What begins and ends at once must say its text in between.
        let ending = begins.iter().any(|index| {
            kept.iter().any(|raw| {
                let choice: Value = serde_json::from_str(raw.get()).unwrap_or_default();
                choice["index"].as_u64().unwrap_or(0) as usize == *index
                    && !choice["finish_reason"].is_null()
            })
        });
        if ending {
            for index in &begins {
                speak(&chunk, *index, &rewritten[index], kind, &mut out)?;
            }
        }
        let usage = chunk.value("usage")?.is_some_and(|u| !u.is_null());
        if !kept.is_empty() || !had_choices || usage {
            let mut chunk = chunk.clone();
            chunk.set("choices", &kept).map_err(shape)?;
            out.push(chunk.print());
        }
        if !ending {
            for index in &begins {
                speak(&chunk, *index, &rewritten[index], kind, &mut out)?;
            }
        }
    }
    Ok(out)
}

fn shape(error: serde_json::Error) -> UpstreamError {
    UpstreamError::Shape(error.to_string())
}

/// A delta of a rewritten choice without what it said: its role where it begins, its reason where it ends.
fn empty(
    mut choice: RawObject,
    kind: Kind,
    begins: bool,
    ends: bool,
) -> Result<Box<RawValue>, UpstreamError> {
    if choice.get("logprobs").is_some() {
        choice.set("logprobs", &Value::Null).map_err(shape)?;
    }
    match kind {
        Kind::Text => choice.set("text", "").map_err(shape)?,
        Kind::Chat => {
            let delta = if begins && !ends {
                json!({"role": "assistant", "content": ""})
            } else {
                json!({})
            };
            choice.set("delta", &delta).map_err(shape)?;
        }
    }
    choice.into_raw().map_err(shape)
}

/// The accepted text as deltas.
fn speak(
    chunk: &RawObject,
    index: usize,
    text: &str,
    kind: Kind,
    out: &mut Vec<String>,
) -> Result<(), UpstreamError> {
    for piece in pieces_of(text) {
        let choice = match kind {
            Kind::Chat => {
                json!({"index": index, "delta": {"content": piece}, "finish_reason": null})
            }
            Kind::Text => json!({"index": index, "text": piece, "finish_reason": null}),
        };
        let mut chunk = chunk.clone();
        chunk.remove("usage");
        chunk.set("choices", &[choice]).map_err(shape)?;
        out.push(chunk.print());
    }
    Ok(())
}

/// A text in pieces that end behind a blank where they can.
fn pieces_of(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut length = 0;
    for (at, c) in text.char_indices() {
        length += 1;
        let end = at + c.len_utf8();
        if (length >= PIECE && c.is_whitespace()) || length >= 4 * PIECE {
            pieces.push(&text[start..end]);
            start = end;
            length = 0;
        }
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

/// A stream in audit mode: passes at once; `measure` reads what was said. Answers the outcome.
pub(crate) async fn audit<F: Future<Output = Vec<Report>>>(
    mut pieces: Pieces,
    options: &StreamOptions,
    measure: impl FnOnce(Vec<(usize, super::choice::Held)>) -> F,
    told: Told,
    out: &Sender<Bytes>,
) -> Result<&'static str, Gone> {
    let mut held = Held::default();
    let mut parser = SseParser::new();
    let mut last = None;
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = out.closed() => return Err(Gone),
        };
        let events = match piece {
            Ok(Some(piece)) => parser
                .push(&piece)
                .map_err(|e| UpstreamError::Shape(e.to_string())),
            Ok(None) => break,
            Err(error) => Err(error),
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => return fail(out, &told, error.into()).await,
        };
        for event in &events {
            // What is too much to measure still passes; the report says so.
            if held.bytes <= options.limit || event.data.trim() == "[DONE]" {
                if let Err(error) = held.push(event, options.kind) {
                    return fail(out, &told, error.into()).await;
                }
                last = held.events.pop().or(last);
            }
            if !held.done && !event.data.trim().is_empty() {
                let said = printed(&event.name, &event.data);
                out.send(said).await.map_err(|_| Gone)?;
            }
        }
        if held.done {
            break;
        }
    }
    if !held.done {
        if let Some(event) = parser.finish() {
            if let Err(error) = held.push(&event, options.kind) {
                return fail(out, &told, error.into()).await;
            }
            if !held.done && !event.data.trim().is_empty() {
                say(out, &event.data).await?;
            }
        }
        if let Err(error) = held.complete() {
            return fail(out, &told, error.into()).await;
        }
    }
    let too_large = held.bytes > options.limit;
    let choices = held.choices.iter().map(|(index, choice)| {
        let held = if too_large {
            super::choice::Held::Untouched("too-large")
        } else {
            choice.held()
        };
        (*index, held)
    });
    let reports = waiting(options, out, measure(choices.collect())).await?;
    finish(out, last.as_ref(), told, reports).await
}

/// The last words: the `visa` member in a chunk without choices, and the end.
async fn finish(
    out: &Sender<Bytes>,
    last: Option<&String>,
    mut told: Told,
    reports: Vec<Report>,
) -> Result<&'static str, Gone> {
    told.outcome = outcome(&reports);
    told.choices = reports;
    let mut chunk = last
        .and_then(|data| RawObject::parse(data.as_bytes()).ok())
        .unwrap_or_default();
    chunk.remove("usage");
    let set = chunk
        .set("choices", &[(); 0])
        .and_then(|()| chunk.set("visa", &told));
    if let Err(error) = set {
        return fail(out, &told, ApiError::internal(error)).await;
    }
    say(out, &chunk.print()).await?;
    say(out, "[DONE]").await?;
    Ok(told.outcome)
}

/// The stream ends with an error, said in the stream, since its head has left. It says no `[DONE]`: it is not.
async fn fail(out: &Sender<Bytes>, told: &Told, error: ApiError) -> Result<&'static str, Gone> {
    let mut body = error.body();
    body["visa"] = json!({"request_id": told.request_id, "mode": told.mode, "outcome": error.kind});
    say(out, &body.to_string()).await?;
    Ok(error.kind)
}

async fn say(out: &Sender<Bytes>, data: &str) -> Result<(), Gone> {
    out.send(printed("", data)).await.map_err(|_| Gone)
}

/// An event as text; data of several lines is several fields.
fn printed(name: &str, data: &str) -> Bytes {
    let data = data.replace('\n', "\ndata: ");
    Bytes::from(if name.is_empty() {
        format!("data: {data}\n\n")
    } else {
        format!("event: {name}\ndata: {data}\n\n")
    })
}
