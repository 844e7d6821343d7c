//! Products of any shape against a plain triple loop in double precision.

mod common;

use common::{check_product, each_isa, random, rng, rounded, to_bf16};
use half::bf16;
use proptest::prelude::*;
use visa_kernels::Element;
use visa_kernels::isa;
use visa_kernels::matmul::{self, Compute, Sizes, Start};
use visa_kernels::packed::{PackedMatrix, Uses};

/// Error of a sum in `f32`, of its terms' magnitudes.
const SUM: f64 = 1e-6;
/// Error of a number stored as bf16, of itself.
const STORED: f64 = 1.0 / 256.0;

/// All three products of one layer, stored as `f32`.
fn check_layer(s: Sizes, compute: Compute, seed: u64) {
    let Sizes { m, n, k } = s;
    let rng = &mut rng(seed);
    let (x, w, b) = (random(m * k, rng), random(n * k, rng), random(n, rng));
    let dy = random(m * n, rng);
    let rounds = compute == Compute::Bf16 && isa::has_bf16();
    let seen = |x: f32, rounds: bool| if rounds { rounded(x) } else { x };

    let mut y = vec![f32::NAN; m * n];
    matmul::forward(&x, &w, Start::Bias(&b), &mut y, s, compute);
    // Few rows are multiplied in f32 at any precision.
    let forward = rounds && m > 16;
    check_product(
        "y",
        |i| y[i],
        (m, n, k),
        |i, p| seen(x[i * k + p], forward),
        |j, p| seen(w[j * k + p], forward),
        |_, j| b[j],
        (SUM, 0.0),
    );
    let mut dx = vec![f32::NAN; m * k];
    matmul::grad_input(&dy, &w, &mut dx, false, s, compute);
    check_product(
        "dx",
        |i| dx[i],
        (m, k, n),
        |i, p| seen(dy[i * n + p], rounds),
        |j, p| seen(w[p * k + j], rounds),
        |_, _| 0.0,
        (SUM, 0.0),
    );
    let before = random(n * k, rng);
    let mut dw = before.clone();
    matmul::grad_weight(&dy, &x, &mut dw, true, s, compute);
    check_product(
        "dw",
        |i| dw[i],
        (n, k, m),
        |i, p| seen(dy[p * n + i], rounds),
        |j, p| seen(x[p * k + j], rounds),
        |i, j| before[i * k + j],
        (SUM, 0.0),
    );
}

/// The same from and to bf16, where rounding the factors changes nothing.
fn check_stored(s: Sizes, seed: u64) {
    let Sizes { m, n, k } = s;
    let rng = &mut rng(seed);
    let [x, w, dy] = [m * k, n * k, m * n].map(|n| to_bf16(&random(n, rng)));
    let b = random(n, rng);
    for compute in [Compute::F32, Compute::Bf16] {
        let mut y = vec![bf16::NAN; m * n];
        matmul::forward(&x, &w, Start::Bias(&b), &mut y, s, compute);
        check_product(
            "y in bf16",
            |i| y[i].to_f32(),
            (m, n, k),
            |i, p| x[i * k + p].to_f32(),
            |j, p| w[j * k + p].to_f32(),
            |_, j| b[j],
            (SUM, STORED),
        );
        let before = to_bf16(&random(m * k, rng));
        let mut dx = before.clone();
        matmul::grad_input(&dy, &w, &mut dx, true, s, compute);
        check_product(
            "dx in bf16",
            |i| dx[i].to_f32(),
            (m, k, n),
            |i, p| dy[i * n + p].to_f32(),
            |j, p| w[p * k + j].to_f32(),
            |i, j| before[i * k + j].to_f32(),
            (SUM, STORED),
        );
        let mut dw = vec![f32::NAN; n * k];
        matmul::grad_weight(&dy, &x, &mut dw, false, s, compute);
        check_product(
            "dw of bf16",
            |i| dw[i],
            (n, k, m),
            |i, p| dy[p * n + i].to_f32(),
            |j, p| x[p * k + j].to_f32(),
            |_, _| 0.0,
            (SUM, 0.0),
        );
    }
}

/// A packed weight, from and to either kind of number.
fn check_packed<T: Element>(s: Sizes, seed: u64) {
    let Sizes { m, n, k } = s;
    let rng = &mut rng(seed);
    let as_t = |x: Vec<f32>| -> Vec<T> { x.into_iter().map(T::from_f32).collect() };
    let (first, w) = (random(n * k, rng), random(n * k, rng));
    let (x, dy) = (as_t(random(m * k, rng)), as_t(random(m * n, rng)));
    let b = random(n, rng);
    let own = if size_of::<T>() == 2 { STORED } else { 0.0 };
    let left = |x: T| {
        if isa::has_bf16() {
            rounded(x.to_f32())
        } else {
            x.to_f32()
        }
    };
    let mut packed = PackedMatrix::new(&first, n, k, Uses::ForwardAndGradient);
    packed.repack(&w);
    let mut y = vec![T::from_f32(f32::NAN); m * n];
    packed.forward(&x, Start::Bias(&b), &mut y);
    check_product(
        "packed y",
        |i| y[i].to_f32(),
        (m, n, k),
        |i, p| left(x[i * k + p]),
        |j, p| rounded(w[j * k + p]),
        |_, j| b[j],
        (SUM, own),
    );
    let before = as_t(random(m * k, rng));
    let mut dx = before.clone();
    packed.grad_input(&dy, &mut dx, true);
    check_product(
        "packed dx",
        |i| dx[i].to_f32(),
        (m, k, n),
        |i, p| left(dy[i * n + p]),
        |j, p| rounded(w[p * k + j]),
        |i, j| before[i * k + j].to_f32(),
        (SUM, own),
    );
}

#[test]
fn a_weight_packed_in_parts_is_the_same_weight() {
    each_isa(|_| {
        // Below and above the size that is packed by several threads, and deeper than a block.
        for (parts, k) in [(vec![32, 64, 5], 17), (vec![384, 128, 130], 500)] {
            let n: usize = parts.iter().sum();
            let (w, x) = (random(n * k, &mut rng(1)), random(7 * k, &mut rng(2)));
            let whole = PackedMatrix::new(&w, n, k, Uses::Forward);
            let mut packed = PackedMatrix::zeros(n, k);
            let (mut first, mut rest) = (0, &w[..]);
            for rows in parts {
                let (part, after) = rest.split_at(rows * k);
                packed.repack_rows(part, first);
                (first, rest) = (first + rows, after);
            }
            let (mut want, mut got) = (vec![0f32; 7 * n], vec![0f32; 7 * n]);
            whole.forward(&x, Start::Zero, &mut want);
            packed.forward(&x, Start::Zero, &mut got);
            assert_eq!(want, got);
        }
    });
}

fn check_all(s: Sizes, seed: u64) {
    each_isa(|_| {
        for compute in [Compute::F32, Compute::Bf16] {
            check_layer(s, compute, seed);
        }
        check_stored(s, seed);
        check_packed::<f32>(s, seed);
        check_packed::<bf16>(s, seed);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_shape(m in 1usize..120, n in 1usize..100, k in 1usize..130, seed: u64) {
        check_all(Sizes { m, n, k }, seed);
    }

    #[test]
    fn few_rows(m in 1usize..18, n in 1usize..200, k in 1usize..70, seed: u64) {
        check_all(Sizes { m, n, k }, seed);
    }
}

#[test]
fn depth_in_several_blocks() {
    for (m, n, k) in [
        (17, 33, 385),
        (25, 8, 1001),
        (801, 12, 31),
        (13, 770, 50),
        (29, 5, 2311),
        (3001, 7, 5),
        (2, 67, 4099),
    ] {
        check_all(Sizes { m, n, k }, 7);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let s = Sizes {
        m: 2301,
        n: 130,
        k: 900,
    };
    let rng = &mut rng(3);
    let (x, w) = (random(s.m * s.k, rng), random(s.n * s.k, rng));
    let dy = random(s.m * s.n, rng);
    let run = |threads: usize, compute: Compute| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut y = vec![0.0; s.m * s.n];
        let mut dx = vec![0.0; s.m * s.k];
        let mut dw = vec![0.0; s.n * s.k];
        pool.install(|| {
            matmul::forward(&x, &w, Start::Zero, &mut y, s, compute);
            matmul::grad_input(&dy, &w, &mut dx, false, s, compute);
            matmul::grad_weight(&dy, &x, &mut dw, false, s, compute);
        });
        (y, dx, dw)
    };
    each_isa(|_| {
        for compute in [Compute::F32, Compute::Bf16] {
            assert_eq!(run(1, compute), run(5, compute));
        }
    });
}

/// A product with one special number in `x` and one in `w`.
#[test]
fn infinity_and_nan_propagate() {
    for m in [1, 5, 40] {
        let s = Sizes { m, n: 37, k: 70 };
        let rng = &mut rng(5);
        let (mut x, mut w) = (random(s.m * s.k, rng), random(s.n * s.k, rng));
        (x[3], w[2 * s.k + 69]) = (f32::NAN, f32::INFINITY);
        each_isa(|isa| {
            let packed = PackedMatrix::new(&w, s.n, s.k, Uses::Forward);
            let mut y = vec![0.0; s.m * s.n];
            for way in 0..3 {
                match way {
                    0 => matmul::forward(&x, &w, Start::Zero, &mut y, s, Compute::F32),
                    1 => matmul::forward(&x, &w, Start::Zero, &mut y, s, Compute::Bf16),
                    _ => packed.forward(&x, Start::Zero, &mut y),
                }
                for (at, y) in y.iter().enumerate() {
                    let (i, j) = (at / s.n, at % s.n);
                    let fits = match (i, j) {
                        (0, _) => y.is_nan(),
                        (_, 2) => y.is_infinite(),
                        _ => y.is_finite(),
                    };
                    assert!(fits, "{isa:?}, way {way}: [{i}, {j}] is {y}");
                }
            }
        });
    }
}
