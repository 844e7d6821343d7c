//! Numbers from one storage type to the other, at the speed of memory.

use rayon::prelude::*;

use crate::element::Element;

/// Numbers that one task converts.
const BLOCK: usize = 1 << 15;

/// The numbers in another type, rounded to the nearest.
pub fn to_vec<A: Element, B: Element>(from: &[A]) -> Vec<B> {
    let mut to: Vec<B> = Vec::with_capacity(from.len());
    // SAFETY: the capacity is that of `from`, any bits are a valid number of
    // both types, and every number is written before it is read.
    #[allow(clippy::uninit_vec)]
    unsafe {
        to.set_len(from.len());
    }
    convert(from, &mut to);
    to
}

/// Writes the numbers in another type, rounded to the nearest.
pub fn convert<A: Element, B: Element>(from: &[A], to: &mut [B]) {
    assert_eq!(from.len(), to.len());
    if to.len() <= BLOCK {
        return part(from, to);
    }
    to.par_chunks_mut(BLOCK)
        .zip(from.par_chunks(BLOCK))
        .for_each(|(to, from)| part(from, to));
}

kernel! {
    fn part<S; A: Element, B: Element>(from: &[A], to: &mut [B]) {
        let n = from.len();
        let mut i = 0;
        while i < n {
            let left = n - i;
            B::store::<S>(to.as_mut_ptr().add(i), left, A::load::<S>(from.as_ptr().add(i), left));
            i += S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn rounds_to_the_nearest_and_back() {
        for n in [0, 1, 15, 16, 17, 70_001] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 - 9.0) * 1.37).collect();
            let small: Vec<bf16> = to_vec(&x);
            let expected: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
            assert_eq!(small, expected);
            let back: Vec<f32> = to_vec(&small);
            assert!(back.iter().zip(&small).all(|(b, s)| *b == s.to_f32()));
        }
    }
}
