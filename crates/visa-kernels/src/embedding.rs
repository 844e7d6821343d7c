//! Rows of a table, and the gradient that adds into them.

use rayon::prelude::*;

/// `y[t] = w[ids[t]]`; `w [v, d]`, `y [tokens, d]`.
///
/// # Panics
/// If an id is not below `v`.
pub fn forward(w: &[f32], d: usize, ids: &[u32], y: &mut [f32]) {
    assert!(d > 0 && y.len() == ids.len() * d);
    let block = ((1 << 14) / d).max(1);
    y.par_chunks_mut(block * d)
        .zip(ids.par_chunks(block))
        .for_each(|(y, ids)| {
            for (y, id) in y.chunks_exact_mut(d).zip(ids) {
                let at = *id as usize * d;
                y.copy_from_slice(&w[at..at + d]);
            }
        });
}

/// `dw[ids[t]] += dy[t]` for every token, in order. `dw [v, d]` holds zeros, or
/// what the gradient is to be added to.
///
/// Each task owns a range of the table and looks through all ids, so no two
/// tasks write one row and the order of additions is that of the tokens.
pub fn backward(dy: &[f32], d: usize, ids: &[u32], dw: &mut [f32]) {
    assert!(d > 0 && dy.len() == ids.len() * d && dw.len().is_multiple_of(d));
    let rows = dw.len() / d;
    let share = rows.div_ceil(rayon::current_num_threads() * 2).max(1);
    dw.par_chunks_mut(share * d)
        .enumerate()
        .for_each(|(at, dw)| {
            let first = at * share;
            let count = dw.len() / d;
            for (id, dy) in ids.iter().zip(dy.chunks_exact(d)) {
                let Some(row) = (*id as usize).checked_sub(first).filter(|r| *r < count) else {
                    continue;
                };
                for (w, g) in dw[row * d..(row + 1) * d].iter_mut().zip(dy) {
                    *w += g;
                }
            }
        });
}
