//! What is counted, in the form Prometheus reads. One registry a server, so that tests do not share counts.

use std::time::Instant;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All counters of a server.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    latency: HistogramVec,
    outcomes: IntCounterVec,
    rejected: IntCounterVec,
    queue: IntGaugeVec,
    batch_items: HistogramVec,
    batch_time: HistogramVec,
    scores: HistogramVec,
    /// Requests being answered.
    pub(crate) active: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let this = Self {
            requests: IntCounterVec::new(
                Opts::new("visa_requests_total", "Requests answered"),
                &["route", "status"],
            )?,
            latency: HistogramVec::new(
                HistogramOpts::new(
                    "visa_request_seconds",
                    "Time from the request's head to the end of its answer",
                )
                .buckets(buckets(0.001, 2.0, 17)?),
                &["route"],
            )?,
            outcomes: IntCounterVec::new(
                Opts::new("visa_outcomes_total", "How texts ended, by outcome"),
                &["outcome"],
            )?,
            rejected: IntCounterVec::new(
                Opts::new("visa_rejected_total", "Requests turned away, by reason"),
                &["reason"],
            )?,
            queue: IntGaugeVec::new(
                Opts::new("visa_queue_length", "Requests that wait for a model"),
                &["stage"],
            )?,
            batch_items: HistogramVec::new(
                HistogramOpts::new("visa_batch_items", "Items computed together")
                    .buckets(buckets(1.0, 2.0, 11)?),
                &["stage"],
            )?,
            batch_time: HistogramVec::new(
                HistogramOpts::new("visa_batch_seconds", "Time of one batch")
                    .buckets(buckets(0.0005, 2.0, 16)?),
                &["stage"],
            )?,
            scores: HistogramVec::new(
                HistogramOpts::new("visa_scores", "Scores of finished rewrites")
                    .buckets((0..=10).map(|i| f64::from(i) / 10.0).collect()),
                &["score"],
            )?,
            active: IntGauge::new("visa_active_requests", "Requests being answered")?,
            registry,
        };
        let all: [Box<dyn prometheus::core::Collector>; 9] = [
            Box::new(this.requests.clone()),
            Box::new(this.latency.clone()),
            Box::new(this.outcomes.clone()),
            Box::new(this.rejected.clone()),
            Box::new(this.queue.clone()),
            Box::new(this.batch_items.clone()),
            Box::new(this.batch_time.clone()),
            Box::new(this.scores.clone()),
            Box::new(this.active.clone()),
        ];
        for collector in all {
            this.registry.register(collector)?;
        }
        Ok(this)
    }

    /// A request was answered; `route` is the pattern, never the path, so that labels stay few.
    pub(crate) fn answered(&self, route: &str, status: u16, seconds: f64) {
        self.requests
            .with_label_values(&[route, &status.to_string()])
            .inc();
        self.latency.with_label_values(&[route]).observe(seconds);
    }

    pub(crate) fn outcome(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn rejected(&self, reason: &str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// The score of a finished rewrite.
    pub(crate) fn score(&self, score: &visa_score::Score) {
        for (name, value) in [
            ("total", score.total),
            ("consistency", score.consistency.mean()),
            ("progress", score.value.progress),
        ] {
            self.scores
                .with_label_values(&[name])
                .observe(f64::from(value));
        }
    }

    pub(crate) fn stage(&self, name: &'static str) -> Stage {
        Stage {
            items: self.batch_items.with_label_values(&[name]),
            time: self.batch_time.with_label_values(&[name]),
        }
    }

    /// The text of `/metrics`; `waiting` are the lengths of the queues now.
    pub(crate) fn print(&self, waiting: &[(&'static str, usize)]) -> prometheus::Result<String> {
        for (stage, length) in waiting {
            self.queue
                .with_label_values(&[stage])
                .set(i64::try_from(*length).unwrap_or(i64::MAX));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn buckets(start: f64, factor: f64, count: usize) -> prometheus::Result<Vec<f64>> {
    prometheus::exponential_buckets(start, factor, count)
}

/// Counters of one model's batches.
#[derive(Clone)]
pub(crate) struct Stage {
    items: Histogram,
    time: Histogram,
}

impl Stage {
    /// A batch of so many items begins; it ends when the answer is dropped.
    pub(crate) fn batch(&self, items: usize) -> impl Drop + use<> {
        self.items.observe(items as f64);
        Timer(self.time.clone(), Instant::now())
    }
}

struct Timer(Histogram, Instant);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.observe(self.1.elapsed().as_secs_f64());
    }
}
