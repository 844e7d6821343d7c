//! Training on groups: several completions of one prompt, which is computed
//! once for all of them, forward and backward.

use candle_core::Tensor;

use super::Decoder;
use crate::ops::{self, GroupLens, Mask};
use crate::{Error, Result};

/// A prompt and what followed it, several times.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// What all completions share; at least one token.
    pub prompt: &'a [u32],
    /// What followed; each at least one token.
    pub completions: Vec<&'a [u32]>,
}

/// Groups packed in one row, and which rows predict which tokens.
#[derive(Default)]
struct Packed {
    ids: Vec<u32>,
    positions: Vec<u32>,
    lens: Vec<GroupLens>,
    predicting: Vec<u32>,
    targets: Vec<u32>,
}

impl Packed {
    fn push(&mut self, group: &Group<'_>) {
        let prompt = group.prompt.len();
        self.ids.extend(group.prompt);
        self.positions.extend(0..prompt as u32);
        let last = self.ids.len() as u32 - 1;
        let mut completions = Vec::with_capacity(group.completions.len());
        for completion in &group.completions {
            self.targets.extend(*completion);
            // The prompt's last token predicts the first; the last predicts
            // nothing that is asked for, so it is left out.
            let fed = &completion[..completion.len() - 1];
            let start = self.ids.len() as u32;
            self.predicting.push(last);
            self.predicting.extend(start..start + fed.len() as u32);
            self.ids.extend(fed);
            self.positions
                .extend(prompt as u32..(prompt + fed.len()) as u32);
            completions.push(fed.len());
        }
        self.lens.push(GroupLens {
            prompt,
            completions,
        });
    }
}

impl Decoder {
    /// Log-probability in nats of each token of each completion, given its
    /// prompt and what came before: one after the other, `[Σ completion
    /// lengths]`; differentiable. Equal to scoring every sequence by itself, but
    /// a prompt with `G` completions costs one pass instead of `G`.
    pub fn group_logprobs(&self, groups: &[Group<'_>]) -> Result<Tensor> {
        let mut packed = Packed::default();
        for (i, group) in groups.iter().enumerate() {
            let empty = group.completions.iter().any(|tokens| tokens.is_empty());
            if group.prompt.is_empty() || group.completions.is_empty() || empty {
                return Err(Error::Input(format!(
                    "group {i} has no prompt or lacks a completion; give each at least one token"
                )));
            }
            let longest = group.completions.iter().map(|tokens| tokens.len()).max();
            self.check_positions(group.prompt.len() + longest.unwrap_or(0))?;
            packed.push(group);
        }
        if packed.targets.is_empty() {
            return Err(Error::Input(
                "there is no group to score; give at least one".to_owned(),
            ));
        }
        let device = self.device();
        let row = |x: Vec<u32>| {
            let len = x.len();
            Tensor::from_vec(x, (1, len), device)
        };
        let flat = |x: Vec<u32>| {
            let len = x.len();
            Tensor::from_vec(x, len, device)
        };
        let ids = row(packed.ids)?;
        let positions = row(packed.positions)?;
        let hidden = self.forward_masked(&ids, &positions, &Mask::Groups(packed.lens), None)?;
        let hidden = hidden.squeeze(0)?;
        // Rows by number, the prompt's last one for each completion.
        let rows = ops::embedding(&hidden, &flat(packed.predicting)?)?;
        let targets = flat(packed.targets)?;
        let losses = ops::linear_cross_entropy(&rows, &self.net.head, &targets)?;
        Ok(losses.neg()?)
    }
}
