//! Decision thresholds from held-out data, made robust for rare labels.

use super::measure::multilabel;

/// A label with this many positives trusts its own threshold as much as the common one.
const PRIOR_POSITIVES: f64 = 30.0;

/// One threshold a label, in logits: the label's best F1, drawn toward the common threshold where positives are few,
/// then all moved together to where the task formula is best. `logits` and `gold` are `[text][label]`.
pub fn thresholds(logits: &[Vec<f32>], gold: &[Vec<bool>]) -> Vec<f32> {
    let labels = gold.first().map_or(0, Vec::len);
    let grid: Vec<f32> = (-80..=20).map(|i| i as f32 * 0.05).collect();
    let f1 = |k: usize, t: f32| {
        let (mut hits, mut both) = (0.0, 0.0);
        for (z, g) in logits.iter().zip(gold) {
            hits += f64::from(z[k] > t && g[k]);
            both += f64::from(z[k] > t) + f64::from(g[k]);
        }
        2.0 * hits / f64::max(both, 1.0)
    };
    // The curve of one label is jagged: its mean over a neighbourhood is steadier than its peak.
    let smooth = |k: usize| -> Vec<f64> {
        let raw: Vec<f64> = grid.iter().map(|&t| f1(k, t)).collect();
        (0..raw.len())
            .map(|i| {
                let near = &raw[i.saturating_sub(5)..(i + 6).min(raw.len())];
                near.iter().sum::<f64>() / near.len() as f64
            })
            .collect()
    };
    let curves: Vec<Vec<f64>> = (0..labels).map(smooth).collect();
    let mean: Vec<f64> = (0..grid.len()).map(|i| curves.iter().map(|c| c[i]).sum()).collect();
    let common = grid[argmax(&mean)];
    let own: Vec<f32> = (0..labels)
        .map(|k| {
            let positives = gold.iter().filter(|g| g[k]).count() as f64;
            let trust = (positives / (positives + PRIOR_POSITIVES)) as f32;
            trust * grid[argmax(&curves[k])] + (1.0 - trust) * common
        })
        .collect();
    let moved = |by: f32| own.iter().map(|t| t + by).collect::<Vec<f32>>();
    let offsets: Vec<f32> = (-12..=12).map(|i| i as f32 * 0.05).collect();
    let scores: Vec<f64> = (offsets.iter())
        .map(|&by| multilabel(&decide(logits, &moved(by)), gold).task_f1)
        .collect();
    moved(offsets[argmax(&scores)])
}

/// Which labels are over their thresholds.
pub fn decide(logits: &[Vec<f32>], thresholds: &[f32]) -> Vec<Vec<bool>> {
    logits.iter().map(|z| z.iter().zip(thresholds).map(|(z, t)| z > t).collect()).collect()
}

fn argmax(x: &[f64]) -> usize {
    (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separable_labels_are_separated() {
        // Label 0 is positive above −1, label 1 above −2.
        let logits: Vec<Vec<f32>> = (0..400).map(|i| vec![(i % 40) as f32 * 0.1 - 3.0; 2]).collect();
        let gold: Vec<Vec<bool>> = logits.iter().map(|z| vec![z[0] > -1.0, z[1] > -2.0]).collect();
        let t = thresholds(&logits, &gold);
        assert!((t[0] + 1.0).abs() < 0.3 && (t[1] + 2.0).abs() < 0.3, "{t:?}");
        assert!(multilabel(&decide(&logits, &t), &gold).task_f1 > 0.95);
    }

    #[test]
    fn a_rare_label_stays_near_the_common_threshold() {
        let logits: Vec<Vec<f32>> = (0..400).map(|i| vec![(i % 40) as f32 * 0.1 - 3.0; 4]).collect();
        let mut gold: Vec<Vec<bool>> = logits.iter().map(|z| vec![z[0] > -1.0; 4]).collect();
        for (i, g) in gold.iter_mut().enumerate() {
            g[3] = i == 3; // one positive, at a logit of −2.7
        }
        let t = thresholds(&logits, &gold);
        assert!((t[3] - t[0]).abs() < 0.3, "{t:?}");
    }
}
