//! Examples, and the batches of an epoch: a pure function of seed and epoch, so that a resumed run sees the same ones.

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_align::head::HeadConfig;
use visa_nn::{Batch, Encoding};

use crate::Result;

/// Batches are cut from windows of this many batches' worth of shuffled examples, each sorted by length: little
/// padding, and still a new mixture each epoch.
const WINDOW: usize = 24;

/// What one output of the head should say about an example, one entry a label: the probability (sigmoid) or the class
/// (softmax), and how much it counts. All weights zero means that the example says nothing about this output.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Probability, or class index; between two indices a mixture of both classes.
    pub value: Vec<f32>,
    /// Weight, not negative.
    pub weight: Vec<f32>,
}

impl Target {
    /// Says nothing about `labels` labels.
    pub fn unknown(labels: usize) -> Self {
        Self {
            value: vec![0.0; labels],
            weight: vec![0.0; labels],
        }
    }

    /// Counts every label alike.
    pub fn known(value: Vec<f32>) -> Self {
        Self {
            weight: vec![1.0; value.len()],
            value,
        }
    }

    fn counts(&self) -> bool {
        self.weight.iter().any(|&w| w > 0.0)
    }
}

/// Something to learn from.
#[derive(Clone, Debug)]
pub struct Example {
    /// The tokens.
    pub tokens: Encoding,
    /// Other tokens that show the same (the text without its context), and the chance of showing them instead.
    pub other: Option<(Encoding, f64)>,
    /// One target for each output of the head, in its order.
    pub targets: Vec<Target>,
    /// The chance of being drawn in an epoch.
    pub rate: f64,
}

/// One batch: (example, whether its other tokens are shown).
pub type Chosen = Vec<(usize, bool)>;

/// The batches of an epoch.
pub fn epoch(examples: &[Example], batch: usize, seed: u64, epoch: usize) -> Vec<Chosen> {
    let mut rng =
        ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut drawn: Chosen = Vec::new();
    for (i, example) in examples.iter().enumerate() {
        // Both numbers are drawn always, so that one example's settings do not move the others' luck.
        let (drawing, showing) = (rng.random::<f64>(), rng.random::<f64>());
        if drawing < example.rate {
            let other = example
                .other
                .as_ref()
                .is_some_and(|(_, chance)| showing < *chance);
            drawn.push((i, other));
        }
    }
    drawn.shuffle(&mut rng);
    let mut batches: Vec<Chosen> = Vec::new();
    for window in drawn.chunks_mut(batch * WINDOW) {
        window.sort_by_key(|&(i, other)| tokens(&examples[i], other).len());
        batches.extend(window.chunks(batch).map(<[_]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// The tokens that are shown.
pub fn tokens(example: &Example, other: bool) -> &Encoding {
    match &example.other {
        Some((tokens, _)) if other => tokens,
        _ => &example.tokens,
    }
}

/// The targets of a batch for one output: values and weights `[B, labels]`, and how many rows say anything.
pub struct BatchTarget {
    /// Probabilities or class indices.
    pub value: Tensor,
    /// Weights.
    pub weight: Tensor,
    /// Rows with any weight.
    pub rows: usize,
}

/// Tensors of one batch.
///
/// # Errors
/// Those of the tensor library.
pub fn tensors(
    examples: &[Example],
    chosen: &Chosen,
    config: &HeadConfig,
    pad: u32,
    device: &Device,
) -> Result<(Batch, Vec<BatchTarget>)> {
    let shown: Vec<&Encoding> = chosen
        .iter()
        .map(|&(i, other)| tokens(&examples[i], other))
        .collect();
    let batch = Batch::new(&shown, pad, device)?;
    let mut targets = Vec::with_capacity(config.outputs.len());
    for (o, output) in config.outputs.iter().enumerate() {
        let rows = || chosen.iter().map(|&(i, _)| &examples[i].targets[o]);
        let shape = (chosen.len(), output.labels.len());
        let value: Vec<f32> = rows().flat_map(|t| t.value.iter().copied()).collect();
        let weight: Vec<f32> = rows().flat_map(|t| t.weight.iter().copied()).collect();
        targets.push(BatchTarget {
            value: Tensor::from_vec(value, shape, device)?,
            weight: Tensor::from_vec(weight, shape, device)?,
            rows: rows().filter(|t| t.counts()).count(),
        });
    }
    Ok((batch, targets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(n: usize) -> Vec<Example> {
        let tokens = |len: usize| Encoding {
            ids: vec![7; len],
            type_ids: vec![0; len],
            ..Encoding::default()
        };
        (0..n)
            .map(|i| Example {
                tokens: tokens(3 + i % 40),
                other: Some((tokens(2), 0.25)),
                targets: vec![],
                rate: if i % 2 == 0 { 1.0 } else { 0.5 },
            })
            .collect()
    }

    #[test]
    fn an_epoch_is_a_function_of_seed_and_number() {
        let examples = examples(2000);
        assert_eq!(epoch(&examples, 32, 5, 1), epoch(&examples, 32, 5, 1));
        assert_ne!(epoch(&examples, 32, 5, 1), epoch(&examples, 32, 5, 2));
        assert_ne!(epoch(&examples, 32, 5, 1), epoch(&examples, 32, 6, 1));
    }

    #[test]
    fn rates_and_chances_are_kept_and_nothing_comes_twice() {
        let examples = examples(4000);
        let all: Vec<(usize, bool)> = epoch(&examples, 32, 0, 0).concat();
        let mut seen = std::collections::HashSet::new();
        assert!(all.iter().all(|(i, _)| seen.insert(*i)));
        assert!(
            (all.len() as f64 / 3000.0 - 1.0).abs() < 0.05,
            "{}",
            all.len()
        );
        let other = all.iter().filter(|(_, o)| *o).count() as f64 / all.len() as f64;
        assert!((other - 0.25).abs() < 0.04, "{other}");
    }

    #[test]
    fn batches_hold_little_padding() {
        let examples = examples(4000);
        let (mut real, mut padded) = (0, 0);
        for batch in epoch(&examples, 32, 0, 0) {
            let lens: Vec<usize> = batch
                .iter()
                .map(|&(i, o)| tokens(&examples[i], o).len())
                .collect();
            real += lens.iter().sum::<usize>();
            padded += lens.iter().max().unwrap() * lens.len();
        }
        assert!((padded as f64) < 1.1 * real as f64, "{padded} for {real}");
    }
}
