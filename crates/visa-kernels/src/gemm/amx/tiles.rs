//! The tile registers, in hardware and in software.

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::Cell;
use std::sync::OnceLock;

/// Eight tiles of 16 rows of 64 bytes.
///
/// # Safety
/// Pointers are valid for sixteen rows of 64 bytes, `stride` bytes apart.
/// Hardware tiles exist only where [`available`] says so.
pub(crate) trait Tiles: Send + Sync + 'static {
    /// Tiles ready for use on this thread.
    unsafe fn start() -> Self;
    /// Clears tile `T`.
    unsafe fn zero<const T: usize>(&mut self);
    /// Reads tile `T`.
    unsafe fn load<const T: usize>(&mut self, p: *const u8, stride: usize);
    /// Writes tile `T`.
    unsafe fn store<const T: usize>(&mut self, p: *mut u8, stride: usize);
    /// `C[i, j] += Σ_p A[i, 2p] · B[p, 2j] + A[i, 2p + 1] · B[p, 2j + 1]` of bf16
    /// numbers in `A` and `B`, `f32` ones in `C`.
    unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self);
    /// The same of four bytes with signs, with sums of 32 bits.
    unsafe fn dot_bytes<const C: usize, const A: usize, const B: usize>(&mut self);
}

/// The processor's tiles.
pub(crate) struct Hardware(());

thread_local! {
    static READY: Cell<bool> = const { Cell::new(false) };
}

/// Palette 1: all eight tiles whole.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

static SHAPES: Shapes = {
    let mut s = [0; 64];
    s[0] = 1;
    let mut t = 0;
    while t < 8 {
        s[16 + 2 * t] = 64;
        s[48 + t] = 16;
        t += 1;
    }
    Shapes(s)
};

// SAFETY of this impl: tile state belongs to the thread, the compiler uses no
// tiles, and blocks of assembly are not reordered against each other. The
// encodings are those of a prototype that was run on such a processor.
impl Tiles for Hardware {
    #[inline(always)]
    unsafe fn start() -> Self {
        READY.with(|ready| {
            if !ready.replace(true) {
                let shapes = &raw const SHAPES;
                unsafe { asm!("ldtilecfg [{}]", in(reg) shapes, options(nostack)) };
            }
        });
        Self(())
    }
    #[inline(always)]
    unsafe fn zero<const T: usize>(&mut self) {
        unsafe { asm!("tilezero tmm{t}", t = const T, options(nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn load<const T: usize>(&mut self, p: *const u8, stride: usize) {
        unsafe {
            asm!(
                "tileloadd tmm{t}, [{p} + {s}]",
                t = const T, p = in(reg) p, s = in(reg) stride,
                options(nostack, preserves_flags),
            );
        }
    }
    #[inline(always)]
    unsafe fn store<const T: usize>(&mut self, p: *mut u8, stride: usize) {
        unsafe {
            asm!(
                "tilestored [{p} + {s}], tmm{t}",
                t = const T, p = in(reg) p, s = in(reg) stride,
                options(nostack, preserves_flags),
            );
        }
    }
    #[inline(always)]
    unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self) {
        unsafe {
            asm!(
                "tdpbf16ps tmm{c}, tmm{a}, tmm{b}",
                c = const C, a = const A, b = const B,
                options(nostack, preserves_flags),
            );
        }
    }
    #[inline(always)]
    unsafe fn dot_bytes<const C: usize, const A: usize, const B: usize>(&mut self) {
        unsafe {
            asm!(
                "tdpbssd tmm{c}, tmm{a}, tmm{b}",
                c = const C, a = const A, b = const B,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Whether the processor has tiles of bf16 and bytes, AVX-512 with BF16 beside
/// them, and the kernel lends the process their state. It is asked once.
pub(crate) fn available() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        const BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        const OSXSAVE: u32 = 1 << 27;
        // Tile configuration and tile data.
        const STATE: u64 = 1 << 17 | 1 << 18;
        if __cpuid(0).eax < 7
            || __cpuid(1).ecx & OSXSAVE == 0
            || __cpuid_count(7, 0).edx & BF16_TILE_INT8 != BF16_TILE_INT8
            || !is_x86_feature_detected!("avx512bf16")
        {
            return false;
        }
        let (low, high): (u32, u32);
        // SAFETY: OSXSAVE says that the instruction exists.
        unsafe {
            asm!(
                "xgetbv", in("ecx") 0, out("eax") low, out("edx") high,
                options(nostack, nomem, preserves_flags),
            );
        }
        (u64::from(high) << 32 | u64::from(low)) & STATE == STATE && permitted()
    })
}

/// Asks the kernel for tile state (`arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XTILEDATA: u64 = 18;
    let answer: i64;
    // SAFETY: a system call that changes what this process may use, no memory.
    unsafe {
        asm!(
            "syscall", inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
            out("rcx") _, out("r11") _, options(nostack),
        );
    }
    answer == 0
}

/// How other systems lend tile state is not known here, so they lend none.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Tiles in memory, for tests.
#[cfg(test)]
pub(crate) struct Software([[u8; 1024]; 8]);

#[cfg(test)]
impl Software {
    /// Sixteen rows of sixteen words.
    fn words(&self, t: usize) -> [[[u8; 4]; 16]; 16] {
        // SAFETY: the same bytes.
        unsafe { std::mem::transmute(self.0[t]) }
    }

    fn sum(
        &mut self,
        c: usize,
        a: usize,
        b: usize,
        add: impl Fn([u8; 4], [u8; 4], [u8; 4]) -> [u8; 4],
    ) {
        let (a, b) = (self.words(a), self.words(b));
        for i in 0..16 {
            for j in 0..16 {
                for p in 0..16 {
                    let at = (16 * i + j) * 4;
                    let old: [u8; 4] = self.0[c][at..at + 4].try_into().unwrap();
                    let new = add(old, a[i][p], b[p][j]);
                    self.0[c][at..at + 4].copy_from_slice(&new);
                }
            }
        }
    }
}

#[cfg(test)]
impl Tiles for Software {
    unsafe fn start() -> Self {
        // What a tile holds before it is cleared is anything.
        Self([[0xa5; 1024]; 8])
    }
    unsafe fn zero<const T: usize>(&mut self) {
        self.0[T].fill(0);
    }
    unsafe fn load<const T: usize>(&mut self, p: *const u8, stride: usize) {
        for (i, row) in self.0[T].chunks_exact_mut(64).enumerate() {
            // SAFETY: the trait's contract.
            unsafe { std::ptr::copy_nonoverlapping(p.add(i * stride), row.as_mut_ptr(), 64) };
        }
    }
    unsafe fn store<const T: usize>(&mut self, p: *mut u8, stride: usize) {
        for (i, row) in self.0[T].chunks_exact(64).enumerate() {
            // SAFETY: the trait's contract.
            unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), p.add(i * stride), 64) };
        }
    }
    unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self) {
        let pair = |x: [u8; 4]| {
            let half = |i| f32::from_bits(u32::from(u16::from_le_bytes([x[i], x[i + 1]])) << 16);
            [half(0), half(2)]
        };
        self.sum(C, A, B, |c, a, b| {
            let (a, b) = (pair(a), pair(b));
            (f32::from_le_bytes(c) + a[0] * b[0] + a[1] * b[1]).to_le_bytes()
        });
    }
    unsafe fn dot_bytes<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.sum(C, A, B, |c, a, b| {
            let sum: i32 = (0..4)
                .map(|i| i32::from(a[i] as i8) * i32::from(b[i] as i8))
                .sum();
            (i32::from_le_bytes(c) + sum).to_le_bytes()
        });
    }
}
