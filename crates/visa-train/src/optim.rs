//! AdamW with global-norm clipping, whose whole state can be saved and restored.
//!
//! Tensors are visited in the order of their names and every sum has a fixed order, so that the
//! same run gives the same bits. The module knows nothing of losses, models or files.
//!
//! Update (Loshchilov & Hutter 2019, arXiv 1711.05101), with t counted from 1:
//!
//! ```text
//! g ← g · min(1, clip / ‖g‖)            over all tensors together
//! m ← β₁ m + (1−β₁) g ;  v ← β₂ v + (1−β₂) g²
//! w ← w − η (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε) − η λ w
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};
use serde::{Deserialize, Serialize};
use visa_kernels::adamw;

use crate::{Error, Result};

/// Hyperparameters of [`AdamW`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Keeps the denominator off zero.
    pub eps: f64,
    /// Decoupled decay λ of matrices; norms, biases and embeddings have none.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; 0 turns clipping off.
    pub clip: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
        }
    }
}

/// One tensor and its moments.
struct Slot {
    name: String,
    var: Var,
    decays: bool,
    lr_scale: f64,
    moments: RefCell<Moments>,
}

struct Moments {
    m: Vec<f32>,
    v: Vec<f32>,
}

/// The optimiser over a fixed set of named `f32` tensors on the CPU.
pub struct AdamW {
    config: AdamWConfig,
    /// Updates done so far.
    steps: u64,
    slots: Vec<Slot>,
}

/// Whether a tensor is subject to weight decay: matrices that are not embeddings.
fn decays(name: &str, dims: usize) -> bool {
    dims >= 2 && !name.contains("embed") && !name.contains("norm") && !name.ends_with("bias")
}

impl AdamW {
    /// An optimiser over `vars`, in the order of their names; `lr_scale` multiplies the learning
    /// rate of a tensor by name.
    pub fn new(
        mut vars: Vec<(String, Var)>,
        config: AdamWConfig,
        lr_scale: impl Fn(&str) -> f64,
    ) -> Result<Self> {
        vars.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = vars.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::Input(format!(
                "two trainable tensors are named `{}`",
                pair[0].0
            )));
        }
        let slots = vars.into_iter().map(|(name, var)| {
            if var.dtype() != DType::F32 {
                let dtype = var.dtype().as_str();
                return Err(Error::Input(format!(
                    "trainable tensor `{name}` is {dtype}; load it as f32"
                )));
            }
            let n = var.elem_count();
            Ok(Slot {
                decays: decays(&name, var.dims().len()),
                lr_scale: lr_scale(&name),
                moments: RefCell::new(Moments {
                    m: vec![0.0; n],
                    v: vec![0.0; n],
                }),
                name,
                var,
            })
        });
        Ok(Self {
            config,
            steps: 0,
            slots: slots.collect::<Result<_>>()?,
        })
    }

    /// The tensors in update order.
    pub fn vars(&self) -> impl ExactSizeIterator<Item = (&str, &Var)> {
        self.slots
            .iter()
            .map(|slot| (slot.name.as_str(), &slot.var))
    }

    /// Updates done so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One update. `grads` has one entry for each tensor of [`AdamW::vars`]; a tensor without a
    /// gradient keeps its value and its moments. All are multiplied by `factor` first, which turns
    /// sums over micro-batches into means. Returns the norm of all gradients before clipping; a
    /// norm that is not finite changes nothing.
    pub fn step(&mut self, grads: &[Option<Tensor>], factor: f64, lr: f64) -> Result<f64> {
        assert_eq!(
            grads.len(),
            self.slots.len(),
            "one gradient slot for each tensor"
        );
        let mut squares = 0f64;
        for grad in grads.iter().flatten() {
            squares += sum_of_squares(grad)?;
        }
        let norm = squares.sqrt() * factor;
        if !norm.is_finite() {
            return Ok(norm);
        }
        let c = &self.config;
        let scale = if c.clip > 0.0 && norm > c.clip {
            c.clip / norm
        } else {
            1.0
        };
        self.steps += 1;
        for (slot, grad) in self.slots.iter().zip(grads) {
            let Some(grad) = grad else { continue };
            let step = adamw::Step {
                lr: (lr * slot.lr_scale) as f32,
                beta1: c.beta1 as f32,
                beta2: c.beta2 as f32,
                eps: c.eps as f32,
                weight_decay: if slot.decays {
                    c.weight_decay as f32
                } else {
                    0.0
                },
                step: self.steps,
                grad_scale: (scale * factor) as f32,
            };
            let update = Update { slot, step };
            slot.var.inplace_op2(&grad.contiguous()?, &update)?;
        }
        Ok(norm)
    }

    /// The moments by name (`m.<tensor>`, `v.<tensor>`), to be saved with [`AdamW::steps`].
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            let moments = slot.moments.borrow();
            for (kind, values) in [("m", &moments.m), ("v", &moments.v)] {
                let tensor = Tensor::from_slice(values, slot.var.shape(), &Device::Cpu)?;
                state.insert(format!("{kind}.{}", slot.name), tensor);
            }
        }
        Ok(state)
    }

    /// Puts back what [`AdamW::state`] gave; says which tensor is missing or of another shape.
    pub fn restore(&mut self, steps: u64, state: &BTreeMap<String, Tensor>) -> Result<(), String> {
        for slot in &self.slots {
            let read = |kind: &str| {
                let name = format!("{kind}.{}", slot.name);
                let tensor = state.get(&name).ok_or(format!("`{name}` is missing"))?;
                if tensor.shape() != slot.var.shape() {
                    return Err(format!(
                        "`{name}` has shape {:?}, expected {:?}",
                        tensor.dims(),
                        slot.var.dims()
                    ));
                }
                let flat = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
                flat.map_err(|e| format!("`{name}`: {e}"))
            };
            *slot.moments.borrow_mut() = Moments {
                m: read("m")?,
                v: read("v")?,
            };
        }
        self.steps = steps;
        Ok(())
    }
}

/// Σ x², in a fixed order.
fn sum_of_squares(x: &Tensor) -> Result<f64> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let candle_core::Storage::Cpu(CpuStorage::F32(all)) = &*storage else {
        return Err(Error::Input(
            "gradients must be f32 tensors on the CPU".into(),
        ));
    };
    let values = &all[layout.start_offset()..layout.start_offset() + x.elem_count()];
    Ok(adamw::sum_squares(values))
}

/// The update of one tensor, written into its storage without a copy.
struct Update<'a> {
    slot: &'a Slot,
    step: adamw::Step,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        w_layout: &Layout,
        grads: &CpuStorage,
        g_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(weights), CpuStorage::F32(grads)) = (&mut *weights, grads) else {
            candle_core::bail!(
                "adamw needs f32, got {:?} and {:?}",
                weights.dtype(),
                grads.dtype()
            );
        };
        let (Some((w0, w1)), Some((g0, g1))) =
            (w_layout.contiguous_offsets(), g_layout.contiguous_offsets())
        else {
            candle_core::bail!("adamw needs contiguous tensors");
        };
        let mut moments = self.slot.moments.borrow_mut();
        let Moments { m, v } = &mut *moments;
        adamw::step(&mut weights[w0..w1], &grads[g0..g1], m, v, &self.step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var(values: &[f32], shape: &[usize]) -> Var {
        Var::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn values(var: &Var) -> Vec<f32> {
        var.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn check(name: &str, shape: &[usize], clip: f64, grads: &[[f32; 2]], expected: [f32; 2]) {
        let config = AdamWConfig {
            beta1: 0.9,
            beta2: 0.99,
            eps: 0.0,
            weight_decay: 0.5,
            clip,
        };
        let weight = var(&[1.0, -2.0], shape);
        let mut adam = AdamW::new(vec![(name.into(), weight.clone())], config, |_| 1.0).unwrap();
        for grad in grads {
            let grad = Tensor::from_slice(grad, shape, &Device::Cpu).unwrap();
            adam.step(&[Some(grad)], 1.0, 0.1).unwrap();
        }
        for (got, expected) in values(&weight).iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
        }
    }

    #[test]
    fn the_first_step_has_the_size_of_the_learning_rate() {
        // m̂/√v̂ = sign(g): no decay for a vector, 0.1·0.5·w for a matrix.
        check("x.bias", &[2], 0.0, &[[0.3, -4.0]], [0.9, -1.9]);
        check(
            "x.weight",
            &[1, 2],
            0.0,
            &[[0.3, -4.0]],
            [0.95 - 0.1, -1.9 + 0.1],
        );
        check(
            "embed_tokens.weight",
            &[1, 2],
            0.0,
            &[[0.3, -4.0]],
            [0.9, -1.9],
        );
    }

    #[test]
    fn two_steps_by_hand() {
        // g = 1 then 0: m = .09, m̂ = .09/.19; v = .0099, v̂ = .0099/.0199.
        let second = 0.1 * (0.09 / 0.19) / (0.0099f64 / 0.0199).sqrt();
        let first = 1.0 - 0.1 - second;
        check(
            "b",
            &[2],
            0.0,
            &[[1.0, 1.0], [0.0, 0.0]],
            [first as f32, first as f32 - 3.0],
        );
    }

    #[test]
    fn clipping_scales_all_tensors_by_one_factor() {
        let config = AdamWConfig {
            clip: 1.0,
            ..AdamWConfig::default()
        };
        let (a, b) = (var(&[0.0], &[1]), var(&[0.0], &[1]));
        let mut adam = AdamW::new(vec![("b".into(), b), ("a".into(), a)], config, |_| 1.0).unwrap();
        let grad = |x: f32| Some(Tensor::from_slice(&[x], 1, &Device::Cpu).unwrap());
        let norm = adam.step(&[grad(1.5), grad(2.0)], 2.0, 0.0).unwrap();
        assert_eq!(norm, 5.0);
        let state = adam.state().unwrap();
        let m = |name: &str| state[name].to_vec1::<f32>().unwrap()[0];
        assert!((m("m.a") - 0.1 * 0.6).abs() < 1e-7 && (m("m.b") - 0.1 * 0.8).abs() < 1e-7);
    }

    #[test]
    fn a_restored_optimiser_continues_to_the_same_bits() {
        let grad = |x: f32| {
            vec![Some(
                Tensor::from_slice(&[x, 1.0 - x], 2, &Device::Cpu).unwrap(),
            )]
        };
        let start = var(&[0.5, -0.25], &[2]);
        let make = |var: &Var| {
            AdamW::new(
                vec![("w".into(), var.clone())],
                AdamWConfig::default(),
                |_| 1.0,
            )
            .unwrap()
        };
        let mut whole = make(&start);
        for i in 0..4 {
            whole.step(&grad(i as f32), 1.0, 0.01).unwrap();
        }
        let resumed = var(&values(&start), &[2]);
        let mut second = make(&resumed);
        second
            .restore(whole.steps(), &whole.state().unwrap())
            .unwrap();
        for adam in [&mut whole, &mut second] {
            adam.step(&grad(9.0), 1.0, 0.01).unwrap();
        }
        assert_eq!(values(&start), values(&resumed));
        let missing = second.restore(1, &BTreeMap::new()).unwrap_err();
        assert!(missing.contains("m.w"), "{missing}");
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let weight = var(&[1.0], &[1]);
        let vars = vec![("w".into(), weight.clone())];
        let mut adam = AdamW::new(vars, AdamWConfig::default(), |_| 1.0).unwrap();
        let grad = Tensor::from_slice(&[f32::NAN], 1, &Device::Cpu).unwrap();
        assert!(adam.step(&[Some(grad)], 1.0, 0.1).unwrap().is_nan());
        assert_eq!(values(&weight), [1.0]);
        assert_eq!(adam.steps(), 0);
    }
}
