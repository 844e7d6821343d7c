//! Larger decoders out of trained ones, so that what a small model read is not read again.
//!
//! Width is doubled without a change of the function (Chen et al. 2016, arXiv 1511.05641; Chen et al. 2022, arXiv
//! 2110.07143): every feature, head and unit has a copy, and what reads it divides its weight among the two, in other
//! shares for each weight, so that the copies learn different things. Depth is reached by repeating the layers (Du et al.
//! 2024, arXiv 2405.15319), which changes the function and is soon made good.

use candle_core::{D, Result as TensorResult, Tensor};

use super::Decoder;
use crate::random::Init;
use crate::{Error, Params, Result};

impl Decoder {
    /// A deeper decoder, all trainable: the stack of layers is repeated until there are `layers`.
    ///
    /// # Errors
    /// Fewer layers than there are.
    pub fn stacked(&self, layers: usize) -> Result<Self> {
        let mut config = self.config().clone();
        let depth = std::mem::replace(&mut config.num_hidden_layers, layers);
        if layers < depth {
            return Err(Error::Input(format!(
                "{}: {depth} layers cannot be stacked to {layers}; ask for at least as many",
                self.params().path().display()
            )));
        }
        let mut params = Params::new(self.params().path(), self.device());
        for (name, tensor) in self.params().iter() {
            let Some((layer, rest)) = layer_of(name) else {
                params.insert(name, &tensor.copy()?)?;
                continue;
            };
            for repeated in (layer..layers).step_by(depth) {
                params.insert(format!("model.layers.{repeated}.{rest}"), &tensor.copy()?)?;
            }
        }
        params.set_trainable(|_| true)?;
        Self::new(config, params)
    }

    /// A decoder of twice the width that computes the same, all trainable: hidden states, heads and feed-forward units are
    /// doubled, the width of a head stays.
    ///
    /// # Errors
    /// What the tensors report.
    pub fn widened(&self, seed: u64) -> Result<Self> {
        let mut config = self.config().clone();
        config.hidden_size *= 2;
        config.intermediate_size *= 2;
        config.num_attention_heads *= 2;
        config.num_key_value_heads *= 2;
        let mut init = Init::new(seed);
        let mut params = Params::new(self.params().path(), self.device());
        for (name, tensor) in self.params().iter() {
            let tied = config.tie_word_embeddings;
            let wide = match name {
                "model.embed_tokens.weight" => Tensor::cat(&[tensor, tensor], 1)?,
                "lm_head.weight" => split(tensor, &mut init)?,
                // A tied head reads both copies whole, so that the norm before it must divide.
                "model.norm.weight" if tied => split(tensor, &mut init)?,
                _ if tensor.rank() == 1 => Tensor::cat(&[tensor, tensor], 0)?,
                _ => {
                    let copies = [split(tensor, &mut init)?, split(tensor, &mut init)?];
                    Tensor::cat(&copies, 0)?
                }
            };
            params.insert(name, &wide)?;
        }
        params.set_trainable(|_| true)?;
        Self::new(config, params)
    }
}

/// `[w ∘ a, w ∘ (1 − a)]` side by side, `a` uniform in ¼ … ¾: what reads two copies as `w` reads one.
fn split(weight: &Tensor, init: &mut Init) -> TensorResult<Tensor> {
    let a = init.uniform(weight.dims(), 0.25, weight.device())?;
    let first = (weight * (a + 0.5)?)?;
    let second = (weight - &first)?;
    Tensor::cat(&[first, second], D::Minus1)
}

/// The layer that a tensor belongs to, and its name there.
fn layer_of(name: &str) -> Option<(usize, &str)> {
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}
