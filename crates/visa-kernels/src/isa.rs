//! Which instructions the kernels use: found out once, or forced.
//!
//! The variable `VISA_ISA` (`portable`, `avx2`, `avx512`, `amx`) forces a set,
//! so that every path can be tested and compared on one machine.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What every processor of the target has.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL; BF16 and VNNI where present.
    Avx512,
    /// Tiles of bf16 and bytes (AMX) beside AVX-512 with BF16.
    Amx,
}

impl Isa {
    /// All sets, the least first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Amx];

    /// Its name in `VISA_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

/// Why no instruction set could be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsaError(String);

impl std::fmt::Display for IsaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IsaError {}

/// The best set of this processor.
pub fn detect() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
        {
            return if crate::gemm::amx::available() {
                Isa::Amx
            } else {
                Isa::Avx512
            };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Isa::Avx2;
        }
    }
    Isa::Portable
}

/// Reads a wish such as the value of `VISA_ISA` against what the processor has.
///
/// # Errors
/// An unknown name, or a set that this processor lacks.
pub fn parse(wish: &str, best: Isa) -> Result<Isa, IsaError> {
    let Some(wanted) = Isa::ALL.into_iter().find(|isa| isa.name() == wish) else {
        return Err(IsaError(format!(
            "VISA_ISA is \"{wish}\"; use portable, avx2, avx512 or amx, or unset it"
        )));
    };
    if wanted > best {
        return Err(IsaError(format!(
            "VISA_ISA is \"{wish}\" but this processor offers {best:?} at most; choose less or unset it"
        )));
    }
    Ok(wanted)
}

/// The set in use, or why `VISA_ISA` cannot be followed. Programs call this
/// first, so that a wrong wish is an error message and no panic.
///
/// # Errors
/// As [`parse`].
pub fn choose() -> Result<Isa, IsaError> {
    static CHOICE: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
    CHOICE
        .get_or_init(|| match std::env::var("VISA_ISA") {
            Ok(wish) => parse(&wish, detect()),
            Err(_) => Ok(detect()),
        })
        .clone()
}

/// Place in [`Isa::ALL`] of the set in use, plus one; 0 before the first question.
static IN_USE: AtomicU8 = AtomicU8::new(0);

/// The set in use.
///
/// # Panics
/// If `VISA_ISA` cannot be followed.
#[inline]
pub fn isa() -> Isa {
    match IN_USE.load(Ordering::Relaxed) {
        0 => first(),
        n => Isa::ALL[n as usize - 1],
    }
}

#[cold]
fn first() -> Isa {
    match choose() {
        Ok(isa) => {
            IN_USE.store(isa as u8 + 1, Ordering::Relaxed);
            isa
        }
        Err(error) => panic!("{error}"),
    }
}

/// Makes all kernels of the process use `isa` from now on, whatever `VISA_ISA`
/// says: for tests and comparisons. Calls that run meanwhile finish with either.
///
/// # Errors
/// If this processor lacks it.
pub fn force(isa: Isa) -> Result<(), IsaError> {
    static BEST: OnceLock<Isa> = OnceLock::new();
    parse(isa.name(), *BEST.get_or_init(detect))?;
    IN_USE.store(isa as u8 + 1, Ordering::Relaxed);
    Ok(())
}

/// Whether matrix products of bf16 factors run on instructions of their own.
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        isa() >= Isa::Avx512 && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_followed_or_explained() {
        assert_eq!(parse("avx2", Isa::Avx512), Ok(Isa::Avx2));
        assert_eq!(parse("portable", Isa::Portable), Ok(Isa::Portable));
        let unknown = parse("avx9", Isa::Avx512).unwrap_err().to_string();
        assert!(unknown.contains("avx9") && unknown.contains("avx512"));
        assert_eq!(parse("amx", Isa::Amx), Ok(Isa::Amx));
        let lacking = parse("avx512", Isa::Avx2).unwrap_err().to_string();
        assert!(lacking.contains("Avx2"));
    }
}
