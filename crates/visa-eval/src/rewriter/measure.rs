//! What one rewrite is measured by, as pure functions of texts and readings.
//!
//! A *reading* is what one pair of detector and checker says about one rewrite. The wished shift is the same for every
//! reader; the target is the reader's own: clip(v(original) + Δv). So a reader that sees another profile in the original
//! still judges the movement that was wished, and |Δv| is the distance that this reader says is to be covered.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use visa_score::Consistency;
use visa_values::metrics::{self, Size};
use visa_values::{Profile, Shift, Target};

/// What one reader says about one rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Distance from the original's profile to the target: |Δv| after the clip.
    pub distance: f32,
    /// P(original entails rewrite).
    pub forward: f32,
    /// P(rewrite entails original).
    pub backward: f32,
    /// Distance of the rewrite's profile from the target.
    pub l2: f32,
    /// Cosine of the rewrite's profile with the target.
    pub cosine: f32,
    /// Share of the distance that was covered.
    pub progress: f32,
    /// Cosine of the movement with the wished one; 0 for a copy.
    pub movement: f32,
    /// Mean movement of values whose shift is 0.
    pub leakage: f32,
}

impl Reading {
    /// The reading of a rewrite from profiles and consistency.
    #[must_use]
    pub fn new(before: &Profile, after: &Profile, shift: &Shift, consistency: Consistency) -> Self {
        let target = Target::from_shift(before, shift);
        let (b, a, t) = (before.as_array(), after.as_array(), target.as_array());
        let wished = before.shift_to(target.profile());
        Self {
            distance: metrics::l2(b, t),
            forward: consistency.forward,
            backward: consistency.backward,
            l2: metrics::l2(a, t),
            cosine: metrics::cosine(a, t),
            progress: metrics::progress(b, a, t),
            movement: metrics::movement_cosine(b, a, wished.as_array()),
            leakage: metrics::leakage(b, a, shift.as_array()),
        }
    }

    /// Mean consistency.
    #[must_use]
    pub fn consistency(&self) -> f32 {
        (self.forward + self.backward) / 2.0
    }

    /// Joint success: L2 < 0.8 and consistency > 0.3.
    #[must_use]
    pub fn success(&self) -> bool {
        metrics::joint_success(self.l2, self.consistency())
    }

    /// The bin of |Δv|.
    #[must_use]
    pub fn size(&self) -> Size {
        // Only the length matters, so one number stands for the vector.
        Size::of(&[self.distance])
    }
}

/// What is counted on the texts alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Surface {
    /// Whether the rewrite is the original up to white space.
    pub unchanged: bool,
    /// What the guards found, in words.
    pub violations: Vec<String>,
    /// Words of the rewrite for each word of the original.
    pub length_ratio: f64,
    /// Pairs of neighbouring words that the original does not have, as often as they are new.
    #[serde(skip)]
    pub added: Vec<(String, String)>,
}

impl Surface {
    /// Counts for a rewrite of `original`.
    #[must_use]
    pub fn new(original: &str, rewrite: &str) -> Self {
        let (before, after) = (words(original), words(rewrite));
        let violations = visa_score::guards(original, rewrite);
        let mut left: HashMap<(&str, &str), usize> = HashMap::new();
        for pair in before.windows(2) {
            *left.entry((&pair[0], &pair[1])).or_default() += 1;
        }
        let mut added = Vec::new();
        for pair in after.windows(2) {
            match left.get_mut(&(pair[0].as_str(), pair[1].as_str())) {
                Some(n) if *n > 0 => *n -= 1,
                _ => added.push((pair[0].clone(), pair[1].clone())),
            }
        }
        Self {
            unchanged: original.split_whitespace().eq(rewrite.split_whitespace()),
            violations: violations.into_iter().map(|v| v.detail).collect(),
            length_ratio: after.len() as f64 / before.len().max(1) as f64,
            added,
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Distinct-2 of what was added: different pairs among all pairs; `None` where nothing was added.
#[must_use]
pub fn distinct<'a>(added: impl Iterator<Item = &'a (String, String)>) -> Option<f64> {
    let mut all = 0_usize;
    let mut different = std::collections::HashSet::new();
    for pair in added {
        all += 1;
        different.insert(pair);
    }
    (all > 0).then(|| different.len() as f64 / all as f64)
}

/// Pearson's correlation; `None` for fewer than three pairs, or where one side does not vary.
#[must_use]
pub fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let n = pairs.len() as f64;
    let (mx, my) = pairs
        .iter()
        .fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xy += (x - mx) * (y - my);
        xx += (x - mx).powi(2);
        yy += (y - my).powi(2);
    }
    let below = (xx * yy).sqrt();
    (below > 1e-12).then(|| (xy / below).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use visa_values::Value;

    use super::*;

    fn profile(power: f32, security: f32) -> Profile {
        let mut v = [0.0; 10];
        v[Value::Power.index()] = power;
        v[Value::Security.index()] = security;
        Profile::new(v).unwrap()
    }

    fn shift(power: f32, security: f32) -> Shift {
        profile(0.0, 0.0).shift_to(&profile(power, security))
    }

    fn check(before: Profile, after: Profile, by: Shift, expected: [f32; 6]) {
        let said = Consistency {
            forward: 0.8,
            backward: 1.0,
        };
        let r = Reading::new(&before, &after, &by, said);
        let got = [
            r.distance, r.l2, r.cosine, r.progress, r.movement, r.leakage,
        ];
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{r:?} {expected}");
        }
        assert!((r.consistency() - 0.9).abs() < 1e-6);
    }

    #[test]
    fn readings_agree_with_hand_computed_ones() {
        // Half of the way, and .2 of security that nobody wished for, spread over nine values.
        let diagonal = 0.5_f32.hypot(0.2);
        check(
            profile(0.0, 0.0),
            profile(0.5, 0.2),
            shift(1.0, 0.0),
            [
                1.0,
                diagonal,
                0.5 / diagonal,
                1.0 - diagonal,
                0.5 / diagonal,
                0.2 / 9.0,
            ],
        );
        // A copy: nothing moved, so the distance is left and the movement has no direction.
        check(
            profile(0.3, 0.4),
            profile(0.3, 0.4),
            shift(0.6, 0.0),
            [0.6, 0.6, 0.43 / (0.5 * 0.97_f32.sqrt()), 0.0, 0.0, 0.0],
        );
        // The clip at 1 shortens the way.
        check(
            profile(0.6, 0.0),
            profile(1.0, 0.0),
            shift(1.0, 0.0),
            [0.4, 0.0, 1.0, 1.0, 1.0, 0.0],
        );
    }

    #[test]
    fn the_texts_alone_are_counted() {
        let check = |a: &str, b: &str, unchanged: bool, violations: usize, added: usize| {
            let s = Surface::new(a, b);
            assert_eq!(
                (s.unchanged, s.violations.len(), s.added.len()),
                (unchanged, violations, added),
                "{s:?}"
            );
        };
        check("A bus came.", "A  bus\ncame.", true, 0, 0);
        check("A bus came.", "A bus came, as always.", false, 0, 2);
        // One number is missing, and one is new.
        check("It costs 5 euros.", "It costs 6 euros.", false, 2, 2);
        let longer = Surface::new("one two", "one two three");
        assert!((longer.length_ratio - 1.5).abs() < 1e-12);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let added = [
            pair("a", "b"),
            pair("a", "b"),
            pair("b", "c"),
            pair("c", "d"),
        ];
        assert_eq!(distinct(added.iter()), Some(0.75));
        assert_eq!(distinct([].iter()), None);
    }

    #[test]
    fn correlations_agree_with_hand_computed_ones() {
        let check = |pairs: &[(f64, f64)], expected: Option<f64>| {
            let got = correlation(pairs);
            let same = match (got, expected) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (a, b) => a == b,
            };
            assert!(same, "{got:?} {expected:?}");
        };
        check(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)], Some(1.0));
        check(&[(1.0, 1.0), (2.0, 0.0), (3.0, -1.0)], Some(-1.0));
        check(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)], Some(0.0));
        check(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)], None);
        check(&[(1.0, 1.0), (2.0, 2.0)], None);
    }

    proptest! {
        #[test]
        fn a_copy_never_moves_and_a_perfect_rewrite_always_succeeds(
            from in proptest::array::uniform10(-1.0f32..=1.0),
            by in proptest::array::uniform10(-1.0f32..=1.0),
        ) {
            let before = Profile::new(from).unwrap();
            let by = Shift::new(by).unwrap();
            let same = Consistency { forward: 1.0, backward: 1.0 };
            let copy = Reading::new(&before, &before, &by, same);
            prop_assert!(copy.progress.abs() < 1e-5 && copy.leakage == 0.0);
            prop_assert_eq!(copy.success(), copy.size() == Size::Light);
            let target = Target::from_shift(&before, &by);
            let perfect = Reading::new(&before, target.profile(), &by, same);
            prop_assert!(perfect.success() && perfect.l2 < 1e-6 && perfect.leakage == 0.0);
        }
    }
}
