//! What the machine could do at most, measured in the same rounds as what it does.

use anyhow::Result;
use visa_kernels::matmul::Compute;
use visa_kernels::peak;

use super::measure::Row;

/// What bounds a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peak {
    /// Multiply-adds in `f32`.
    F32,
    /// Multiply-adds of bf16 factors; of `f32` where there are no instructions for them.
    Bf16,
    /// Reading memory.
    Memory,
}

const ALL: [(Peak, &str, &str, f64); 3] = [
    (Peak::F32, "peak_matmul_f32_gflops", "GFLOP/s", 1e9),
    (Peak::Bf16, "peak_matmul_bf16_gflops", "GFLOP/s", 1e9),
    (Peak::Memory, "peak_memory_gb_per_s", "GB/s", 1e9),
];

/// Tries of one sample.
const TRIES: usize = 5;

/// The peaks seen so far.
pub(super) struct Peaks {
    /// Loops of multiply-adds in a sample.
    rounds: usize,
    /// What is read for the memory's rate.
    data: Vec<f32>,
    samples: [Vec<f64>; 3],
}

impl Peaks {
    /// `numbers` of four bytes are read for the memory's rate: several times what the largest cache holds.
    pub(super) fn new(numbers: usize) -> Self {
        Self {
            rounds: numbers / 64,
            data: vec![1.0; numbers],
            samples: [const { Vec::new() }; 3],
        }
    }

    /// Measures each once more: the best of a few, as a moment's disturbance is no property of the machine.
    pub(super) fn sample(&mut self) {
        let best = |measure: &dyn Fn() -> f64| (0..TRIES).map(|_| measure()).fold(0.0, f64::max);
        let sampled = [
            best(&|| peak::flops(Compute::F32, self.rounds)),
            best(&|| peak::flops(Compute::Bf16, self.rounds)),
            best(&|| peak::read_rate(&self.data)),
        ];
        for (all, one) in self.samples.iter_mut().zip(sampled) {
            all.push(one);
        }
    }

    /// The most seen, in operations or bytes a second; `None` before the first sample.
    pub(super) fn highest(&self, peak: Peak) -> Option<f64> {
        self.samples[peak as usize]
            .iter()
            .copied()
            .reduce(f64::max)
            .filter(|p| *p > 0.0)
    }

    /// The peaks as figures. Their value is the highest seen and not the median: less is another process's doing.
    pub(super) fn rows(&self) -> Result<Vec<Row>> {
        ALL.into_iter()
            .map(|(peak, name, unit, scale)| {
                let samples = self.samples[peak as usize]
                    .iter()
                    .map(|s| s / scale)
                    .collect();
                let mut row = Row::new(name, unit, samples, |_| None)?;
                row.value = row.high;
                Ok(row)
            })
            .collect()
    }
}
