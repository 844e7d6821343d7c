//! How a figure comes about: one warm-up, then rounds in which every case runs once, in turns.
//!
//! Turns spread what the machine does beside us over all cases, instead of putting it on one. A figure is the median
//! of the rounds, with the lowest and the highest beside it. What is measured is not known here.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::peaks::{Peak, Peaks};

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// The median of the rounds.
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// Of what the machine could do at most, measured in the same rounds; above 1 where data stays in a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share_of_peak: Option<f64>,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) rounds: usize,
}

impl Row {
    /// `share_of` answers the share of peak at a value.
    pub(super) fn new(
        name: &str,
        unit: &'static str,
        mut samples: Vec<f64>,
        share_of: impl Fn(f64) -> Option<f64>,
    ) -> Result<Self> {
        ensure!(
            !samples.is_empty() && samples.iter().all(|s| s.is_finite() && *s > 0.0),
            "{name}: measured {samples:?} {unit}, which cannot be; the clock is too coarse for work this small"
        );
        samples.sort_by(f64::total_cmp);
        let value = median(&samples);
        Ok(Self {
            name: name.to_string(),
            value,
            unit,
            share_of_peak: share_of(value),
            low: samples[0],
            high: samples[samples.len() - 1],
            rounds: samples.len(),
        })
    }
}

/// Of a sorted list that is not empty.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// What a run is reported as.
enum Meter {
    /// So many units, over the seconds that the run answers.
    Rate(f64),
    /// The seconds themselves.
    Seconds,
    /// What the run answers, as it is.
    Value,
}

/// Something that can be measured again and again.
pub(super) struct Case {
    pub(super) name: String,
    unit: &'static str,
    meter: Meter,
    /// Operations or bytes that a run cannot do without, and what bounds them.
    work: Option<(f64, Peak)>,
    run: Box<dyn FnMut() -> Result<f64>>,
}

impl Case {
    /// `units` of something a second; `run` answers seconds.
    pub(super) fn rate(
        name: impl Into<String>,
        unit: &'static str,
        units: f64,
        run: impl FnMut() -> Result<f64> + 'static,
    ) -> Self {
        Self::new(name, unit, Meter::Rate(units), run)
    }

    /// Seconds.
    pub(super) fn seconds(
        name: impl Into<String>,
        run: impl FnMut() -> Result<f64> + 'static,
    ) -> Self {
        Self::new(name, "s", Meter::Seconds, run)
    }

    /// Any number.
    pub(super) fn value(
        name: impl Into<String>,
        unit: &'static str,
        run: impl FnMut() -> Result<f64> + 'static,
    ) -> Self {
        Self::new(name, unit, Meter::Value, run)
    }

    fn new(
        name: impl Into<String>,
        unit: &'static str,
        meter: Meter,
        run: impl FnMut() -> Result<f64> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            meter,
            work: None,
            run: Box::new(run),
        }
    }

    /// Says what a run must do at least: floating-point operations, or bytes for [`Peak::Memory`].
    pub(super) fn work(mut self, amount: f64, peak: Peak) -> Self {
        self.work = Some((amount, peak));
        self
    }

    /// Whether a share of peak belongs to it.
    pub(super) fn has_share(&self) -> bool {
        self.work.is_some()
    }

    fn sample(&mut self) -> Result<f64> {
        let measured = (self.run)()?;
        Ok(match self.meter {
            Meter::Rate(units) => units / measured,
            Meter::Seconds | Meter::Value => measured,
        })
    }

    fn row(&self, samples: Vec<f64>, peaks: &Peaks) -> Result<Row> {
        Row::new(&self.name, self.unit, samples, |value| {
            let (amount, peak) = self.work?;
            let seconds = match self.meter {
                Meter::Rate(units) => units / value,
                Meter::Seconds => value,
                Meter::Value => return None,
            };
            Some(amount / seconds / peaks.highest(peak)?)
        })
    }
}

/// Runs the cases in turns; `say` is told what is going on. The peaks take their turn where a share needs them.
pub(super) fn interleave(
    cases: &mut [Case],
    rounds: usize,
    peaks: &mut Peaks,
    say: &dyn Fn(String),
) -> Result<Vec<Row>> {
    for case in cases.iter_mut() {
        say(format!("warming up {}", case.name));
        case.sample()?;
    }
    let mut samples = vec![Vec::with_capacity(rounds); cases.len()];
    let shares = cases.iter().any(Case::has_share);
    for round in 1..=rounds {
        if shares {
            say(format!("round {round} of {rounds}: peaks"));
            peaks.sample();
        }
        for (case, samples) in cases.iter_mut().zip(&mut samples) {
            say(format!("round {round} of {rounds}: {}", case.name));
            samples.push(case.sample()?);
        }
    }
    cases
        .iter()
        .zip(samples)
        .map(|(case, samples)| case.row(samples, peaks))
        .collect()
}

/// Seconds of one run.
pub(super) fn seconds<T>(run: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds of one call of something short, averaged over as many as fill a moment.
pub(super) fn seconds_each(mut run: impl FnMut()) -> f64 {
    const MOMENT: f64 = 0.02;
    let start = Instant::now();
    let mut calls = 0;
    loop {
        run();
        calls += 1;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= MOMENT {
            return elapsed / f64::from(calls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case whose runs take the given seconds, the first being the warm-up.
    fn timed(seconds: &'static [f64]) -> impl FnMut() -> Result<f64> {
        let mut left = seconds.iter();
        move || Ok(*left.next().expect("no more runs than rounds and a warm-up"))
    }

    fn measure(case: Case, rounds: usize) -> Result<Row> {
        let mut rows = interleave(&mut [case], rounds, &mut Peaks::new(1000), &|_| ())?;
        Ok(rows.remove(0))
    }

    #[test]
    fn a_figure_is_the_median_without_the_warm_up() {
        let row = measure(
            Case::rate("x", "tokens/s", 8.0, timed(&[99.0, 4.0, 1.0, 2.0])),
            3,
        );
        let row = row.unwrap();
        assert_eq!(
            (row.value, row.low, row.high, row.rounds),
            (4.0, 2.0, 8.0, 3)
        );
        let row = measure(Case::seconds("x", timed(&[99.0, 4.0, 1.0])), 2).unwrap();
        assert_eq!((row.value, row.low, row.high), (2.5, 1.0, 4.0));
        assert_eq!(row.share_of_peak, None);
    }

    #[test]
    fn a_share_is_work_over_time_over_peak() {
        let mut peaks = Peaks::new(1000);
        let mut cases = [
            Case::rate("r", "tokens/s", 8.0, timed(&[1.0, 2.0])).work(10.0, Peak::F32),
            Case::seconds("s", timed(&[1.0, 2.0])).work(10.0, Peak::F32),
        ];
        let rows = interleave(&mut cases, 1, &mut peaks, &|_| ()).unwrap();
        let expected = 5.0 / peaks.highest(Peak::F32).unwrap();
        for row in rows {
            assert_eq!(row.share_of_peak, Some(expected), "{}", row.name);
        }
    }

    #[test]
    fn cases_take_turns() {
        let log = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
        let case = |name: &'static str| {
            let log = log.clone();
            Case::value(name, "", move || {
                log.borrow_mut().push_str(name);
                Ok(1.0)
            })
        };
        let mut peaks = Peaks::new(1000);
        interleave(&mut [case("a"), case("b")], 2, &mut peaks, &|_| ()).unwrap();
        assert_eq!(*log.borrow(), "ababab");
    }

    #[test]
    fn what_cannot_be_is_no_figure() {
        for bad in [&[1.0, 0.0], &[1.0, f64::NAN], &[1.0, f64::INFINITY]] {
            let error = measure(Case::seconds("x", timed(bad)), 1).unwrap_err();
            assert!(error.to_string().contains("x: measured"), "{error}");
        }
    }
}
