//! What the processor could do at most: the yardstick of the other modules.
//!
//! Peaks are measured, not looked up: clock rates change with load and guests
//! do not see them. A peak is an upper bound that no product reaches; what is
//! measured against it is honest on any machine.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use crate::isa::{self, Isa};
use crate::matmul::Compute;

/// Independent sums, enough to hide the latency of a multiply-add.
const CHAINS: usize = 12;

/// Cycles that one product of tiles takes, where there are some.
const TILE_CYCLES: usize = 16;

/// Floating-point operations a second of multiply-adds in registers, on all
/// threads, in the instruction set in use; `rounds` sets how long it runs (a
/// million take about 10 ms). [`Compute::Bf16`] without instructions for it is
/// the peak of `f32`, in which such products then run.
pub fn flops(compute: Compute, rounds: usize) -> f64 {
    let (lanes, run) = kernel(compute);
    let rounds = rounds.next_multiple_of(TILE_CYCLES);
    let threads = rayon::current_num_threads();
    let start = Instant::now();
    (0..threads).into_par_iter().for_each(|_| {
        black_box(run(rounds));
    });
    let operations = threads * rounds * CHAINS * lanes * 2;
    operations as f64 / start.elapsed().as_secs_f64()
}

/// Bytes a second of reading `data` once, on all threads. Give it several times
/// the largest cache.
pub fn read_rate(data: &[f32]) -> f64 {
    /// Numbers that one task reads: large enough that starting it costs nothing.
    const BLOCK: usize = 1 << 18;
    let start = Instant::now();
    let sum = data
        .par_chunks(BLOCK)
        .map(read)
        .reduce(|| 0, u32::wrapping_add);
    black_box(sum);
    size_of_val(data) as f64 / start.elapsed().as_secs_f64()
}

/// Touches every number. Four places at once, as one stream alone leaves the
/// memory waiting; integer sums, which may be reordered into vector code.
fn read(data: &[f32]) -> u32 {
    const LANES: usize = 16;
    let (parts, rest) = data.as_chunks::<LANES>();
    let quarter = parts.len() / 4;
    let mut sums = [0u32; LANES];
    for i in 0..quarter {
        for stream in 0..4 {
            let part = &parts[stream * quarter + i];
            for (sum, x) in sums.iter_mut().zip(part) {
                *sum = sum.wrapping_add(x.to_bits());
            }
        }
    }
    let left = parts[4 * quarter..].as_flattened().iter().chain(rest);
    left.map(|x| x.to_bits())
        .chain(sums)
        .fold(0, u32::wrapping_add)
}

/// Multiply-adds of one instruction, and the loop that runs it.
fn kernel(compute: Compute) -> (usize, fn(usize) -> f32) {
    #[cfg(target_arch = "x86_64")]
    {
        if compute == Compute::Bf16 && isa::isa() == Isa::Amx {
            // 16 × 16 sums over 32 pairs each, in so many cycles.
            // SAFETY: the instruction set in use exists.
            return (16 * 16 * 32 / TILE_CYCLES, |n| unsafe { x86::amx(n) });
        }
        if compute == Compute::Bf16 && isa::has_bf16() {
            // SAFETY: `has_bf16` says that the instructions exist.
            return (32, |n| unsafe { x86::bf16(n) });
        }
        match isa::isa() {
            // SAFETY: the instruction set in use exists.
            Isa::Amx | Isa::Avx512 => return (16, |n| unsafe { x86::avx512(n) }),
            // SAFETY: as above.
            Isa::Avx2 => return (8, |n| unsafe { x86::avx2(n) }),
            Isa::Portable => {}
        }
    }
    let _ = compute;
    (PORTABLE_LANES, portable)
}

const PORTABLE_LANES: usize = 4;

fn portable(rounds: usize) -> f32 {
    let x = black_box(0.5f32);
    let mut sums = [[1.0f32; PORTABLE_LANES]; CHAINS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = *sum * x + x;
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, TILE_CYCLES};
    use crate::gemm::amx::{Hardware, Tiles};

    /// `rounds / TILE_CYCLES` times as many products of tiles as there are chains.
    ///
    /// # Safety
    /// The processor has tiles of bf16, and the system lends them.
    pub(super) unsafe fn amx(rounds: usize) -> f32 {
        let mut corner = [0f32; 16 * 16];
        // SAFETY: as promised by the caller; `corner` is one tile, of 64 bytes a row.
        unsafe {
            let mut tiles = Hardware::start();
            tiles.zero::<0>();
            tiles.zero::<1>();
            tiles.zero::<2>();
            tiles.zero::<3>();
            tiles.zero::<4>();
            tiles.zero::<5>();
            for _ in 0..rounds / TILE_CYCLES * CHAINS / 4 {
                tiles.dot::<0, 4, 5>();
                tiles.dot::<1, 4, 5>();
                tiles.dot::<2, 4, 5>();
                tiles.dot::<3, 4, 5>();
            }
            tiles.store::<0>(corner.as_mut_ptr().cast(), 64);
        }
        corner[0]
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16(rounds: usize) -> f32 {
        let one = _mm512_set1_epi32(black_box(0x3f80_3f80));
        // SAFETY: both are 64 bytes of plain bits.
        let x = unsafe { std::mem::transmute::<__m512i, __m512bh>(one) };
        let mut s = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..rounds {
            for s in &mut s {
                *s = _mm512_dpbf16_ps(*s, x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(rounds: usize) -> f32 {
        let x = _mm512_set1_ps(black_box(0.5));
        let mut s = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..rounds {
            for s in &mut s {
                *s = _mm512_fmadd_ps(*s, x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(rounds: usize) -> f32 {
        let x = _mm256_set1_ps(black_box(0.5));
        let mut s = [_mm256_set1_ps(1.0); CHAINS];
        for _ in 0..rounds {
            for s in &mut s {
                *s = _mm256_fmadd_ps(*s, x, x);
            }
        }
        let mut lanes = [0f32; 8];
        for s in &s {
            let mut part = [0f32; 8];
            // SAFETY: eight numbers fit where they are written.
            unsafe { _mm256_storeu_ps(part.as_mut_ptr(), *s) };
            for (lane, x) in lanes.iter_mut().zip(part) {
                *lane += x;
            }
        }
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_product_is_faster_than_the_peak() {
        let s = crate::matmul::Sizes {
            m: 256,
            n: 256,
            k: 256,
        };
        let (x, w) = (vec![0.5f32; s.m * s.k], vec![0.5f32; s.n * s.k]);
        let mut y = vec![0f32; s.m * s.n];
        for compute in [Compute::F32, Compute::Bf16] {
            let best = |f: &mut dyn FnMut() -> f64| (0..5).map(|_| f()).fold(0.0, f64::max);
            let peak = best(&mut || flops(compute, 200_000));
            let product = best(&mut || {
                let start = Instant::now();
                crate::matmul::forward(&x, &w, crate::matmul::Start::Zero, &mut y, s, compute);
                (2 * s.m * s.n * s.k) as f64 / start.elapsed().as_secs_f64()
            });
            // Another process may take the processor away during one of the two.
            assert!(
                product < 1.5 * peak,
                "{compute:?}: {product:e} of {peak:e} FLOP/s"
            );
        }
    }

    #[test]
    fn every_number_is_read() {
        for n in [0, 1, 15, 16, 63, 64, 65, 300, 1000] {
            let data: Vec<f32> = (0..n).map(|i| f32::from_bits(i * i)).collect();
            assert_eq!(read(&data), (0..n).map(|i| i * i).sum(), "{n}");
        }
    }

    #[test]
    fn every_byte_is_counted() {
        let rate = read_rate(&vec![1.0; 1 << 16]);
        assert!(rate.is_finite() && rate > 1e6, "{rate}");
    }
}
