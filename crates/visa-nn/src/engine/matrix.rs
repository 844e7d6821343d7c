//! A weight in the form in which inference reads it.

use candle_core::Tensor;
use visa_kernels::Element;
use visa_kernels::int8::{Activations, Int8Matrix};
use visa_kernels::matmul::{self, Compute, Sizes, Start};
use visa_kernels::packed::{PANEL, PackedMatrix};

use crate::Result;
use crate::layers::Linear;
use crate::ops::{self, Precision};

/// How an [`Engine`](super::Engine) holds its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// Exact.
    F32,
    /// Rounded to bf16.
    Bf16,
    /// Rounded to bytes with a scale for each output: for inference alone. The
    /// log-probabilities are no longer those of training.
    Int8,
}

impl WeightType {
    /// The fastest that changes results by no more than can be seen: bf16 where
    /// the processor multiplies it, elsewhere `f32`.
    pub fn native() -> Self {
        match visa_kernels::isa::has_bf16() {
            true => Self::Bf16,
            false => Self::F32,
        }
    }

    /// What belongs to the precision of matrix products elsewhere.
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

#[derive(Debug)]
enum Stored {
    F32(Vec<f32>),
    /// `None` until it is filled.
    Bf16(Option<PackedMatrix>),
    Int8(Option<Int8Matrix>),
}

/// `y = x Wᵀ + b` with a frozen `W [n, k]`.
#[derive(Debug)]
pub(crate) struct Matrix {
    stored: Stored,
    bias: Option<Vec<f32>>,
    /// How inputs of a weight in bytes are rounded.
    activations: Activations,
    n: usize,
    k: usize,
}

impl Matrix {
    /// An empty one, to be filled.
    pub(crate) fn new(stored: WeightType, activations: Activations) -> Self {
        Self {
            activations,
            stored: match stored {
                WeightType::F32 => Stored::F32(Vec::new()),
                WeightType::Bf16 => Stored::Bf16(None),
                WeightType::Int8 => Stored::Int8(None),
            },
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
        self.n = 0;
        for weight in weights {
            let (n, k) = weight.dims2()?;
            self.n += n;
            self.k = k;
        }
        let (n, k) = (self.n, self.k);
        // Weights that fill whole panels are packed side by side; others are one weight first.
        let above = &weights[..weights.len().saturating_sub(1)];
        let panels = above.iter().all(|w| w.elem_count() % (PANEL * k) == 0);
        let whole;
        let parts = match weights.len() {
            1 => weights,
            _ if panels && matches!(self.stored, Stored::Bf16(_)) => weights,
            _ => {
                whole = [Tensor::cat(weights, 0)?];
                &whole
            }
        };
        let mut first = 0;
        for part in parts {
            ops::read(part, |values| match &mut self.stored {
                Stored::F32(weight) => {
                    weight.clear();
                    weight.extend_from_slice(values);
                }
                Stored::Bf16(packed) => {
                    packed.take_if(|packed| (packed.n(), packed.k()) != (n, k));
                    let packed = packed.get_or_insert_with(|| PackedMatrix::zeros(n, k));
                    packed.repack_rows(values, first);
                }
                Stored::Int8(Some(packed)) if (packed.n(), packed.k()) == (n, k) => {
                    packed.repack(values);
                }
                Stored::Int8(packed) => *packed = Some(Int8Matrix::new(values, n, k)),
            })?;
            first += part.dim(0)?;
        }
        Ok(())
    }

    /// Writes `x Wᵀ + b` into `y`, which gets the right length.
    pub(crate) fn forward<X: Element, Y: Element>(&self, x: &[X], y: &mut Vec<Y>) {
        let m = x.len() / self.k;
        y.resize(m * self.n, Y::default());
        let start = self.bias.as_deref().map_or(Start::Zero, Start::Bias);
        self.product(x, start, y);
    }

    /// `y ← y + x Wᵀ + b`
    pub(crate) fn add_forward<X: Element>(&self, x: &[X], y: &mut [f32]) {
        self.product(x, Start::Add, y);
        if let Some(bias) = &self.bias {
            for row in y.chunks_exact_mut(self.n) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
    }

    fn product<X: Element, Y: Element>(&self, x: &[X], start: Start<'_>, y: &mut [Y]) {
        match &self.stored {
            Stored::Bf16(Some(packed)) => packed.forward(x, start, y),
            Stored::Int8(Some(packed)) => packed.forward(x, start, y, self.activations),
            Stored::Bf16(None) | Stored::Int8(None) => {
                unreachable!("a matrix is filled when it is made")
            }
            Stored::F32(weight) => {
                matmul::forward(x, weight, start, y, self.sizes(x), Compute::F32);
            }
        }
    }

    fn sizes<T>(&self, x: &[T]) -> Sizes {
        Sizes {
            m: x.len() / self.k,
            n: self.n,
            k: self.k,
        }
    }
}

/// The numbers of a tensor, copied.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(ops::read(tensor, <[f32]>::to_vec)?)
}
