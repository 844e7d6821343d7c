//! Tiles of bytes in software must give exactly the sums of words of bytes.

use super::left::{Left, Style};
use super::{Activations, Int8Matrix};
use crate::buffer::Scratch;
use crate::matmul::Start;

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (s >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Rounded activations times rounded weights, in double precision.
fn check(m: usize, n: usize, k: usize, style: Style, activations: Activations) {
    let (x, w, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
    let matrix = Int8Matrix::new(&w, n, k);
    let q = matrix.to_f32();
    let mut scratch = Scratch::default();
    let left = Left::with_style(style, &x, m, k, activations, &mut scratch);
    let mut y = vec![f32::NAN; m * n];
    matrix.multiply(&left, Start::Bias(&bias), &mut y, m);
    for i in 0..m {
        let row = &x[i * k..(i + 1) * k];
        let top = row.iter().fold(0f32, |top, x| top.max(x.abs()));
        let most = match activations {
            Activations::Bytes => 127.0,
            Activations::Words => 32_639.0,
        };
        for j in 0..n {
            let sum: f64 = row
                .iter()
                .zip(&q[j * k..(j + 1) * k])
                .map(|(x, q)| {
                    let x = (x * (most / top)).round_ties_even() * (top / most);
                    f64::from(x) * f64::from(*q)
                })
                .sum();
            let want = sum + f64::from(bias[j]);
            let got = f64::from(y[i * n + j]);
            assert!(
                (got - want).abs() < 1e-5 * (1.0 + (k as f64).sqrt()),
                "{style:?}, {m} × {n} × {k}: [{i}, {j}] is {got}, not {want}"
            );
        }
    }
}

#[test]
fn bytes_are_summed_exactly() {
    let mut styles = vec![Style::SoftTiles];
    if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
        styles.push(Style::Vnni);
    }
    for style in styles {
        for activations in [Activations::Bytes, Activations::Words] {
            for (m, n, k) in [
                (1, 1, 1),
                (3, 40, 63),
                (17, 33, 64),
                (33, 5, 200),
                (120, 70, 65),
            ] {
                check(m, n, k, style, activations);
            }
        }
    }
}
