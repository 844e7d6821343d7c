//! Products whose left rows are contiguous, the right factor packed.
//!
//! A task takes up to 96 rows of the result and some of its panels. It packs
//! its left rows into scratch that stays in the second cache; a panel of the
//! right factor stays in the first one while the tiles of all those rows pass.
//! Sums over the depth go block by block through the result, or, if that is
//! bf16, through scratch, always in the same order, so that the result does not
//! depend on the number of threads.

use rayon::prelude::*;

use super::method::{Begin, Method, To};
use super::{Panels, SERIAL, View};
use crate::buffer::{Shared, with_scratch};
use crate::element::Element;
use crate::matmul::Start;

/// Largest block of left rows that a task takes.
const ROWS: usize = 96;
/// Words of a left row that a task packs at a time.
const SPAN: usize = 1024;
/// Up to so many rows, no task takes less than all of them: the right factor
/// is read once.
const FEW: usize = 48;

pub(super) fn product<M: Method, X: Element, Y: Element>(
    a: &View<'_, X>,
    b: &Panels<'_>,
    start: Start<'_>,
    c: &mut [Y],
) {
    let (m, n, k) = (a.rows, b.rows(), a.depth);
    assert_eq!(k, b.depth(), "both factors have the same depth");
    assert_eq!(
        a.depth_stride, 1,
        "the rows of the left factor are contiguous"
    );
    assert_eq!(c.len(), m * n, "the result is {m} × {n}");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "a bias for each column");
    }
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        return begin_only(start, n, c);
    }
    let panels = n.div_ceil(M::WIDE);
    let threads = rayon::current_num_threads();
    let rows = if m <= FEW {
        m.next_multiple_of(M::HIGH)
    } else {
        m.div_ceil(4 * threads).next_multiple_of(M::HIGH).min(ROWS)
    };
    let row_tasks = m.div_ceil(rows);
    // The smaller the tasks, the more it costs to hand them out.
    let each = if m <= FEW { 2 } else { 4 };
    let wanted = (each * threads).div_ceil(row_tasks);
    let group = panels.div_ceil(wanted).max(2);
    let column_tasks = panels.div_ceil(group);
    let out = Shared::new(c);
    let run = |task: usize| {
        let i0 = task / column_tasks * rows;
        let p0 = task % column_tasks * group;
        let part = Part {
            i0,
            rows: rows.min(m - i0),
            p0,
            panels: group.min(panels - p0),
        };
        // SAFETY: the method is one that this processor has; each task writes
        // its own rows and columns.
        unsafe { part.run::<M, X, Y>(a, b, start, out.get()) };
    };
    let tasks = row_tasks * column_tasks;
    if m * n * k < SERIAL {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().for_each(run);
    }
}

/// A product of no depth.
fn begin_only<Y: Element>(start: Start<'_>, n: usize, c: &mut [Y]) {
    match start {
        Start::Zero => c.fill(Y::from_f32(0.0)),
        Start::Add => {}
        Start::Bias(bias) => {
            for row in c.chunks_exact_mut(n) {
                for (y, b) in row.iter_mut().zip(bias) {
                    *y = Y::from_f32(*b);
                }
            }
        }
    }
}

/// Rows and panels of the result that a task computes.
struct Part {
    i0: usize,
    rows: usize,
    p0: usize,
    panels: usize,
}

impl Part {
    unsafe fn run<M: Method, X: Element, Y: Element>(
        &self,
        a: &View<'_, X>,
        b: &Panels<'_>,
        start: Start<'_>,
        c: *mut Y,
    ) {
        let (n, k, block) = (b.rows(), a.depth, b.block());
        let tiles = self.rows.div_ceil(M::HIGH);
        let span = (SPAN * M::LEFT / block).max(1) * block;
        let unpacked = M::reads(a);
        // Whether the last tiles over the depth write the result themselves.
        let rounds = M::ROUNDS && !Y::FULL;
        // Room for the packed rows, and for the sums of a bf16 result.
        let left = match unpacked {
            true => 0,
            false => tiles * M::HIGH * M::left_steps(block) * span.min(k).div_ceil(block),
        };
        let spans = k.div_ceil(span);
        let kept = if spans > 1 { self.panels } else { 1 };
        let aside = if Y::FULL {
            0
        } else {
            self.rows * kept * M::WIDE
        };
        let left = left.next_multiple_of(16);
        with_scratch(|scratch| {
            let own = scratch.u32s(left + aside).as_mut_ptr();
            // SAFETY: `own` has room for the tiles and the sums; panels and the
            // rows of `c` lie inside their slices by the bounds of the caller.
            unsafe {
                let sums: *mut f32 = own.add(left).cast();
                for s0 in (0..k).step_by(span) {
                    let end = k.min(s0 + span);
                    let at = |k0: usize| tiles * M::HIGH * ((k0 - s0) / M::LEFT);
                    for k0 in (s0..end).step_by(block).filter(|_| !unpacked) {
                        let depth = block.min(k - k0);
                        M::pack_left(a, self.i0, tiles, k0, depth, own.add(at(k0)));
                    }
                    for p in self.p0..self.p0 + self.panels {
                        let column = p * M::WIDE;
                        let width = M::WIDE.min(n - column);
                        let home = c.add(self.i0 * n + column);
                        let (to, ldc) = if Y::FULL {
                            (home.cast::<f32>(), n)
                        } else {
                            let slot = if spans > 1 { p - self.p0 } else { 0 };
                            (sums.add(slot * self.rows * M::WIDE), M::WIDE)
                        };
                        if !Y::FULL && s0 == 0 && matches!(start, Start::Add) {
                            for i in 0..self.rows {
                                for j in 0..width {
                                    *to.add(i * ldc + j) = (*home.add(i * n + j)).to_f32();
                                }
                            }
                        }
                        for k0 in (s0..end).step_by(block) {
                            let depth = block.min(k - k0);
                            let begin = match start {
                                _ if k0 > 0 => Begin::Result,
                                Start::Zero => Begin::Zero,
                                Start::Add => Begin::Result,
                                Start::Bias(bias) => Begin::Row(bias.as_ptr().add(column)),
                            };
                            let panel = b.panel(p, k0);
                            for i in (0..self.rows).step_by(M::HIGH) {
                                let high = M::HIGH.min(self.rows - i);
                                let to = To {
                                    c: to.add(i * ldc),
                                    ldc,
                                    width,
                                    rounded: (rounds && k0 + depth == k)
                                        .then(|| (home.add(i * n).cast(), n)),
                                };
                                if unpacked {
                                    let from = (self.i0 + i, k0);
                                    M::tile_unpacked(a, from, high, depth, panel, begin, to);
                                } else {
                                    let own = own.add(at(k0) + i * M::left_steps(depth));
                                    M::tile(high, depth, own, panel, begin, to);
                                }
                            }
                        }
                        if !Y::FULL && !rounds && end == k {
                            for i in 0..self.rows {
                                M::write(to.add(i * ldc), home.add(i * n), width);
                            }
                        }
                    }
                }
            }
        });
    }
}
