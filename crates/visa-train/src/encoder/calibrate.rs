//! Decision thresholds from held-out data, made robust for rare labels.

/// A label with this many positives trusts its own threshold as much as the common one.
const PRIOR_POSITIVES: f64 = 30.0;

/// How far, in logits, the task formula may draw a threshold from where the label's own F1 is best.
const REACH: f32 = 1.0;

/// Precision and recall of one label along the grid of thresholds, smoothed: raw curves are jagged, and their peaks luck.
struct Curve {
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    positives: f64,
}

/// One threshold a label, in logits. First the label's best F1, drawn toward the common threshold where positives are
/// few; then, label by label and at most one logit from there, to where the task formula (the harmonic mean of mean
/// precision and mean recall) is best. `logits` and `gold` are `[text][label]`.
pub fn thresholds(logits: &[Vec<f32>], gold: &[Vec<bool>]) -> Vec<f32> {
    let labels = gold.first().map_or(0, Vec::len);
    let grid: Vec<f32> = (-100..=30).map(|i| i as f32 * 0.05).collect();
    let curves: Vec<Curve> = (0..labels).map(|k| curve(logits, gold, k, &grid)).collect();
    let mean: Vec<f64> = (0..grid.len())
        .map(|i| curves.iter().map(|c| c.f1[i]).sum())
        .collect();
    let common = grid[argmax(&mean)];
    let place = |t: f32| grid.partition_point(|&g| g < t - 0.025).min(grid.len() - 1);
    let own: Vec<usize> = (curves.iter())
        .map(|c| {
            let trust = (c.positives / (c.positives + PRIOR_POSITIVES)) as f32;
            place(trust * grid[argmax(&c.f1)] + (1.0 - trust) * common)
        })
        .collect();
    let reach = (REACH / 0.05).round() as usize;
    let mut chosen = own.clone();
    for _ in 0..6 {
        for k in 0..labels {
            let rest = |x: fn(&Curve) -> &Vec<f64>| -> f64 {
                (0..labels)
                    .filter(|&j| j != k)
                    .map(|j| x(&curves[j])[chosen[j]])
                    .sum()
            };
            let (precision, recall) = (rest(|c| &c.precision), rest(|c| &c.recall));
            let (low, high) = (
                own[k].saturating_sub(reach),
                (own[k] + reach).min(grid.len() - 1),
            );
            let scores: Vec<f64> = (low..=high)
                .map(|i| {
                    let (p, r) = (
                        precision + curves[k].precision[i],
                        recall + curves[k].recall[i],
                    );
                    p * r / f64::max(p + r, 1e-12)
                })
                .collect();
            chosen[k] = low + argmax(&scores);
        }
    }
    chosen.into_iter().map(|i| grid[i]).collect()
}

fn curve(logits: &[Vec<f32>], gold: &[Vec<bool>], k: usize, grid: &[f32]) -> Curve {
    let positives = gold.iter().filter(|g| g[k]).count() as f64;
    let (mut precision, mut recall, mut f1) = (Vec::new(), Vec::new(), Vec::new());
    for &t in grid {
        let (mut hits, mut said) = (0.0, 0.0);
        for (z, g) in logits.iter().zip(gold) {
            if z[k] > t {
                said += 1.0;
                hits += f64::from(g[k]);
            }
        }
        precision.push(hits / f64::max(said, 1.0));
        recall.push(hits / positives.max(1.0));
        f1.push(2.0 * hits / f64::max(said + positives, 1.0));
    }
    Curve {
        precision: smooth(&precision, 3),
        recall: smooth(&recall, 3),
        f1: smooth(&f1, 5),
        positives,
    }
}

/// The mean of each entry and its neighbours up to `reach` away.
fn smooth(x: &[f64], reach: usize) -> Vec<f64> {
    (0..x.len())
        .map(|i| {
            let near = &x[i.saturating_sub(reach)..(i + reach + 1).min(x.len())];
            near.iter().sum::<f64>() / near.len() as f64
        })
        .collect()
}

/// A value's sign on a held-out text: the value, the log-odds of embracing against rejecting, and which it is.
pub type SignCase = (usize, f32, bool);

/// Cases of a value that weigh as much as all values together.
const PRIOR_CASES: f64 = 100.0;

/// What to add to the log-odds of each value so that embracing and rejecting texts are told apart evenly: the offset with
/// the best mean of both recalls, drawn toward that of all values where cases are few. Training texts embrace more
/// often than they reject, and a sign that leans to one side reads every refusal as an endorsement.
pub fn sign_offsets(cases: &[SignCase]) -> [f32; 10] {
    let best = |value: Option<usize>| {
        let mine: Vec<&SignCase> = cases
            .iter()
            .filter(|c| value.is_none_or(|v| c.0 == v))
            .collect();
        let total = |embraces: bool| mine.iter().filter(|c| c.2 == embraces).count().max(1) as f64;
        let (up, down) = (total(true), total(false));
        let grid: Vec<f32> = (-60..=60).map(|i| i as f32 * 0.05).collect();
        let recalls: Vec<f64> = (grid.iter())
            .map(|&by| {
                let weight = |c: &&SignCase| if c.2 { 1.0 / up } else { 1.0 / down };
                mine.iter()
                    .filter(|c| (c.1 + by > 0.0) == c.2)
                    .map(weight)
                    .sum::<f64>()
            })
            .collect();
        (grid[argmax(&smooth(&recalls, 6))], mine.len() as f64)
    };
    let (common, _) = best(None);
    std::array::from_fn(|v| {
        let (own, n) = best(Some(v));
        let trust = (n / (n + PRIOR_CASES)) as f32;
        trust * own + (1.0 - trust) * common
    })
}

/// Which labels are over their thresholds.
pub fn decide(logits: &[Vec<f32>], thresholds: &[f32]) -> Vec<Vec<bool>> {
    logits
        .iter()
        .map(|z| z.iter().zip(thresholds).map(|(z, t)| z > t).collect())
        .collect()
}

fn argmax(x: &[f64]) -> usize {
    (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::measure::multilabel;
    use super::*;

    #[test]
    fn separable_labels_are_separated() {
        // Label 0 is positive above −1, label 1 above −2.
        let logits: Vec<Vec<f32>> = (0..400)
            .map(|i| vec![(i % 40) as f32 * 0.1 - 3.0; 2])
            .collect();
        let gold: Vec<Vec<bool>> = logits
            .iter()
            .map(|z| vec![z[0] > -1.0, z[1] > -2.0])
            .collect();
        let t = thresholds(&logits, &gold);
        assert!(
            (t[0] + 1.0).abs() < 0.5 && (t[1] + 2.0).abs() < 0.5,
            "{t:?}"
        );
        assert!(multilabel(&decide(&logits, &t), &gold).task_f1 > 0.95);
    }

    #[test]
    fn a_leaning_sign_is_set_upright() {
        // Log-odds are right but for a constant: +1.5 for value 2, +0.5 for the others.
        let cases: Vec<SignCase> = (0..2000)
            .map(|i| {
                let truth = (i % 41) as f32 * 0.1 - 2.05;
                let value = i % 10;
                (
                    value,
                    truth + if value == 2 { 1.5 } else { 0.5 },
                    truth > 0.0,
                )
            })
            .collect();
        let offsets = sign_offsets(&cases);
        assert!((offsets[5] + 0.5).abs() < 0.25, "{offsets:?}");
        assert!(offsets[2] < -0.8, "{offsets:?}");
    }

    #[test]
    fn a_rare_label_stays_near_the_common_threshold() {
        let logits: Vec<Vec<f32>> = (0..400)
            .map(|i| vec![(i % 40) as f32 * 0.1 - 3.0; 4])
            .collect();
        let mut gold: Vec<Vec<bool>> = logits.iter().map(|z| vec![z[0] > -1.0; 4]).collect();
        for (i, g) in gold.iter_mut().enumerate() {
            g[3] = i == 3; // one positive, at a logit of −2.7
        }
        let t = thresholds(&logits, &gold);
        assert!((t[3] - t[0]).abs() < 2.0 * REACH, "{t:?}");
    }
}
