//! Vectors of `f32` in three widths behind one trait, and the macro that writes
//! a kernel once and compiles it for each instruction set.
//!
//! Kernels say what happens to a vector; they never name an intrinsic. Only the
//! bf16 product goes below this level.

/// A vector of `f32` lanes.
///
/// # Safety
/// Every method may only run where the instructions of the implementing type
/// exist, which [`kernel!`] sees to. Pointers must be valid for the lanes (or
/// for the `n` elements) that are touched; no alignment is asked for.
pub(crate) trait Simd: Copy {
    /// Lanes in a vector.
    const LANES: usize;
    /// `x` in every lane.
    unsafe fn splat(x: f32) -> Self;
    /// All lanes from memory.
    unsafe fn load(p: *const f32) -> Self;
    /// All lanes to memory.
    unsafe fn store(self, p: *mut f32);
    /// The first `n < LANES` lanes from memory, zero elsewhere.
    unsafe fn load_part(p: *const f32, n: usize) -> Self;
    /// The first `n < LANES` lanes to memory.
    unsafe fn store_part(self, p: *mut f32, n: usize);
    /// `self + o`
    unsafe fn add(self, o: Self) -> Self;
    /// `self − o`
    unsafe fn sub(self, o: Self) -> Self;
    /// `self · o`
    unsafe fn mul(self, o: Self) -> Self;
    /// `self / o`
    unsafe fn div(self, o: Self) -> Self;
    /// The larger one, lane by lane.
    unsafe fn max(self, o: Self) -> Self;
    /// The smaller one, lane by lane.
    unsafe fn min(self, o: Self) -> Self;
    /// `self · a + b`
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// Square root.
    unsafe fn sqrt(self) -> Self;
    /// Absolute value.
    unsafe fn abs(self) -> Self;
    /// The magnitude of `self` (not negative) with the sign of `s`.
    unsafe fn with_sign(self, s: Self) -> Self;
    /// The nearest integer, as a float.
    unsafe fn round(self) -> Self;
    /// `self · 2^e` for an integral `e` of at least −126 and at most 127.
    unsafe fn scale2(self, e: Self) -> Self;
    /// Sum of the lanes.
    unsafe fn sum(self) -> f32;
    /// Largest lane.
    unsafe fn top(self) -> f32;

    /// Up to `LANES` lanes from memory: all of them if `n` allows.
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> Self {
        unsafe {
            if n >= Self::LANES {
                Self::load(p)
            } else {
                Self::load_part(p, n)
            }
        }
    }

    /// Up to `LANES` lanes to memory: all of them if `n` allows.
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, n: usize) {
        unsafe {
            if n >= Self::LANES {
                self.store(p);
            } else {
                self.store_part(p, n);
            }
        }
    }
}

/// Eight lanes of plain Rust; the compiler maps them to what the target has.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 8]);

impl Plain {
    #[inline(always)]
    fn zip(self, o: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut r = [0.0; 8];
        for i in 0..8 {
            r[i] = f(self.0[i], o.0[i]);
        }
        Self(r)
    }

    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        self.zip(self, |a, _| f(a))
    }
}

impl Simd for Plain {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        let mut r = [0.0; 8];
        for (i, x) in r.iter_mut().enumerate().take(n) {
            *x = unsafe { *p.add(i) };
        }
        Self(r)
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        for i in 0..n {
            unsafe { *p.add(i) = self.0[i] };
        }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        self.zip(o, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        self.zip(o, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        self.zip(o, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, o: Self) -> Self {
        self.zip(o, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        self.zip(o, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, o: Self) -> Self {
        self.zip(o, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // `f32::mul_add` would call into libm where the target has no FMA.
        self.zip(a, |x, y| x * y).zip(b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        self.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn with_sign(self, s: Self) -> Self {
        self.zip(s, f32::copysign)
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding and taking away 1.5 · 2^23 rounds to nearest even for |x| < 2^22.
        const MAGIC: f32 = 12_582_912.0;
        self.map(|x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn scale2(self, e: Self) -> Self {
        self.zip(e, |x, e| {
            x * f32::from_bits(((e as i32 + 127) as u32) << 23)
        })
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let x = self.0;
        ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]))
    }
    #[inline(always)]
    unsafe fn top(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

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
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Defines a safe function whose body is compiled once for each instruction
/// set, with the vector type as its parameter, and that calls the one in use.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$s:ident>(
        $($arg:ident: $ty:ty),* $(,)?
    ) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            unsafe fn generic<$s: $crate::simd::Simd>($($arg: $ty),*) $(-> $ret)? {
                #[allow(unused_unsafe)]
                unsafe { $body }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn wide($($arg: $ty),*) $(-> $ret)? {
                unsafe { generic::<$crate::simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn middle($($arg: $ty),*) $(-> $ret)? {
                unsafe { generic::<$crate::simd::Avx2>($($arg),*) }
            }
            // SAFETY: `isa` names only what the processor has.
            match $crate::isa::isa() {
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 => unsafe { wide($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2 => unsafe { middle($($arg),*) },
                _ => unsafe { generic::<$crate::simd::Plain>($($arg),*) },
            }
        }
    };
}
