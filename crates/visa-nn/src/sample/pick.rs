//! One token from one row of logits. Pure given the random stream.

use rand::Rng;
use visa_kernels::softmax;

use super::{Allowed, SampleOptions};
use crate::params::finite;
use crate::{Error, Result};

/// The tokens that may come next and their logits, in order of id.
struct Candidates {
    /// `None` if all tokens may.
    ids: Option<Vec<u32>>,
    logits: Vec<f32>,
}

impl Candidates {
    fn id(&self, at: usize) -> u32 {
        self.ids.as_ref().map_or(at as u32, |ids| ids[at])
    }

    fn place(&self, id: u32) -> Option<usize> {
        match &self.ids {
            Some(ids) => ids.binary_search(&id).ok(),
            None => Some(id as usize).filter(|at| *at < self.logits.len()),
        }
    }
}

/// Draws a token; `seen` are the tokens of prompt and output, for the penalty.
/// Returns it with its log-probability among the allowed tokens.
pub(super) fn pick(
    logits: &[f32],
    allowed: Allowed,
    seen: impl Iterator<Item = u32>,
    options: &SampleOptions,
    rng: &mut impl Rng,
) -> Result<(u32, f32)> {
    let mut candidates = candidates(logits, allowed)?;
    let log_sum = softmax::log_sum_exp(&candidates.logits);
    penalise(&mut candidates, seen, options.repetition_penalty);
    let at = if options.temperature == 0.0 {
        greatest(&candidates.logits)
    } else {
        draw(&candidates.logits, options, rng)
    };
    let id = candidates.id(at);
    Ok((id, logits[id as usize] - log_sum))
}

/// The allowed tokens, each once; there is at least one, and all are finite.
fn candidates(logits: &[f32], allowed: Allowed) -> Result<Candidates> {
    let check = |id: u32| match logits.get(id as usize) {
        Some(_) => Ok(()),
        None => Err(Error::Input(format!(
            "a constraint names token {id}, but the vocabulary ends at {}",
            logits.len()
        ))),
    };
    let ids = match allowed {
        Allowed::All => None,
        Allowed::Only(ids) => {
            ids.iter().try_for_each(|id| check(*id))?;
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            Some(ids)
        }
        Allowed::Except(ids) => {
            let mut banned = vec![false; logits.len()];
            for &id in ids {
                // A ban beyond the vocabulary is kept already.
                if let Some(flag) = banned.get_mut(id as usize) {
                    *flag = true;
                }
            }
            let all = 0..logits.len() as u32;
            Some(all.filter(|id| !banned[*id as usize]).collect())
        }
        Allowed::Force(id) => {
            check(id)?;
            Some(vec![id])
        }
    };
    let logits = match &ids {
        Some(ids) => ids.iter().map(|id| logits[*id as usize]).collect(),
        None => logits.to_vec(),
    };
    let candidates = Candidates { ids, logits };
    if candidates.logits.is_empty() {
        return Err(Error::Input(
            "the constraint allows no token; it must be done, or allow one".to_owned(),
        ));
    }
    if !finite(&candidates.logits) {
        let wrong = candidates.logits.iter().position(|x| !x.is_finite());
        let at = wrong.unwrap_or_default();
        return Err(Error::Input(format!(
            "the logit of token {} is {}; the weights are damaged or training diverged",
            candidates.id(at),
            candidates.logits[at]
        )));
    }
    Ok(candidates)
}

fn penalise(candidates: &mut Candidates, seen: impl Iterator<Item = u32>, penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let mut seen: Vec<u32> = seen.collect();
    seen.sort_unstable();
    seen.dedup();
    let penalty = penalty as f32;
    for id in seen {
        if let Some(at) = candidates.place(id) {
            let logit = &mut candidates.logits[at];
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
}

/// Place of the greatest logit, the first of equal ones.
fn greatest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (at, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = at;
        }
    }
    best
}

/// The place of a logit drawn from the tempered, truncated distribution.
fn draw(logits: &[f32], options: &SampleOptions, rng: &mut impl Rng) -> usize {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut weights = vec![0.0; logits.len()];
    let factor = (1.0 / options.temperature) as f32;
    softmax::exponentials(logits, top, factor, &mut weights);
    let cut_k = options.top_k > 0 && options.top_k < logits.len();
    if !cut_k && options.top_p >= 1.0 {
        return choose(&weights, rng);
    }
    // Highest logit first; equal ones by place, so that ties are settled for good.
    let order = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut kept: Vec<usize> = (0..logits.len()).collect();
    if cut_k {
        kept.select_nth_unstable_by(options.top_k - 1, order);
        kept.truncate(options.top_k);
    }
    if options.top_p < 1.0 {
        let total: f64 = kept.iter().map(|at| f64::from(weights[*at])).sum();
        // Tokens below (1 − p) / n weigh less than 1 − p together, so none of
        // them is in the nucleus: they need not be sorted.
        let floor = total * (1.0 - options.top_p) / kept.len() as f64;
        kept.retain(|at| f64::from(weights[*at]) >= floor);
        kept.sort_unstable_by(order);
        let mut reached = 0.0;
        let beyond = kept.iter().position(|at| {
            reached += f64::from(weights[*at]);
            reached >= options.top_p * total
        });
        kept.truncate(beyond.map_or(kept.len(), |last| last + 1));
    }
    // `select_nth` leaves an unspecified order; the draw must not see it.
    kept.sort_unstable();
    let weights: Vec<f32> = kept.iter().map(|at| weights[*at]).collect();
    kept[choose(&weights, rng)]
}

/// A place drawn in proportion to its weight.
fn choose(weights: &[f32], rng: &mut impl Rng) -> usize {
    const BLOCK: usize = 64;
    let sum = |part: &[f32]| part.iter().map(|w| f64::from(*w)).sum::<f64>();
    let sums: Vec<f64> = weights.chunks(BLOCK).map(sum).collect();
    let mut left = rng.random::<f64>() * sums.iter().sum::<f64>();
    for (block, sum) in sums.iter().enumerate() {
        if left >= *sum {
            left -= sum;
            continue;
        }
        for (i, weight) in weights[block * BLOCK..].iter().enumerate().take(BLOCK) {
            left -= f64::from(*weight);
            if left < 0.0 {
                return block * BLOCK + i;
            }
        }
    }
    // Rounding may leave a crumb: it belongs to the last token with weight.
    weights.iter().rposition(|w| *w > 0.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, -1.0, 2.0, 0.0];

    /// Draws 2,000 tokens and checks how often each one came, within 0.04.
    fn check(allowed: Allowed, options: &SampleOptions, expected: [f64; 5]) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = [0f64; 5];
        for _ in 0..2000 {
            let (id, _) = pick(&LOGITS, allowed, [1].into_iter(), options, &mut rng).unwrap();
            counts[id as usize] += 1.0 / 2000.0;
        }
        for (got, want) in counts.iter().zip(expected) {
            assert!(
                (got - want).abs() < 0.04,
                "{counts:?}, expected {expected:?}"
            );
            assert!(
                want > 0.0 || *got == 0.0,
                "{counts:?}, expected {expected:?}"
            );
        }
    }

    fn softmax(logits: [f64; 5]) -> [f64; 5] {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        logits.map(|x| x.exp() / sum)
    }

    const OFF: f64 = f64::NEG_INFINITY;

    #[test]
    fn draws_as_often_as_the_distribution_says() {
        let plain = SampleOptions::default();
        check(Allowed::All, &plain, softmax([1.0, 3.0, -1.0, 2.0, 0.0]));
        check(
            Allowed::Only(&[4, 0, 0]),
            &plain,
            softmax([1.0, OFF, OFF, OFF, 0.0]),
        );
        check(
            Allowed::Except(&[1, 99]),
            &plain,
            softmax([1.0, OFF, -1.0, 2.0, 0.0]),
        );
        check(Allowed::Force(2), &plain, [0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn options_shape_the_distribution() {
        let plain = SampleOptions::default;
        let hot = SampleOptions {
            temperature: 2.0,
            ..plain()
        };
        check(Allowed::All, &hot, softmax([0.5, 1.5, -0.5, 1.0, 0.0]));
        let greedy = SampleOptions {
            temperature: 0.0,
            ..plain()
        };
        check(Allowed::All, &greedy, [0.0, 1.0, 0.0, 0.0, 0.0]);
        let top_k = SampleOptions {
            top_k: 2,
            ..plain()
        };
        check(Allowed::All, &top_k, softmax([OFF, 3.0, OFF, 2.0, OFF]));
        // The likeliest token alone has .64, the first two .87.
        let top_p = SampleOptions {
            top_p: 0.7,
            ..plain()
        };
        check(Allowed::All, &top_p, softmax([OFF, 3.0, OFF, 2.0, OFF]));
        let tiny_p = SampleOptions {
            top_p: 0.0,
            ..plain()
        };
        check(Allowed::All, &tiny_p, [0.0, 1.0, 0.0, 0.0, 0.0]);
        let penalty = SampleOptions {
            repetition_penalty: 3.0,
            ..plain()
        };
        check(Allowed::All, &penalty, softmax([1.0, 1.0, -1.0, 2.0, 0.0]));
    }

    #[test]
    fn the_log_probability_is_the_models_among_the_allowed() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let odd = SampleOptions {
            temperature: 0.0,
            repetition_penalty: 9.0,
            ..SampleOptions::default()
        };
        let (id, logprob) = pick(
            &LOGITS,
            Allowed::Only(&[1, 3]),
            [1].into_iter(),
            &odd,
            &mut rng,
        )
        .unwrap();
        assert_eq!(id, 3);
        let expected = (2f32.exp() / (2f32.exp() + 3f32.exp())).ln();
        assert!((logprob - expected).abs() < 1e-6, "{logprob} {expected}");
    }

    #[test]
    fn refuses_what_cannot_be_drawn() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let options = SampleOptions::default();
        let mut check = |logits: &[f32], allowed, expected: &str| {
            let error = pick(logits, allowed, std::iter::empty(), &options, &mut rng).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(&LOGITS, Allowed::Only(&[]), "allows no token");
        check(
            &LOGITS,
            Allowed::Except(&[0, 1, 2, 3, 4]),
            "allows no token",
        );
        check(&LOGITS, Allowed::Only(&[5]), "token 5");
        check(&[0.0, f32::NAN], Allowed::All, "logit of token 1");
    }
}
