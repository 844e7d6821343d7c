//! Batches across requests: one thread that computes for everybody who waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use visa_align::AlignError;

use super::queue::{Job, Queue, Refused};
use super::{EngineError, Result};
use crate::metrics::Stage;

/// One result an item.
pub(super) type Answers<O> = Vec<std::result::Result<O, AlignError>>;

/// Items of one request.
pub(super) struct Request<I, O> {
    items: Vec<I>,
    weight: usize,
    answer: oneshot::Sender<Answers<O>>,
}

impl<I: Send, O: Send> Job for Request<I, O> {
    fn weight(&self) -> usize {
        self.weight
    }
    fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

/// A queue with its worker. Cloning shares both.
pub(super) struct Batcher<I, O> {
    queue: Arc<Queue<Request<I, O>>>,
    weigh: fn(&I) -> usize,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            weigh: self.weigh,
        }
    }
}

/// How a batcher works.
pub(super) struct Plan<I> {
    /// The thread's name.
    pub(super) name: &'static str,
    /// Requests that may wait.
    pub(super) capacity: usize,
    /// Weight of a batch.
    pub(super) batch: usize,
    /// Weight of an item.
    pub(super) weigh: fn(&I) -> usize,
    /// Where sizes and times are counted.
    pub(super) stage: Stage,
}

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Starts the worker. `compute` answers one result an item, in order, or fails as a whole.
    pub(super) fn start(
        plan: Plan<I>,
        compute: impl Fn(&[&I]) -> std::result::Result<Vec<O>, AlignError> + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let queue = Arc::new(Queue::new(plan.capacity));
        let this = Self {
            queue: Arc::clone(&queue),
            weigh: plan.weigh,
        };
        let worker = std::thread::Builder::new()
            .name(plan.name.into())
            .spawn(move || {
                loop {
                    let requests = queue.take(plan.batch);
                    if requests.is_empty() {
                        return;
                    }
                    let items = requests.iter().map(|r| r.items.len()).sum();
                    let timer = plan.stage.batch(items);
                    run(requests, &compute);
                    drop(timer);
                }
            })?;
        Ok((this, worker))
    }

    fn submit(&self, items: Vec<I>, over: bool) -> Result<oneshot::Receiver<Answers<O>>> {
        let (answer, wait) = oneshot::channel();
        let weight = items.iter().map(self.weigh).sum();
        let request = Request {
            items,
            weight,
            answer,
        };
        self.queue.push(request, over).map_err(EngineError::from)?;
        Ok(wait)
    }

    /// Hands items over and waits for their results. Long lists go in pieces, so that nobody waits behind a whole one;
    /// only the first piece can be refused. `accepted` says that earlier work of this request was accepted already.
    pub(super) async fn ask(&self, items: Vec<I>, accepted: bool) -> Result<Answers<O>> {
        let mut answers = Vec::with_capacity(items.len());
        let mut items = items.into_iter();
        loop {
            let piece: Vec<I> = items.by_ref().take(PIECE).collect();
            if piece.is_empty() {
                return Ok(answers);
            }
            let over = accepted || !answers.is_empty();
            let wait = self.submit(piece, over)?;
            answers.extend(wait.await.map_err(|_| EngineError::Lost)?);
        }
    }

    /// As [`Self::ask`] for a thread that computes for a request accepted already.
    pub(super) fn ask_blocking(&self, items: Vec<I>) -> Result<Answers<O>> {
        let wait = self.submit(items, true)?;
        wait.blocking_recv().map_err(|_| EngineError::Lost)
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn close(&self) {
        self.queue.close();
    }
}

/// Items of one request that go into a batch at once.
const PIECE: usize = 64;

/// Computes a batch and answers each request. When the batch fails, its items are computed one by one, so that one bad
/// item costs no other. A panic drops the senders, which their receivers see.
fn run<I: Send, O: Send>(
    requests: Vec<Request<I, O>>,
    compute: &impl Fn(&[&I]) -> std::result::Result<Vec<O>, AlignError>,
) {
    let guarded = |items: &[&I]| catch_unwind(AssertUnwindSafe(|| compute(items)));
    let all: Vec<&I> = requests.iter().flat_map(|r| &r.items).collect();
    if let Ok(Ok(done)) = guarded(&all)
        && done.len() == all.len()
    {
        let mut done = done.into_iter().map(Ok);
        for request in requests {
            let answers = done.by_ref().take(request.items.len()).collect();
            // Whoever left needs no answer.
            let _ = request.answer.send(answers);
        }
        return;
    }
    for request in requests {
        let answers: Option<Answers<O>> = request
            .items
            .iter()
            .map(|item| match guarded(&[item]) {
                Ok(Ok(mut done)) => done.pop().map(Ok),
                Ok(Err(error)) => Some(Err(error)),
                Err(_) => None,
            })
            .collect();
        if let Some(answers) = answers {
            let _ = request.answer.send(answers);
        }
    }
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => EngineError::Busy,
            Refused::Closed => EngineError::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn batcher(
        capacity: usize,
        compute: impl Fn(&[&u32]) -> std::result::Result<Vec<u32>, AlignError> + Send + 'static,
    ) -> Batcher<u32, u32> {
        let plan = Plan {
            name: "test",
            capacity,
            batch: 100,
            weigh: |_| 1,
            stage: Metrics::new().expect("metrics").stage("test"),
        };
        Batcher::start(plan, compute).expect("a thread").0
    }

    #[tokio::test]
    async fn one_bad_item_costs_no_other() {
        let doubled = |items: &[&u32]| {
            assert!(!items.contains(&&7), "seven panics");
            if items.contains(&&5) {
                return Err(AlignError::Empty { what: "five" });
            }
            Ok(items.iter().map(|i| **i * 2).collect())
        };
        let it = batcher(10, doubled);
        let (good, bad, lost) = tokio::join!(
            it.ask(vec![1, 2], false),
            it.ask(vec![4, 5], false),
            it.ask(vec![7], false)
        );
        let good: Vec<u32> = good
            .expect("answered")
            .into_iter()
            .map(|a| a.expect("a number"))
            .collect();
        assert_eq!(good, [2, 4]);
        let bad = bad.expect("answered");
        assert_eq!(bad[0].as_ref().ok(), Some(&8));
        assert!(matches!(&bad[1], Err(AlignError::Empty { .. })));
        assert!(matches!(lost, Err(EngineError::Lost)));
        assert_eq!(
            it.ask(vec![3], false).await.expect("it lives on").len(),
            1,
            "a panic does not end the worker"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_leaves_is_not_computed_for() {
        let (started, seen) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let it = batcher(1, move |items| {
            for item in items {
                let _ = started.send(**item);
            }
            let _ = wait.recv();
            Ok(items.iter().map(|i| **i).collect())
        });
        let first = tokio::spawn({
            let it = it.clone();
            async move { it.ask(vec![1], false).await }
        });
        assert_eq!(seen.recv().expect("started"), 1);
        let second = it.submit(vec![2], false).expect("one may wait");
        assert!(matches!(it.submit(vec![3], false), Err(EngineError::Busy)));
        drop(second);
        let third = it.submit(vec![4], false).expect("the second made room");
        go.send(()).expect("sent");
        go.send(()).expect("sent");
        assert_eq!(third.await.expect("answered").len(), 1);
        assert_eq!(seen.recv().expect("started"), 4, "the second was dropped");
        drop(first);
    }
}
