//! Products inside a task: on one thread, from packed panels into scratch.
//! Attention is made of them.

use super::method::{Begin, Method, To};
use super::{Panels, View};
use crate::element::Element;

/// Words that [`multiply`] packs up to `rows` left rows into.
pub(crate) fn left_words<M: Method>(rows: usize, depth: usize) -> usize {
    let block = depth.min(M::BLOCK);
    (rows.next_multiple_of(M::HIGH) * M::left_steps(block)).next_multiple_of(16)
}

/// `c [a.rows, columns] = begin + a · bᵀ`, of the first `columns` rows of `b` and
/// of its first `a.depth` numbers in depth; rows of `c` are `ldc` apart.
///
/// # Safety
/// `b` was packed for `M`, which this processor has; `c` is valid for the rows
/// and columns, `left` for [`left_words`].
#[inline(always)]
pub(crate) unsafe fn multiply<M: Method, X: Element>(
    a: &View<'_, X>,
    b: &Panels<'_>,
    columns: usize,
    begin: Begin,
    c: *mut f32,
    ldc: usize,
    left: *mut u32,
) {
    assert!(a.depth <= b.depth() && columns <= b.rows());
    let tiles = a.rows.div_ceil(M::HIGH);
    let unpacked = M::reads(a);
    for k0 in (0..a.depth).step_by(b.block()) {
        let depth = b.block().min(a.depth - k0);
        let begin = if k0 > 0 { Begin::Result } else { begin };
        let steps = M::left_steps(depth);
        // SAFETY: the caller's.
        unsafe {
            if !unpacked {
                M::pack_left(a, 0, tiles, k0, depth, left);
            }
            for p in 0..columns.div_ceil(M::WIDE) {
                let (panel, column) = (b.panel(p, k0), p * M::WIDE);
                let width = M::WIDE.min(columns - column);
                for i in (0..a.rows).step_by(M::HIGH) {
                    let high = M::HIGH.min(a.rows - i);
                    let to = To {
                        c: c.add(i * ldc + column),
                        ldc,
                        width,
                        rounded: None,
                    };
                    if unpacked {
                        M::tile_unpacked(a, (i, k0), high, depth, panel, begin, to);
                    } else {
                        let own = left.add(i * steps);
                        M::tile(high, depth, own, panel, begin, to);
                    }
                }
            }
        }
    }
}
