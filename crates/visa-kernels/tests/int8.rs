//! Products with weights of one byte, against sums in double precision.

mod common;

use common::{check_product, each_isa, random, rng, to_bf16};
use half::bf16;
use proptest::prelude::*;
use visa_kernels::int8::{Activations, Int8Matrix};
use visa_kernels::matmul::Start;

/// Off by at most this share of the sum of magnitudes, given the rounded weight:
/// a row's largest activation is not much above the others here.
fn tolerance(activations: Activations) -> f64 {
    match activations {
        Activations::Bytes => 2.0 / 127.0,
        Activations::Words => 1e-4,
    }
}

fn check(m: usize, n: usize, k: usize, seed: u64) {
    let rng = &mut rng(seed);
    let (x, w, b) = (random(m * k, rng), random(n * k, rng), random(n, rng));
    let (x16, before) = (to_bf16(&x), to_bf16(&random(m * n, rng)));
    each_isa(|_| {
        let matrix = Int8Matrix::new(&w, n, k);
        let q = matrix.to_f32();
        for (j, (row, q)) in w.chunks_exact(k).zip(q.chunks_exact(k)).enumerate() {
            let top = row.iter().fold(0f32, |top, w| top.max(w.abs()));
            for (w, q) in row.iter().zip(q) {
                assert!(
                    (w - q).abs() <= top / 127.0 * 0.501,
                    "row {j}: {w} became {q}"
                );
            }
        }
        for activations in [Activations::Bytes, Activations::Words] {
            let mut y = vec![f32::NAN; m * n];
            matrix.forward(&x, Start::Bias(&b), &mut y, activations);
            check_product(
                "y",
                |i| y[i],
                (m, n, k),
                |i, p| x[i * k + p],
                |j, p| q[j * k + p],
                |_, j| b[j],
                (tolerance(activations), 0.0),
            );
            let mut y = before.clone();
            matrix.forward(&x16, Start::Add, &mut y, activations);
            check_product(
                "y in bf16",
                |i| y[i].to_f32(),
                (m, n, k),
                |i, p| x16[i * k + p].to_f32(),
                |j, p| q[j * k + p],
                |i, j| before[i * n + j].to_f32(),
                (tolerance(activations), 1.0 / 256.0),
            );
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_shape(m in 1usize..40, n in 1usize..100, k in 1usize..200, seed: u64) {
        check(m, n, k, seed);
    }
}

#[test]
fn larger_shapes() {
    for (m, n, k) in [
        (1, 1, 1),
        (16, 33, 1031),
        (211, 67, 64),
        (97, 5, 2049),
        (12, 96, 4),
    ] {
        check(m, n, k, 3);
    }
}

/// The error against the weight before rounding, as the documentation states it.
#[test]
fn error_is_as_stated() {
    let (m, n, k) = (20, 50, 700);
    let rng = &mut rng(9);
    let (x, w) = (random(m * k, rng), random(n * k, rng));
    each_isa(|isa| {
        let mut y = vec![0f32; m * n];
        Int8Matrix::new(&w, n, k).forward(&x, Start::Zero, &mut y, Activations::Words);
        let mut square = 0.0;
        for (at, y) in y.iter().enumerate() {
            let (x, w) = (&x[at / n * k..][..k], &w[at % n * k..][..k]);
            let top = w.iter().fold(0f32, |top, w| top.max(w.abs()));
            let scale = f64::from(top) / 127.0;
            let exact: f64 = x
                .iter()
                .zip(w)
                .map(|(x, w)| f64::from(*x) * f64::from(*w))
                .sum();
            let size: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
            let norm = x.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
            let error = f64::from(*y) - exact;
            assert!(
                error.abs() <= 0.51 * scale * size,
                "{isa:?}: {at} off by {error}"
            );
            square += (error / (0.29 * scale * norm)).powi(2) / (m * n) as f64;
        }
        let mean = square.sqrt();
        assert!(
            (0.7..1.3).contains(&mean),
            "{isa:?}: {mean} of the usual error"
        );
    });
}

#[test]
fn infinity_and_nan_are_not_lost() {
    let (m, n, k) = (3, 40, 70);
    for special in [f32::NAN, f32::INFINITY] {
        let rng = &mut rng(5);
        let (mut x, mut w) = (random(m * k, rng), random(n * k, rng));
        (x[3], w[2 * k + 69]) = (special, special);
        each_isa(|isa| {
            let matrix = Int8Matrix::new(&w, n, k);
            for activations in [Activations::Bytes, Activations::Words] {
                let mut y = vec![0f32; m * n];
                matrix.forward(&x, Start::Zero, &mut y, activations);
                for (at, y) in y.iter().enumerate() {
                    let lost = at / n == 0 || at % n == 2;
                    assert_eq!(y.is_finite(), !lost, "{isa:?}: {at} is {y}");
                }
            }
        });
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let (m, n, k) = (150, 300, 200);
    let rng = &mut rng(5);
    let (x, w) = (random(m * k, rng), random(n * k, rng));
    each_isa(|_| {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut y = vec![bf16::ZERO; m * n];
            pool.install(|| {
                let matrix = Int8Matrix::new(&w, n, k);
                matrix.forward(&x, Start::Zero, &mut y, Activations::Bytes);
            });
            y
        };
        assert_eq!(run(1), run(5));
    });
}
