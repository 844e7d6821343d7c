//! Rewrites, a few at a time: each thread runs the loop, and asks decoder, detector and checker through their queues.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use visa_align::embedded::{Asker, Clause, ClauseRequest, Clauses};
use visa_align::{
    AlignError, Backend, Cancel, Consistent, Detection, EmbeddedBackend, EndpointBackend,
    EndpointOptions, Loop, Outcome, Progress, RewriteOptions, RewriteRequest, Text, Translator,
    Values,
};
use visa_score::{Consistency, Score};
use visa_values::{Profile, Target};

use super::batch::Batcher;
use super::queue::{Job, Queue};
use super::{Engine, EngineError, Reading, Result};
use crate::metrics::Stage;

/// What happens while a text is rewritten. Candidates that are not accepted are told by their numbers only.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum RewriteEvent {
    /// The text was read and the target set.
    Aimed { before: Profile, target: Target },
    /// A round begins, counted from 1.
    Asking { round: usize, of: usize },
    /// A round was judged.
    Judged {
        round: usize,
        candidates: usize,
        accepted: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        best: Option<Box<Best>>,
    },
}

/// The best candidate so far.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Best {
    after: Profile,
    score: Score,
}

impl RewriteEvent {
    /// The event's name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            RewriteEvent::Aimed { .. } => "aimed",
            RewriteEvent::Asking { .. } => "asking",
            RewriteEvent::Judged { .. } => "judged",
        }
    }

    fn of(progress: &Progress<'_>) -> Option<Self> {
        Some(match progress {
            Progress::Aimed { before, target } => RewriteEvent::Aimed {
                before: (*before).clone(),
                target: (*target).clone(),
            },
            Progress::Asking { round, of } => RewriteEvent::Asking {
                round: round + 1,
                of: *of,
            },
            Progress::Judged {
                round,
                candidates,
                best,
                accepted,
            } => RewriteEvent::Judged {
                round: round + 1,
                candidates: *candidates,
                accepted: *accepted,
                best: best.map(|b| {
                    Box::new(Best {
                        after: b.after.clone(),
                        score: b.score.clone(),
                    })
                }),
            },
            _ => return None,
        })
    }
}

/// A text on its way to a worker.
pub(super) struct RewriteJob {
    request: RewriteRequest,
    options: RewriteOptions,
    events: Option<mpsc::UnboundedSender<RewriteEvent>>,
    cancel: Cancel,
    answer: oneshot::Sender<std::result::Result<Outcome, AlignError>>,
}

impl Job for RewriteJob {
    fn weight(&self) -> usize {
        1
    }
    fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Raises the flag when whoever waits leaves, so that the loop stops at its next step.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Engine {
    /// Rewrites one text; `events` hears of each round. Dropping the future stops the work. `accepted` says that this
    /// request was let in already.
    pub(crate) async fn rewrite(
        &self,
        request: RewriteRequest,
        options: RewriteOptions,
        events: Option<mpsc::UnboundedSender<RewriteEvent>>,
        accepted: bool,
    ) -> Result<Outcome> {
        let cancel = Cancel::new();
        let _guard = CancelOnDrop(cancel.clone());
        let (answer, wait) = oneshot::channel();
        let job = RewriteJob {
            request,
            options,
            events,
            cancel,
            answer,
        };
        self.rewrites.push(job, accepted)?;
        Ok(wait.await.map_err(|_| EngineError::Lost)??)
    }
}

/// What makes the backend of each rewrite; its models are shared.
#[derive(Clone)]
pub(super) enum Maker {
    Embedded {
        asker: Arc<Asker>,
        write: Batcher<ClauseRequest, Option<Clause>>,
        temperature: f64,
    },
    Endpoint(Box<EndpointOptions>),
}

impl Maker {
    pub(super) fn make<'v>(
        &'v self,
        values: &'v dyn Values,
    ) -> std::result::Result<Box<dyn Backend + 'v>, AlignError> {
        Ok(match self {
            Maker::Embedded {
                asker,
                write,
                temperature,
            } => {
                let clauses = Box::new(Pen(write));
                let mut backend = EmbeddedBackend::new(Arc::clone(asker), clauses, values);
                backend.options.temperature = *temperature;
                Box::new(backend)
            }
            Maker::Endpoint(options) => Box::new(EndpointBackend::new((**options).clone())?),
        })
    }

    /// The queue before the decoder, where there is one.
    pub(super) fn write(&self) -> Option<&Batcher<ClauseRequest, Option<Clause>>> {
        match self {
            Maker::Embedded { write, .. } => Some(write),
            Maker::Endpoint(_) => None,
        }
    }
}

/// Clauses by the queue before the decoder.
struct Pen<'q>(&'q Batcher<ClauseRequest, Option<Clause>>);

impl Clauses for Pen<'_> {
    fn write(
        &self,
        requests: Vec<ClauseRequest>,
    ) -> std::result::Result<Vec<Option<Clause>>, AlignError> {
        through(self.0.ask_blocking(requests))?
            .into_iter()
            .collect()
    }
}

/// Values by a function.
struct Reader<F>(F);

impl<F: Fn(&[Text]) -> std::result::Result<Vec<Profile>, AlignError>> Values for Reader<F> {
    fn profiles(&self, texts: &[Text]) -> std::result::Result<Vec<Profile>, AlignError> {
        (self.0)(texts)
    }
}

/// Consistency by a function.
struct Judge<F>(F);

impl<F: Fn(&[(&str, &str)]) -> std::result::Result<Vec<Consistency>, AlignError>> Consistent
    for Judge<F>
{
    fn consistency(
        &self,
        pairs: &[(&str, &str)],
    ) -> std::result::Result<Vec<Consistency>, AlignError> {
        (self.0)(pairs)
    }
}

pub(super) struct Worker {
    pub(super) queue: Arc<Queue<RewriteJob>>,
    pub(super) detect: Batcher<Reading, Detection>,
    pub(super) check: Batcher<(String, String), Consistency>,
    pub(super) translator: Arc<Translator>,
    pub(super) maker: Maker,
    pub(super) stage: Stage,
}

impl Worker {
    pub(super) fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("visa-rewrite".into())
            .spawn(move || {
                while let Some(job) = self.queue.take(1).pop() {
                    let timer = self.stage.batch(1);
                    // A panic drops the sender, which the receiver sees; the thread goes on.
                    let outcome = catch_unwind(AssertUnwindSafe(|| self.run(&job)));
                    if let Ok(outcome) = outcome {
                        let _ = job.answer.send(outcome);
                    }
                    drop(timer);
                }
            })
    }

    fn run(&self, job: &RewriteJob) -> std::result::Result<Outcome, AlignError> {
        let values = Reader(|texts: &[Text]| {
            let items = texts.iter().map(|text| Reading {
                text: text.clone(),
                spans: false,
            });
            let answers = through(self.detect.ask_blocking(items.collect()))?;
            answers.into_iter().map(|d| Ok(d?.profile)).collect()
        });
        let checker = Judge(|pairs: &[(&str, &str)]| {
            let items = pairs.iter().map(|p| (p.0.to_string(), p.1.to_string()));
            through(self.check.ask_blocking(items.collect()))?
                .into_iter()
                .collect()
        });
        let mut backend = self.maker.make(&values)?;
        let mut rewriting = Loop {
            values: &values,
            checker: &checker,
            translator: Some(&self.translator),
            backend: backend.as_mut(),
            options: job.options.clone(),
        };
        rewriting.rewrite(&job.request, &job.cancel, &mut |progress| {
            if let (Some(events), Some(event)) = (&job.events, RewriteEvent::of(progress)) {
                // Whoever stopped listening is noticed by the cancel flag.
                let _ = events.send(event);
            }
        })
    }
}

/// An answer of another worker, seen from this thread.
fn through<T>(answer: Result<T>) -> std::result::Result<T, AlignError> {
    answer.map_err(|error| match error {
        EngineError::Align(error) => error,
        EngineError::Lost => panic!("{error}"),
        EngineError::Busy | EngineError::Stopping | EngineError::Timeout(_) => {
            AlignError::Cancelled
        }
    })
}
