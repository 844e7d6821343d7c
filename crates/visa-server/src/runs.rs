//! Trainings that somebody watches: what a run has written since the watcher last asked.
//!
//! The folder is named by the person who starts the server. A request names a run only by the name of a folder in it, and
//! what is read there is `metrics.jsonl` and `samples.txt`, whole lines at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use visa_align::person::is_name;

use crate::app::Shared;
use crate::error::ApiError;
use crate::native::Options;

/// Most bytes of one file in one answer; the rest comes with the next.
const MOST: u64 = 1 << 20;
/// A run that wrote within this time is taken to be going on.
const FRESH: Duration = Duration::from_secs(180);

#[derive(Serialize)]
struct Run {
    name: String,
    /// When it last wrote a measure, in seconds since 1970.
    updated: u64,
    running: bool,
}

/// How much of each file the watcher has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    #[serde(default)]
    metrics: u64,
    #[serde(default)]
    samples: u64,
}

/// Whole lines of a file from some byte on.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    /// The byte to go on from.
    next: u64,
    /// The file has become shorter, as a resumed run's does: this is its beginning again.
    reset: bool,
}

fn folder(app: &Shared) -> Result<PathBuf, ApiError> {
    app.options.runs.clone().ok_or_else(|| {
        ApiError::not_found("this server watches no trainings; start it with --runs DIR")
    })
}

pub(crate) async fn list(State(app): State<Shared>) -> Result<Response, ApiError> {
    let folder = folder(&app)?;
    let runs = blocking(move || Ok(all(&folder))).await?;
    Ok(axum::Json(json!({"runs": runs})).into_response())
}

pub(crate) async fn one(
    State(app): State<Shared>,
    UrlPath(name): UrlPath<String>,
    seen: Options<Seen>,
) -> Result<Response, ApiError> {
    let folder = folder(&app)?;
    let seen = crate::native::options(seen)?;
    let missing = || ApiError::not_found("no run has that name; GET /v1/runs lists them");
    if !is_name(&name) {
        return Err(missing());
    }
    blocking(move || {
        let run = all(&folder)
            .into_iter()
            .find(|r| r.name == name)
            .ok_or_else(missing)?;
        let dir = folder.join(&run.name);
        let metrics = piece(&dir.join("metrics.jsonl"), seen.metrics);
        let samples = piece(&dir.join("samples.txt"), seen.samples);
        let failed = |e: std::io::Error| {
            tracing::error!(error = %e, run = %run.name, "a run cannot be read");
            ApiError::internal("the run cannot be read; the server's log says more")
        };
        Ok(axum::Json(json!({
            "name": run.name, "running": run.running, "updated": run.updated,
            "metrics": metrics.map_err(failed)?, "samples": samples.map_err(failed)?,
        }))
        .into_response())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(ApiError::internal("reading the runs failed")))
}

/// Folders with measures in them, the latest first. What cannot be read is none.
fn all(folder: &Path) -> Vec<Run> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut runs: Vec<Run> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry
                .file_name()
                .into_string()
                .ok()
                .filter(|n| is_name(n))?;
            let written = entry.path().join("metrics.jsonl").metadata().ok()?;
            let at = written.modified().ok()?;
            Some(Run {
                name,
                updated: at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
                running: SystemTime::now()
                    .duration_since(at)
                    .is_ok_and(|age| age < FRESH),
            })
        })
        .collect();
    runs.sort_by(|a, b| b.updated.cmp(&a.updated).then(a.name.cmp(&b.name)));
    runs
}

/// Whole lines from byte `from`; nothing of a file that is not there.
fn piece(path: &Path, from: u64) -> std::io::Result<Piece> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Piece {
                text: String::new(),
                next: 0,
                reset: from > 0,
            });
        }
        Err(e) => return Err(e),
    };
    let reset = from > file.metadata()?.len();
    let start = if reset { 0 } else { from };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    bytes.truncate(whole);
    Ok(Piece {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        next: start + whole as u64,
        reset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_gets_whole_lines_and_learns_of_a_new_beginning() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("metrics.jsonl");
        let check = |content: &str, from: u64, expected: (&str, u64, bool)| {
            std::fs::write(&path, content).expect("written");
            let found = piece(&path, from).expect("read");
            assert_eq!((found.text.as_str(), found.next, found.reset), expected);
        };
        check("one\ntwo\nthr", 0, ("one\ntwo\n", 8, false));
        check("one\ntwo\nthree\n", 8, ("three\n", 14, false));
        check("one\ntwo\nthree\n", 14, ("", 14, false));
        check("one\n", 14, ("one\n", 4, true));
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(piece(&path, 4).expect("read").next, 0);
    }

    #[test]
    fn runs_are_folders_with_measures() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["lm", "empty", ".hidden"] {
            std::fs::create_dir(dir.path().join(name)).expect("made");
        }
        for name in ["lm/metrics.jsonl", ".hidden/metrics.jsonl"] {
            std::fs::write(dir.path().join(name), "{}\n").expect("written");
        }
        let names: Vec<String> = all(dir.path()).into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["lm"]);
        assert!(all(&dir.path().join("nowhere")).is_empty());
    }
}
