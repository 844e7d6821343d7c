//! Gradients for more arguments than a custom op can have.
//!
//! candle's ops take three tensors, a transformer block has a dozen weights. The
//! block takes its weights as one *bundle*: a chain of empty ops, each holding a
//! weight. The block's backward pass leaves the gradients of the weights in a
//! slot that the chain shares, and candle, walking on, picks them up there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Tensor, TensorId, bail,
};

use super::{Grad, Output, output};

/// Where a block leaves the gradients of its weights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<HashMap<TensorId, Tensor>>>);

impl Slot {
    /// Leaves the gradient of a weight, if it tracks one: `make` computes it.
    pub(crate) fn leave(&self, w: &Tensor, make: impl FnOnce() -> Vec<f32>) -> Result<()> {
        if w.track_op() {
            let gradient = Tensor::from_vec(make(), w.shape(), &Device::Cpu)?;
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.insert(w.id(), gradient);
        }
        Ok(())
    }

    fn take(&self, w: &Tensor) -> Result<Tensor> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.remove(&w.id()) {
            Some(gradient) => Ok(gradient),
            None => bail!("a weight of a bundle got no gradient"),
        }
    }

    /// A tensor that stands for those of `weights` that track a gradient; `None`
    /// if there is none. Whatever op uses it must [`Slot::leave`] a gradient for
    /// each of them, and return zeros for the bundle itself.
    pub(crate) fn bundle(&self, weights: &[&Tensor]) -> Result<Option<Tensor>> {
        let mut chain = None;
        for weight in weights.iter().filter(|w| w.track_op()) {
            let held = Held(self.clone());
            chain = Some(match chain {
                None => weight.apply_op1(held)?,
                Some(chain) => weight.apply_op2(&chain, held)?,
            });
        }
        Ok(chain)
    }
}

/// The gradient of a bundle that stands for what was left in its slot.
pub(crate) fn bundle_gradient() -> Result<Tensor> {
    Tensor::zeros(1, DType::F32, &Device::Cpu)
}

struct Held(Slot);

impl CustomOp1 for Held {
    fn name(&self) -> &'static str {
        "bundle"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Output {
        output(vec![0.0], 1)
    }

    fn bwd(&self, w: &Tensor, _: &Tensor, _: &Tensor) -> Result<Grad> {
        self.0.take(w).map(Some)
    }
}

impl CustomOp2 for Held {
    fn name(&self) -> &'static str {
        "bundle"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Output {
        output(vec![0.0], 1)
    }

    fn bwd(&self, w: &Tensor, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<(Grad, Grad)> {
        Ok((Some(self.0.take(w)?), Some(bundle_gradient()?)))
    }
}
