//! What numbers may be stored as: `f32` or bf16. Kernels read either, compute
//! and sum in `f32`, and write either, rounded to the nearest.

use half::bf16;

/// A stored number: `f32` or [`bf16`].
pub trait Element: sealed::Lanes + Copy + Default + Send + Sync + 'static {
    /// Its value.
    fn to_f32(self) -> f32;
    /// The nearest number that can be stored; ties to even.
    fn from_f32(x: f32) -> Self;
}

impl Element for f32 {
    fn to_f32(self) -> f32 {
        self
    }
    fn from_f32(x: f32) -> Self {
        x
    }
}

impl Element for bf16 {
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
    fn from_f32(x: f32) -> Self {
        bf16::from_f32(x)
    }
}

pub(crate) mod sealed {
    #![allow(unreachable_pub)]

    #[cfg(target_arch = "x86_64")]
    use std::arch::x86_64::*;

    use half::bf16;

    use crate::simd::Simd;

    /// How vectors of the number are read and written.
    ///
    /// # Safety
    /// As for [`Simd`]. The methods with a mask touch no number behind it.
    #[allow(private_bounds, missing_docs)]
    pub trait Lanes: Sized {
        /// Whether it is `f32`.
        const FULL: bool;
        /// Up to `S::LANES` numbers, zero elsewhere.
        unsafe fn load<S: Simd>(p: *const Self, n: usize) -> S;
        /// Up to `S::LANES` numbers.
        unsafe fn store<S: Simd>(p: *mut Self, n: usize, x: S);
        /// Rounds `n` numbers with the processor's own instruction.
        #[cfg(target_arch = "x86_64")]
        unsafe fn rounded(from: *const f32, to: *mut Self, n: usize);
        /// Two times sixteen neighbours as bf16, those of both masks.
        #[cfg(target_arch = "x86_64")]
        unsafe fn neighbours(p: *const Self, m0: __mmask16, m1: __mmask16) -> __m512i;
        /// Sixteen numbers each from two places as bf16, alternating.
        #[cfg(target_arch = "x86_64")]
        unsafe fn woven(
            even: *const Self,
            odd: *const Self,
            m_even: __mmask16,
            m_odd: __mmask16,
        ) -> __m512i;
    }

    #[allow(private_bounds)]
    impl Lanes for f32 {
        const FULL: bool = true;
        #[inline(always)]
        unsafe fn load<S: Simd>(p: *const f32, n: usize) -> S {
            unsafe { S::load_n(p, n) }
        }
        #[inline(always)]
        unsafe fn store<S: Simd>(p: *mut f32, n: usize, x: S) {
            unsafe { x.store_n(p, n) }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn rounded(from: *const f32, to: *mut f32, n: usize) {
            unsafe { std::ptr::copy_nonoverlapping(from, to, n) };
        }
        #[cfg(target_arch = "x86_64")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn neighbours(p: *const f32, m0: __mmask16, m1: __mmask16) -> __m512i {
            unsafe {
                let low = _mm512_maskz_loadu_ps(m0, p);
                let high = _mm512_maskz_loadu_ps(m1, p.wrapping_add(16));
                bits(_mm512_cvtne2ps_pbh(high, low))
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn woven(
            even: *const f32,
            odd: *const f32,
            m_even: __mmask16,
            m_odd: __mmask16,
        ) -> __m512i {
            const WEAVE: [u16; 32] = {
                let mut w = [0; 32];
                let mut i = 0;
                while i < 16 {
                    w[2 * i] = i as u16;
                    w[2 * i + 1] = 16 + i as u16;
                    i += 1;
                }
                w
            };
            unsafe {
                let weave = _mm512_loadu_si512(WEAVE.as_ptr().cast());
                let low = _mm512_maskz_loadu_ps(m_even, even);
                let high = _mm512_maskz_loadu_ps(m_odd, odd);
                _mm512_permutexvar_epi16(weave, bits(_mm512_cvtne2ps_pbh(high, low)))
            }
        }
    }

    #[allow(private_bounds)]
    impl Lanes for bf16 {
        const FULL: bool = false;
        #[inline(always)]
        unsafe fn load<S: Simd>(p: *const bf16, n: usize) -> S {
            unsafe { S::load_bf16_n(p, n) }
        }
        #[inline(always)]
        unsafe fn store<S: Simd>(p: *mut bf16, n: usize, x: S) {
            unsafe { x.store_bf16_n(p, n) }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn rounded(from: *const f32, to: *mut bf16, n: usize) {
            for at in (0..n).step_by(32) {
                let mask = u32::MAX >> 32usize.saturating_sub(n - at);
                unsafe {
                    let (p, q) = (from.add(at), from.wrapping_add(at + 16));
                    let low = _mm512_maskz_loadu_ps(mask as u16, p);
                    let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, q);
                    let both = bits(_mm512_cvtne2ps_pbh(high, low));
                    _mm512_mask_storeu_epi16(to.add(at).cast(), mask, both);
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn neighbours(p: *const bf16, m0: __mmask16, m1: __mmask16) -> __m512i {
            let mask = u32::from(m0) | u32::from(m1) << 16;
            unsafe { _mm512_maskz_loadu_epi16(mask, p.cast()) }
        }
        #[cfg(target_arch = "x86_64")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn woven(
            even: *const bf16,
            odd: *const bf16,
            m_even: __mmask16,
            m_odd: __mmask16,
        ) -> __m512i {
            unsafe {
                let low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m_even, even.cast()));
                let high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m_odd, odd.cast()));
                _mm512_or_si512(low, _mm512_slli_epi32::<16>(high))
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn bits(x: __m512bh) -> __m512i {
        // SAFETY: both are 64 bytes of plain bits.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(x) }
    }
}
