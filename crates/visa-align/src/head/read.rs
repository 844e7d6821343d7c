//! Calibrated probabilities → the ten numbers that callers see: a profile, a shift.

/// Profile of a text from calibrated probabilities: `sign` is `[10 × (rejects, silent, embraces)]`, `presence` the 20
/// categories folded to ten. With e and r the chances of embracing and rejecting, v = (1 − share)·(e − r) +
/// share·presence·(e − r)/(e + r): presence adds strength where the sign is unsure that anything is said at all, and
/// never turns the sign around.
pub fn profile(sign: &[f32], presence: &[f32; 20], share: f32) -> [f32; 10] {
    let folded = if share > 0.0 {
        visa_values::fold(presence)
    } else {
        [0.0; 10]
    };
    std::array::from_fn(|v| {
        let (rejects, embraces) = (sign[3 * v], sign[3 * v + 2]);
        let apart = embraces - rejects;
        let side = apart / (embraces + rejects).max(1e-6);
        ((1.0 - share) * apart + share * folded[v] * side).clamp(-1.0, 1.0)
    })
}

/// Shift from calibrated probabilities: the most probable direction of each value times its strength (0…1), and exactly
/// zero where "none" is the most probable. `direction` is `[10 × (down, none, up)]`.
pub fn shift(direction: &[f32], strength: &[f32]) -> [f32; 10] {
    std::array::from_fn(|v| {
        let (down, none, up) = (direction[3 * v], direction[3 * v + 1], direction[3 * v + 2]);
        match () {
            () if none >= down && none >= up => 0.0,
            () if up >= down => strength[v],
            () => -strength[v],
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_adds_strength_and_never_turns_the_sign() {
        let sign = |r: f32, e: f32| [r, 1.0 - r - e, e].repeat(10);
        let check = |r: f32, e: f32, present: f32, share: f32, expected: f32| {
            let v = profile(&sign(r, e), &[present; 20], share)[0];
            assert!((v - expected).abs() < 1e-4, "{v} {expected}");
        };
        check(0.0, 0.4, 0.0, 0.0, 0.4);
        check(0.0, 0.4, 1.0, 0.5, 0.7);
        check(0.02, 0.01, 1.0, 0.5, -0.005 - 0.5 / 3.0);
        check(0.0, 0.0, 1.0, 0.5, 0.0);
    }

    #[test]
    fn a_zero_shift_is_exactly_zero() {
        let direction = [0.2, 0.6, 0.2].repeat(10);
        assert_eq!(shift(&direction, &[0.9; 10]), [0.0; 10]);
        let mut d = direction;
        d[0] = 0.9;
        assert_eq!(shift(&d, &[0.8; 10])[0], -0.8);
    }
}
