//! Figures, intervals and their presentation. Pure: numbers in, text out.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Resamples behind an interval; 1,000 keeps the 95 % bounds steady to about a hundredth of their width.
const RESAMPLES: usize = 1000;

/// One measured figure with what is needed to judge it.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured, in a word or two.
    pub name: String,
    /// The measured value.
    pub value: f64,
    /// The same measure for the named trivial system, when one exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// How many items the value was computed from.
    pub n: usize,
    /// The 95 % percentile-bootstrap interval over items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
}

/// What a trivial system reaches on the same items.
#[derive(Debug, Clone, Serialize)]
pub struct Baseline {
    /// The trivial system: "copy", "majority class", "all labels".
    pub system: String,
    /// Its value of the same measure.
    pub value: f64,
}

impl Figure {
    /// The mean of per-item values, with its bootstrap interval; not a number when there are none.
    #[must_use]
    pub fn mean(name: &str, items: &[f64], seed: u64) -> Self {
        Self::resampled(name, items, seed, |sample| {
            sample.iter().map(|x| **x).sum::<f64>() / sample.len() as f64
        })
    }

    /// Any statistic of the items, with a bootstrap interval obtained by drawing the items with replacement.
    #[must_use]
    pub fn resampled<T>(
        name: &str,
        items: &[T],
        seed: u64,
        statistic: impl Fn(&[&T]) -> f64,
    ) -> Self {
        let all: Vec<&T> = items.iter().collect();
        let value = statistic(&all);
        let interval = (items.len() > 1).then(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut draws: Vec<f64> = (0..RESAMPLES)
                .map(|_| {
                    let sample: Vec<&T> = (0..items.len())
                        .map(|_| &items[rng.random_range(0..items.len())])
                        .collect();
                    statistic(&sample)
                })
                .collect();
            draws.sort_by(f64::total_cmp);
            (draws[RESAMPLES * 25 / 1000], draws[RESAMPLES * 975 / 1000])
        });
        Self {
            name: name.to_owned(),
            value,
            baseline: None,
            n: items.len(),
            interval,
        }
    }

    /// A single measurement, such as a speed, that has no items to resample.
    #[must_use]
    pub fn single(name: &str, value: f64, n: usize) -> Self {
        Self {
            name: name.to_owned(),
            value,
            baseline: None,
            n,
            interval: None,
        }
    }

    /// The same figure beside a trivial system's.
    #[must_use]
    pub fn against(mut self, system: &str, value: f64) -> Self {
        self.baseline = Some(Baseline {
            system: system.to_owned(),
            value,
        });
        self
    }
}

/// A suite's figures, with remarks on what they do not cover.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The suite's name as given on the command line.
    pub suite: String,
    /// The figures, most important first.
    pub figures: Vec<Figure>,
    /// What a reader must know to read the figures rightly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Report {
    /// The report as a Markdown table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "### {}\n\n| measure | value | 95 % interval | baseline | n |\n| --- | --- | --- | --- | --- |\n",
            self.suite
        );
        for figure in &self.figures {
            let interval = figure.interval.map_or_else(
                || "–".to_owned(),
                |(low, high)| format!("{low:.3} … {high:.3}"),
            );
            let baseline = figure.baseline.as_ref().map_or_else(
                || "–".to_owned(),
                |b| format!("{} {:.3}", b.system, b.value),
            );
            out.push_str(&format!(
                "| {} | {:.3} | {interval} | {baseline} | {} |\n",
                figure.name, figure.value, figure.n
            ));
        }
        for remark in &self.remarks {
            out.push_str(&format!("\n{remark}\n"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: &[f64], mean: f64) {
        let figure = Figure::mean("m", items, 7);
        let (low, high) = figure.interval.expect("more than one item");
        assert!((figure.value - mean).abs() < 1e-12);
        assert!(
            low <= mean && mean <= high,
            "{low} … {high} does not hold {mean}"
        );
    }

    #[test]
    fn the_interval_holds_the_mean() {
        check(&[0.0, 1.0, 1.0, 0.0, 1.0], 0.6);
        check(&[0.25; 40], 0.25);
    }

    #[test]
    fn the_interval_narrows_with_more_items() {
        let width = |n: usize| {
            let items: Vec<f64> = (0..n).map(|i| (i % 2) as f64).collect();
            let (low, high) = Figure::mean("m", &items, 7).interval.expect("interval");
            high - low
        };
        assert!(width(400) < width(40) / 2.0);
    }

    #[test]
    fn one_item_has_no_interval() {
        assert!(Figure::mean("m", &[1.0], 7).interval.is_none());
    }

    #[test]
    fn the_table_names_the_baseline_and_the_sample_size() {
        let report = Report {
            suite: "nli".into(),
            figures: vec![Figure::mean("accuracy", &[1.0, 0.0], 7).against("majority class", 0.34)],
            remarks: vec!["read with care".into()],
        };
        let table = report.markdown();
        assert!(
            table.contains("majority class 0.340")
                && table.contains("| 2 |")
                && table.contains("read with care")
        );
    }
}
