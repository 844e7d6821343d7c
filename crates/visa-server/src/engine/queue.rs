//! A bounded queue between requests and the threads that compute.
//!
//! Requests come from async code and never wait here: the queue takes a job or refuses it at once. Workers wait, and
//! take whatever has come together, up to a weight.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Something to do.
pub(crate) trait Job: Send {
    /// How much of a batch it fills.
    fn weight(&self) -> usize;
    /// Whether nobody waits for it any more.
    fn is_gone(&self) -> bool;
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many wait as may.
    Full,
    /// The server is stopping.
    Closed,
}

pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
    capacity: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    closed: bool,
}

impl<J: Job> Queue<J> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                closed: false,
            }),
            ready: Condvar::new(),
            capacity,
        }
    }

    /// Takes a job, or refuses it at once. `over` is for work that an accepted request needs to go on: it is bounded by
    /// the number of those, and refusing it would waste what they have cost.
    pub(crate) fn push(&self, job: J, over: bool) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if !over && state.jobs.len() >= self.capacity {
            // Those who left make room before anybody is refused.
            state.jobs.retain(|job| !job.is_gone());
            if state.jobs.len() >= self.capacity {
                return Err(Refused::Full);
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes them in order up to `weight` together, at least one; none once the queue is closed and
    /// empty. Jobs that nobody waits for are dropped.
    pub(crate) fn take(&self, weight: usize) -> Vec<J> {
        let mut state = self.lock();
        loop {
            let mut taken: Vec<J> = Vec::new();
            let mut total = 0;
            while let Some(job) = state.jobs.front() {
                if job.is_gone() {
                    state.jobs.pop_front();
                    continue;
                }
                if !taken.is_empty() && total + job.weight() > weight {
                    break;
                }
                total += job.weight();
                taken.extend(state.jobs.pop_front());
            }
            if !taken.is_empty() || state.closed {
                return taken;
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether another job would be taken.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        !state.closed && state.jobs.len() < self.capacity
    }

    /// Takes no more; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // The state is whole between any two statements above, so a panic elsewhere leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Test(usize, bool);

    impl Job for Test {
        fn weight(&self) -> usize {
            self.0
        }
        fn is_gone(&self) -> bool {
            self.1
        }
    }

    fn weights(jobs: Vec<Test>) -> Vec<usize> {
        jobs.into_iter().map(|j| j.0).collect()
    }

    #[test]
    fn what_waits_comes_out_together_up_to_a_weight() {
        let queue = Queue::new(10);
        for weight in [3, 4, 5, 100, 1] {
            queue.push(Test(weight, false), false).expect("room");
        }
        assert_eq!(weights(queue.take(8)), [3, 4]);
        assert_eq!(weights(queue.take(8)), [5]);
        assert_eq!(
            weights(queue.take(8)),
            [100],
            "a heavy job goes alone rather than never"
        );
        queue.close();
        assert_eq!(
            weights(queue.take(8)),
            [1],
            "what was accepted is handed out"
        );
        assert!(queue.take(8).is_empty());
        assert_eq!(queue.push(Test(1, false), true), Err(Refused::Closed));
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_forgets_who_left() {
        let queue = Queue::new(2);
        queue.push(Test(1, true), false).expect("room");
        queue.push(Test(2, false), false).expect("room");
        queue.push(Test(3, false), false).expect("one had left");
        assert_eq!(queue.push(Test(4, false), false), Err(Refused::Full));
        queue
            .push(Test(5, false), true)
            .expect("accepted work goes on");
        assert_eq!(weights(queue.take(100)), [2, 3, 5]);
    }
}
