//! Vectors of `f32` in three widths behind one trait, and the macro that writes
//! a kernel once and compiles it for each instruction set.
//!
//! Kernels say what happens to a vector; they never name an intrinsic. Only the
//! bf16 product goes below this level.

use half::bf16;

mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use plain::Plain;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, transpose};

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
    /// All lanes from bf16 numbers.
    unsafe fn load_bf16(p: *const bf16) -> Self;
    /// All lanes to bf16 numbers, rounded to the nearest, ties to even.
    unsafe fn store_bf16(self, p: *mut bf16);
    /// The low and the high halves of `LANES` words, as bf16 numbers.
    unsafe fn halves(p: *const u32) -> (Self, Self);
    /// The four bytes with sign of each of `LANES` words, the lowest first.
    unsafe fn bytes(p: *const u32) -> [Self; 4];
    /// The nearest integers, ties to even; any number for what does not fit.
    unsafe fn store_integers(self, p: *mut i32);
    /// `a − b`, which fits, of integers.
    unsafe fn difference(a: *const i32, b: *const i32) -> Self;
    /// Transposes the square of the first `LANES` vectors.
    unsafe fn transpose(x: &mut [Self; 16]);

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

    /// Up to `LANES` lanes from bf16 numbers, zero elsewhere.
    #[inline(always)]
    unsafe fn load_bf16_n(p: *const bf16, n: usize) -> Self {
        unsafe {
            if n >= Self::LANES {
                return Self::load_bf16(p);
            }
            let mut whole = [bf16::ZERO; 16];
            std::ptr::copy_nonoverlapping(p, whole.as_mut_ptr(), n);
            Self::load_bf16(whole.as_ptr())
        }
    }

    /// Up to `LANES` lanes to bf16 numbers.
    #[inline(always)]
    unsafe fn store_bf16_n(self, p: *mut bf16, n: usize) {
        unsafe {
            if n >= Self::LANES {
                return self.store_bf16(p);
            }
            let mut whole = [bf16::ZERO; 16];
            self.store_bf16(whole.as_mut_ptr());
            std::ptr::copy_nonoverlapping(whole.as_ptr(), p, n);
        }
    }
}

/// Defines a safe function whose body is compiled once for each instruction
/// set, with the vector type as its parameter, and that calls the one in use.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$s:ident $(; $($t:ident: $bound:path),+)?>(
        $($arg:ident: $ty:ty),* $(,)?
    ) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<$($($t: $bound),+)?>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            unsafe fn generic<$s: $crate::simd::Simd $(, $($t: $bound),+)?>(
                $($arg: $ty),*
            ) $(-> $ret)? {
                #[allow(unused_unsafe)]
                unsafe { $body }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn wide<$($($t: $bound),+)?>($($arg: $ty),*) $(-> $ret)? {
                unsafe { generic::<$crate::simd::Avx512 $(, $($t),+)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn middle<$($($t: $bound),+)?>($($arg: $ty),*) $(-> $ret)? {
                unsafe { generic::<$crate::simd::Avx2 $(, $($t),+)?>($($arg),*) }
            }
            // SAFETY: `isa` names only what the processor has.
            match $crate::isa::isa() {
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 | $crate::isa::Isa::Amx => unsafe {
                    wide::<$($($t),+)?>($($arg),*)
                },
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2 => unsafe {
                    middle::<$($($t),+)?>($($arg),*)
                },
                _ => unsafe { generic::<$crate::simd::Plain $(, $($t),+)?>($($arg),*) },
            }
        }
    };
}
