//! What the tests of kernels share: every instruction set, random numbers, and
//! comparison with sums in double precision.

#![allow(dead_code)]

use std::sync::Mutex;

use half::bf16;
use rand::{Rng, SeedableRng, rngs::StdRng};
use visa_kernels::isa::{self, Isa};

/// Runs `test` under each instruction set that this machine has. The tests of
/// one program share a lock, since a set is forced for the whole process.
pub(crate) fn each_isa(test: impl Fn(Isa)) {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut count = 0;
    for set in Isa::ALL {
        if isa::force(set).is_ok() {
            test(set);
            count += 1;
        }
    }
    assert!(count > 0);
}

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Numbers in −1…1.
pub(crate) fn random(n: usize, rng: &mut StdRng) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

pub(crate) fn rounded(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

pub(crate) fn to_bf16(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|x| bf16::from_f32(*x)).collect()
}

/// Checks `got [m, n]` against `start(i, j) + Σ_k a(i, k) · b(j, k)`: every number
/// may be off by `tolerance` of the sum of magnitudes plus `own` of itself.
pub(crate) fn check_product(
    name: &str,
    got: impl Fn(usize) -> f32,
    (m, n, k): (usize, usize, usize),
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
    start: impl Fn(usize, usize) -> f32,
    (tolerance, own): (f64, f64),
) {
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut size) = (f64::from(start(i, j)), 1.0);
            for p in 0..k {
                let term = f64::from(a(i, p)) * f64::from(b(j, p));
                sum += term;
                size += term.abs();
            }
            let value = got(i * n + j);
            let far = (f64::from(value) - sum).abs();
            assert!(
                far <= tolerance * size + own * sum.abs(),
                "{name} {m} × {n} × {k}: [{i}, {j}] is {value}, not {sum}"
            );
        }
    }
}

/// Checks numbers one by one.
pub(crate) fn check_close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let far = (f64::from(*got) - want).abs();
        assert!(
            far <= tolerance * (1.0 + want.abs()),
            "{name}: [{i}] is {got}, not {want}"
        );
    }
}
