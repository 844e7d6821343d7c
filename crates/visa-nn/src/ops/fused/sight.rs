//! Attention on slices under any mask that has a fused kernel.
//!
//! Groups of texts with one beginning are several attentions: a softmax over two
//! stretches of keys is the mean of the softmaxes over each, weighted by their
//! sums of exponentials. Backward needs no weights: with the output and the
//! logarithm over all keys, the gradient of each stretch is that of an attention
//! over it alone (Dao, arXiv 2307.08691).

use candle_core::{Result, bail};
use rayon::prelude::*;
use visa_kernels::attention::{self, Saved, Shape};
use visa_kernels::matmul::Compute;
use visa_kernels::{Element, blend, new_vec};

use crate::ops::{GroupLens, Mask};

/// What sees what, and the sizes.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    shape: Shape,
    lens: Option<Vec<usize>>,
    causal: Option<usize>,
    groups: Option<Vec<GroupLens>>,
}

/// Takes the first numbers out, which other tasks then do not touch.
fn take<'a, T>(rest: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (part, next) = std::mem::take(rest).split_at_mut(count);
    *rest = next;
    part
}

impl Sight {
    /// For `q [B, Sq, Hq, D]` and `k [B, Sk, Hkv, D]`; the mask is not explicit.
    pub(crate) fn new(
        (batch, queries, heads, dim): (usize, usize, usize, usize),
        (_, keys, kv_heads, _): (usize, usize, usize, usize),
        mask: &Mask,
    ) -> Result<Self> {
        mask.check(batch, keys)?;
        let mut sight = Self {
            shape: Shape {
                batch,
                queries,
                keys,
                heads,
                kv_heads,
                dim,
            },
            lens: mask.lens().map(<[usize]>::to_vec),
            causal: None,
            groups: None,
        };
        match mask {
            Mask::Causal { offset, .. } => sight.causal = Some(*offset),
            Mask::Bidirectional { .. } => {}
            Mask::Groups(groups) if queries == keys => sight.groups = Some(groups.clone()),
            Mask::Groups(_) => bail!("attention: {queries} queries of groups of {keys} tokens"),
            Mask::Explicit(_) => bail!("attention: an explicit mask has no fused kernel"),
        }
        Ok(sight)
    }

    /// Length of the logarithms kept for the backward pass.
    pub(crate) fn lse_len(&self) -> usize {
        self.shape.lse_len()
    }

    fn kernel_sight(&self) -> attention::Sight<'_> {
        attention::Sight {
            lens: self.lens.as_deref(),
            causal: self.causal,
        }
    }

    /// Numbers of a token in `q`, `k` and the logarithms.
    fn widths(&self) -> [usize; 3] {
        let Shape {
            heads,
            kv_heads,
            dim,
            ..
        } = self.shape;
        [heads * dim, kv_heads * dim, heads]
    }

    /// The sizes of an attention of some tokens over others.
    fn part(&self, queries: usize, keys: usize) -> Shape {
        Shape {
            batch: 1,
            queries,
            keys,
            ..self.shape
        }
    }

    /// Writes the result and the logarithms of `[q, k, v]`.
    pub(crate) fn forward<T: Element>(
        &self,
        [q, k, v]: [&[T]; 3],
        compute: Compute,
        mut out: &mut [T],
        mut lse: &mut [f32],
    ) {
        let Some(groups) = &self.groups else {
            let (shape, sight) = (&self.shape, &self.kernel_sight());
            return attention::forward(q, k, v, shape, sight, compute, out, lse);
        };
        let [wide, narrow, heads] = self.widths();
        let mut at = 0;
        let mut tasks = Vec::with_capacity(groups.len());
        for group in groups {
            let n = group.total();
            let of = |x, width| stretch(x, at, n, width);
            let qkv = [of(q, wide), of(k, narrow), of(v, narrow)];
            let parts = (take(&mut out, n * wide), take(&mut lse, n * heads));
            tasks.push((group, qkv, parts));
            at += n;
        }
        tasks.into_par_iter().for_each(|(group, qkv, (out, lse))| {
            self.forward_group(group, qkv, compute, out, lse);
        });
    }

    fn forward_group<T: Element>(
        &self,
        group: &GroupLens,
        [q, k, v]: [&[T]; 3],
        compute: Compute,
        mut out: &mut [T],
        mut lse: &mut [f32],
    ) {
        let [wide, narrow, heads] = self.widths();
        let (p, n) = (group.prompt, group.completed());
        let of = |x, at, len, width| stretch(x, at, len, width);
        let (prompt_k, prompt_v) = (of(k, 0, p, narrow), of(v, 0, p, narrow));
        let (prompt, logs) = (take(&mut out, p * wide), take(&mut lse, p * heads));
        let (own_q, shape) = (of(q, 0, p, wide), self.part(p, p));
        attention::forward(
            own_q,
            prompt_k,
            prompt_v,
            &shape,
            &causal(),
            compute,
            prompt,
            logs,
        );
        if n == 0 {
            return;
        }
        // Both parts stay `f32` until they are one, so that it is rounded once.
        let mut shared_lse = Vec::new();
        let shared: Vec<f32> = new_vec(n * wide, |out| {
            shared_lse = new_vec(n * heads, |lse| {
                let (q, shape) = (of(q, p, n, wide), self.part(n, p));
                let sight = everything();
                attention::forward(q, prompt_k, prompt_v, &shape, &sight, compute, out, lse);
            });
        });
        let mut tasks = Vec::with_capacity(group.completions.len());
        let mut at = 0;
        for &len in &group.completions {
            let parts = (take(&mut out, len * wide), take(&mut lse, len * heads));
            if len > 0 {
                tasks.push((at, len, parts));
            }
            at += len;
        }
        let dim = self.shape.dim;
        tasks.into_par_iter().for_each(|(at, len, (out, lse))| {
            let (first, shape) = (p + at, self.part(len, len));
            let (q, k) = (of(q, first, len, wide), of(k, first, len, narrow));
            let v = of(v, first, len, narrow);
            let own: Vec<f32> = new_vec(len * wide, |own| {
                attention::forward(q, k, v, &shape, &causal(), compute, own, lse);
            });
            for i in 0..len {
                for h in 0..heads {
                    let prompt = shared_lse[h * n + at + i];
                    let log = &mut lse[h * len + i];
                    // e^prompt / (e^prompt + e^own)
                    let weight = 1.0 / (1.0 + (*log - prompt).exp());
                    let top = log.max(prompt);
                    *log = top + ((*log - top).exp() + (prompt - top).exp()).ln();
                    let place = i * wide + h * dim;
                    let shared = &shared[(at + i) * wide + h * dim..][..dim];
                    let (own, to) = (&own[place..][..dim], &mut out[place..][..dim]);
                    blend::between(own, shared, weight, to);
                }
            }
        });
    }

    /// Writes the gradients of `q`, `k` and `v`.
    pub(crate) fn backward<T: Element>(
        &self,
        saved: &Saved<'_, T>,
        compute: Compute,
        [mut dq, mut dk, mut dv]: [&mut [T]; 3],
    ) {
        let Some(groups) = &self.groups else {
            let (shape, sight) = (&self.shape, &self.kernel_sight());
            return attention::backward(saved, shape, sight, compute, dq, dk, dv);
        };
        let [wide, narrow, _] = self.widths();
        let mut at = 0;
        let mut tasks = Vec::with_capacity(groups.len());
        for group in groups {
            let n = group.total();
            let parts = [
                take(&mut dq, n * wide),
                take(&mut dk, n * narrow),
                take(&mut dv, n * narrow),
            ];
            tasks.push((group, self.saved(saved, (at, n), (at, n)), parts));
            at += n;
        }
        tasks
            .into_par_iter()
            .for_each(|(group, saved, parts)| self.backward_group(group, &saved, compute, parts));
    }

    /// The stretches of what was saved: tokens `(first, count)` of the queries
    /// and of the keys.
    fn saved<'s, T>(
        &self,
        all: &Saved<'s, T>,
        (q0, queries): (usize, usize),
        (k0, keys): (usize, usize),
    ) -> Saved<'s, T> {
        let [wide, narrow, heads] = self.widths();
        Saved {
            q: stretch(all.q, q0, queries, wide),
            k: stretch(all.k, k0, keys, narrow),
            v: stretch(all.v, k0, keys, narrow),
            out: stretch(all.out, q0, queries, wide),
            lse: stretch(all.lse, q0, queries, heads),
            grad: stretch(all.grad, q0, queries, wide),
        }
    }

    fn backward_group<T: Element>(
        &self,
        group: &GroupLens,
        saved: &Saved<'_, T>,
        compute: Compute,
        [mut dq, mut dk, mut dv]: [&mut [T]; 3],
    ) {
        let [wide, narrow, heads] = self.widths();
        let (p, n) = (group.prompt, group.completed());
        let own = |at: usize, len: usize, [dq, dk, dv]: [&mut [T]; 3]| {
            let (saved, shape) = (self.saved(saved, (at, len), (at, len)), self.part(len, len));
            attention::backward(&saved, &shape, &causal(), compute, dq, dk, dv);
        };
        let mut next = |len: usize| {
            [
                take(&mut dq, len * wide),
                take(&mut dk, len * narrow),
                take(&mut dv, len * narrow),
            ]
        };
        let [prompt_q, prompt_k, prompt_v] = next(p);
        own(0, p, [prompt_q, &mut *prompt_k, &mut *prompt_v]);
        if n == 0 {
            return;
        }
        // The logarithms lie completion by completion; the kernel wants all
        // queries of a head side by side.
        let mut lse = vec![0.0; n * heads];
        let mut at = 0;
        for &len in &group.completions {
            let from = stretch(saved.lse, p + at, len, heads);
            for h in 0..heads {
                lse[h * n + at..][..len].copy_from_slice(&from[h * len..][..len]);
            }
            at += len;
        }
        let over_prompt = Saved {
            lse: &lse,
            ..self.saved(saved, (p, n), (0, p))
        };
        let (mut dk, mut dv) = (Vec::new(), Vec::new());
        let dq: Vec<T> = new_vec(n * wide, |dq| {
            dk = new_vec(p * narrow, |dk| {
                dv = new_vec(p * narrow, |dv| {
                    let shape = self.part(n, p);
                    attention::backward(&over_prompt, &shape, &everything(), compute, dq, dk, dv);
                });
            });
        });
        blend::add(&dk, prompt_k);
        blend::add(&dv, prompt_v);
        let mut tasks = Vec::with_capacity(group.completions.len());
        let mut at = 0;
        for &len in &group.completions {
            let parts = next(len);
            if len > 0 {
                tasks.push((at, len, parts));
            }
            at += len;
        }
        tasks
            .into_par_iter()
            .for_each(|(at, len, [own_q, own_k, own_v])| {
                own(p + at, len, [&mut *own_q, own_k, own_v]);
                blend::add(stretch(&dq, at, len, wide), own_q);
            });
    }
}

fn stretch<T>(x: &[T], first: usize, count: usize, width: usize) -> &[T] {
    &x[first * width..(first + count) * width]
}

fn causal() -> attention::Sight<'static> {
    attention::Sight {
        lens: None,
        causal: Some(0),
    }
}

fn everything() -> attention::Sight<'static> {
    attention::Sight {
        lens: None,
        causal: None,
    }
}
