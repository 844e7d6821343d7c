//! Attention of new positions over cached keys and values: rows of different
//! lengths, of which many may continue the same prefix.
//!
//! ```text
//! o = Σ_j e^(s_j − m) v_j / Σ_j e^(s_j − m)      s_j = q · k_j / sqrt(D)      m = max_j s_j
//! ```
//!
//! A shared prefix is packed once ([`Prefix`]) and multiplied with the queries of
//! all rows that continue it, then each row's own keys follow; sums over a part of
//! the keys are rescaled when a later part has a larger score (online softmax,
//! Milakov and Gimelshein, arXiv 1805.02867), so scores exist for a block only.

use rayon::prelude::*;

use super::prefix::Prefix;
use super::rows::{dots, transpose, weigh};
use crate::buffer::{Scratch, Shared, with_scratch};
use crate::element::Element;
use crate::gemm::tile::{Left, multiply};
use crate::math::exp;
use crate::simd::Simd;

/// Keys and values `[len, kv_heads, dim]`, in memory that may be laid out
/// otherwise: the number of position `j`, head `g` and place `d` is at
/// `j · position + g · head + d`.
#[derive(Debug, Clone, Copy)]
pub struct Cache<'a, T> {
    /// Keys.
    pub k: &'a [T],
    /// Values.
    pub v: &'a [T],
    /// Positions in it.
    pub len: usize,
    /// Distance from a position to the next; `kv_heads · dim` if contiguous.
    pub position: usize,
    /// Distance from a head to the next; `dim` if contiguous.
    pub head: usize,
}

/// A row of the batch.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a, T> {
    /// Which of [`Batch::prefixes`] it continues.
    pub prefix: Option<usize>,
    /// Its own keys and values, those of its queries last.
    pub own: Cache<'a, T>,
    /// Its queries, at most [`Batch::queries`] and at most `own.len`: query `i`
    /// sees the whole prefix and the first `own.len − count + i + 1` own keys.
    /// Outputs of further positions are zero.
    pub count: usize,
}

/// What is decoded; `q, o [rows, queries, heads, dim]`.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a, T> {
    /// Keys and values that several rows share.
    pub prefixes: &'a [&'a Prefix],
    /// The rows.
    pub rows: &'a [Row<'a, T>],
    /// Positions of `q` in each row: 1 for plain decoding.
    pub queries: usize,
    /// Heads of `q`, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub dim: usize,
}

/// Query vectors whose scores exist at one time.
pub(super) const BLOCK: usize = 48;
/// Keys of which scores exist at one time, a multiple of all vectors.
const KEYS: usize = 256;
/// Up to so many query vectors, keys are read as they lie.
const FEW: usize = 3;
/// Most bytes of keys, and of values, that are called ahead.
pub(super) const AHEAD: usize = 1 << 17;

/// Calls memory into the second cache of the processor.
pub(super) fn prefetch(from: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, bytes);
}

impl<T: Element> Batch<'_, T> {
    fn check(&self, q: usize, out: usize) {
        assert!(self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads));
        assert_eq!(q, self.rows.len() * self.queries * self.heads * self.dim);
        assert_eq!(out, q, "an output for each query");
        for prefix in self.prefixes {
            assert!(
                prefix.is_of(self.kv_heads, self.dim),
                "a prefix of another shape"
            );
        }
        for cache in self.rows.iter().map(|row| &row.own) {
            let end = match cache.len {
                0 => 0,
                n => (n - 1) * cache.position + (self.kv_heads - 1) * cache.head + self.dim,
            };
            assert!(
                cache.k.len() >= end && cache.v.len() >= end,
                "a cache is too short"
            );
        }
        for row in self.rows {
            assert!(row.count <= self.queries && row.count <= row.own.len);
            assert!(row.prefix.is_none_or(|p| p < self.prefixes.len()));
        }
    }

    /// Place of a query vector in `q` and `o`, in units of `dim`.
    fn place(&self, row: usize, query: usize, head: usize) -> usize {
        (row * self.queries + query) * self.heads + head
    }
}

/// Attention of `q` over the caches of the batch.
pub fn decode<T: Element>(q: &[T], batch: &Batch<'_, T>, out: &mut [T]) {
    batch.check(q.len(), out.len());
    let places = batch.rows.len() * batch.queries * batch.heads;
    with_scratch(|scratch| {
        let (tops, rest) = scratch.f32s((2 + batch.dim) * places).split_at_mut(places);
        let (sums, acc) = rest.split_at_mut(places);
        tops.fill(f32::NEG_INFINITY);
        sums.fill(0.0);
        acc.fill(0.0);
        out.fill(T::default());
        let state = State {
            out: Shared::new(out),
            acc: Shared::new(acc),
            tops: Shared::new(tops),
            sums: Shared::new(sums),
        };
        prefixes(q, batch, state);
        let group = batch.heads / batch.kv_heads;
        let run = |r: usize, g: usize| {
            let row = &batch.rows[r];
            let before = row.own.len - row.count;
            let mut block = Block::default();
            for i in 0..row.count {
                for h in g * group..(g + 1) * group {
                    block.push(batch.place(r, i, h), before + i + 1);
                    if block.len == BLOCK {
                        block.run(q, &row.own, g, batch.dim, state);
                    }
                }
            }
            block.run(q, &row.own, g, batch.dim, state);
        };
        let keys: usize = batch.rows.iter().map(|row| row.own.len * row.count).sum();
        let small = keys * batch.heads * batch.dim < 1 << 17;
        let ahead = |r: usize| batch.rows[r].own.prefetch(batch.kv_heads);
        each(batch.rows.len(), batch.kv_heads, small, ahead, run);
    });
}

/// Runs `task(i, key head)` for `count` arrays of keys. Heads lie side by side, so
/// reading one alone jumps from position to position; where there are arrays enough
/// to keep the threads busy, one thread takes all heads of an array, which was
/// called `ahead` into the second cache of the processor.
fn each(
    count: usize,
    heads: usize,
    small: bool,
    ahead: impl Fn(usize) + Sync,
    task: impl Fn(usize, usize) + Sync,
) {
    let threads = rayon::current_num_threads();
    let one = |t: usize| task(t / heads, t % heads);
    if small {
        (0..count * heads).for_each(one);
    } else if count < 2 * threads {
        (0..count * heads).into_par_iter().for_each(one);
    } else {
        let part = count.div_ceil(4 * threads);
        (0..count.div_ceil(part)).into_par_iter().for_each(|at| {
            let (first, end) = (at * part, count.min((at + 1) * part));
            ahead(first);
            for i in first..end {
                if i + 1 < end {
                    ahead(i + 1);
                }
                (0..heads).for_each(|g| task(i, g));
            }
        });
    }
}

impl<T: Element> Cache<'_, T> {
    /// Calls all of it into the processor's caches, if it is contiguous there.
    fn prefetch(&self, heads: usize) {
        if self.head * heads != self.position {
            return;
        }
        for all in [self.k, self.v] {
            let bytes = size_of_val(&all[..self.len * self.position]);
            prefetch(all.as_ptr().cast(), bytes.min(AHEAD));
        }
    }
}

/// The part of all queries that continue a prefix.
fn prefixes<T: Element>(q: &[T], batch: &Batch<'_, T>, state: State<T>) {
    let group = batch.heads / batch.kv_heads;
    let mut members = vec![Vec::new(); batch.prefixes.len()];
    for (r, row) in batch.rows.iter().enumerate() {
        if let Some(p) = row.prefix {
            members[p].push((r, row.count));
        }
    }
    let run = |p: usize, g: usize| {
        let mut block = Block::default();
        for &(r, count) in &members[p] {
            for i in 0..count {
                for h in g * group..(g + 1) * group {
                    block.push(batch.place(r, i, h), 0);
                    if block.len == BLOCK {
                        batch.prefixes[p].absorb(q, g, &block, state);
                        block.len = 0;
                    }
                }
            }
        }
        batch.prefixes[p].absorb(q, g, &block, state);
    };
    let counts = members
        .iter()
        .map(|m| m.iter().map(|(_, n)| n).sum::<usize>());
    let pairs: usize = counts.zip(batch.prefixes).map(|(n, p)| n * p.len()).sum();
    let small = pairs * batch.heads * batch.dim < 1 << 17;
    let ahead = |p: usize| batch.prefixes[p].prefetch();
    each(batch.prefixes.len(), batch.kv_heads, small, ahead, run);
}

/// What is known of each query vector: its output (not yet divided), the
/// largest score and the sum of exponentials so far; and where the result goes.
#[derive(Clone, Copy)]
pub(super) struct State<T> {
    out: Shared<T>,
    pub(super) acc: Shared<f32>,
    pub(super) tops: Shared<f32>,
    pub(super) sums: Shared<f32>,
}

/// Query vectors that see the same keys, each so many of them.
pub(super) struct Block {
    pub(super) len: usize,
    pub(super) places: [usize; BLOCK],
    visible: [usize; BLOCK],
}

impl Default for Block {
    fn default() -> Self {
        Self {
            len: 0,
            places: [0; BLOCK],
            visible: [0; BLOCK],
        }
    }
}

impl Block {
    fn push(&mut self, place: usize, visible: usize) {
        self.places[self.len] = place;
        self.visible[self.len] = visible;
        self.len += 1;
    }

    /// Adds the keys of head `g` of a cache and writes the results. Empties the block.
    fn run<T: Element>(
        &mut self,
        q: &[T],
        cache: &Cache<'_, T>,
        g: usize,
        dim: usize,
        state: State<T>,
    ) {
        if self.len > 0 {
            with_scratch(|scratch| absorb(q, cache, g, dim, self, state, scratch));
            self.len = 0;
        }
    }
}

kernel! {
    fn absorb<S; T: Element>(
        q: &[T],
        cache: &Cache<'_, T>,
        g: usize,
        dim: usize,
        block: &Block,
        state: State<T>,
        scratch: &mut Scratch,
    ) {
        let rows = block.len;
        let all = scratch.f32s(2 * BLOCK * dim + BLOCK * KEYS + 2 * KEYS * dim);
        let (own, rest) = all.split_at_mut(BLOCK * dim);
        let (sums, rest) = rest.split_at_mut(BLOCK * dim);
        let (scores, rest) = rest.split_at_mut(BLOCK * KEYS);
        let (kt, vs) = rest.split_at_mut(KEYS * dim);
        let (own, acc, s) = (own.as_mut_ptr(), sums.as_mut_ptr(), scores.as_mut_ptr());
        for i in 0..rows {
            let at = block.places[i] * dim;
            let mut d = 0;
            while d < dim {
                let x: S = T::load(q.as_ptr().add(at + d), dim - d);
                x.store_n(own.add(i * dim + d), dim - d);
                d += S::LANES;
            }
            std::ptr::copy_nonoverlapping(state.acc.get().add(at), acc.add(i * dim), dim);
        }
        let most = block.visible[..rows].iter().copied().max().unwrap_or(0);
        let scale = 1.0 / (dim as f32).sqrt();
        for c0 in (0..most).step_by(KEYS) {
            let n = KEYS.min(most - c0);
            let kp = cache.k.as_ptr().add(c0 * cache.position + g * cache.head);
            let vp = cache.v.as_ptr().add(c0 * cache.position + g * cache.head);
            if rows <= FEW {
                for i in 0..rows {
                    dots::<S, f32, T>(own.add(i * dim), kp, cache.position, dim, n, s.add(i * KEYS));
                }
            } else {
                transpose::<S, T>(kp, cache.position, n, dim, kt.as_mut_ptr(), KEYS);
                let left = Left(own, dim, 1);
                multiply::<S>((rows, n, dim), left, kt.as_ptr(), KEYS, s, KEYS, false);
            }
            for i in 0..rows {
                let place = block.places[i];
                let row = std::slice::from_raw_parts_mut(s.add(i * KEYS), n);
                let visible = block.visible[i].saturating_sub(c0).min(n);
                row[visible..].fill(0.0);
                if visible == 0 {
                    continue;
                }
                let top = &mut *state.tops.get().add(place);
                let sum = &mut *state.sums.get().add(place);
                let factor = shift::<S>(&mut row[..visible], scale, top, sum);
                if factor != 1.0 {
                    let mut d = 0;
                    while d < dim {
                        let p = acc.add(i * dim + d);
                        S::load_n(p, dim - d).mul(S::splat(factor)).store_n(p, dim - d);
                        d += S::LANES;
                    }
                }
            }
            if rows <= FEW {
                for i in 0..rows {
                    weigh::<S, T>(s.add(i * KEYS), vp, cache.position, dim, n, acc.add(i * dim));
                }
            } else {
                let left = Left(s, KEYS, 1);
                let (v, stride) = if T::FULL {
                    (vp.cast::<f32>(), cache.position)
                } else {
                    for j in 0..n {
                        let mut d = 0;
                        while d < dim {
                            let x: S = T::load(vp.add(j * cache.position + d), dim - d);
                            x.store_n(vs.as_mut_ptr().add(j * dim + d), dim - d);
                            d += S::LANES;
                        }
                    }
                    (vs.as_ptr(), dim)
                };
                multiply::<S>((rows, dim, n), left, v, stride, acc, dim, true);
            }
        }
        for i in 0..rows {
            let place = block.places[i];
            let sum = *state.sums.get().add(place);
            let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            let mut d = 0;
            while d < dim {
                let x = S::load_n(acc.add(i * dim + d), dim - d).mul(S::splat(factor));
                T::store(state.out.get().add(place * dim + d), dim - d, x);
                d += S::LANES;
            }
        }
    }
}

/// Scores of a row to exponentials under the larger of the old and the new
/// largest score; what sums so far must be multiplied with.
#[inline(always)]
pub(super) unsafe fn shift<S: Simd>(
    row: &mut [f32],
    scale: f32,
    top: &mut f32,
    sum: &mut f32,
) -> f32 {
    unsafe {
        let (p, n) = (row.as_mut_ptr(), row.len());
        let mut most = S::splat(f32::NEG_INFINITY);
        let mut i = 0;
        while i + S::LANES <= n {
            most = most.max(S::load(p.add(i)));
            i += S::LANES;
        }
        let most = row[i..].iter().copied().fold(most.top(), f32::max) * scale;
        let new = if most > *top { most } else { *top };
        let factor = (*top - new).exp();
        let (shift, scale) = (S::splat(-new), S::splat(scale));
        let mut more = S::splat(0.0);
        let mut i = 0;
        while i < n {
            exp(S::load_n(p.add(i), n - i).fma(scale, shift)).store_n(p.add(i), n - i);
            // Read again, because a part has zeros past its end only then.
            more = more.add(S::load_n(p.add(i), n - i));
            i += S::LANES;
        }
        *sum = *sum * factor + more.sum();
        *top = new;
        factor
    }
}
