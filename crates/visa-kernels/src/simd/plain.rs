//! Plain Rust, for what has no intrinsics here.

use half::bf16;

use super::Simd;

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
        // `f32::mul_add` would call into libm where the target has no FMA;
        // every ARM processor of 64 bits has it.
        if cfg!(target_arch = "aarch64") {
            Self(std::array::from_fn(|i| self.0[i].mul_add(a.0[i], b.0[i])))
        } else {
            self.zip(a, |x, y| x * y).zip(b, |x, y| x + y)
        }
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
    #[inline(always)]
    unsafe fn load_bf16(p: *const bf16) -> Self {
        let x = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        Self(x.map(|x| f32::from_bits(u32::from(x) << 16)))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        let x = self.0.map(|x| {
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            // The carry of rounding could make a NaN an infinity.
            let quiet = bits >> 16 | 0x40;
            (if x.is_nan() { quiet } else { rounded }) as u16
        });
        unsafe { p.cast::<[u16; 8]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn halves(p: *const u32) -> (Self, Self) {
        let x = unsafe { p.cast::<[u32; 8]>().read_unaligned() };
        (
            Self(x.map(|x| f32::from_bits(x << 16))),
            Self(x.map(|x| f32::from_bits(x & 0xffff_0000))),
        )
    }
    #[inline(always)]
    unsafe fn bytes(p: *const u32) -> [Self; 4] {
        let x = unsafe { p.cast::<[u32; 8]>().read_unaligned() };
        [24, 16, 8, 0].map(|left| Self(x.map(|x| ((x << left) as i32 >> 24) as f32)))
    }
    #[inline(always)]
    unsafe fn store_integers(self, p: *mut i32) {
        let q = self.0.map(|x| x.round_ties_even() as i32);
        unsafe { p.cast::<[i32; 8]>().write_unaligned(q) }
    }
    #[inline(always)]
    unsafe fn difference(a: *const i32, b: *const i32) -> Self {
        let mut r = [0.0; 8];
        for (i, x) in r.iter_mut().enumerate() {
            *x = unsafe { *a.add(i) - *b.add(i) } as f32;
        }
        Self(r)
    }
    #[inline(always)]
    unsafe fn transpose(x: &mut [Self; 16]) {
        for i in 0..8 {
            for j in 0..i {
                (x[i].0[j], x[j].0[i]) = (x[j].0[i], x[i].0[j]);
            }
        }
    }
}
