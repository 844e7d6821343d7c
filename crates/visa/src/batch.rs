//! The way of a record: read, worked on in chunks, written in input order, one object a record.
//!
//! The engine knows neither models nor commands. It guarantees the contract of the command line: input order, a bad
//! record reported with its line and either the end of the run or an `{"id", "error"}` in its place, finished records
//! written before a failure ends the run, and memory that does not grow with the input.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use visa_align::record::{WithError, WithId};

use crate::args::{Format, IoArgs, OnError};
use crate::exit::Failure;
use crate::input::{self, Line, Source};
use crate::output;

/// A record that can be read.
pub(crate) trait Record: DeserializeOwned {
    /// The record that a whole text stands for, where it stands for one.
    fn from_text(text: String) -> anyhow::Result<Self>;
}

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Item<T> {
    /// The caller's id, or the line number where there is none.
    pub(crate) id: Value,
    /// Where the record stood, for messages.
    pub(crate) place: String,
    /// The record.
    pub(crate) record: T,
}

/// How a run is done.
pub(crate) struct Job<'a, T> {
    /// Input, output and what to do about errors.
    pub(crate) io: &'a IoArgs,
    /// The record given by arguments.
    pub(crate) single: Option<T>,
    /// Records handed over at once.
    pub(crate) chunk: usize,
    /// Told after every chunk how many records are done.
    pub(crate) progress: &'a dyn Fn(u64),
}

/// Runs `process` over the input. It answers one result a record, in order; `view` renders a result for a person.
///
/// # Errors
/// The first failing record under `--on-error stop`; [`Failure::Reported`] at the end when records were skipped;
/// anything about files.
pub(crate) fn run<T: Record, R: Serialize>(
    job: Job<'_, T>,
    mut process: impl FnMut(&[Item<T>]) -> Result<Vec<anyhow::Result<R>>, Failure>,
    view: impl Fn(&Item<T>, &R) -> String,
) -> Result<(), Failure> {
    let source = input::open(job.single, job.io)?;
    output::open(&job.io.output, &job.io.input)?;
    let format = job.io.format();
    let mut writer = Writer {
        format,
        many: matches!(source, Source::Lines(_)),
        written: 0,
    };
    let mut failed = 0u64;
    let mut done = 0u64;
    let mut step = |items: Vec<Parsed<T>>| -> Result<(), Failure> {
        done += items.len() as u64;
        let outcome = handle(
            items,
            job.io.on_error,
            &mut process,
            &view,
            &mut writer,
            &mut failed,
        );
        output::flush()?;
        (job.progress)(done);
        outcome
    };
    let outcome = match source {
        Source::Single { place, record } => step(vec![Ok(Item {
            id: Value::from(1u64),
            place,
            record,
        })]),
        Source::Text { place, text } => {
            let id = Value::from(1u64);
            step(vec![match T::from_text(text) {
                Ok(record) => Ok(Item { id, place, record }),
                Err(e) => Err((id, place, e)),
            }])
        }
        Source::Lines(lines) => loop {
            let chunk = lines.next_chunk(job.chunk);
            if chunk.is_empty() {
                break Ok(());
            }
            if let Err(e) = step(chunk.into_iter().map(parse).collect()) {
                break Err(e);
            }
        },
    };
    // An array is closed even when a record ended the run: what was written can be read.
    writer.end()?;
    output::flush()?;
    outcome?;
    if failed > 0 {
        crate::exit::note(&format!(
            "{failed} of {done} records failed and were skipped"
        ));
        return Err(Failure::Reported);
    }
    Ok(())
}

/// A record, or the id and place of a line that is none.
type Parsed<T> = Result<Item<T>, (Value, String, anyhow::Error)>;

fn parse<T: Record>(line: Line) -> Parsed<T> {
    let place = format!("line {}", line.number);
    let mut id = Value::from(line.number);
    let parsed = line.text.and_then(|text| {
        let mut object: Map<String, Value> = serde_json::from_str(&text).map_err(|e| json(&e))?;
        match object.remove("id") {
            Some(Value::Null) | None => {}
            Some(given) => id = given,
        }
        serde_json::from_value(Value::Object(object)).map_err(|e| json(&e))
    });
    match parsed {
        Ok(record) => Ok(Item { id, place, record }),
        Err(e) => Err((id, place, e)),
    }
}

/// A JSON error without serde's line, which is always the first: a record is one line.
fn json(error: &serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let bare = text.split(" at line ").next().unwrap_or(&text);
    match error.classify() {
        serde_json::error::Category::Eof => anyhow::anyhow!(
            "column {}: the JSON is cut off ({bare}); a record is one whole object on one line",
            error.column()
        ),
        serde_json::error::Category::Syntax => {
            anyhow::anyhow!("column {}: not valid JSON ({bare})", error.column())
        }
        _ if text.contains("expected a map") => {
            anyhow::anyhow!("{bare}; a record is one JSON object a line")
        }
        _ => anyhow::anyhow!("{bare}"),
    }
}

fn handle<T: Record, R: Serialize>(
    parsed: Vec<Parsed<T>>,
    on_error: OnError,
    process: &mut impl FnMut(&[Item<T>]) -> Result<Vec<anyhow::Result<R>>, Failure>,
    view: &impl Fn(&Item<T>, &R) -> String,
    writer: &mut Writer,
    failed: &mut u64,
) -> Result<(), Failure> {
    // Under `stop` nothing after a bad line is worked on.
    let end = match on_error {
        OnError::Stop => parsed
            .iter()
            .position(Result::is_err)
            .map_or(parsed.len(), |n| n + 1),
        OnError::Skip => parsed.len(),
    };
    let mut bad = Vec::new();
    let mut items = Vec::new();
    for record in parsed.into_iter().take(end) {
        match record {
            Ok(item) => {
                bad.push(None);
                items.push(item);
            }
            Err(e) => bad.push(Some(e)),
        }
    }
    let results = if items.is_empty() {
        Vec::new()
    } else {
        process(&items)?
    };
    debug_assert_eq!(results.len(), items.len(), "one result a record");
    let mut pairs = items.into_iter().zip(results);
    for slot in bad {
        let (id, place, error) = match slot {
            Some(bad) => bad,
            None => match pairs.next() {
                Some((item, Ok(result))) => {
                    writer.result(&item, &result, view)?;
                    continue;
                }
                Some((item, Err(e))) => (item.id, item.place, e),
                None => break,
            },
        };
        let error = error.context(place);
        match on_error {
            OnError::Stop => return Err(Failure::Input(error)),
            OnError::Skip => {
                let error = crate::exit::words(&error);
                crate::exit::note(&format!("{error}; skipped"));
                *failed += 1;
                writer.error(&id, &error)?;
            }
        }
    }
    Ok(())
}

/// Writes results in the form asked for.
struct Writer {
    format: Format,
    many: bool,
    written: u64,
}

impl Writer {
    fn result<T, R: Serialize>(
        &mut self,
        item: &Item<T>,
        result: &R,
        view: &impl Fn(&Item<T>, &R) -> String,
    ) -> Result<(), Failure> {
        if self.format == Format::Text {
            let gap = if self.written > 0 { "\n" } else { "" };
            self.written += 1;
            let head = if self.many {
                format!("#{}\n", plain(&item.id))
            } else {
                String::new()
            };
            return output::write(&format!("{gap}{head}{}", view(item, result)));
        }
        self.object(&WithId {
            id: &item.id,
            result,
        })
    }

    fn error(&mut self, id: &Value, error: &str) -> Result<(), Failure> {
        // A person has read it on stderr already.
        if self.format == Format::Text {
            return Ok(());
        }
        self.object(&WithError { id, error })
    }

    fn object(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let broken = |e: serde_json::Error| Failure::Input(anyhow::Error::new(e));
        let text = match self.format {
            Format::Json => {
                let text = serde_json::to_string_pretty(object).map_err(broken)?;
                match (self.many, self.written) {
                    (false, _) => format!("{text}\n"),
                    (true, 0) => format!("[\n{text}"),
                    (true, _) => format!(",\n{text}"),
                }
            }
            _ => format!("{}\n", serde_json::to_string(object).map_err(broken)?),
        };
        self.written += 1;
        output::write(&text)
    }

    fn end(&mut self) -> Result<(), Failure> {
        match (self.format, self.many, self.written) {
            (Format::Json, true, 0) => output::write("[]\n"),
            (Format::Json, true, _) => output::write("\n]\n"),
            _ => Ok(()),
        }
    }
}

/// An id as a person reads it: a string without its quotation marks.
fn plain(id: &Value) -> String {
    match id {
        Value::String(s) => crate::view::printable(s),
        other => other.to_string(),
    }
}

/// Works on a chunk as one batch, and one by one when the batch fails, so that one bad record costs no other.
pub(crate) fn together<T, R>(
    items: &[Item<T>],
    check: impl Fn(&T) -> anyhow::Result<()>,
    batch: impl Fn(&[&T]) -> anyhow::Result<Vec<R>>,
) -> Vec<anyhow::Result<R>> {
    let mut results: Vec<anyhow::Result<Option<R>>> = items
        .iter()
        .map(|i| check(&i.record).map(|()| None))
        .collect();
    let good: Vec<usize> = (0..items.len()).filter(|i| results[*i].is_ok()).collect();
    let records: Vec<&T> = good.iter().map(|i| &items[*i].record).collect();
    match batch(&records) {
        Ok(done) if done.len() == good.len() => {
            for (i, result) in good.into_iter().zip(done) {
                results[i] = Ok(Some(result));
            }
        }
        _ => {
            for i in good {
                results[i] = batch(&[&items[i].record]).map(|mut done| done.pop());
            }
        }
    }
    results
        .into_iter()
        .map(|r| r.and_then(|r| r.ok_or_else(|| anyhow::anyhow!("the model gave no answer"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Simple {
        text: String,
    }

    impl Record for Simple {
        fn from_text(text: String) -> anyhow::Result<Self> {
            Ok(Self { text })
        }
    }

    fn check(line: &str, expected: Result<(Value, &str), &str>) {
        let parsed = parse::<Simple>(Line {
            number: 7,
            text: Ok(line.to_string()),
        });
        match (parsed, expected) {
            (Ok(item), Ok((id, text))) => {
                assert_eq!((item.id, item.record.text.as_str()), (id, text));
                assert_eq!(item.place, "line 7");
            }
            (Err((_, place, error)), Err(part)) => {
                assert_eq!(place, "line 7");
                assert!(error.to_string().contains(part), "{error} lacks {part:?}");
            }
            (found, expected) => panic!("{line}: found {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn ids_are_kept_as_given_or_are_the_line_number() {
        check(r#"{"id": "a", "text": "x"}"#, Ok((Value::from("a"), "x")));
        check(
            r#"{"id": 12, "text": "x", "more": [1]}"#,
            Ok((Value::from(12), "x")),
        );
        check(r#"{"text": "x"}"#, Ok((Value::from(7), "x")));
        check(r#"{"id": null, "text": "x"}"#, Ok((Value::from(7), "x")));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        check(r#"{"text": "cut of"#, Err("column 16: the JSON is cut off"));
        check(r#"{"text": "x"} {"#, Err("not valid JSON"));
        check(r#"{"text": NaN}"#, Err("not valid JSON"));
        check(r#"{"txt": "x"}"#, Err("missing field `text`"));
        check(
            r#"{"text": 5}"#,
            Err("invalid type: integer `5`, expected a string"),
        );
        check("[1, 2]", Err("one JSON object a line"));
    }

    #[test]
    fn one_bad_record_costs_no_other() {
        let items: Vec<Item<Simple>> = ["a", "", "bad", "b"]
            .iter()
            .map(|t| Item {
                id: Value::Null,
                place: String::new(),
                record: Simple {
                    text: (*t).to_string(),
                },
            })
            .collect();
        let results = together(
            &items,
            |r| {
                if r.text.is_empty() {
                    Err(anyhow::anyhow!("empty"))
                } else {
                    Ok(())
                }
            },
            |rs| {
                if rs.iter().any(|r| r.text == "bad") {
                    anyhow::bail!("no such word");
                }
                Ok(rs.iter().map(|r| r.text.to_uppercase()).collect())
            },
        );
        let texts: Vec<String> = results
            .into_iter()
            .map(|r| r.unwrap_or_else(|e| format!("error: {e}")))
            .collect();
        assert_eq!(texts, ["A", "error: empty", "error: no such word", "B"]);
    }
}
