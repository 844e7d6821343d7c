//! AVX2 with FMA, and AVX-512.

use std::arch::x86_64::*;

use half::bf16;

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    const ROW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: n < 8, so the eight words lie inside ROW.
    unsafe { _mm256_loadu_si256(ROW.as_ptr().add(8 - n).cast()) }
}

// SAFETY of this impl and the next: plain wrappers; the trait's contract
// carries over to each intrinsic.
impl Simd for Avx2 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(p)) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm256_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        unsafe { Self(_mm256_maskload_ps(p, mask8(n))) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        unsafe { _mm256_maskstore_ps(p, mask8(n), self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, o: Self) -> Self {
        unsafe { Self(_mm256_div_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        unsafe { Self(_mm256_max_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, o: Self) -> Self {
        unsafe { Self(_mm256_min_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(_mm256_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { Self(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)) }
    }
    #[inline(always)]
    unsafe fn with_sign(self, s: Self) -> Self {
        unsafe {
            Self(_mm256_or_ps(
                self.0,
                _mm256_and_ps(_mm256_set1_ps(-0.0), s.0),
            ))
        }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe {
            Self(_mm256_round_ps::<
                { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
            >(self.0))
        }
    }
    #[inline(always)]
    unsafe fn scale2(self, e: Self) -> Self {
        unsafe {
            let e = _mm256_add_epi32(_mm256_cvtps_epi32(e.0), _mm256_set1_epi32(127));
            let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(e));
            Self(_mm256_mul_ps(self.0, power))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let h = _mm_add_ps(
                _mm256_castps256_ps128(self.0),
                _mm256_extractf128_ps::<1>(self.0),
            );
            let h = _mm_add_ps(h, _mm_movehl_ps(h, h));
            _mm_cvtss_f32(_mm_add_ss(h, _mm_shuffle_ps::<1>(h, h)))
        }
    }
    #[inline(always)]
    unsafe fn top(self) -> f32 {
        unsafe {
            let h = _mm_max_ps(
                _mm256_castps256_ps128(self.0),
                _mm256_extractf128_ps::<1>(self.0),
            );
            let h = _mm_max_ps(h, _mm_movehl_ps(h, h));
            _mm_cvtss_f32(_mm_max_ss(h, _mm_shuffle_ps::<1>(h, h)))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> Self {
        unsafe {
            let x = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(x)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        unsafe {
            let x = _mm256_castps_si256(self.0);
            let high = _mm256_srli_epi32::<16>(x);
            let odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
            let carry = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(x, carry));
            // The carry of rounding could make a NaN an infinity.
            let quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
            let y = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(nan));
            let y = _mm_packus_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256::<1>(y));
            _mm_storeu_si128(p.cast(), y);
        }
    }
    #[inline(always)]
    unsafe fn halves(p: *const u32) -> (Self, Self) {
        unsafe {
            let x = _mm256_loadu_si256(p.cast());
            let high = _mm256_and_si256(x, _mm256_set1_epi32(0xffff_0000_u32 as i32));
            (
                Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(x))),
                Self(_mm256_castsi256_ps(high)),
            )
        }
    }
    #[inline(always)]
    unsafe fn bytes(p: *const u32) -> [Self; 4] {
        unsafe {
            let x = _mm256_loadu_si256(p.cast());
            [
                Self(_mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(
                    _mm256_slli_epi32::<24>(x),
                ))),
                Self(_mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(
                    _mm256_slli_epi32::<16>(x),
                ))),
                Self(_mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(
                    _mm256_slli_epi32::<8>(x),
                ))),
                Self(_mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(x))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store_integers(self, p: *mut i32) {
        unsafe { _mm256_storeu_si256(p.cast(), _mm256_cvtps_epi32(self.0)) }
    }
    #[inline(always)]
    unsafe fn difference(a: *const i32, b: *const i32) -> Self {
        unsafe {
            let (a, b) = (_mm256_loadu_si256(a.cast()), _mm256_loadu_si256(b.cast()));
            Self(_mm256_cvtepi32_ps(_mm256_sub_epi32(a, b)))
        }
    }
    #[inline(always)]
    unsafe fn transpose(x: &mut [Self; 16]) {
        unsafe {
            let mut a = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                a[2 * i] = _mm256_unpacklo_ps(x[2 * i].0, x[2 * i + 1].0);
                a[2 * i + 1] = _mm256_unpackhi_ps(x[2 * i].0, x[2 * i + 1].0);
            }
            // b[4g + c] holds, in its two halves q, column 4q + c of rows 4g .. 4g + 4.
            let mut b = a;
            for g in 0..2 {
                b[4 * g] = _mm256_shuffle_ps::<0x44>(a[4 * g], a[4 * g + 2]);
                b[4 * g + 1] = _mm256_shuffle_ps::<0xee>(a[4 * g], a[4 * g + 2]);
                b[4 * g + 2] = _mm256_shuffle_ps::<0x44>(a[4 * g + 1], a[4 * g + 3]);
                b[4 * g + 3] = _mm256_shuffle_ps::<0xee>(a[4 * g + 1], a[4 * g + 3]);
            }
            for c in 0..4 {
                x[c] = Self(_mm256_permute2f128_ps::<0x20>(b[c], b[4 + c]));
                x[4 + c] = Self(_mm256_permute2f128_ps::<0x31>(b[c], b[4 + c]));
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

impl Simd for Avx512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(p)) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm512_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        unsafe { Self(_mm512_maskz_loadu_ps((1u16 << n) - 1, p)) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, (1u16 << n) - 1, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, o: Self) -> Self {
        unsafe { Self(_mm512_div_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        unsafe { Self(_mm512_max_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, o: Self) -> Self {
        unsafe { Self(_mm512_min_ps(self.0, o.0)) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(_mm512_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { Self(_mm512_abs_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn with_sign(self, s: Self) -> Self {
        unsafe {
            Self(_mm512_or_ps(
                self.0,
                _mm512_and_ps(_mm512_set1_ps(-0.0), s.0),
            ))
        }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe {
            Self(_mm512_roundscale_ps::<
                { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
            >(self.0))
        }
    }
    #[inline(always)]
    unsafe fn scale2(self, e: Self) -> Self {
        unsafe { Self(_mm512_scalef_ps(self.0, e.0)) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn top(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> Self {
        unsafe {
            let x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(x)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        unsafe {
            let x = _mm512_castps_si512(self.0);
            let high = _mm512_srli_epi32::<16>(x);
            let odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
            let carry = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(x, carry));
            // The carry of rounding could make a NaN an infinity.
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let y = _mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40));
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(y));
        }
    }
    #[inline(always)]
    unsafe fn halves(p: *const u32) -> (Self, Self) {
        unsafe {
            let x = _mm512_loadu_si512(p.cast());
            let high = _mm512_and_si512(x, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            (
                Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(x))),
                Self(_mm512_castsi512_ps(high)),
            )
        }
    }
    #[inline(always)]
    unsafe fn bytes(p: *const u32) -> [Self; 4] {
        unsafe {
            let x = _mm512_loadu_si512(p.cast());
            [
                Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(
                    _mm512_slli_epi32::<24>(x),
                ))),
                Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(
                    _mm512_slli_epi32::<16>(x),
                ))),
                Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(
                    _mm512_slli_epi32::<8>(x),
                ))),
                Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(x))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store_integers(self, p: *mut i32) {
        unsafe { _mm512_storeu_si512(p.cast(), _mm512_cvtps_epi32(self.0)) }
    }
    #[inline(always)]
    unsafe fn difference(a: *const i32, b: *const i32) -> Self {
        unsafe {
            let (a, b) = (_mm512_loadu_si512(a.cast()), _mm512_loadu_si512(b.cast()));
            Self(_mm512_cvtepi32_ps(_mm512_sub_epi32(a, b)))
        }
    }
    #[inline(always)]
    unsafe fn transpose(x: &mut [Self; 16]) {
        unsafe {
            let mut t = [_mm512_setzero_si512(); 16];
            for i in 0..16 {
                t[i] = _mm512_castps_si512(x[i].0);
            }
            t = transpose(t);
            for i in 0..16 {
                x[i] = Self(_mm512_castsi512_ps(t[i]));
            }
        }
    }
}

/// Transposes a square of sixteen by sixteen words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose(x: [__m512i; 16]) -> [__m512i; 16] {
    let mut a = x;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    // Now b[4g + c] holds, in its four quarters q, column 4q + c of rows 4g .. 4g+4.
    let mut t = b;
    for c in 0..4 {
        let lo01 = _mm512_shuffle_i32x4::<0x88>(b[c], b[4 + c]);
        let hi01 = _mm512_shuffle_i32x4::<0xdd>(b[c], b[4 + c]);
        let lo23 = _mm512_shuffle_i32x4::<0x88>(b[8 + c], b[12 + c]);
        let hi23 = _mm512_shuffle_i32x4::<0xdd>(b[8 + c], b[12 + c]);
        t[c] = _mm512_shuffle_i32x4::<0x88>(lo01, lo23);
        t[8 + c] = _mm512_shuffle_i32x4::<0xdd>(lo01, lo23);
        t[4 + c] = _mm512_shuffle_i32x4::<0x88>(hi01, hi23);
        t[12 + c] = _mm512_shuffle_i32x4::<0xdd>(hi01, hi23);
    }
    t
}
