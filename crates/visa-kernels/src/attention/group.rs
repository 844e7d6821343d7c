//! The query heads of one key head, block by block: what a task of attention
//! computes.

use super::rows;
use crate::buffer::Scratch;
use crate::element::Element;
use crate::gemm::inside::{left_words, multiply};
use crate::gemm::method::{Begin, Kind, Method};
use crate::gemm::{Layout, View};

/// Queries whose scores exist at one time; a multiple of the heights of tiles.
const BLOCK: usize = 48;
/// The same in the backward pass, where a block is also summed over.
const BACK: usize = 96;

/// Queries, keys and values of a key head, each from its first number on.
pub(super) struct Group<'a, T> {
    pub(super) q: &'a [T],
    /// Distance between two queries.
    pub(super) q_row: usize,
    pub(super) k: &'a [T],
    pub(super) v: &'a [T],
    /// Distance between two keys.
    pub(super) kv_row: usize,
    pub(super) queries: usize,
    /// Keys that exist.
    pub(super) keys: usize,
    /// Query heads, side by side.
    pub(super) heads: usize,
    pub(super) dim: usize,
    /// For causal attention, the key position of query 0.
    pub(super) causal: Option<usize>,
}

impl<T: Element> Group<'_, T> {
    /// Number of leading keys that query `i` sees.
    fn visible(&self, i: usize) -> usize {
        self.causal
            .map_or(self.keys, |offset| self.keys.min(offset + i + 1))
    }

    /// The same for a block of queries.
    fn sights<const N: usize>(&self, i0: usize) -> [usize; N] {
        std::array::from_fn(|i| self.visible(i0 + i))
    }

    /// Keys that any query sees.
    fn seen(&self) -> usize {
        self.visible(self.queries.saturating_sub(1))
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// `rows` vectors of `head`, from `first` on, in an array like the queries.
    fn block<'b>(&self, of: &'b [T], head: usize, first: usize, rows: usize) -> View<'b, T> {
        View {
            data: &of[first * self.q_row + head * self.dim..],
            rows,
            depth: self.dim,
            row_stride: self.q_row,
            depth_stride: 1,
        }
    }

    /// The first `count` keys or values.
    fn along<'b>(&self, of: &'b [T], count: usize) -> View<'b, T> {
        View {
            data: of,
            rows: count,
            depth: self.dim,
            row_stride: self.kv_row,
            depth_stride: 1,
        }
    }
}

/// The same numbers, summed over the other dimension.
pub(super) fn turned<'a, T>(view: &View<'a, T>) -> View<'a, T> {
    View {
        data: view.data,
        rows: view.depth,
        depth: view.rows,
        row_stride: view.depth_stride,
        depth_stride: view.row_stride,
    }
}

/// `rows × depth` numbers at `p`, rows `ld` apart.
pub(super) unsafe fn view_of<'a>(p: *const f32, rows: usize, depth: usize, ld: usize) -> View<'a> {
    let len = if rows == 0 {
        0
    } else {
        (rows - 1) * ld + depth
    };
    View {
        // SAFETY: the caller's block.
        data: unsafe { std::slice::from_raw_parts(p, len) },
        rows,
        depth,
        row_stride: ld,
        depth_stride: 1,
    }
}

/// Hands out parts of one scratch.
pub(super) struct Rooms {
    next: *mut u32,
}

impl Rooms {
    pub(super) fn new(words: &mut [u32]) -> Self {
        Self {
            next: words.as_mut_ptr(),
        }
    }

    /// The next `words` words, aligned.
    pub(super) unsafe fn take<'a>(&mut self, words: usize) -> &'a mut [u32] {
        // SAFETY: the caller asked for the sum of what it takes.
        unsafe {
            let room = std::slice::from_raw_parts_mut(self.next, words);
            self.next = self.next.add(words.next_multiple_of(16));
            room
        }
    }
}

/// Outputs of all heads of a group, from weights that are not rounded if `EXACT`; logarithms `[heads, queries]` unless `lse` is null.
///
/// # Safety
/// `M` is the method of `kind`, which this processor has; `out`, rows `out_row` apart, and `lse`
/// are valid for the group.
pub(super) unsafe fn forward_group<M: Method, T: Element, Y: Element, const EXACT: bool>(
    kind: Kind,
    group: &Group<'_, T>,
    out: *mut Y,
    out_row: usize,
    lse: *mut f32,
    scratch: &mut Scratch,
) {
    let (dim, queries, seen) = (group.dim, group.queries, group.seen());
    let (wide, deep) = (Layout::new(kind, seen, dim), Layout::new(kind, dim, seen));
    let ld = seen.next_multiple_of(16);
    let left = left_words::<M>(BLOCK, dim).max(left_words::<M>(BLOCK, seen));
    let sizes = [wide.words(), deep.words(), left, BLOCK * ld, BLOCK * dim];
    let all = sizes.iter().map(|n| n.next_multiple_of(16)).sum();
    // SAFETY: the rooms are those just counted; views and products stay inside
    // them and inside the group.
    unsafe {
        let mut rooms = Rooms::new(scratch.u32s(all));
        let [keys, values, left, scores, sums] = sizes.map(|n| rooms.take(n));
        wide.pack_here(&group.along(group.k, seen), keys);
        deep.pack_here(&turned(&group.along(group.v, seen)), values);
        let (keys, values) = (wide.over(keys), deep.over(values));
        let (left, s) = (left.as_mut_ptr(), scores.as_mut_ptr().cast::<f32>());
        let sums = sums.as_mut_ptr().cast::<f32>();
        for h in 0..group.heads {
            for i0 in (0..queries).step_by(BLOCK) {
                let rows = BLOCK.min(queries - i0);
                let sights = &group.sights::<BLOCK>(i0)[..rows];
                let most = sights[rows - 1];
                let (mut logs, mut factors) = ([0.0; BLOCK], [0.0; BLOCK]);
                let q = group.block(group.q, h, i0, rows);
                multiply::<M, T>(&q, &keys, most, Begin::Zero, s, ld, left);
                let (logs, factors) = (&mut logs[..rows], &mut factors[..rows]);
                rows::weights(s, ld, most, sights, group.scale(), logs, factors);
                if !lse.is_null() {
                    let to = lse.add(h * queries + i0);
                    std::ptr::copy_nonoverlapping(logs.as_ptr(), to, rows);
                }
                let weights = view_of(s, rows, most, ld);
                if most == 0 {
                    std::slice::from_raw_parts_mut(sums, rows * dim).fill(0.0);
                }
                multiply::<M, f32>(&weights, &values, dim, Begin::Zero, sums, dim, left);
                if EXACT && M::LEFT == 2 {
                    // What rounding cut off the weights, so that the output is as exact as
                    // that of decoding, which rounds none.
                    rows::remainders(s, ld, most, rows);
                    multiply::<M, f32>(&weights, &values, dim, Begin::Result, sums, dim, left);
                }
                rows::store(sums, factors, dim, out.add(i0 * out_row + h * dim), out_row);
            }
        }
    }
}

/// [`forward_group`] for a few queries: packing would cost more than it saves.
///
/// # Safety
/// As for [`forward_group`].
pub(super) unsafe fn few<T: Element, Y: Element>(
    group: &Group<'_, T>,
    out: *mut Y,
    out_row: usize,
    lse: *mut f32,
    scratch: &mut Scratch,
) {
    let (dim, ld) = (group.dim, group.seen().next_multiple_of(16));
    let (scores, sums) = scratch.f32s(ld + dim).split_at_mut(ld);
    for h in 0..group.heads {
        for i in 0..group.queries {
            let q = &group.q[i * group.q_row + h * dim..];
            // SAFETY: the caller's.
            unsafe {
                let log = rows::one(
                    q.as_ptr(),
                    group.k.as_ptr(),
                    group.v.as_ptr(),
                    group.kv_row,
                    dim,
                    group.visible(i),
                    group.scale(),
                    scores,
                    sums,
                    out.add(i * out_row + h * dim),
                );
                *lse.add(h * group.queries + i) = log;
            }
        }
    }
}

/// What the backward pass of a group reads and writes besides: arrays like those
/// of the [`Group`], each from its first number on.
pub(super) struct Gradients<'a, T> {
    pub(super) out: *const T,
    pub(super) grad: &'a [T],
    /// Logarithms `[heads, queries]`.
    pub(super) lse: &'a [f32],
    pub(super) dq: *mut T,
    pub(super) dk: *mut T,
    pub(super) dv: *mut T,
    /// Keys of which gradients are written, seen or not.
    pub(super) all_keys: usize,
}

/// Gradients of all heads of a group.
///
/// # Safety
/// `M` is the method of `kind`, which this processor has; the pointers are valid for the group.
pub(super) unsafe fn backward_group<M: Method, T: Element>(
    kind: Kind,
    group: &Group<'_, T>,
    g: &Gradients<'_, T>,
    scratch: &mut Scratch,
) {
    let (dim, queries, seen) = (group.dim, group.queries, group.seen());
    let wide = Layout::new(kind, seen, dim);
    let deep = Layout::new(kind, dim, seen);
    let short = Layout::new(kind, dim, BACK);
    let ld = seen.next_multiple_of(16);
    let left = [(BACK, dim), (BACK, seen), (seen, BACK)];
    let left = left.map(|(rows, depth)| left_words::<M>(rows, depth));
    let left = left.into_iter().max().unwrap_or_default();
    let sizes = [
        wide.words(),
        wide.words(),
        deep.words(),
        short.words(),
        left,
        BACK * ld,
        BACK * ld,
        BACK * dim,
        seen * dim,
        seen * dim,
    ];
    let all = sizes.iter().map(|n| n.next_multiple_of(16)).sum();
    // SAFETY: the rooms are those just counted; views and products stay inside
    // them and inside the group.
    unsafe {
        let mut rooms = Rooms::new(scratch.u32s(all));
        let [k_wide, v_wide, k_deep, block, left, p, ds, sums, dk, dv] =
            sizes.map(|n| rooms.take(n));
        let (k, v) = (group.along(group.k, seen), group.along(group.v, seen));
        wide.pack_here(&k, k_wide);
        wide.pack_here(&v, v_wide);
        deep.pack_here(&turned(&k), k_deep);
        let (k_wide, v_wide, k_deep) = (wide.over(k_wide), wide.over(v_wide), deep.over(k_deep));
        dk.fill(0);
        dv.fill(0);
        let (left, sums) = (left.as_mut_ptr(), sums.as_mut_ptr().cast::<f32>());
        let [p, ds, dk, dv] = [p, ds, dk, dv].map(|x| x.as_mut_ptr().cast::<f32>());
        for h in 0..group.heads {
            for i0 in (0..queries).step_by(BACK) {
                let rows = BACK.min(queries - i0);
                let sights = &group.sights::<BACK>(i0)[..rows];
                let most = sights[rows - 1];
                let at = i0 * group.q_row + h * dim;
                let q = group.block(group.q, h, i0, rows);
                let grad = group.block(g.grad, h, i0, rows);
                multiply::<M, T>(&q, &k_wide, most, Begin::Zero, p, ld, left);
                multiply::<M, T>(&grad, &v_wide, most, Begin::Zero, ds, ld, left);
                let logs = &g.lse[h * queries + i0..][..rows];
                let (out, grads) = (g.out.add(at), grad.data.as_ptr());
                let (row, scale) = (group.q_row, group.scale());
                rows::slopes(p, ds, ld, most, sights, scale, logs, out, grads, row, dim);
                let (weights, slopes) = (view_of(p, rows, most, ld), view_of(ds, rows, most, ld));
                if most == 0 {
                    std::slice::from_raw_parts_mut(sums, rows * dim).fill(0.0);
                }
                multiply::<M, f32>(&slopes, &k_deep, dim, Begin::Zero, sums, dim, left);
                rows::store(sums, &[1.0; BACK][..rows], dim, g.dq.add(at), row);
                let short = Layout::new(kind, dim, rows);
                for (from, weights, to) in [(&q, &slopes, dk), (&grad, &weights, dv)] {
                    short.pack_here(&turned(from), block);
                    let from = short.over(block);
                    let weights = turned(weights);
                    multiply::<M, f32>(&weights, &from, dim, Begin::Result, to, dim, left);
                }
            }
        }
        for (from, to) in [(dk, g.dk), (dv, g.dv)] {
            for j in 0..g.all_keys {
                let to = to.add(j * group.kv_row);
                if j < seen {
                    rows::store(from.add(j * dim), &[1.0], dim, to, 0);
                } else {
                    std::slice::from_raw_parts_mut(to, dim).fill(T::default());
                }
            }
        }
    }
}
