//! A weight in the form in which inference reads it.

use candle_core::Tensor;
use visa_kernels::matmul::{self, Compute, Sizes};

use crate::layers::Linear;
use crate::ops::{self, Precision};
use crate::Result;

/// How an [`Engine`](super::Engine) holds its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// Exact.
    F32,
    /// Rounded to bf16.
    Bf16,
}

impl WeightType {
    /// What belongs to the precision of matrix products elsewhere.
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// `y = x Wᵀ + b` with a frozen `W [n, k]`.
#[derive(Debug)]
pub(crate) struct Matrix {
    stored: WeightType,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    n: usize,
    k: usize,
}

impl Matrix {
    /// An empty one, to be filled.
    pub(crate) fn new(stored: WeightType) -> Self {
        Self {
            stored,
            weight: Vec::new(),
            bias: None,
            n: 0,
            k: 0,
        }
    }

    /// Takes over the weights of modules with the same input, below each other,
    /// with their low-rank updates.
    pub(crate) fn fill(&mut self, parts: &[&Linear]) -> Result<()> {
        let weights = parts.iter().map(|part| part.merged());
        let weights = weights.collect::<Result<Vec<_>>>()?;
        self.fill_tensors(&weights)?;
        self.bias = None;
        if parts.iter().any(|part| part.bias().is_some()) {
            let mut bias = Vec::with_capacity(self.n);
            for (part, weight) in parts.iter().zip(&weights) {
                match part.bias() {
                    Some(part) => bias.extend(numbers(part)?),
                    None => bias.resize(bias.len() + weight.dim(0)?, 0.0),
                }
            }
            self.bias = Some(bias);
        }
        Ok(())
    }

    /// Takes over a weight without bias.
    pub(crate) fn fill_tensor(&mut self, weight: &Tensor) -> Result<()> {
        self.fill_tensors(&[weight.detach()])
    }

    fn fill_tensors(&mut self, weights: &[Tensor]) -> Result<()> {
        self.weight.clear();
        self.n = 0;
        for weight in weights {
            let (n, k) = weight.dims2()?;
            self.n += n;
            self.k = k;
            ops::read(weight, |values| self.weight.extend_from_slice(values))?;
        }
        Ok(())
    }

    /// Writes `x Wᵀ + b` into `y`, which gets the right length.
    pub(crate) fn forward(&self, x: &[f32], y: &mut Vec<f32>) {
        let (n, k) = (self.n, self.k);
        let m = x.len() / k;
        y.resize(m * n, 0.0);
        let compute = match self.stored {
            WeightType::F32 => Compute::F32,
            WeightType::Bf16 => Compute::Bf16,
        };
        let bias = self.bias.as_deref();
        matmul::forward(x, &self.weight, bias, y, Sizes { m, n, k }, compute);
    }
}

/// The numbers of a tensor, copied.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(ops::read(tensor, <[f32]>::to_vec)?)
}
