//! Training on groups: several completions of one prompt, which is computed
//! once for all of them, forward and backward.

use candle_core::{DType, Tensor};

use super::Decoder;
use crate::ops::{self, GroupLens, Mask};
use crate::sample::{Choice, Drawn};
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
        let (hidden, packed) = self.group_hidden(groups)?;
        let all: Vec<usize> = (0..packed.targets.len()).collect();
        Ok(self.losses(&hidden, &packed, &all, None)?.neg()?)
    }

    /// As [`Decoder::group_logprobs`], with each token's log-probability among
    /// those from which it was drawn: the one that sampling under the same
    /// constraint reports. A forced token has 0, and no gradient.
    pub fn group_logprobs_among(&self, groups: &[Group<'_>], drawn: Drawn<'_>) -> Result<Tensor> {
        let (hidden, packed) = self.group_hidden(groups)?;
        let count = packed.targets.len();
        if drawn.len() != count {
            return Err(Error::Input(format!(
                "the choices of {} tokens are known, but the completions have {count}; record each completion once, in order",
                drawn.len()
            )));
        }
        let mut parts = Vec::new();
        // Where each token is among the parts; forced ones share the zero behind them.
        let mut places = vec![u32::MAX; count];
        let mut at = 0;
        for (choice, tokens) in drawn.by_choice() {
            let set = match choice {
                Choice::Among(set) => Some(drawn.set(set)),
                Choice::Any | Choice::Forced => None,
            };
            parts.push(self.losses(&hidden, &packed, &tokens, set)?.neg()?);
            for token in tokens {
                places[token] = at;
                at += 1;
            }
        }
        let device = self.device();
        parts.push(Tensor::zeros(1, DType::F32, device)?);
        for place in &mut places {
            *place = (*place).min(at);
        }
        let places = Tensor::from_vec(places, count, device)?;
        Ok(Tensor::cat(&parts, 0)?.index_select(&places, 0)?)
    }

    /// The hidden states `[T, H]` of groups packed in one row.
    fn group_hidden(&self, groups: &[Group<'_>]) -> Result<(Tensor, Packed)> {
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
        let row = |x: &[u32]| Tensor::from_slice(x, (1, x.len()), device);
        let (ids, positions) = (row(&packed.ids)?, row(&packed.positions)?);
        let mask = Mask::Groups(std::mem::take(&mut packed.lens));
        let hidden = self.forward_masked(&ids, &positions, &mask, None)?;
        Ok((hidden.squeeze(0)?, packed))
    }

    /// Losses of some of the tokens, over the vocabulary or a set of it.
    fn losses(
        &self,
        hidden: &Tensor,
        packed: &Packed,
        tokens: &[usize],
        set: Option<&[u32]>,
    ) -> Result<Tensor> {
        let device = self.device();
        let flat = |x: Vec<u32>| {
            let len = x.len();
            Tensor::from_vec(x, len, device)
        };
        // Rows by number, the prompt's last one for each completion.
        let rows = tokens.iter().map(|&t| packed.predicting[t]).collect();
        let rows = ops::embedding(hidden, &flat(rows)?)?;
        let targets = tokens.iter().map(|&t| packed.targets[t]);
        let Some(set) = set else {
            let targets = flat(targets.collect())?;
            return Ok(ops::linear_cross_entropy(&rows, &self.net.head, &targets)?);
        };
        let place = |id: u32| {
            let found = set.binary_search(&id).map(|at| at as u32);
            found.map_err(|_| {
                Error::Input(format!(
                    "token {id} is not among those from which it is said to be drawn; record the completions that are scored"
                ))
            })
        };
        let targets = targets.map(place).collect::<Result<Vec<_>>>()?;
        let head = ops::embedding(&self.net.head, &flat(set.to_vec())?)?;
        Ok(ops::linear_cross_entropy(&rows, &head, &flat(targets)?)?)
    }
}
