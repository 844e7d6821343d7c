//! Products that sum over the rows of both factors, as the gradient of a
//! weight does: `C [n, k] = Σ_m A[m, n] · B[m, k]`, neither factor packed before.
//!
//! The depth is usually much larger than the result, so packing is half of the
//! work. A task takes a chunk of the depth and some rows of the result, and
//! packs what it needs block by block, which then never leaves its caches.
//! Chunks have sums of their own, which are added in their order: how many
//! there are depends on the sizes alone, so the result does not depend on the
//! number of threads.

use rayon::prelude::*;

use super::method::{Begin, Method};
use super::{SERIAL, View};
use crate::buffer::{Shared, with_scratch};
use crate::element::Element;

/// Left rows that are packed at a time.
const ROWS: usize = 96;
/// Least depth of a chunk.
const CHUNK: usize = 1024;
/// Most chunks; each but one costs a copy of the result.
const CHUNKS: usize = 4;
/// Largest result of which copies are made.
const COPIED: usize = 1 << 20;

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
    let chunks = if m * n <= COPIED {
        (k / CHUNK).clamp(1, CHUNKS)
    } else {
        1
    };
    let chunk = k.div_ceil(chunks).next_multiple_of(M::GRAIN.max(2));
    let chunks = k.div_ceil(chunk);
    let groups = (2 * rayon::current_num_threads()).div_ceil(chunks);
    let rows = m.div_ceil(groups).next_multiple_of(M::HIGH);
    let groups = m.div_ceil(rows);
    with_scratch(|scratch| {
        let copies = scratch.f32s((chunks - 1) * m * n);
        let (first, others) = (Shared::new(c), Shared::new(copies));
        let run = |task: usize| {
            let (part, group) = (task % chunks, task / chunks);
            let i0 = group * rows;
            let to = match part {
                0 => first.get(),
                // SAFETY: the copy of this chunk, inside `copies`.
                _ => unsafe { others.get().add((part - 1) * m * n) },
            };
            let depth = (part * chunk, k.min((part + 1) * chunk));
            let begin = if part == 0 && add {
                Begin::Result
            } else {
                Begin::Zero
            };
            // SAFETY: the method is one that this processor has; each task
            // writes its own rows of the result or of its chunk's copy.
            unsafe { part_of::<M, X, Y>(a, b, (i0, rows.min(m - i0)), depth, begin, to) };
        };
        let tasks = chunks * groups;
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

/// Rows `i0 .. i0 + m` of the result, summed over one chunk of the depth.
unsafe fn part_of<M: Method, X: Element, Y: Element>(
    a: &View<'_, X>,
    b: &View<'_, Y>,
    (i0, m): (usize, usize),
    (k0, k1): (usize, usize),
    begin: Begin,
    c: *mut f32,
) {
    let n = b.rows;
    let panels = n.div_ceil(M::WIDE);
    let block = (k1 - k0)
        .div_ceil((k1 - k0).div_ceil(M::BLOCK))
        .next_multiple_of(M::GRAIN);
    let high = ROWS.min(m.next_multiple_of(M::HIGH));
    let right = panels * M::WIDE * M::right_steps(block);
    with_scratch(|scratch| {
        let right_words = scratch
            .u32s(right.next_multiple_of(16) + high * M::left_steps(block))
            .as_mut_ptr();
        // SAFETY: the scratch has room for the panels of both factors, and the
        // rows of `c` exist by the caller's bounds.
        unsafe {
            let left_words = right_words.add(right.next_multiple_of(16));
            for at in (k0..k1).step_by(block) {
                let depth = block.min(k1 - at);
                let (left_steps, right_steps) = (M::left_steps(depth), M::right_steps(depth));
                let begin = if at > k0 { Begin::Result } else { begin };
                M::pack_right(b, 0, panels, at, depth, right_words);
                for i in (0..m).step_by(high) {
                    let rows = high.min(m - i);
                    let tiles = rows.div_ceil(M::HIGH);
                    M::pack_left(a, i0 + i, tiles, at, depth, left_words);
                    for p in 0..panels {
                        let panel = right_words.add(p * M::WIDE * right_steps);
                        let width = M::WIDE.min(n - p * M::WIDE);
                        for t in 0..tiles {
                            let tall = M::HIGH.min(rows - t * M::HIGH);
                            let own = left_words.add(t * M::HIGH * left_steps);
                            let to = c.add((i0 + i + t * M::HIGH) * n + p * M::WIDE);
                            M::tile(tall, depth, own, panel, begin, to, n, width);
                        }
                    }
                }
            }
        }
    });
}
