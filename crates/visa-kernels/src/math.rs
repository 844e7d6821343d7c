//! Vector versions of the exponential, the error function and the logistic
//! function, each within about 1e-6.

use crate::simd::Simd;

/// `e^x`, relative error about 2e-7; inputs are clamped to ±87, so that the
/// result is a normal number. Coefficients: Cephes `expf`.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S) -> S {
    unsafe {
        // In this order a NaN stays one.
        let x = S::splat(88.0).min(S::splat(-87.0).max(x));
        let n = x.mul(S::splat(std::f32::consts::LOG2_E)).round();
        // ln 2 in two parts keeps the remainder exact.
        let r = n.fma(S::splat(-0.693_359_4), x);
        let r = n.fma(S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        p = p.fma(r, S::splat(1.398_199_9e-3));
        p = p.fma(r, S::splat(8.333_452e-3));
        p = p.fma(r, S::splat(4.166_579_6e-2));
        p = p.fma(r, S::splat(1.666_666_5e-1));
        p = p.fma(r, S::splat(0.5));
        let y = p.fma(r.mul(r), r).add(S::splat(1.0));
        y.scale2(n)
    }
}

/// The largest number of a row.
#[inline(always)]
pub(crate) unsafe fn largest<S: Simd>(row: &[f32]) -> f32 {
    // SAFETY: the loads keep to the row.
    unsafe {
        let mut top = S::splat(f32::NEG_INFINITY);
        let whole = row.chunks_exact(S::LANES);
        let rest = whole.remainder();
        for lanes in whole {
            top = top.max(S::load(lanes.as_ptr()));
        }
        rest.iter().copied().fold(top.top(), f32::max)
    }
}

/// `1 / (1 + e^−x)`
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S) -> S {
    unsafe {
        let one = S::splat(1.0);
        one.div(one.add(exp(S::splat(0.0).sub(x))))
    }
}

/// The standard normal distribution: `Φ(x)` and `e^(−x²/2)`, of which the
/// density is a multiple. Absolute error of `Φ` below 1e-7 or so (Abramowitz
/// and Stegun 7.1.26 for the error function).
#[inline(always)]
pub(crate) unsafe fn normal<S: Simd>(x: S) -> (S, S) {
    unsafe {
        let one = S::splat(1.0);
        let z = x.mul(S::splat(std::f32::consts::FRAC_1_SQRT_2)).abs();
        let bell = exp(S::splat(0.0).sub(z.mul(z)));
        let t = one.div(z.fma(S::splat(0.327_591_1), one));
        let mut p = S::splat(1.061_405_4);
        p = p.fma(t, S::splat(-1.453_152));
        p = p.fma(t, S::splat(1.421_413_7));
        p = p.fma(t, S::splat(-0.284_496_74));
        p = p.fma(t, S::splat(0.254_829_6));
        let erf = one.sub(p.mul(t).mul(bell)).max(S::splat(0.0)).with_sign(x);
        (S::splat(0.5).mul(one.add(erf)), bell)
    }
}

#[cfg(test)]
mod tests {
    kernel! {
        fn exps<S>(x: &mut [f32]) {
            let n = x.len();
            let mut i = 0;
            while i < n {
                let p = x.as_mut_ptr().add(i);
                super::exp(S::load_n(p, n - i)).store_n(p, n - i);
                i += S::LANES;
            }
        }
    }

    kernel! {
        fn normals<S>(x: &mut [f32]) {
            let n = x.len();
            let mut i = 0;
            while i < n {
                let p = x.as_mut_ptr().add(i);
                super::normal(S::load_n(p, n - i)).0.store_n(p, n - i);
                i += S::LANES;
            }
        }
    }

    #[test]
    fn exp_is_close() {
        let xs: Vec<f32> = (-8500..8500).map(|i| i as f32 / 100.0).collect();
        let mut ys = xs.clone();
        exps(&mut ys);
        for (x, y) in xs.iter().zip(&ys) {
            let want = f64::from(*x).exp();
            assert!(
                (f64::from(*y) / want - 1.0).abs() < 1e-6,
                "exp({x}) = {y}, not {want}"
            );
        }
    }

    #[test]
    fn normal_distribution_matches_a_table() {
        // scipy.stats.norm.cdf
        let xs = [-3.0f32, -1.0, -0.1, 0.0, 0.5, 1.96, 4.0];
        let want = [
            0.001_349_9,
            0.158_655_26,
            0.460_172_16,
            0.5,
            0.691_462_46,
            0.975_002_1,
            0.999_968_3,
        ];
        let mut ys = xs;
        normals(&mut ys);
        for i in 0..xs.len() {
            assert!(
                (ys[i] - want[i]).abs() < 5e-7,
                "Φ({}) = {}, not {}",
                xs[i],
                ys[i],
                want[i]
            );
        }
    }
}
