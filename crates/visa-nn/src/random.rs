//! Seeded random weights: the same seed gives the same bytes on every machine.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random weights.
pub(crate) struct Init(ChaCha8Rng);

impl Init {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Normal with mean 0, by Box and Muller.
    pub(crate) fn normal(&mut self, shape: &[usize], std: f64, device: &Device) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            // 1 − u lies in (0, 1], so that the logarithm is finite.
            let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt() * std;
            let angle = std::f64::consts::TAU * self.0.random::<f64>();
            values.push((radius * angle.cos()) as f32);
            values.push((radius * angle.sin()) as f32);
        }
        values.truncate(count);
        Tensor::from_vec(values, shape, device)
    }

    /// Uniform in `-limit..limit`.
    pub(crate) fn uniform(
        &mut self,
        shape: &[usize],
        limit: f64,
        device: &Device,
    ) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| ((self.0.random::<f64>() * 2.0 - 1.0) * limit) as f32)
            .collect();
        Tensor::from_vec(values, shape, device)
    }
}
