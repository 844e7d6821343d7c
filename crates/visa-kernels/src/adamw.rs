//! One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101), and the norm of
//! a gradient, each in one pass.

use rayon::prelude::*;

/// Elements that one task takes.
const BLOCK: usize = 1 << 14;

/// What a step needs besides the tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of the gradient.
    pub beta1: f32,
    /// Decay of the mean of its square.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled decay: `p ← p − lr · weight_decay · p`.
    pub weight_decay: f32,
    /// Number of this step, the first being 1.
    pub step: u64,
    /// Factor on the gradient: the clip, or one over the accumulation.
    pub grad_scale: f32,
}

/// One step on a parameter `p` with gradient `g` and moments `m`, `v`:
///
/// ```text
/// g ← grad_scale · g
/// m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²
/// p ← p − lr · (weight_decay · p + (m / (1 − β₁ᵗ)) / (sqrt(v / (1 − β₂ᵗ)) + ε))
/// ```
pub fn step(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], s: &Step) {
    let n = p.len();
    assert!(g.len() == n && m.len() == n && v.len() == n && s.step > 0);
    p.par_chunks_mut(BLOCK)
        .zip(g.par_chunks(BLOCK))
        .zip(m.par_chunks_mut(BLOCK).zip(v.par_chunks_mut(BLOCK)))
        .for_each(|((p, g), (m, v))| step_part(p, g, m, v, s));
}

kernel! {
    fn step_part<S>(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], s: &Step) {
        let n = p.len();
        let correct = |beta: f32| (1.0 - f64::from(beta).powf(s.step as f64)) as f32;
        let scale = S::splat(s.grad_scale);
        let (b1, c1) = (S::splat(s.beta1), S::splat(1.0 - s.beta1));
        let (b2, c2) = (S::splat(s.beta2), S::splat(1.0 - s.beta2));
        let rate = S::splat(-s.lr / correct(s.beta1));
        let second = S::splat(1.0 / correct(s.beta2));
        let eps = S::splat(s.eps);
        let keep = S::splat(1.0 - s.lr * s.weight_decay);
        let mut i = 0;
        while i < n {
            let left = n - i;
            let (pp, mp, vp) = (p.as_mut_ptr().add(i), m.as_mut_ptr().add(i), v.as_mut_ptr().add(i));
            let gv = S::load_n(g.as_ptr().add(i), left).mul(scale);
            let mv = b1.fma(S::load_n(mp, left), c1.mul(gv));
            let vv = b2.fma(S::load_n(vp, left), c2.mul(gv).mul(gv));
            mv.store_n(mp, left);
            vv.store_n(vp, left);
            let root = vv.mul(second).sqrt().add(eps);
            let kept = S::load_n(pp, left).mul(keep);
            rate.fma(mv.div(root), kept).store_n(pp, left);
            i += S::LANES;
        }
    }
}

/// Sum of squares, in double precision and in a fixed order: add these over all
/// gradients and take the root for the norm that clipping needs.
pub fn sum_squares(g: &[f32]) -> f64 {
    let parts: Vec<f64> = g.par_chunks(BLOCK).map(|g| f64::from(squares(g))).collect();
    parts.iter().sum()
}

kernel! {
    fn squares<S>(g: &[f32]) -> f32 {
        let n = g.len();
        let mut s = [S::splat(0.0); 4];
        let mut i = 0;
        while i < n {
            for (j, s) in s.iter_mut().enumerate() {
                let at = i + j * S::LANES;
                if at < n {
                    let v = S::load_n(g.as_ptr().add(at), n - at);
                    *s = v.fma(v, *s);
                }
            }
            i += 4 * S::LANES;
        }
        s[0].add(s[1]).add(s[2].add(s[3])).sum()
    }
}

/// `g ← factor · g`
pub fn scale(g: &mut [f32], factor: f32) {
    g.par_chunks_mut(BLOCK)
        .for_each(|g| g.iter_mut().for_each(|x| *x *= factor));
}

/// `to ← to + factor · g`: accumulation over micro-batches.
pub fn accumulate(to: &mut [f32], g: &[f32], factor: f32) {
    assert_eq!(to.len(), g.len());
    to.par_chunks_mut(BLOCK)
        .zip(g.par_chunks(BLOCK))
        .for_each(|(to, g)| to.iter_mut().zip(g).for_each(|(t, g)| *t += factor * g));
}
