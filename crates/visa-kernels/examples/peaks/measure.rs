//! The processor's peaks, and the best of several runs beside them.
//!
//! A machine that others use, or that changes its clock, is now fast and now
//! slow, so a kernel and the peak are measured in turns, and the share is that
//! of the best of both.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use visa_kernels::isa::{self, Isa};

/// What a rate is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Peak {
    /// Multiply-adds of `f32`.
    F32,
    /// Of bf16, where the processor has them; otherwise as `F32`.
    Bf16,
    /// Of bytes, likewise.
    Int8,
    /// Bytes read from memory by all threads.
    Memory,
}

/// Rounds of the loop in registers: about a fifth of a millisecond.
const ROUNDS: usize = 40_000;
const CHAINS: usize = 12;

/// Best seconds of `f`, and the best rate of `peak` meanwhile: operations, or
/// bytes, a second on all threads.
pub(crate) fn beside(peak: Peak, mut f: impl FnMut()) -> (f64, f64) {
    f();
    let begin = Instant::now();
    let (mut best, mut top) = (f64::INFINITY, 0f64);
    let mut runs = 0;
    while runs < 3 || begin.elapsed().as_secs_f64() < 0.5 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        runs += 1;
        if runs % 4 == 1 {
            top = top.max(rate(peak));
        }
    }
    (best, top)
}

/// Seconds of the best run.
pub(crate) fn best(f: impl FnMut()) -> f64 {
    beside(Peak::F32, f).0
}

/// `work` operations (or bytes) in `f`: giga a second, and the share of the peak.
pub(crate) fn share(peak: Peak, work: f64, f: impl FnMut()) -> String {
    let (seconds, top) = beside(peak, f);
    let rate = work / seconds;
    format!("{:6.0} ({:3.0} %)", rate / 1e9, 100.0 * rate / top)
}

/// One measurement of a peak.
pub(crate) fn rate(peak: Peak) -> f64 {
    let threads = rayon::current_num_threads();
    if let Peak::Memory = peak {
        return memory(threads);
    }
    let (run, operations) = loops(peak);
    let t = Instant::now();
    (0..threads).into_par_iter().for_each(|_| {
        black_box(run());
    });
    (threads * ROUNDS * CHAINS) as f64 * operations / t.elapsed().as_secs_f64()
}

/// Sums 256 MiB, more than the caches hold.
fn memory(threads: usize) -> f64 {
    use std::sync::OnceLock;
    static BYTES: OnceLock<Vec<u64>> = OnceLock::new();
    let words = BYTES.get_or_init(|| vec![1; 1 << 25]);
    let t = Instant::now();
    let sum: u64 = words
        .par_chunks(words.len() / threads)
        .map(|part| part.iter().fold(0u64, |a, b| a.wrapping_add(*b)))
        .sum();
    black_box(sum);
    (words.len() * 8) as f64 / t.elapsed().as_secs_f64()
}

/// A loop of independent multiply-adds, and the operations of one.
fn loops(peak: Peak) -> (fn() -> f32, f64) {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: `isa` names only what the processor has, and what goes beyond
        // it is asked for.
        let wide = isa::isa() >= Isa::Avx512;
        match peak {
            Peak::Bf16 if isa::has_bf16() => return (|| unsafe { x86::bf16() }, 64.0),
            Peak::Int8 if wide && is_x86_feature_detected!("avx512vnni") => {
                return (|| unsafe { x86::int8() }, 128.0);
            }
            _ if wide => return (|| unsafe { x86::f32_512() }, 32.0),
            _ if isa::isa() == Isa::Avx2 => return (|| unsafe { x86::f32_256() }, 16.0),
            _ => {}
        }
    }
    let _ = (peak, isa::isa() == Isa::Portable);
    (plain, 16.0)
}

fn plain() -> f32 {
    let x: [f32; 8] = black_box([0.5; 8]);
    let mut s = [[1f32; 8]; CHAINS / 2];
    for _ in 0..2 * ROUNDS {
        for s in &mut s {
            for i in 0..8 {
                s[i] = s[i] * x[i] + x[i];
            }
        }
    }
    s.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{CHAINS, ROUNDS};

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16() -> f32 {
        let one = _mm512_set1_epi32(std::hint::black_box(0x3f80_3f80));
        // SAFETY: both are 64 bytes of plain bits.
        let x = unsafe { std::mem::transmute::<__m512i, __m512bh>(one) };
        let mut s = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut s {
                *s = _mm512_dpbf16_ps(*s, x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn int8() -> f32 {
        let x = _mm512_set1_epi32(std::hint::black_box(0x0101_0101));
        let mut s = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut s {
                *s = _mm512_dpbusd_epi32(*s, x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_epi32(*s) as f32).sum()
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn f32_512() -> f32 {
        let x = _mm512_set1_ps(std::hint::black_box(0.5));
        let mut s = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut s {
                *s = _mm512_fmadd_ps(*s, x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn f32_256() -> f32 {
        let x = _mm256_set1_ps(std::hint::black_box(0.5));
        let mut s = [_mm256_set1_ps(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut s {
                *s = _mm256_fmadd_ps(*s, x, x);
            }
        }
        let mut out = [0f32; 8];
        let mut sum = 0.0;
        for s in &s {
            // SAFETY: room for eight.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), *s) };
            sum += out.iter().sum::<f32>();
        }
        sum
    }
}

pub(crate) fn random(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed.wrapping_mul(2_654_435_761).max(1);
    (0..n)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 17;
            s ^= s << 5;
            s as f32 / u32::MAX as f32 - 0.5
        })
        .collect()
}
