//! The ops on fused CPU kernels: bindings of `visa_kernels` to candle's tape.
//!
//! Each op is a candle custom op whose `bwd` computes a gradient only for the
//! arguments that track one, so a frozen weight costs nothing. Arguments are
//! `f32` on the CPU; the parent module sends everything else to the composed
//! ops. Results and gradients are written once, without being cleared before.

mod attention;
mod bundle;
mod linear;
mod loss;
mod norm;
mod pointwise;
mod sight;

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Tensor, bail};
use visa_kernels::matmul::Compute;

use super::Precision;

pub(super) use attention::{attention, rope};
pub(crate) use bundle::{Slot, bundle_gradient};
pub(super) use linear::linear;
pub(super) use loss::linear_cross_entropy;
pub(super) use norm::{add_layer_norm, layer_norm, rms_norm};
pub(super) use pointwise::{add, embedding, gelu, swiglu};
pub(crate) use sight::Sight;

type Output = Result<(CpuStorage, Shape)>;
type Grad = Option<Tensor>;

/// The contiguous numbers of an argument.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("a fused op needs contiguous tensors; call contiguous() first"),
    }
}

/// Binds a name to the numbers of a contiguous tensor on the CPU; needs `slice`.
macro_rules! floats {
    ($name:ident, $tensor:expr) => {
        let (storage, layout) = $tensor.storage_and_layout();
        let $name = match &*storage {
            candle_core::Storage::Cpu(storage) => slice(storage, layout)?,
            _ => candle_core::bail!("a fused op needs tensors on the cpu"),
        };
    };
}

pub(crate) use floats;

fn output(data: Vec<f32>, shape: impl Into<Shape>) -> Output {
    Ok((CpuStorage::F32(data), shape.into()))
}

fn gradient(data: Vec<f32>, like: &Tensor) -> Result<Grad> {
    Ok(Some(Tensor::from_vec(data, like.shape(), &Device::Cpu)?))
}

fn compute(precision: Precision) -> Compute {
    match precision {
        Precision::F32 => Compute::F32,
        Precision::Bf16 => Compute::Bf16,
    }
}
