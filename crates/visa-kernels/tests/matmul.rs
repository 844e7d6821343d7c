//! Products of any shape against a plain triple loop in double precision.

use half::bf16;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use visa_kernels::isa;
use visa_kernels::matmul::{self, Compute, Sizes};

fn random(n: usize, rng: &mut StdRng) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Element `(i, j)` is `Σ_k a(i, k) · b(j, k)`; every number may be off by
/// `tolerance` of the sum of magnitudes.
fn check(
    name: &str,
    got: &[f32],
    (m, n, k): (usize, usize, usize),
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
    start: impl Fn(usize, usize) -> f32,
) {
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut size) = (f64::from(start(i, j)), 1.0);
            for p in 0..k {
                let term = f64::from(a(i, p)) * f64::from(b(j, p));
                sum += term;
                size += term.abs();
            }
            let far = (f64::from(got[i * n + j]) - sum).abs() / size;
            assert!(
                far < 1e-6,
                "{name} {m} × {n} × {k}: [{i}, {j}] is {}, not {sum}",
                got[i * n + j]
            );
        }
    }
}

/// All three products of one layer.
fn check_layer(s: Sizes, compute: Compute, seed: u64) {
    let Sizes { m, n, k } = s;
    let rng = &mut StdRng::seed_from_u64(seed);
    let (x, w, b) = (random(m * k, rng), random(n * k, rng), random(n, rng));
    let dy = random(m * n, rng);
    let rounds = compute == Compute::Bf16 && isa::has_bf16();
    let seen = |x: f32, rounds: bool| {
        if rounds {
            bf16::from_f32(x).to_f32()
        } else {
            x
        }
    };

    let mut y = vec![f32::NAN; m * n];
    matmul::forward(&x, &w, Some(&b), &mut y, s, compute);
    // Few rows are multiplied in f32 at any precision.
    let forward = rounds && m > 16;
    check(
        "y",
        &y,
        (m, n, k),
        |i, p| seen(x[i * k + p], forward),
        |j, p| seen(w[j * k + p], forward),
        |_, j| b[j],
    );
    let mut dx = vec![f32::NAN; m * k];
    matmul::grad_input(&dy, &w, &mut dx, false, s, compute);
    check(
        "dx",
        &dx,
        (m, k, n),
        |i, p| seen(dy[i * n + p], rounds),
        |j, p| seen(w[p * k + j], rounds),
        |_, _| 0.0,
    );
    let before = random(n * k, rng);
    let mut dw = before.clone();
    matmul::grad_weight(&dy, &x, &mut dw, true, s, compute);
    check(
        "dw",
        &dw,
        (n, k, m),
        |i, p| seen(dy[p * n + i], rounds),
        |j, p| seen(x[p * k + j], rounds),
        |i, j| before[i * k + j],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape(m in 1usize..120, n in 1usize..100, k in 1usize..130, seed: u64) {
        for compute in [Compute::F32, Compute::Bf16] {
            check_layer(Sizes { m, n, k }, compute, seed);
        }
    }
}

#[test]
fn depth_in_several_blocks() {
    for (m, n, k) in [(17, 33, 385), (25, 8, 1001), (801, 12, 31), (13, 770, 50)] {
        for compute in [Compute::F32, Compute::Bf16] {
            check_layer(Sizes { m, n, k }, compute, 7);
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let s = Sizes {
        m: 301,
        n: 130,
        k: 900,
    };
    let rng = &mut StdRng::seed_from_u64(3);
    let (x, dy) = (random(s.m * s.k, rng), random(s.m * s.n, rng));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut dw = vec![0.0; s.n * s.k];
        pool.install(|| matmul::grad_weight(&dy, &x, &mut dw, false, s, Compute::Bf16));
        dw
    };
    if isa::has_bf16() {
        assert_eq!(run(1), run(5));
    }
}
