//! Streams cut, delayed and split at every byte, against the one promise of hold mode: no token of the original leaves
//! before the verdict, and what leaves then is wholly the original or wholly the accepted text.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use visa_wire::openai::SseParser;

use super::choice::{Held, Kind};
use super::stream::{StreamOptions, audit, hold};
use super::upstream::{Pieces, UpstreamError};
use super::verdict::{FAILED, Judge, Report, Told, Verdict};
use crate::options::{Mode, OnError};

/// Streams a run; each has its own seed, printed when it fails.
const STREAMS: u64 = 10_000;
/// A letter that stands in every token of originals, and nowhere else.
const ORIGINAL: char = 'Ω';

/// What a judge is told to say of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    Rewritten,
    Kept,
    Failed,
}

/// Says what the script says, after a while.
struct Script {
    says: BTreeMap<usize, Say>,
    /// Verdicts that are still to come.
    open: AtomicUsize,
    /// What it was asked about.
    seen: std::sync::Mutex<BTreeMap<usize, Held>>,
}

fn accepted(index: usize) -> String {
    format!(
        "An accepted text with é and \"quotes\" for choice {index}, long enough to be said in more than one piece."
    )
}

fn report(index: usize, outcome: &'static str) -> Report {
    Report {
        index,
        outcome,
        reason: String::new(),
        values: None,
        texts: Vec::new(),
    }
}

impl Judge for Script {
    async fn judge(&self, index: usize, held: Held) -> Verdict {
        // While it thinks, the reader drains all that has left: the clock moves only when everybody waits.
        tokio::time::sleep(Duration::from_secs(7)).await;
        self.seen
            .lock()
            .expect("no panic")
            .insert(index, held.clone());
        self.open.fetch_sub(1, Ordering::SeqCst);
        match (held, self.says[&index]) {
            (Held::Untouched(why), _) => Verdict::untouched(index, why),
            (Held::Texts(_), Say::Rewritten) => Verdict {
                texts: Some(vec![accepted(index)]),
                report: report(index, "rewritten"),
            },
            (Held::Texts(_), Say::Kept) => Verdict {
                texts: None,
                report: report(index, "kept-original"),
            },
            (Held::Texts(_), Say::Failed) => Verdict {
                texts: None,
                report: report(index, FAILED),
            },
        }
    }
}

/// How a stream ends.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Well,
    /// The connection ends after so many bytes.
    Cut(usize),
    Fails(UpstreamError),
    Garbage,
}

/// A stream and what it says.
struct Stream {
    kind: Kind,
    texts: BTreeMap<usize, String>,
    tools: Option<usize>,
    bytes: Vec<u8>,
    end: End,
    says: BTreeMap<usize, Say>,
    on_error: OnError,
    usage: bool,
}

fn make(rng: &mut ChaCha8Rng) -> Stream {
    let kind = *[Kind::Chat, Kind::Text].choose(rng).expect("two");
    let choices = rng.random_range(1..=3usize);
    let tools = (kind == Kind::Chat && rng.random_bool(0.15)).then(|| rng.random_range(0..choices));
    let line = *["\n", "\r\n", "\r"].choose(rng).expect("three");
    let mut out = String::new();
    let mut say = |rng: &mut ChaCha8Rng, data: &str| {
        if rng.random_bool(0.1) {
            out.push_str(&format!(": comment{line}"));
        }
        out.push_str(&format!("data: {data}{line}{line}"));
    };
    let chunk = |choices: Value| json!({"id": "x", "object": "chunk", "created": 5, "model": "m", "system_fingerprint": "f", "choices": choices});
    let mut texts: BTreeMap<usize, String> = BTreeMap::new();
    if kind == Kind::Chat && rng.random_bool(0.8) {
        for index in 0..choices {
            say(
                rng,
                &chunk(json!([{"index": index, "delta": {"role": "assistant"}}])).to_string(),
            );
        }
    }
    let mut order: Vec<usize> = (0..choices)
        .flat_map(|i| std::iter::repeat_n(i, rng.random_range(1..=6)))
        .collect();
    rand::seq::SliceRandom::shuffle(order.as_mut_slice(), rng);
    for (n, index) in order.iter().enumerate() {
        let token = format!("{ORIGINAL}{n}é\u{1f600} \"q\"\\n ");
        let text = texts.entry(*index).or_default();
        let choice = match kind {
            Kind::Chat if tools == Some(*index) => {
                json!({"index": index, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": token}}]}})
            }
            Kind::Chat => {
                text.push_str(&token);
                json!({"index": index, "delta": {"content": token}, "logprobs": {"content": [{"token": token}]}})
            }
            Kind::Text => {
                text.push_str(&token);
                json!({"index": index, "text": token, "logprobs": {"tokens": [token]}})
            }
        };
        say(rng, &chunk(json!([choice])).to_string());
    }
    for index in 0..choices {
        let choice = match kind {
            Kind::Chat => json!({"index": index, "delta": {}, "finish_reason": "stop"}),
            Kind::Text => json!({"index": index, "text": "", "finish_reason": "stop"}),
        };
        say(rng, &chunk(json!([choice])).to_string());
    }
    let usage = rng.random_bool(0.5);
    if usage {
        let mut last = chunk(json!([]));
        last["usage"] = json!({"completion_tokens": 17});
        say(rng, &last.to_string());
    }
    let complete = out.len();
    if rng.random_bool(0.9) {
        out.push_str("data: [DONE]");
        out.push_str(if rng.random_bool(0.9) { "\n\n" } else { "" });
    }
    let mut bytes = out.into_bytes();
    let end = match rng.random_range(0..10) {
        0 => {
            // Somewhere before the last finish reason is whole.
            let last = String::from_utf8_lossy(&bytes[..complete])
                .rfind("finish_reason")
                .expect("there is one");
            End::Cut(rng.random_range(0..last))
        }
        1 => End::Fails(UpstreamError::Reset("reset".into())),
        2 => End::Fails(UpstreamError::Timeout(1)),
        3 => End::Garbage,
        _ => End::Well,
    };
    match &end {
        End::Cut(at) => bytes.truncate(*at),
        End::Fails(_) => bytes.truncate(rng.random_range(0..complete / 2)),
        End::Garbage => {
            bytes.truncate(rng.random_range(0..complete / 2));
            bytes.extend_from_slice("\n\ndata: {\"choices\": nonsense Ω}\n\n".as_bytes());
        }
        End::Well => {}
    }
    let says = (0..choices).map(|index| {
        let say = [Say::Rewritten, Say::Rewritten, Say::Kept, Say::Failed];
        (index, *say.choose(rng).expect("four"))
    });
    Stream {
        kind,
        texts,
        tools,
        bytes,
        end,
        says: says.collect(),
        on_error: *[OnError::Original, OnError::Error]
            .choose(rng)
            .expect("two"),
        usage,
    }
}

/// Sends the bytes in random pieces with random waits; one in five streams goes byte by byte.
fn feed(stream: &Stream, mut rng: ChaCha8Rng) -> mpsc::Receiver<Result<Bytes, UpstreamError>> {
    let (send, receive) = mpsc::channel(4);
    let (bytes, end) = (stream.bytes.clone(), stream.end.clone());
    tokio::spawn(async move {
        let single = rng.random_bool(0.2);
        let mut at = 0;
        while at < bytes.len() {
            let size = if single { 1 } else { rng.random_range(1..=200) };
            let until = (at + size).min(bytes.len());
            if rng.random_bool(0.05) {
                tokio::time::sleep(Duration::from_millis(rng.random_range(1..9000))).await;
            }
            let piece = Bytes::copy_from_slice(&bytes[at..until]);
            if send.send(Ok(piece)).await.is_err() {
                return;
            }
            at = until;
        }
        match end {
            // A server that hangs: the limit on silence ends it.
            End::Fails(UpstreamError::Timeout(_)) => std::future::pending::<()>().await,
            End::Fails(error) => {
                let _ = send.send(Err(error)).await;
            }
            _ => {}
        }
    });
    receive
}

fn told(mode: Mode) -> Told {
    Told {
        request_id: "r".into(),
        mode,
        outcome: "",
        profile: None,
        choices: Vec::new(),
    }
}

/// What a client reads.
#[derive(Default)]
struct Client {
    texts: BTreeMap<usize, String>,
    finished: BTreeMap<usize, String>,
    tool: String,
    visa: Option<Value>,
    error: Option<Value>,
    usage: Option<Value>,
    done: bool,
    raw: String,
}

impl Client {
    fn read(all: &[u8], kind: Kind) -> Self {
        let mut client = Client {
            raw: String::from_utf8(all.to_vec()).expect("UTF-8"),
            ..Client::default()
        };
        for event in SseParser::new().push(all).expect("events") {
            if event.data == "[DONE]" {
                client.done = true;
                continue;
            }
            assert!(!client.done, "nothing comes behind the end");
            let value: Value = serde_json::from_str(&event.data).expect("JSON");
            if !value["error"].is_null() {
                client.error = Some(value);
                continue;
            }
            assert_eq!(value["id"], "x", "chunks keep what they are");
            if !value["visa"].is_null() {
                client.visa = Some(value["visa"].clone());
            }
            if !value["usage"].is_null() {
                client.usage = Some(value["usage"].clone());
            }
            for choice in value["choices"].as_array().expect("a list") {
                let index = choice["index"].as_u64().expect("an index") as usize;
                let piece = match kind {
                    Kind::Chat => &choice["delta"]["content"],
                    Kind::Text => &choice["text"],
                };
                client
                    .texts
                    .entry(index)
                    .or_default()
                    .push_str(piece.as_str().unwrap_or_default());
                if let Some(calls) = choice["delta"]["tool_calls"].as_array() {
                    client
                        .tool
                        .push_str(&calls[0]["function"]["arguments"].to_string());
                }
                if let Some(reason) = choice["finish_reason"].as_str() {
                    assert!(
                        client.finished.insert(index, reason.into()).is_none(),
                        "a choice ends once"
                    );
                }
            }
        }
        client
    }
}

#[tokio::test(start_paused = true)]
async fn hold_lets_no_token_out_before_the_verdict() {
    let mut outcomes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 0..STREAMS {
        let outcome = one_hold(seed).await;
        *outcomes.entry(outcome).or_default() += 1;
    }
    let named = [
        "failed",
        "kept-original",
        "rewrite-failed",
        "rewritten",
        "untouched",
        "upstream-cut",
        "upstream-reset",
        "upstream-shape",
        "upstream-timeout",
    ];
    let found: Vec<_> = outcomes.keys().copied().collect();
    assert_eq!(
        found, named,
        "every outcome occurs, and no other: {outcomes:?}"
    );
}

async fn one_hold(seed: u64) -> &'static str {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let stream = make(&mut rng);
    let script = Script {
        says: stream.says.clone(),
        open: AtomicUsize::new(stream.says.len()),
        seen: std::sync::Mutex::default(),
    };
    let options = StreamOptions {
        kind: stream.kind,
        on_error: stream.on_error,
        keep_alive: Duration::from_secs(2),
        limit: 1 << 20,
    };
    let pieces = Pieces::channel(feed(&stream, rng), Duration::from_secs(60));
    let (send, mut receive) = mpsc::channel::<Bytes>(2);
    let reading = async {
        let mut all = Vec::new();
        while let Some(piece) = receive.recv().await {
            if script.open.load(Ordering::SeqCst) > 0 {
                let text = std::str::from_utf8(&piece).expect("UTF-8");
                let silent = text.lines().all(|l| l.is_empty() || l.starts_with(':'));
                let error = text.starts_with("data: {\"error\"");
                assert!(silent || error, "seed {seed}: {text:?} before the verdict");
                assert!(!text.contains(ORIGINAL), "seed {seed}: {text:?}");
            }
            all.extend_from_slice(&piece);
        }
        all
    };
    let holding = async {
        let outcome = hold(pieces, &options, &script, told(Mode::Hold), &send).await;
        drop(send);
        outcome.unwrap_or("client-gone")
    };
    let (outcome, all) = tokio::join!(holding, reading);
    let client = Client::read(&all, stream.kind);
    check_hold(seed, &stream, &script, outcome, &client);
    outcome
}

fn check_hold(seed: u64, stream: &Stream, script: &Script, outcome: &str, client: &Client) {
    let expected = match &stream.end {
        End::Well => None,
        End::Cut(_) => Some("upstream-cut"),
        End::Fails(error) => Some(error.outcome()),
        End::Garbage => Some("upstream-shape"),
    };
    if let Some(expected) = expected {
        // A garbage line behind half an event may read as a cut one: either is named and lets nothing out.
        let named =
            outcome == expected || (stream.end == End::Garbage && outcome == "upstream-cut");
        assert!(named, "seed {seed}: {outcome}, expected {expected}");
        assert!(
            !client.raw.contains(ORIGINAL),
            "seed {seed}: {}",
            client.raw
        );
        assert!(client.error.is_some() && !client.done, "seed {seed}");
        return;
    }
    for (index, held) in script.seen.lock().expect("no panic").iter() {
        if let Held::Texts(texts) = held {
            assert_eq!(
                texts.concat(),
                stream.texts[index],
                "seed {seed}: it was asked of the whole"
            );
        }
    }
    let text_said = |index: &usize| stream.tools != Some(*index);
    let failed = stream
        .says
        .iter()
        .any(|(i, s)| *s == Say::Failed && text_said(i));
    if failed && stream.on_error == OnError::Error {
        assert_eq!(outcome, "rewrite-failed", "seed {seed}");
        assert!(
            !client.raw.contains(ORIGINAL) && !client.done,
            "seed {seed}"
        );
        return;
    }
    assert!(
        client.done && client.error.is_none(),
        "seed {seed}: {}",
        client.raw
    );
    let visa = client.visa.as_ref().expect("told");
    assert_eq!(visa["outcome"], outcome, "seed {seed}");
    assert_eq!(client.usage.is_some(), stream.usage, "seed {seed}");
    for (index, say) in &stream.says {
        assert_eq!(client.finished[index], "stop", "seed {seed}");
        let said = &client.texts[index];
        if !text_said(index) {
            assert!(
                client.tool.contains(ORIGINAL),
                "seed {seed}: the call passes"
            );
        } else if *say == Say::Rewritten {
            assert_eq!(
                *said,
                accepted(*index),
                "seed {seed}: wholly the accepted text"
            );
        } else {
            assert_eq!(
                *said, stream.texts[index],
                "seed {seed}: wholly the original"
            );
        }
    }
    let all_rewritten = stream
        .says
        .iter()
        .all(|(i, s)| *s == Say::Rewritten && text_said(i));
    if all_rewritten {
        assert!(
            !client.raw.contains(ORIGINAL),
            "seed {seed}: log-probabilities spell it: {}",
            client.raw
        );
    }
}

#[tokio::test(start_paused = true)]
async fn audit_changes_nothing_and_adds_the_profile() {
    for seed in 0..STREAMS / 10 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let stream = make(&mut rng);
        let options = StreamOptions {
            kind: stream.kind,
            on_error: OnError::Original,
            keep_alive: Duration::from_secs(2),
            limit: 1 << 20,
        };
        let pieces = Pieces::channel(feed(&stream, rng), Duration::from_secs(60));
        let (send, mut receive) = mpsc::channel::<Bytes>(2);
        let measured = async |choices: Vec<(usize, Held)>| {
            let reports: Vec<Report> = choices.iter().map(|c| report(c.0, "measured")).collect();
            reports
        };
        let auditing = async {
            let outcome = audit(pieces, &options, measured, told(Mode::Audit), &send).await;
            drop(send);
            outcome.unwrap_or("client-gone")
        };
        let reading = async {
            let mut all = Vec::new();
            while let Some(piece) = receive.recv().await {
                all.extend_from_slice(&piece);
            }
            all
        };
        let (outcome, all) = tokio::join!(auditing, reading);
        let client = Client::read(&all, stream.kind);
        if stream.end == End::Well {
            assert_eq!(outcome, "measured", "seed {seed}");
            assert!(client.done && client.visa.is_some(), "seed {seed}");
            for (index, text) in &stream.texts {
                assert_eq!(&client.texts[index], text, "seed {seed}");
            }
        } else {
            assert!(outcome.starts_with("upstream-"), "seed {seed}: {outcome}");
            assert!(client.error.is_some() && !client.done, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_the_upstream_call() {
    let (to, from) = mpsc::channel(1);
    let pieces = Pieces::channel(from, Duration::from_secs(60));
    let script = Script {
        says: BTreeMap::from([(0, Say::Kept)]),
        open: AtomicUsize::new(1),
        seen: std::sync::Mutex::default(),
    };
    let options = StreamOptions {
        kind: Kind::Chat,
        on_error: OnError::Original,
        keep_alive: Duration::from_secs(2),
        limit: 1 << 20,
    };
    let (send, receive) = mpsc::channel::<Bytes>(2);
    let leaving = async {
        to.send(Ok(Bytes::from_static(b"data: {}\n\n")))
            .await
            .expect("it listens");
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(receive);
        to.closed().await;
    };
    let (outcome, ()) = tokio::join!(
        hold(pieces, &options, &script, told(Mode::Hold), &send),
        leaving
    );
    assert!(outcome.is_err(), "nobody is left to tell");
}
