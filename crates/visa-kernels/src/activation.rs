//! Activations and other functions of single elements.

use rayon::prelude::*;

use crate::element::Element;
use crate::math::{normal, sigmoid};

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// `y = x · Φ(x)`, `Φ` being the normal distribution function.
pub fn gelu_forward<T: Element>(x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len());
    y.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .for_each(|(y, x)| gelu_forward_part(x, y));
}

kernel! {
    fn gelu_forward_part<S; T: Element>(x: &[T], y: &mut [T]) {
        let n = x.len();
        let mut i = 0;
        while i < n {
            let v: S = T::load(x.as_ptr().add(i), n - i);
            T::store(y.as_mut_ptr().add(i), n - i, v.mul(normal(v).0));
            i += S::LANES;
        }
    }
}

/// `dx = dy · (Φ(x) + x · φ(x))`, `φ(x) = e^(−x²/2) / sqrt(2π)`
pub fn gelu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(x.len() == dy.len() && x.len() == dx.len());
    dx.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .zip(dy.par_chunks(BLOCK))
        .for_each(|((dx, x), dy)| gelu_backward_part(x, dy, dx));
}

kernel! {
    fn gelu_backward_part<S>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let n = x.len();
        let scale = S::splat(0.398_942_3);
        let mut i = 0;
        while i < n {
            let v = S::load_n(x.as_ptr().add(i), n - i);
            let (cdf, bell) = normal(v);
            let slope = v.mul(scale).fma(bell, cdf);
            S::load_n(dy.as_ptr().add(i), n - i)
                .mul(slope)
                .store_n(dx.as_mut_ptr().add(i), n - i);
            i += S::LANES;
        }
    }
}

/// `y = g · σ(g) · u`
pub fn swiglu_forward<T: Element>(g: &[T], u: &[T], y: &mut [T]) {
    assert!(g.len() == u.len() && g.len() == y.len());
    y.par_chunks_mut(BLOCK)
        .zip(g.par_chunks(BLOCK))
        .zip(u.par_chunks(BLOCK))
        .for_each(|((y, g), u)| swiglu_forward_part(g, u, y));
}

kernel! {
    fn swiglu_forward_part<S; T: Element>(g: &[T], u: &[T], y: &mut [T]) {
        let n = g.len();
        let mut i = 0;
        while i < n {
            let gv: S = T::load(g.as_ptr().add(i), n - i);
            let uv: S = T::load(u.as_ptr().add(i), n - i);
            T::store(y.as_mut_ptr().add(i), n - i, gv.mul(sigmoid(gv)).mul(uv));
            i += S::LANES;
        }
    }
}

/// With `s = σ(g)`: `dg = dy · u · s · (1 + g · (1 − s))`, `du = dy · g · s`
pub fn swiglu_backward<T: Element>(g: &[T], u: &[T], dy: &[T], dg: &mut [T], du: &mut [T]) {
    let n = g.len();
    assert!(u.len() == n && dy.len() == n && dg.len() == n && du.len() == n);
    dg.par_chunks_mut(BLOCK)
        .zip(du.par_chunks_mut(BLOCK))
        .enumerate()
        .for_each(|(at, (dg, du))| {
            let range = at * BLOCK..at * BLOCK + dg.len();
            swiglu_backward_part(&g[range.clone()], &u[range.clone()], &dy[range], dg, du);
        });
}

kernel! {
    fn swiglu_backward_part<S; T: Element>(g: &[T], u: &[T], dy: &[T], dg: &mut [T], du: &mut [T]) {
        let n = g.len();
        let one = S::splat(1.0);
        let mut i = 0;
        while i < n {
            let left = n - i;
            let gv: S = T::load(g.as_ptr().add(i), left);
            let uv: S = T::load(u.as_ptr().add(i), left);
            let d: S = T::load(dy.as_ptr().add(i), left);
            let s = sigmoid(gv);
            let slope = s.mul(gv.fma(one.sub(s), one));
            T::store(dg.as_mut_ptr().add(i), left, d.mul(uv).mul(slope));
            T::store(du.as_mut_ptr().add(i), left, d.mul(gv).mul(s));
            i += S::LANES;
        }
    }
}

/// `y = a + b`
pub fn add(a: &[f32], b: &[f32], y: &mut [f32]) {
    assert!(a.len() == b.len() && a.len() == y.len());
    y.par_chunks_mut(BLOCK)
        .zip(a.par_chunks(BLOCK))
        .zip(b.par_chunks(BLOCK))
        .for_each(|((y, a), b)| {
            for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                *y = a + b;
            }
        });
}

/// Sums of the columns of `x [rows, d]` into `out [d]`: the gradient of a bias.
pub fn column_sums<T: Element>(x: &[T], out: &mut [f32]) {
    let d = out.len();
    assert!(d > 0 && x.len().is_multiple_of(d));
    // Blocks of fixed size, summed in order: the same bytes for any threads.
    let rows = (x.len() / d).div_ceil(64).max(16);
    let parts: Vec<Vec<f32>> = x
        .par_chunks(rows * d)
        .map(|x| {
            let mut sum = vec![0.0; d];
            for row in x.chunks_exact(d) {
                for (s, v) in sum.iter_mut().zip(row) {
                    *s += v.to_f32();
                }
            }
            sum
        })
        .collect();
    out.fill(0.0);
    for part in &parts {
        for (o, p) in out.iter_mut().zip(part) {
            *o += p;
        }
    }
}
