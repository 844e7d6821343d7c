//! Distances and rates over profiles, for any number of values.
//!
//! All sums run in double precision and return single. Numbers that are not finite go through (a NaN stays a NaN); who
//! takes numbers from outside validates them first. Definitions where the literature leaves a hole (zero vectors, no
//! distance to cover) stand at each function.

/// A joint success lies nearer to its target than this (L2), as the VISA paper counts.
pub const JOINT_L2: f32 = 0.8;
/// A joint success is more consistent than this, as the VISA paper counts.
pub const JOINT_CONSISTENCY: f32 = 0.3;

/// Distances below this are none: float noise, not a demand.
const NONE: f64 = 1e-6;

/// Cosine of two vectors, −1 to 1. Two zero vectors agree (1); a zero vector and another have nothing in common (0).
///
/// # Panics
/// If the lengths differ.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = sum(a, b, |x, y| x * y);
    let (na, nb) = (norm64(a), norm64(b));
    match (na == 0.0, nb == 0.0) {
        (true, true) => 1.0,
        (true, false) | (false, true) => 0.0,
        (false, false) => (dot / na / nb).clamp(-1.0, 1.0) as f32,
    }
}

/// Euclidean distance.
///
/// # Panics
/// If the lengths differ.
pub fn l2(a: &[f32], b: &[f32]) -> f32 {
    distance(a, b) as f32
}

/// Euclidean length of one vector, for |Δv|.
pub fn norm(a: &[f32]) -> f32 {
    norm64(a) as f32
}

/// Share of the distance to the target that was covered: 1 − L2(after, target) / L2(before, target). 1 at the target, 0
/// for a copy, negative when the rewrite went away from it. With no distance to cover it is minus the distance strayed.
///
/// # Panics
/// If the lengths differ.
pub fn progress(before: &[f32], after: &[f32], target: &[f32]) -> f32 {
    let (start, end) = (distance(before, target), distance(after, target));
    if start < NONE {
        // 0 − end, so that a copy has +0.
        return (0.0 - end) as f32;
    }
    (1.0 - end / start) as f32
}

/// Cosine of the movement (after − before) with the wanted shift: did it go the right way? 0 for a copy when a shift was
/// wanted, 1 for a copy when none was.
///
/// # Panics
/// If the lengths differ.
pub fn movement_cosine(before: &[f32], after: &[f32], shift: &[f32]) -> f32 {
    assert_eq!(before.len(), after.len(), "profiles of one theory");
    let moved: Vec<f32> = before.iter().zip(after).map(|(b, a)| a - b).collect();
    cosine(&moved, shift)
}

/// Mean absolute movement of the values that were not to move (shift 0). 0 when all were to move.
///
/// # Panics
/// If the lengths differ.
pub fn leakage(before: &[f32], after: &[f32], shift: &[f32]) -> f32 {
    let (count, total) = still(before, after, shift).fold((0_u32, 0.0), |(n, sum), moved| {
        (n + 1, sum + f64::from(moved))
    });
    if count == 0 {
        0.0
    } else {
        (total / f64::from(count)) as f32
    }
}

/// Share of the values not to move (shift 0) that moved by at most `tolerance`; `None` when all were to move.
///
/// # Panics
/// If the lengths differ.
pub fn unmoved(before: &[f32], after: &[f32], shift: &[f32], tolerance: f32) -> Option<f32> {
    let (count, kept) = still(before, after, shift).fold((0_u32, 0_u32), |(n, kept), moved| {
        (n + 1, kept + u32::from(moved <= tolerance))
    });
    (count > 0).then(|| kept as f32 / count as f32)
}

/// Whether one rewrite is a joint success: L2 < 0.8 and consistency > 0.3, both strictly, as the VISA paper counts.
pub fn joint_success(l2: f32, consistency: f32) -> bool {
    l2 < JOINT_L2 && consistency > JOINT_CONSISTENCY
}

/// Joint success rate over (L2, mean consistency) of rewrites; `None` without any. A verbatim copy succeeds whenever
/// |Δv| < 0.8, so report this for each [`Size`] and beside the copy baseline.
pub fn jsr(rewrites: impl IntoIterator<Item = (f32, f32)>) -> Option<f32> {
    let (count, successes) = rewrites
        .into_iter()
        .fold((0_u64, 0_u64), |(n, s), (l2, consistency)| {
            (n + 1, s + u64::from(joint_success(l2, consistency)))
        });
    (count > 0).then(|| (successes as f64 / count as f64) as f32)
}

/// How large a wanted shift is. Metrics are reported for each size, since small shifts succeed by standing still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// |Δv| < 0.8: a copy is inside the success radius.
    Light,
    /// 0.8 ≤ |Δv| < 1.5: the text must move.
    Medium,
    /// |Δv| ≥ 1.5: the paper's radical edits.
    Radical,
}

impl Size {
    /// All three, growing.
    pub const ALL: [Size; 3] = [Size::Light, Size::Medium, Size::Radical];

    /// Size of a shift (or of the distance from a profile to its target).
    pub fn of(shift: &[f32]) -> Size {
        match norm(shift) {
            n if n < JOINT_L2 => Size::Light,
            n if n < 1.5 => Size::Medium,
            _ => Size::Radical,
        }
    }

    /// The name: `light`, `medium` or `radical`.
    pub const fn name(self) -> &'static str {
        match self {
            Size::Light => "light",
            Size::Medium => "medium",
            Size::Radical => "radical",
        }
    }
}

/// Absolute movements where the shift is zero.
fn still<'a>(
    before: &'a [f32],
    after: &'a [f32],
    shift: &'a [f32],
) -> impl Iterator<Item = f32> + 'a {
    assert_eq!(before.len(), after.len(), "profiles of one theory");
    assert_eq!(before.len(), shift.len(), "profile and shift of one theory");
    before
        .iter()
        .zip(after)
        .zip(shift)
        .filter(|(_, s)| **s == 0.0)
        .map(|((b, a), _)| (a - b).abs())
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| (x - y) * (x - y)).sqrt()
}

fn norm64(a: &[f32]) -> f64 {
    sum(a, a, |x, y| x * y).sqrt()
}

fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of one theory");
    a.iter()
        .zip(b)
        .map(|(&x, &y)| term(f64::from(x), f64::from(y)))
        .sum()
}
