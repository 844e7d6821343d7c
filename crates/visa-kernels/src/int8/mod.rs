//! Weights of one byte a number, for inference.
//!
//! ```text
//! q[j, k] = round(w[j, k] / s[j])      s[j] = max_k |w[j, k]| / 127
//! y[i, j] = s[j] · Σ_k x[i, k] · q[j, k] + b[j]
//! ```
//!
//! Each output has a scale of its own. A weight is off by at most `s[j] / 2`, so
//! `|Δy[i, j]| ≤ s[j] / 2 · Σ_k |x[i, k]|`; at random signs about
//! `0.29 · s[j] · ‖x[i]‖`.
//!
//! Where bytes are multiplied (AVX-512 VNNI, AMX), `x` is rounded too, each row
//! by a scale of its own; [`Activations`] says to how many bits. Elsewhere the
//! weights are widened and `x` is read as it is, so the same bounds hold.
//!
//! A row of `x` that holds an infinity or NaN gives no finite number, and
//! neither does such a row of the weight.

mod left;
mod tile;

use std::fmt;

use rayon::prelude::*;

use crate::buffer::{Scratch, Shared, with_scratch};
use crate::element::Element;
use crate::matmul::Start;
use left::{Left, Style};

/// Columns of a panel.
const WIDE: usize = 32;
/// The depth is filled up to a multiple of this, as tiles need it.
const GRAIN: usize = 64;
/// Rows of packed activations that a task takes, a multiple of all heights of tiles.
const ROWS: usize = 96;
/// Largest depth whose sums fit into 32 bits.
const DEEPEST: usize = 1 << 16;

/// How activations are rounded where bytes are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// To 8 bits: off by at most 1/254 of the largest of a row. Fast, but one
    /// outlier drowns the rest of its row.
    Bytes,
    /// To 16 bits, as two bytes: off by at most 1/65,000 of the largest, less
    /// than the weights' error by far. Costs twice the arithmetic, which for a
    /// few rows is hidden behind reading the weights.
    Words,
}

/// A weight `w [n, k]` in bytes.
pub struct Int8Matrix {
    n: usize,
    k: usize,
    /// Scale of each output; filled up with zeros to whole panels.
    scales: Vec<f32>,
    /// `128 · Σ_k q`, which bytes without sign add to a sum.
    offsets: Vec<i32>,
    /// `[panel][depth / 4][column]` words of four neighbours in depth.
    words: Scratch,
}

impl fmt::Debug for Int8Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Int8Matrix [{}, {}]", self.n, self.k)
    }
}

impl Int8Matrix {
    /// Rounds `w [n, k]`.
    ///
    /// # Panics
    /// If `k` exceeds 65,536, beyond which sums of 32 bits could overflow.
    pub fn new<T: Element>(w: &[T], n: usize, k: usize) -> Self {
        assert!(k <= DEEPEST, "a depth of {k} exceeds {DEEPEST}");
        let columns = n.next_multiple_of(WIDE);
        let mut matrix = Self {
            n,
            k,
            scales: vec![0.0; columns],
            offsets: vec![0; columns],
            words: Scratch::default(),
        };
        matrix.repack(w);
        matrix
    }

    /// Puts another weight of the same shape in its place, without allocation.
    pub fn repack<T: Element>(&mut self, w: &[T]) {
        assert_eq!(w.len(), self.n * self.k, "a weight of {self:?}");
        let (n, k, steps) = (self.n, self.k, self.steps());
        let words = self.words.u32s(self.scales.len() * steps);
        words
            .par_chunks_exact_mut((steps * WIDE).max(1))
            .zip(self.scales.par_chunks_exact_mut(WIDE))
            .zip(self.offsets.par_chunks_exact_mut(WIDE))
            .enumerate()
            .for_each(|(p, ((panel, scales), offsets))| {
                panel.fill(0);
                for j in 0..WIDE.min(n - p * WIDE) {
                    let row = &w[(p * WIDE + j) * k..][..k];
                    let top = row.iter().fold(0f32, |top, w| larger(top, w.to_f32()));
                    scales[j] = top / 127.0;
                    let inverse = if top > 0.0 { 127.0 / top } else { 0.0 };
                    let mut sum = 0;
                    for (at, w) in row.iter().enumerate() {
                        // A conversion saturates, and makes 0 of a NaN.
                        let q = (w.to_f32() * inverse).round_ties_even() as i8;
                        sum += i32::from(q);
                        panel[at / 4 * WIDE + j] |= u32::from(q as u8) << (8 * (at % 4));
                    }
                    offsets[j] = 128 * sum;
                }
            });
    }

    /// Words of a column.
    fn steps(&self) -> usize {
        self.k.next_multiple_of(GRAIN) / 4
    }

    /// Outputs: rows of the weight.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs: columns of the weight.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes that numbers and scales take.
    pub fn bytes(&self) -> usize {
        self.scales.len() * (4 * self.steps() + 8)
    }

    /// The rounded weight itself, `[n, k]`.
    pub fn to_f32(&self) -> Vec<f32> {
        let words = self.words.whole(self.scales.len() * self.steps());
        let mut w = Vec::with_capacity(self.n * self.k);
        for j in 0..self.n {
            let column = j / WIDE * self.steps() * WIDE + j % WIDE;
            w.extend((0..self.k).map(|at| {
                let bytes = words[column + at / 4 * WIDE].to_le_bytes();
                f32::from(bytes[at % 4] as i8) * self.scales[j]
            }));
        }
        w
    }

    /// `y [m, n] = start + x [m, k] · wᵀ`; `m` is read off `y`.
    pub fn forward<X: Element, Y: Element>(
        &self,
        x: &[X],
        start: Start<'_>,
        y: &mut [Y],
        activations: Activations,
    ) {
        let m = y.len() / self.n.max(1);
        assert_eq!(y.len(), m * self.n, "results of {self:?}");
        assert_eq!(x.len(), m * self.k, "inputs of {self:?}");
        if let Start::Bias(bias) = start {
            assert_eq!(bias.len(), self.n, "a bias for each column");
        }
        if y.is_empty() {
            return;
        }
        with_scratch(|scratch| {
            let left = Left::new(x, m, self.k, activations, scratch);
            self.multiply(&left, start, y, m);
        });
    }

    fn multiply<X: Element, Y: Element>(
        &self,
        left: &Left<'_, X>,
        start: Start<'_>,
        y: &mut [Y],
        m: usize,
    ) {
        let panels = self.n.div_ceil(WIDE);
        let threads = rayon::current_num_threads();
        let most = ROWS / left.parts;
        let high = left.style.high() / left.parts;
        // A few rows are taken whole, so that the weight is read once.
        let rows = if m <= most {
            m
        } else {
            m.div_ceil(4 * threads).next_multiple_of(high).min(most)
        };
        let row_tasks = m.div_ceil(rows);
        let group = panels.div_ceil((4 * threads).div_ceil(row_tasks)).max(1);
        let column_tasks = panels.div_ceil(group);
        let out = Shared::new(y);
        let run = |task: usize| {
            let i0 = task / column_tasks * rows;
            let p0 = task % column_tasks * group;
            // SAFETY: each task writes its own rows and columns, inside `y`.
            unsafe {
                self.part(
                    left,
                    (i0, rows.min(m - i0)),
                    (p0, group.min(panels - p0)),
                    start,
                    out.get(),
                );
            }
        };
        let tasks = row_tasks * column_tasks;
        if m * self.n * self.k < 1 << 18 {
            (0..tasks).for_each(run);
        } else {
            (0..tasks).into_par_iter().for_each(run);
        }
    }

    unsafe fn part<X: Element, Y: Element>(
        &self,
        left: &Left<'_, X>,
        (i0, rows): (usize, usize),
        (p0, panels): (usize, usize),
        start: Start<'_>,
        y: *mut Y,
    ) {
        let steps = self.steps();
        let words = self.words.whole(self.scales.len() * steps);
        let (high, parts) = (left.style.high(), left.parts);
        with_scratch(|scratch| {
            let room = (rows * parts).next_multiple_of(high) * WIDE;
            let sums = scratch.u32s(room).as_mut_ptr();
            for p in p0..p0 + panels {
                let panel = words[p * steps * WIDE..].as_ptr();
                let column = p * WIDE;
                let width = WIDE.min(self.n - column);
                for t in (0..rows * parts).step_by(high) {
                    let tall = high.min(rows * parts - t);
                    // SAFETY: the panels hold `steps`, the sums `tall` rows.
                    unsafe {
                        left.tile(i0 * parts + t, tall, panel, steps, sums.add(t * WIDE));
                    }
                }
                let bias = match start {
                    Start::Bias(bias) => bias[column..].as_ptr(),
                    _ => std::ptr::null(),
                };
                let to = tile::Results {
                    // SAFETY: the rows and columns exist.
                    y: unsafe { y.add(i0 * self.n + column) },
                    stride: self.n,
                    rows,
                    width,
                    start,
                    bias,
                };
                let scales = self.scales[column..].as_ptr();
                if left.style == Style::Widened {
                    tile::scale(sums.cast(), scales, to);
                    continue;
                }
                let offsets = match left.style.unsigned() {
                    true => self.offsets[column..].as_ptr(),
                    false => [0; WIDE].as_ptr(),
                };
                let sums = tile::Sums {
                    sums: sums.cast(),
                    parts,
                    offsets,
                    rows: left.scales[i0..].as_ptr(),
                };
                tile::finish(sums, scales, to);
            }
        });
    }
}

/// The larger magnitude; NaN if either is.
fn larger(top: f32, x: f32) -> f32 {
    let x = x.abs();
    if x > top || x.is_nan() { x } else { top }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
