//! Rotary position embedding, half-split as in Llama checkpoints.
//!
//! For the pair `(a, b) = (x[i], x[i + D/2])` of a head at position `p`, with
//! the angle `φ = p · θ^(−2i/D)`: `(a, b) → (a cos φ − b sin φ, b cos φ + a sin φ)`.
//! The gradient is the rotation by `−φ`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::element::Element;

/// Cosines, then sines, of all positions so far: `[positions, D]`, where a row
/// holds D/2 cosines and D/2 sines.
type Table = Arc<Vec<f32>>;

/// The rows of angles for `dim` and `theta`, long enough for `positions`.
/// Kept for the life of the process: sines are dearer than everything else here.
fn table(dim: usize, theta: f32, positions: usize) -> Table {
    static TABLES: Mutex<Option<HashMap<(usize, u32), Table>>> = Mutex::new(None);
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let table = tables
        .get_or_insert_default()
        .entry((dim, theta.to_bits()))
        .or_default();
    if table.len() < positions * dim {
        let half = dim / 2;
        let rows = positions.next_power_of_two().max(512);
        let rates: Vec<f32> = (0..half)
            .map(|i| f64::from(theta).powf(-2.0 * i as f64 / dim as f64) as f32)
            .collect();
        let mut fresh = Vec::with_capacity(rows * dim);
        for p in 0..rows {
            // The angle in f32 and then its cosine, as the checkpoints were trained.
            fresh.extend(rates.iter().map(|r| (p as f32 * r).cos()));
            fresh.extend(rates.iter().map(|r| (p as f32 * r).sin()));
        }
        *table = Arc::new(fresh);
    }
    table.clone()
}

/// Rotates `x [tokens, heads, dim]` at `positions [tokens]` in its place;
/// backwards (the gradient) if `reverse`. `dim` is even.
pub fn rotate<T: Element>(
    x: &mut [T],
    positions: &[u32],
    (heads, dim): (usize, usize),
    theta: f32,
    reverse: bool,
) {
    let width = heads * dim;
    assert!(dim % 2 == 0 && x.len() == positions.len() * width);
    let Some(last) = positions.iter().max() else {
        return;
    };
    if width == 0 {
        return;
    }
    let table = table(dim, theta, *last as usize + 1);
    let block = ((1 << 14) / width).max(1);
    x.par_chunks_mut(block * width)
        .zip(positions.par_chunks(block))
        .for_each(|(x, p)| rows(x, p, &table, heads, dim, reverse));
}

kernel! {
    fn rows<S; T: Element>(
        x: &mut [T],
        positions: &[u32],
        table: &[f32],
        heads: usize,
        dim: usize,
        reverse: bool,
    ) {
        let half = dim / 2;
        let sign = S::splat(if reverse { -1.0 } else { 1.0 });
        for (t, p) in positions.iter().enumerate() {
            let angles = table[*p as usize * dim..(*p as usize + 1) * dim].as_ptr();
            let mut i = 0;
            while i < half {
                let n = half - i;
                let cos = S::load_n(angles.add(i), n);
                let sin = S::load_n(angles.add(half + i), n).mul(sign);
                for h in 0..heads {
                    let at = (t * heads + h) * dim + i;
                    let (one, other) = (x.as_mut_ptr().add(at), x.as_mut_ptr().add(at + half));
                    let (a, b): (S, S) = (T::load(one, n), T::load(other, n));
                    T::store(one, n, a.mul(cos).sub(b.mul(sin)));
                    T::store(other, n, b.fma(cos, a.mul(sin)));
                }
                i += S::LANES;
            }
        }
    }
}
