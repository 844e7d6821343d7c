//! Results of two computations that become one.

use crate::element::Element;

/// `y = (1 − share) · a + share · b`, number by number.
///
/// # Panics
/// If the lengths differ.
pub fn between<Y: Element>(a: &[f32], b: &[f32], share: f32, y: &mut [Y]) {
    assert!(a.len() == y.len() && b.len() == y.len());
    between_part(a, b, share, y);
}

kernel! {
    fn between_part<S; Y: Element>(a: &[f32], b: &[f32], share: f32, y: &mut [Y]) {
        let share = S::splat(share);
        for i in (0..y.len()).step_by(S::LANES) {
            let n = y.len() - i;
            let (a, b) = (S::load_n(a.as_ptr().add(i), n), S::load_n(b.as_ptr().add(i), n));
            Y::store(y.as_mut_ptr().add(i), n, b.sub(a).fma(share, a));
        }
    }
}

/// `y += x`, number by number, summed in `f32`.
///
/// # Panics
/// If the lengths differ.
pub fn add<T: Element>(x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len());
    add_part(x, y);
}

kernel! {
    fn add_part<S; T: Element>(x: &[T], y: &mut [T]) {
        for i in (0..y.len()).step_by(S::LANES) {
            let n = y.len() - i;
            let x: S = T::load(x.as_ptr().add(i), n);
            let sum = x.add(T::load(y.as_ptr().add(i), n));
            T::store(y.as_mut_ptr().add(i), n, sum);
        }
    }
}
