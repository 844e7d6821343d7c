//! Attention of new tokens over a cache whose rows may share a beginning.

use visa_kernels::Element;
use visa_kernels::attention::{Batch, Cache, Prefix, Row, Shape, Sight, decode, forward};
use visa_kernels::matmul::Compute;

use super::Feed;
use super::cache::{Kept, Rows, Shared};
use crate::DecoderConfig;

/// What a layer computes attention from: of the new tokens of all feeds, packed.
pub(super) struct New<'a, T> {
    pub(super) q: &'a [T],
    pub(super) keys: &'a [T],
    pub(super) values: &'a [T],
}

/// Writes the attention `[T, Hq · D]` of the new tokens; the cache holds their
/// keys and values already, but has not counted them.
pub(super) fn attend<T: Element>(
    config: &DecoderConfig,
    compute: Compute,
    cache: &Rows<T>,
    layer: usize,
    feeds: &[Feed<'_>],
    new: &New<'_, T>,
    out: &mut Vec<T>,
) {
    let (wide, narrow) = widths(config);
    out.resize(new.q.len(), T::default());
    let mut at = 0;
    let mut later = Vec::with_capacity(feeds.len());
    for (row, tokens) in feeds {
        let end = at + tokens.len();
        if cache.len(*row) == Some(0) {
            // A prompt sees nothing but itself.
            let (own, q) = (at * narrow..end * narrow, at * wide..end * wide);
            let (k, v) = (&new.keys[own.clone()], &new.values[own]);
            prompt(config, compute, &new.q[q.clone()], k, v, &mut out[q]);
        } else {
            later.push((*row, at, tokens.len()));
        }
        at = end;
    }
    if !later.is_empty() {
        continued(config, cache, layer, &later, new.q, out);
    }
}

fn widths(config: &DecoderConfig) -> (usize, usize) {
    let dim = config.head_dim;
    (
        config.num_attention_heads * dim,
        config.num_key_value_heads * dim,
    )
}

fn prompt<T: Element>(
    config: &DecoderConfig,
    compute: Compute,
    q: &[T],
    k: &[T],
    v: &[T],
    out: &mut [T],
) {
    let tokens = k.len() / widths(config).1;
    let shape = Shape {
        batch: 1,
        queries: tokens,
        keys: tokens,
        heads: config.num_attention_heads,
        kv_heads: config.num_key_value_heads,
        dim: config.head_dim,
    };
    let sight = Sight {
        lens: None,
        causal: Some(0),
    };
    let mut lse = vec![0.0; shape.lse_len()];
    forward(q, k, v, &shape, &sight, compute, out, &mut lse);
}

/// The first `len` positions of what a layer keeps of a row.
pub(super) fn view<'a, T>(config: &DecoderConfig, kept: &'a Kept<T>, len: usize) -> Cache<'a, T> {
    Cache {
        k: &kept.keys,
        v: &kept.values,
        len,
        position: widths(config).1,
        head: config.head_dim,
    }
}

/// Rows that have seen tokens before: `(row, first new token, how many)`.
fn continued<T: Element>(
    config: &DecoderConfig,
    cache: &Rows<T>,
    layer: usize,
    feeds: &[(usize, usize, usize)],
    q: &[T],
    out: &mut [T],
) {
    let (wide, _) = widths(config);
    let mut shared: Vec<&Shared> = Vec::new();
    let mut rows = Vec::with_capacity(feeds.len());
    for &(row, _, count) in feeds {
        let row = cache.row(row);
        let prefix = row.shared.as_deref().map(|stretch| {
            let known = shared
                .iter()
                .position(|known| std::ptr::eq(*known, stretch));
            known.unwrap_or_else(|| {
                shared.push(stretch);
                shared.len() - 1
            })
        });
        rows.push(Row {
            prefix,
            own: view(config, &row.own.layers[layer], row.own.len + count),
            count,
        });
    }
    let prefixes: Vec<&Prefix> = shared.iter().map(|prompt| &prompt.layers[layer]).collect();
    let queries = feeds.iter().map(|(.., count)| *count).max().unwrap_or(0);
    let batch = Batch {
        prefixes: &prefixes,
        rows: &rows,
        queries,
        heads: config.num_attention_heads,
        kv_heads: config.num_key_value_heads,
        dim: config.head_dim,
    };
    if q.len() == feeds.len() * queries * wide {
        // Every token of this step, and as many of each row: nothing to fill up.
        return decode(q, &batch, out);
    }
    let mut padded = vec![T::default(); feeds.len() * queries * wide];
    let mut results = padded.clone();
    for (&(_, at, count), to) in feeds.iter().zip(padded.chunks_exact_mut(queries * wide)) {
        to[..count * wide].copy_from_slice(&q[at * wide..][..count * wide]);
    }
    decode(&padded, &batch, &mut results);
    for (&(_, at, count), from) in feeds.iter().zip(results.chunks_exact(queries * wide)) {
        out[at * wide..][..count * wide].copy_from_slice(&from[..count * wide]);
    }
}
