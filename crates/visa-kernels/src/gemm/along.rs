//! Products that sum over the rows of both factors, as the gradient of a
//! weight does: `C [n, k] = Σ_m A[m, n] · B[m, k]`, neither factor packed before.
//!
//! The depth is usually much larger than the result. A task takes a block of the
//! result and goes along the depth; the block and what it packs of both factors
//! stay in its second cache. Only where the result has too few blocks is the
//! depth divided too, into chunks with sums of their own, which are added in
//! their order: how many there are depends on the sizes alone, so the result
//! does not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::method::{Begin, Method, To};
use super::{SERIAL, View};
use crate::buffer::{Shared, with_scratch};
use crate::element::Element;

/// Left rows that are packed at a time.
const ROWS: usize = 96;
/// Most rows of a task's block of the result.
const HIGH: usize = 264;
/// Most columns of it.
const WIDE: usize = 512;
/// Blocks below which the depth is divided; few enough that packing stays cheap.
const BLOCKS: usize = 8;
/// Least depth of a chunk.
const CHUNK: usize = 1024;
/// Most chunks; each but one costs a copy of the result.
const CHUNKS: usize = 4;

/// Even parts of `n` of at most `most`, in multiples of `grain`.
fn part(n: usize, most: usize, grain: usize) -> usize {
    n.div_ceil(n.div_ceil(most)).next_multiple_of(grain)
}

pub(super) fn product<M: Method, X: Element, Y: Element>(
    a: &View<'_, X>,
    b: &View<'_, Y>,
    add: bool,
    c: &mut [f32],
) {
    let (m, n, k) = (a.rows, b.rows, a.depth);
    assert_eq!(k, b.depth, "both factors have the same depth");
    assert_eq!(c.len(), m * n, "the result is {m} × {n}");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !add {
            c.fill(0.0);
        }
        return;
    }
    let small = m * n * k < SERIAL;
    let blocks = m.div_ceil(ROWS) * n.div_ceil(2 * ROWS);
    let chunks = (BLOCKS / blocks).clamp(1, (k / CHUNK).clamp(1, CHUNKS));
    let chunk = k.div_ceil(chunks).next_multiple_of(M::GRAIN.max(2));
    let chunks = k.div_ceil(chunk);
    let (mut high, mut wide) = (part(m, HIGH, M::HIGH), part(n, WIDE, M::WIDE));
    let count = |high, wide| m.div_ceil(high) * n.div_ceil(wide);
    while chunks * count(high, wide) < 2 * rayon::current_num_threads() {
        let (less_high, less_wide) = (
            part(m, high.div_ceil(2), M::HIGH),
            part(n, wide.div_ceil(2), M::WIDE),
        );
        if wide > high && less_wide >= 2 * M::WIDE && less_wide < wide {
            wide = less_wide;
        } else if less_high >= 2 * M::HIGH && less_high < high {
            high = less_high;
        } else {
            break;
        }
    }
    let (across, blocks) = (n.div_ceil(wide), count(high, wide));
    with_scratch(|scratch| {
        let copies = scratch.f32s((chunks - 1) * m * n);
        let (first, others) = (Shared::new(c), Shared::new(copies));
        let run = |task: usize| {
            let (chunk_at, block) = (task / blocks, task % blocks);
            let (i0, j0) = (block / across * high, block % across * wide);
            let to = match chunk_at {
                0 => first.get(),
                // SAFETY: the copy of this chunk, inside `copies`.
                _ => unsafe { others.get().add((chunk_at - 1) * m * n) },
            };
            let begin = if chunk_at == 0 && add {
                Begin::Result
            } else {
                Begin::Zero
            };
            let block = Block {
                rows: i0..m.min(i0 + high),
                columns: j0..n.min(j0 + wide),
                depth: chunk_at * chunk..k.min((chunk_at + 1) * chunk),
            };
            // SAFETY: the method is one that this processor has; each task
            // writes its own block of the result or of its chunk's copy.
            unsafe { block.run::<M, X, Y>(a, b, begin, to) };
        };
        let tasks = chunks * blocks;
        if small {
            (0..tasks).for_each(run);
        } else {
            (0..tasks).into_par_iter().for_each(run);
        }
        if chunks > 1 {
            let copies = &*copies;
            c.par_chunks_mut(1 << 14).enumerate().for_each(|(i, to)| {
                for copy in copies.chunks_exact(m * n) {
                    let from = &copy[i << 14..][..to.len()];
                    for (x, y) in to.iter_mut().zip(from) {
                        *x += y;
                    }
                }
            });
        }
    });
}

/// What a task computes: a block of the result over a part of the depth. The
/// columns begin at a panel.
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
}

impl Block {
    unsafe fn run<M: Method, X: Element, Y: Element>(
        &self,
        a: &View<'_, X>,
        b: &View<'_, Y>,
        begin: Begin,
        c: *mut f32,
    ) {
        let (n, m, length) = (b.rows, self.rows.len(), self.depth.len());
        let panels = self.columns.len().div_ceil(M::WIDE);
        let step = part(length, M::BLOCK, M::GRAIN);
        let high = ROWS.min(m.next_multiple_of(M::HIGH));
        let right = (panels * M::WIDE * M::right_steps(step)).next_multiple_of(16);
        with_scratch(|scratch| {
            let right_words = scratch
                .u32s(right + high * M::left_steps(step))
                .as_mut_ptr();
            // SAFETY: the scratch has room for the panels of both factors, and the
            // block lies inside the result by the caller's bounds.
            unsafe {
                let left_words = right_words.add(right);
                for at in self.depth.clone().step_by(step) {
                    let depth = step.min(self.depth.end - at);
                    let (left_steps, right_steps) = (M::left_steps(depth), M::right_steps(depth));
                    let begin = if at > self.depth.start {
                        Begin::Result
                    } else {
                        begin
                    };
                    M::pack_right(b, self.columns.start, panels, at, depth, right_words);
                    for i in self.rows.clone().step_by(high) {
                        let rows = high.min(self.rows.end - i);
                        let tiles = rows.div_ceil(M::HIGH);
                        M::pack_left(a, i, tiles, at, depth, left_words);
                        for p in 0..panels {
                            let panel = right_words.add(p * M::WIDE * right_steps);
                            let column = self.columns.start + p * M::WIDE;
                            let width = M::WIDE.min(self.columns.end - column);
                            for t in 0..tiles {
                                let tall = M::HIGH.min(rows - t * M::HIGH);
                                let own = left_words.add(t * M::HIGH * left_steps);
                                let to = To {
                                    c: c.add((i + t * M::HIGH) * n + column),
                                    ldc: n,
                                    width,
                                    rounded: None,
                                };
                                M::tile(tall, depth, own, panel, begin, to);
                            }
                        }
                    }
                }
            }
        });
    }
}
