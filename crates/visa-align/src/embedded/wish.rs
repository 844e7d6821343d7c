//! Which shifts a clause is asked for. One clause cannot speak six values, so a gap becomes several small wishes.

use crate::format::{STRONG, WEAK};

/// Most values in one wish.
const TOGETHER: usize = 3;

/// The wishes for a gap, most useful first; never empty. Samples go round them.
pub fn wishes(gap: &[f32; 10]) -> Vec<[f32; 10]> {
    let mut order: Vec<usize> = (0..10).collect();
    order.sort_by(|&a, &b| gap[b].abs().total_cmp(&gap[a].abs()));
    let said = order.iter().filter(|&&v| gap[v].abs() >= WEAK).count();
    let wish = |values: &[usize]| {
        let mut wish = [0.0; 10];
        for &v in values {
            wish[v] = gap[v];
        }
        wish
    };
    let strongest = |size: f32| {
        let mut wish = [0.0; 10];
        wish[order[0]] = size.copysign(gap[order[0]]);
        wish
    };
    if said == 0 {
        // Too small for any token: the strongest is said at the lower level.
        return vec![strongest(WEAK)];
    }
    let said = &order[..said];
    // The strongest is asked for at both levels: mild clauses read best, but one mild clause among silent sentences
    // hardly moves a text.
    let mut wishes = vec![strongest(gap[order[0]].abs().max(STRONG)), strongest(WEAK)];
    if said.len() > 1 {
        wishes.push(wish(&said[..2]));
        wishes.push(wish(&said[1..2]));
    }
    if said.len() > 2 {
        wishes.push(wish(&said[..said.len().min(TOGETHER)]));
        wishes.push(wish(&said[2..3]));
    }
    if said.len() > 3 {
        wishes.push(wish(&said[3..4]));
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gap: &[(usize, f32)], expected: &[&[(usize, f32)]]) {
        let array = |pairs: &[(usize, f32)]| {
            let mut a = [0.0; 10];
            pairs.iter().for_each(|&(i, v)| a[i] = v);
            a
        };
        let expected: Vec<_> = expected.iter().map(|e| array(e)).collect();
        assert_eq!(wishes(&array(gap)), expected, "{gap:?}");
    }

    #[test]
    fn gaps_become_small_wishes() {
        check(&[(7, 0.9)], &[&[(7, 0.9)], &[(7, 0.2)]]);
        check(&[(7, -0.3)], &[&[(7, -0.6)], &[(7, -0.2)]]);
        check(
            &[(7, 0.9), (4, -0.5)],
            &[
                &[(7, 0.9)],
                &[(7, 0.2)],
                &[(7, 0.9), (4, -0.5)],
                &[(4, -0.5)],
            ],
        );
        check(&[(2, -0.1)], &[&[(2, -0.2)]]);
        assert!(
            wishes(&[1.0; 10])
                .iter()
                .all(|w| w.iter().filter(|x| **x != 0.0).count() <= 3)
        );
    }
}
