//! Attention of new tokens over a cache whose rows may share a beginning.
//!
//! A softmax over two stretches of keys is the mean of the softmaxes over each,
//! weighted by their sums of exponentials (Juravsky et al. 2024, arXiv
//! 2402.05099): all queries over one shared prompt are one product, which reads
//! its keys once, and each row adds what it sees of its own.

use rayon::prelude::*;
use visa_kernels::attention::{Shape, Sight, forward};
use visa_kernels::matmul::Compute;

use super::cache::{Kept, Stretch};
use super::{Feed, KvCache};
use crate::DecoderConfig;

/// Attention over one stretch: outputs `[queries, Hq · D]` and logarithms of the
/// sums of exponentials `[Hq, queries]`.
fn over(
    config: &DecoderConfig,
    q: &[f32],
    kept: &Kept,
    causal: Option<usize>,
    out: &mut [f32],
    lse: &mut Vec<f32>,
) {
    let (heads, kv_heads, dim) = (
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
    );
    let shape = Shape {
        batch: 1,
        queries: q.len() / (heads * dim),
        keys: kept.keys.len() / (kv_heads * dim),
        heads,
        kv_heads,
        dim,
    };
    lse.resize(shape.lse_len(), 0.0);
    let sight = Sight { lens: None, causal };
    forward(
        q,
        &kept.keys,
        &kept.values,
        &shape,
        &sight,
        Compute::F32,
        out,
        lse,
    );
}

/// Writes the attention `[T, Hq · D]` of the packed queries of all feeds; the
/// cache holds the keys and values of this layer already.
pub(super) fn attend(
    config: &DecoderConfig,
    cache: &KvCache,
    layer: usize,
    feeds: &[Feed<'_>],
    q: &[f32],
    out: &mut Vec<f32>,
) {
    let width = config.num_attention_heads * config.head_dim;
    out.resize(q.len(), 0.0);
    let mut parts = Vec::with_capacity(feeds.len());
    let (mut q_rest, mut out_rest) = (q, &mut out[..]);
    for (row, tokens) in feeds {
        let (q, q_next) = q_rest.split_at(tokens.len() * width);
        let (out, out_next) = out_rest.split_at_mut(tokens.len() * width);
        parts.push((cache.row(*row), q, out, Vec::new()));
        (q_rest, out_rest) = (q_next, out_next);
    }
    let prompts = shared_prompts(config, layer, &parts);
    parts
        .par_iter_mut()
        .enumerate()
        .for_each(|(i, (row, q, out, lse))| {
            let own = &row.own.layers[layer];
            over(config, q, own, Some(row.own.len), out, lse);
            if let Some((prompt, at)) = prompts.iter().find_map(|p| Some((p, p.place(i)?))) {
                prompt.merge(config, at, out, lse);
            }
        });
}

/// What the queries of several feeds see of the prompt that they share.
struct Prompt<'a> {
    stretch: &'a Stretch,
    /// The feeds and where their queries begin.
    feeds: Vec<(usize, usize)>,
    q: Vec<f32>,
    out: Vec<f32>,
    lse: Vec<f32>,
}

type Part<'a> = (&'a super::cache::Row, &'a [f32], &'a mut [f32], Vec<f32>);

fn shared_prompts<'a>(config: &DecoderConfig, layer: usize, parts: &[Part<'a>]) -> Vec<Prompt<'a>> {
    let width = config.num_attention_heads * config.head_dim;
    let mut prompts: Vec<Prompt<'a>> = Vec::new();
    for (i, (row, q, ..)) in parts.iter().enumerate() {
        let Some(stretch) = row.shared.as_deref() else {
            continue;
        };
        let known = prompts
            .iter()
            .position(|p| std::ptr::eq(p.stretch, stretch));
        let at = known.unwrap_or_else(|| {
            prompts.push(Prompt {
                stretch,
                feeds: Vec::new(),
                q: Vec::new(),
                out: Vec::new(),
                lse: Vec::new(),
            });
            prompts.len() - 1
        });
        let prompt = &mut prompts[at];
        prompt.feeds.push((i, prompt.q.len() / width));
        prompt.q.extend_from_slice(q);
    }
    prompts.par_iter_mut().for_each(|prompt| {
        prompt.out.resize(prompt.q.len(), 0.0);
        let kept = &prompt.stretch.layers[layer];
        over(
            config,
            &prompt.q,
            kept,
            None,
            &mut prompt.out,
            &mut prompt.lse,
        );
    });
    prompts
}

impl Prompt<'_> {
    /// Where the queries of this feed begin.
    fn place(&self, feed: usize) -> Option<usize> {
        let found = self.feeds.iter().find(|(i, _)| *i == feed);
        found.map(|(_, at)| *at)
    }

    /// Joins a feed's attention over its own tokens with that over the prompt.
    fn merge(&self, config: &DecoderConfig, first: usize, out: &mut [f32], lse: &[f32]) {
        let (heads, dim) = (config.num_attention_heads, config.head_dim);
        let width = heads * dim;
        let (all, queries) = (self.q.len() / width, out.len() / width);
        for i in 0..queries {
            for h in 0..heads {
                let (own, shared) = (lse[h * queries + i], self.lse[h * all + first + i]);
                // The weight of the prompt: e^shared / (e^shared + e^own).
                let weight = 1.0 / (1.0 + (own - shared).exp());
                let to = &mut out[i * width + h * dim..][..dim];
                let from = &self.out[(first + i) * width + h * dim..][..dim];
                for (to, from) in to.iter_mut().zip(from) {
                    *to += weight * (from - *to);
                }
            }
        }
    }
}
