//! Measures of the three tasks: pure functions of predictions and gold labels.

/// Quality of several yes/no labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Multilabel {
    /// Mean precision over labels; a label never predicted has 0.
    pub precision: f64,
    /// Mean recall over labels; a label that never occurs has 0.
    pub recall: f64,
    /// ValueEval's own formula: the harmonic mean of the two means.
    pub task_f1: f64,
    /// The mean of the labels' F1.
    pub mean_f1: f64,
}

/// Compares decisions with gold labels, `[text][label]`.
pub fn multilabel(decided: &[Vec<bool>], gold: &[Vec<bool>]) -> Multilabel {
    let labels = gold.first().map_or(0, Vec::len);
    let (mut precision, mut recall, mut mean_f1) = (0.0, 0.0, 0.0);
    for k in 0..labels {
        let (mut hits, mut said, mut true_) = (0.0, 0.0, 0.0);
        for (d, g) in decided.iter().zip(gold) {
            hits += f64::from(d[k] && g[k]);
            said += f64::from(d[k]);
            true_ += f64::from(g[k]);
        }
        precision += hits / f64::max(said, 1.0);
        recall += hits / f64::max(true_, 1.0);
        mean_f1 += 2.0 * hits / f64::max(said + true_, 1.0);
    }
    let n = labels.max(1) as f64;
    let (precision, recall) = (precision / n, recall / n);
    Multilabel {
        precision,
        recall,
        task_f1: harmonic(precision, recall),
        mean_f1: mean_f1 / n,
    }
}

fn harmonic(a: f64, b: f64) -> f64 {
    if a + b > 0.0 {
        2.0 * a * b / (a + b)
    } else {
        0.0
    }
}

/// Share of `true`, and how many there were; 0 of 0 is 0.
pub fn share(right: impl IntoIterator<Item = bool>) -> (f64, usize) {
    let (mut hits, mut n) = (0usize, 0usize);
    for r in right {
        hits += usize::from(r);
        n += 1;
    }
    (hits as f64 / n.max(1) as f64, n)
}

/// How often one of `high` is greater than one of `low`, ties counted half: the area under the ROC curve. One half if either is
/// empty.
pub fn auc(high: &[f32], low: &[f32]) -> f64 {
    if high.is_empty() || low.is_empty() {
        return 0.5;
    }
    let mut sorted = low.to_vec();
    sorted.sort_by(f32::total_cmp);
    let below = |x: &f32| {
        let less = sorted.partition_point(|l| l < x);
        let not_more = sorted.partition_point(|l| l <= x);
        (less + not_more) as f64 / 2.0
    };
    high.iter().map(below).sum::<f64>() / (high.len() * low.len()) as f64
}

/// The index of the largest entry; the first of equals.
pub fn strongest(x: &[f32]) -> usize {
    (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

/// Translation of an instruction: is the direction right? Every value that the gold names must move that way, and no
/// other may move by more than `slack`.
pub fn direction_right(shift: &[f32; 10], gold: &[f32; 10], slack: f32) -> bool {
    (0..10).all(|v| match gold[v] {
        g if g > 0.0 => shift[v] > 0.0,
        g if g < 0.0 => shift[v] < 0.0,
        _ => shift[v].abs() <= slack,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_formula_by_hand() {
        let gold = vec![vec![true, false], vec![true, true], vec![false, true]];
        let decided = vec![vec![true, true], vec![false, true], vec![false, false]];
        let m = multilabel(&decided, &gold);
        // label 0: P 1, R 1/2; label 1: P 1/2, R 1/2
        assert!((m.precision - 0.75).abs() < 1e-9 && (m.recall - 0.5).abs() < 1e-9);
        assert!((m.task_f1 - 0.6).abs() < 1e-9);
        assert!((m.mean_f1 - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_predicted_is_zero_not_nan() {
        let gold = vec![vec![true]];
        assert_eq!(multilabel(&[vec![false]], &gold).task_f1, 0.0);
        assert_eq!(multilabel(&[], &[]).task_f1, 0.0);
        assert_eq!(share([]), (0.0, 0));
    }

    #[test]
    fn a_direction_needs_every_named_value_and_no_other() {
        let at = |pairs: &[(usize, f32)]| {
            let mut x = [0.0; 10];
            pairs.iter().for_each(|&(i, v)| x[i] = v);
            x
        };
        let gold = at(&[(1, 0.5), (4, -1.0)]);
        assert!(direction_right(
            &at(&[(1, 0.1), (4, -0.3), (7, 0.2)]),
            &gold,
            0.25
        ));
        assert!(!direction_right(
            &at(&[(1, 0.1), (4, -0.3), (7, 0.3)]),
            &gold,
            0.25
        ));
        assert!(!direction_right(&at(&[(1, 0.1)]), &gold, 0.25));
    }
}
