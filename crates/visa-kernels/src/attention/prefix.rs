//! Keys and values that many rows continue, packed once for all steps of decoding.

use std::fmt;

use super::decode::{AHEAD, BLOCK, Block, Cache, State, prefetch, shift};
use super::group::{Rooms, turned, view_of};
use super::rows;
use crate::buffer::{Scratch, with_scratch};
use crate::element::Element;
use crate::gemm::inside::{left_words, multiply};
use crate::gemm::method::{Begin, Kind, Method};
use crate::gemm::{Layout, Panels, View};
use crate::matmul::Compute;

/// A packed [`Cache`]: the factors of both products of attention, head by head.
pub struct Prefix {
    kind: Kind,
    len: usize,
    kv_heads: usize,
    dim: usize,
    keys: Layout,
    values: Layout,
    words: Scratch,
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            len, kv_heads, dim, ..
        } = self;
        write!(f, "Prefix [{len}, {kv_heads}, {dim}]")
    }
}

impl Prefix {
    /// Packs the keys and values of `kv_heads` heads of `dim` numbers, rounded as
    /// `compute` says.
    pub fn new<T: Element>(
        cache: &Cache<'_, T>,
        kv_heads: usize,
        dim: usize,
        compute: Compute,
    ) -> Self {
        let (kind, len) = (Kind::best(compute), cache.len);
        let mut prefix = Self {
            kind,
            len,
            kv_heads,
            dim,
            keys: Layout::new(kind, len, dim),
            values: Layout::new(kind, dim, len),
            words: Scratch::default(),
        };
        let (keys, values) = prefix.sizes();
        let words = prefix.words.u32s(kv_heads * (keys + values));
        for (g, words) in words.chunks_exact_mut((keys + values).max(1)).enumerate() {
            let of = |data| View {
                data,
                rows: len,
                depth: dim,
                row_stride: cache.position,
                depth_stride: 1,
            };
            let first = (g * cache.head).min(cache.k.len());
            let (to_keys, to_values) = words.split_at_mut(keys);
            prefix.keys.pack_here(&of(&cache.k[first..]), to_keys);
            prefix
                .values
                .pack_here(&turned(&of(&cache.v[first..])), to_values);
        }
        prefix
    }

    /// Positions in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it was made for this shape.
    pub(super) fn is_of(&self, kv_heads: usize, dim: usize) -> bool {
        (self.kv_heads, self.dim) == (kv_heads, dim)
    }

    /// Words of the keys and of the values of a head.
    fn sizes(&self) -> (usize, usize) {
        let [keys, values] = [&self.keys, &self.values].map(Layout::words);
        (keys.next_multiple_of(16), values.next_multiple_of(16))
    }

    fn all(&self) -> &[u32] {
        let (keys, values) = self.sizes();
        self.words.whole(self.kv_heads * (keys + values))
    }

    fn head(&self, g: usize) -> (Panels<'_>, Panels<'_>) {
        let (keys, values) = self.sizes();
        let words = &self.all()[g * (keys + values)..][..keys + values];
        let (for_keys, for_values) = words.split_at(keys);
        (self.keys.over(for_keys), self.values.over(for_values))
    }

    /// Calls it into the second cache of the processor.
    pub(super) fn prefetch(&self) {
        let words = self.all();
        prefetch(words.as_ptr().cast(), size_of_val(words).min(2 * AHEAD));
    }

    /// Begins the sums of queries with the keys of head `g`.
    pub(super) fn absorb<T: Element>(&self, q: &[T], g: usize, block: &Block, state: State<T>) {
        if block.len == 0 || self.len == 0 {
            return;
        }
        with_scratch(|scratch| {
            // SAFETY: the kind was the best of this processor; the block's places
            // exist, and no other task has them.
            with_method!(self.kind, M => unsafe { self.run::<M, T>(q, g, block, state, scratch) });
        });
    }

    unsafe fn run<M: Method, T: Element>(
        &self,
        q: &[T],
        g: usize,
        block: &Block,
        state: State<T>,
        scratch: &mut Scratch,
    ) {
        let (rows, dim, len) = (block.len, self.dim, self.len);
        let ld = len.next_multiple_of(16);
        let left = left_words::<M>(BLOCK, dim).max(left_words::<M>(BLOCK, len));
        let sizes = [left, BLOCK * dim, BLOCK * ld, BLOCK * dim];
        let all = sizes.iter().map(|n| n.next_multiple_of(16)).sum();
        let (keys, values) = self.head(g);
        // SAFETY: the rooms are those just counted; the caller's places.
        unsafe {
            let mut rooms = Rooms::new(scratch.u32s(all));
            let [left, own, scores, sums] = sizes.map(|n| rooms.take(n));
            let left = left.as_mut_ptr();
            let own = std::slice::from_raw_parts_mut(own.as_mut_ptr().cast::<T>(), rows * dim);
            let [s, sums] = [scores, sums].map(|x| x.as_mut_ptr().cast::<f32>());
            for (to, place) in own.chunks_exact_mut(dim).zip(&block.places) {
                to.copy_from_slice(&q[place * dim..][..dim]);
            }
            let own = View::rows(own, rows, dim);
            multiply::<M, T>(&own, &keys, len, Begin::Zero, s, ld, left);
            begin(
                s,
                ld,
                len,
                block,
                1.0 / (dim as f32).sqrt(),
                state.tops,
                state.sums,
            );
            let weights = view_of(s, rows, len, ld);
            multiply::<M, f32>(&weights, &values, dim, Begin::Zero, sums, dim, left);
            if M::LEFT == 2 {
                // As in the forward pass: no weight is rounded.
                rows::remainders(s, ld, len, rows);
                multiply::<M, f32>(&weights, &values, dim, Begin::Result, sums, dim, left);
            }
            for i in 0..rows {
                let to = state.acc.get().add(block.places[i] * dim);
                std::ptr::copy_nonoverlapping(sums.add(i * dim), to, dim);
            }
        }
    }
}

kernel! {
    /// Scores to exponentials; the largest scores and the sums of a block's places.
    fn begin<S>(
        s: *mut f32,
        ld: usize,
        len: usize,
        block: &Block,
        scale: f32,
        tops: crate::buffer::Shared<f32>,
        sums: crate::buffer::Shared<f32>,
    ) {
        for i in 0..block.len {
            let place = block.places[i];
            let row = std::slice::from_raw_parts_mut(s.add(i * ld), len);
            let (top, sum) = (&mut *tops.get().add(place), &mut *sums.get().add(place));
            shift::<S>(row, scale, top, sum);
        }
    }
}
