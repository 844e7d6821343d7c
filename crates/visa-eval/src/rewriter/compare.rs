//! Readings of rewrites → figures with intervals: by system, by reader, by size of the shift. Pure.

use serde::Serialize;
use visa_values::metrics::{JOINT_L2, Size};
use visa_values::{NAMES, Profile};

use super::fluency::Surprise;
use super::measure::{Reading, Surface, correlation, distinct};
use crate::Figure;

/// A measure by name.
type Mean = (&'static str, fn(&Reading) -> f64);

/// The figures of a reading that are means over rewrites.
const MEANS: [Mean; 9] = [
    ("consistency", |r| f64::from(r.consistency())),
    ("forward", |r| f64::from(r.forward)),
    ("backward", |r| f64::from(r.backward)),
    ("L2", |r| f64::from(r.l2)),
    ("cosine", |r| f64::from(r.cosine)),
    ("JSR", |r| f64::from(u8::from(r.success()))),
    ("progress", |r| f64::from(r.progress)),
    ("movement cosine", |r| f64::from(r.movement)),
    ("leakage", |r| f64::from(r.leakage)),
];

/// JSR of the items where a copy cannot succeed.
pub const HARD: &str = "JSR, |Δv| ≥ 0.8";

/// The comparison of systems on one set of items.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Always `rewriter`.
    pub suite: &'static str,
    /// How many paragraphs.
    pub items: usize,
    /// Seed of sampling and of the bootstrap.
    pub seed: u64,
    /// One a system, in the order given.
    pub systems: Vec<SystemReport>,
    /// How far the readers agree, where there are two.
    pub agreement: Vec<Agreement>,
    /// What a reader must know to read the figures rightly.
    pub remarks: Vec<String>,
}

/// One system's figures.
#[derive(Clone, Debug, Serialize)]
pub struct SystemReport {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// What is counted on the texts alone.
    pub surface: Vec<Figure>,
    /// One a reader.
    pub readers: Vec<ReaderReport>,
    /// Movement cosine under the first reader less that under the second: what was gained by pleasing the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Figure>,
    /// Some rewrites to read.
    pub examples: Vec<Example>,
}

/// What one reader says of a system.
#[derive(Clone, Debug, Serialize)]
pub struct ReaderReport {
    /// `reward` or `judge`.
    pub reader: &'static str,
    /// Over all items.
    pub figures: Vec<Figure>,
    /// The same by size of the shift; sizes without an item are left out.
    pub bins: Vec<Bin>,
}

/// Figures of one size of shift.
#[derive(Clone, Debug, Serialize)]
pub struct Bin {
    /// `light`, `medium` or `radical`.
    pub size: &'static str,
    /// How many items.
    pub n: usize,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// A rewrite to read.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// The item.
    pub id: String,
    /// Whose values.
    pub persona: String,
    /// The original.
    pub original: String,
    /// The rewrite.
    pub rewrite: String,
}

/// How far two readers agree on one value: correlations over texts.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// The value.
    pub value: &'static str,
    /// Over the originals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originals: Option<f64>,
    /// Over the rewrites that differ from their original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrites: Option<f64>,
    /// Over the movements of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movements: Option<f64>,
}

impl ReaderReport {
    /// The figures of all readings, and of each size's.
    #[must_use]
    pub fn new(reader: &'static str, readings: &[Reading], seed: u64) -> Self {
        let bins = (Size::ALL.into_iter())
            .filter_map(|size| {
                let of: Vec<Reading> = (readings.iter())
                    .filter(|r| r.size() == size)
                    .copied()
                    .collect();
                (!of.is_empty()).then(|| Bin {
                    size: size.name(),
                    n: of.len(),
                    figures: means(&of, seed),
                })
            })
            .collect();
        let mut figures = means(readings, seed);
        let hard: Vec<f64> = (readings.iter())
            .filter(|r| r.distance >= JOINT_L2)
            .map(|r| f64::from(u8::from(r.success())))
            .collect();
        if !hard.is_empty() {
            let after = figures.iter().position(|f| f.name == "JSR").unwrap_or(0) + 1;
            figures.insert(after, Figure::mean(HARD, &hard, seed).against("copy", 0.0));
        }
        Self {
            reader,
            figures,
            bins,
        }
    }

    /// A figure by its name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.name == name)
    }
}

fn means(readings: &[Reading], seed: u64) -> Vec<Figure> {
    MEANS
        .iter()
        .map(|(name, pick)| {
            let items: Vec<f64> = readings.iter().map(pick).collect();
            Figure::mean(name, &items, seed)
        })
        .collect()
}

/// The first reader's movement cosine less the second's, item by item.
#[must_use]
pub fn gap(first: &[Reading], second: &[Reading], seed: u64) -> Figure {
    let apart: Vec<f64> = (first.iter().zip(second))
        .map(|(a, b)| f64::from(a.movement) - f64::from(b.movement))
        .collect();
    Figure::mean("gap in movement cosine", &apart, seed)
}

/// Figures of the texts alone. `surprises` are of the rewrites, where a language model was named.
pub(super) fn surface(texts: &[Surface], surprises: Option<&[Surprise]>, seed: u64) -> Vec<Figure> {
    let share = |name: &str, pick: &dyn Fn(&Surface) -> bool| {
        let items: Vec<f64> = texts.iter().map(|t| f64::from(u8::from(pick(t)))).collect();
        Figure::mean(name, &items, seed)
    };
    let ratios: Vec<f64> = texts.iter().map(|t| t.length_ratio).collect();
    let mut figures = vec![
        share("guard violations", &|t| !t.violations.is_empty()),
        share("unchanged", &|t| t.unchanged),
        Figure::mean("length ratio", &ratios, seed),
    ];
    let of = |texts: &[&Surface]| distinct(texts.iter().flat_map(|t| &t.added));
    if of(&texts.iter().collect::<Vec<_>>()).is_some() {
        figures.push(Figure::resampled(
            "distinct-2 of what was added",
            texts,
            seed,
            |sample| {
                // A resample of unchanged texts alone has nothing that repeats.
                of(sample).unwrap_or(1.0)
            },
        ));
    }
    if let Some(surprises) = surprises {
        figures.push(Figure::resampled("perplexity", surprises, seed, |sample| {
            let nats: f64 = sample.iter().map(|s| s.nats).sum();
            let tokens: usize = sample.iter().map(|s| s.tokens).sum();
            (nats / tokens.max(1) as f64).exp()
        }));
    }
    figures
}

/// Profiles of texts under two readers.
#[derive(Default)]
pub(super) struct Pairs {
    pub originals: Vec<(Profile, Profile)>,
    /// (before, after) under the first reader, then under the second.
    pub rewrites: Vec<[(Profile, Profile); 2]>,
}

/// Correlations by value.
pub(super) fn agreement(pairs: &Pairs) -> Vec<Agreement> {
    let of = |p: &Profile, v: usize| f64::from(p.as_array()[v]);
    (NAMES.iter().enumerate())
        .map(|(v, value)| {
            let originals: Vec<_> = (pairs.originals.iter())
                .map(|(a, b)| (of(a, v), of(b, v)))
                .collect();
            let rewrites: Vec<_> = (pairs.rewrites.iter())
                .map(|[a, b]| (of(&a.1, v), of(&b.1, v)))
                .collect();
            let movements: Vec<_> = (pairs.rewrites.iter())
                .map(|[a, b]| (of(&a.1, v) - of(&a.0, v), of(&b.1, v) - of(&b.0, v)))
                .collect();
            Agreement {
                value,
                originals: correlation(&originals),
                rewrites: correlation(&rewrites),
                movements: correlation(&movements),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(distance: f32, l2: f32, movement: f32) -> Reading {
        Reading {
            distance,
            forward: 0.6,
            backward: 0.8,
            l2,
            cosine: 0.5,
            progress: 1.0 - l2 / distance,
            movement,
            leakage: 0.1,
        }
    }

    #[test]
    fn figures_agree_with_hand_computed_ones() {
        // Light and copied; medium and reached; medium and missed; radical and reached.
        let readings = [
            reading(0.5, 0.5, 0.0),
            reading(1.0, 0.7, 0.8),
            reading(1.2, 1.2, 0.0),
            reading(1.6, 0.4, 0.9),
        ];
        let report = ReaderReport::new("judge", &readings, 1);
        let check = |name: &str, expected: f64, n: usize| {
            let figure = report.figure(name).expect(name);
            assert!((figure.value - expected).abs() < 1e-6, "{figure:?}");
            assert_eq!(figure.n, n);
        };
        check("consistency", 0.7, 4);
        check("JSR", 0.75, 4);
        check(HARD, 2.0 / 3.0, 3);
        check("movement cosine", 0.425, 4);
        check("L2", 0.7, 4);
        let bins: Vec<_> = report.bins.iter().map(|b| (b.size, b.n)).collect();
        assert_eq!(bins, [("light", 1), ("medium", 2), ("radical", 1)]);
        let figure = gap(
            &readings,
            &readings.map(|r| reading(r.distance, r.l2, 0.1)),
            1,
        );
        assert!((figure.value - 0.325).abs() < 1e-6);
    }

    #[test]
    fn texts_alone_have_figures_and_perplexity_only_with_a_model() {
        let texts = [
            Surface::new("One bus came.", "One bus came."),
            Surface::new("One bus came.", "One bus came, as always, at dawn."),
        ];
        let value = |figures: &[Figure], name: &str| {
            figures.iter().find(|f| f.name == name).map(|f| f.value)
        };
        let figures = surface(&texts, None, 1);
        assert_eq!(value(&figures, "unchanged"), Some(0.5));
        assert_eq!(value(&figures, "guard violations"), Some(0.0));
        assert_eq!(
            value(&figures, "length ratio"),
            Some((1.0 + 7.0 / 3.0) / 2.0)
        );
        assert_eq!(value(&figures, "perplexity"), None);
        let surprises = [(2.0, 2), (4.0, 1)].map(|(nats, tokens)| Surprise { nats, tokens });
        let figures = surface(&texts, Some(&surprises), 1);
        assert!((value(&figures, "perplexity").unwrap() - 2.0_f64.exp()).abs() < 1e-9);
    }

    #[test]
    fn readers_that_agree_correlate() {
        let p = |x: f32| Profile::new([x; 10]).unwrap();
        let pairs = Pairs {
            originals: vec![(p(0.1), p(0.2)), (p(0.2), p(0.4)), (p(0.3), p(0.6))],
            rewrites: vec![],
        };
        let said = agreement(&pairs);
        assert!(
            said.iter()
                .all(|a| (a.originals.unwrap() - 1.0).abs() < 1e-6 && a.rewrites.is_none())
        );
    }
}
