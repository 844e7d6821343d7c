//! What drawing a token needs of a row of logits: a logarithm of a sum of
//! exponentials, and the exponentials themselves.

use crate::head::log_sum;
use crate::math::exp;

/// `log Σ e^x`; infinite or NaN if a number is.
///
/// # Panics
/// If there is no number.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    assert!(!x.is_empty());
    log_sum(x, false).0
}

/// `y = e^(factor · (x − shift))`
pub fn exponentials(x: &[f32], shift: f32, factor: f32, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    exponentials_part(x, shift, factor, y);
}

kernel! {
    fn exponentials_part<S>(x: &[f32], shift: f32, factor: f32, y: &mut [f32]) {
        let n = x.len();
        let (s, f) = (S::splat(shift), S::splat(factor));
        let mut i = 0;
        while i < n {
            let v = S::load_n(x.as_ptr().add(i), n - i).sub(s).mul(f);
            exp(v).store_n(y.as_mut_ptr().add(i), n - i);
            i += S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_double_precision() {
        for n in [1, 7, 16, 33, 1000] {
            let x: Vec<f32> = (0..n)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 3.0)
                .collect();
            let exact: f64 = x.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            assert!((f64::from(log_sum_exp(&x)) - exact).abs() < 1e-5, "{n}");
            let mut y = vec![0.0; n];
            exponentials(&x, 17.0, 0.5, &mut y);
            for (x, y) in x.iter().zip(&y) {
                let exact = ((f64::from(*x) - 17.0) * 0.5).exp();
                assert!((f64::from(*y) - exact).abs() <= 1e-6 * exact, "{x} {y}");
            }
        }
    }
}
