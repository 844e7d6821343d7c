//! Which instructions the kernels use: found out once, or forced.
//!
//! The variable `VISA_ISA` (`portable`, `avx2`, `avx512`) forces a set, so that
//! every path can be tested and compared on one machine.

use std::sync::OnceLock;

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What every processor of the target has.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
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
            return Isa::Avx512;
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
    let wanted = match wish {
        "portable" => Isa::Portable,
        "avx2" => Isa::Avx2,
        "avx512" => Isa::Avx512,
        _ => {
            return Err(IsaError(format!(
                "VISA_ISA is \"{wish}\"; use portable, avx2 or avx512, or unset it"
            )));
        }
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

/// The set in use.
///
/// # Panics
/// If `VISA_ISA` cannot be followed.
#[inline]
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| match choose() {
        Ok(isa) => isa,
        Err(error) => panic!("{error}"),
    })
}

/// Whether matrix products of bf16 factors run on instructions of their own.
pub fn has_bf16() -> bool {
    static BF16: OnceLock<bool> = OnceLock::new();
    *BF16.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            isa() == Isa::Avx512 && is_x86_feature_detected!("avx512bf16")
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            false
        }
    })
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
        let lacking = parse("avx512", Isa::Avx2).unwrap_err().to_string();
        assert!(lacking.contains("Avx2"));
    }
}
