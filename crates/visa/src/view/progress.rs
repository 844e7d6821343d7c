//! Progress of a batch on stderr, for a person who waits; nothing when nobody does.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts records on a terminal; silent elsewhere.
pub(crate) struct Counter {
    bar: ProgressBar,
}

impl Counter {
    /// `what` is the plural of a record.
    pub(crate) fn new(quiet: bool, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(
            None,
            if super::shows_progress(quiet) {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos} {msg} in {elapsed} ({per_sec})")
        {
            bar.set_style(style);
        }
        bar.set_message(what.to_string());
        Self { bar }
    }

    /// `done` records are written.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Leaves the line, for results that go to the same terminal; the next word brings it back.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Says what is going on now; the clock runs by itself.
    pub(crate) fn say(&self, words: String) {
        if self.bar.is_finished() {
            self.bar.reset();
        }
        self.bar.enable_steady_tick(Duration::from_millis(120));
        self.bar.set_message(words);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A spinner that says what is going on, for one long job.
pub(crate) fn spinner(quiet: bool) -> Counter {
    let counter = Counter::new(quiet, "");
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        counter.bar.set_style(style);
    }
    counter
}
