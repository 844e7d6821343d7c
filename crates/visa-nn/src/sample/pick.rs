//! One token from one row of logits. Pure given the random stream.

use rand::Rng;

use super::{Allowed, SampleOptions};
use crate::{Error, Result};

/// A token that may come next, with its logit.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
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
    let log_sum = log_sum_exp(&candidates)?;
    penalise(&mut candidates, seen, options.repetition_penalty);
    let id = if options.temperature == 0.0 {
        candidates
            .iter()
            .reduce(|best, next| if next.logit > best.logit { next } else { best })
            .map(|best| best.id)
    } else {
        draw(candidates, options, rng)
    };
    // `candidates` refused an empty set, so there is always a token.
    let id = id.ok_or_else(|| Error::Input("no token is left to draw from".to_owned()))?;
    let logprob = f64::from(logits[id as usize]) - log_sum;
    Ok((id, logprob as f32))
}

/// The allowed tokens in order of id, each once.
fn candidates(logits: &[f32], allowed: Allowed) -> Result<Vec<Candidate>> {
    let at = |id: u32| -> Result<Candidate> {
        match logits.get(id as usize) {
            Some(&logit) => Ok(Candidate { id, logit }),
            None => Err(Error::Input(format!(
                "a constraint names token {id}, but the vocabulary ends at {}",
                logits.len()
            ))),
        }
    };
    let all = || {
        (0u32..)
            .zip(logits)
            .map(|(id, &logit)| Candidate { id, logit })
    };
    let candidates: Vec<Candidate> = match allowed {
        Allowed::All => all().collect(),
        Allowed::Only(ids) => {
            let mut list = ids.iter().map(|&id| at(id)).collect::<Result<Vec<_>>>()?;
            list.sort_unstable_by_key(|c| c.id);
            list.dedup_by_key(|c| c.id);
            list
        }
        Allowed::Except(ids) => {
            let mut banned = vec![false; logits.len()];
            for &id in ids {
                // A ban beyond the vocabulary is kept already.
                if let Some(flag) = banned.get_mut(id as usize) {
                    *flag = true;
                }
            }
            all().filter(|c| !banned[c.id as usize]).collect()
        }
        Allowed::Force(id) => vec![at(id)?],
    };
    if candidates.is_empty() {
        return Err(Error::Input(
            "the constraint allows no token; it must be done, or allow one".to_owned(),
        ));
    }
    Ok(candidates)
}

fn log_sum_exp(candidates: &[Candidate]) -> Result<f64> {
    let mut max = f32::NEG_INFINITY;
    for candidate in candidates {
        if !candidate.logit.is_finite() {
            return Err(Error::Input(format!(
                "the logit of token {} is {}; the weights are damaged or training diverged",
                candidate.id, candidate.logit
            )));
        }
        max = max.max(candidate.logit);
    }
    let sum: f64 = candidates
        .iter()
        .map(|c| f64::from((c.logit - max).exp()))
        .sum();
    Ok(f64::from(max) + sum.ln())
}

fn penalise(candidates: &mut [Candidate], seen: impl Iterator<Item = u32>, penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let mut seen: Vec<u32> = seen.collect();
    seen.sort_unstable();
    seen.dedup();
    let penalty = penalty as f32;
    for id in seen {
        if let Ok(at) = candidates.binary_search_by_key(&id, |c| c.id) {
            let logit = &mut candidates[at].logit;
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
}

/// Draws from the tempered, truncated distribution.
fn draw(
    mut candidates: Vec<Candidate>,
    options: &SampleOptions,
    rng: &mut impl Rng,
) -> Option<u32> {
    // Highest logit first; equal ones by id, so that ties are settled for good.
    let order = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id));
    if options.top_k > 0 && options.top_k < candidates.len() {
        candidates.select_nth_unstable_by(options.top_k - 1, order);
        candidates.truncate(options.top_k);
    }
    let max = candidates
        .iter()
        .map(|c| c.logit)
        .fold(f32::NEG_INFINITY, f32::max);
    let temperature = options.temperature as f32;
    let mut weighted: Vec<(Candidate, f64)> = candidates
        .into_iter()
        .map(|c| (c, f64::from(((c.logit - max) / temperature).exp())))
        .collect();
    if options.top_p < 1.0 {
        let total: f64 = weighted.iter().map(|(_, w)| w).sum();
        // Tokens below (1 − p) / n weigh less than 1 − p together, so none of
        // them is in the nucleus: they need not be sorted.
        let floor = total * (1.0 - options.top_p) / weighted.len() as f64;
        weighted.retain(|(_, w)| *w >= floor);
        weighted.sort_unstable_by(|(a, _), (b, _)| order(a, b));
        let mut reached = 0.0;
        let mut keep = 0;
        for (_, weight) in &weighted {
            keep += 1;
            reached += weight;
            if reached >= options.top_p * total {
                break;
            }
        }
        weighted.truncate(keep);
    } else {
        // `select_nth` leaves an unspecified order; the draw must not see it.
        weighted.sort_unstable_by_key(|(c, _)| c.id);
    }
    let total: f64 = weighted.iter().map(|(_, w)| w).sum();
    let mut left = rng.random::<f64>() * total;
    for (candidate, weight) in &weighted {
        left -= weight;
        if left < 0.0 {
            return Some(candidate.id);
        }
    }
    // Rounding may leave a crumb: it belongs to the last token with weight.
    weighted
        .iter()
        .rev()
        .find(|(_, weight)| *weight > 0.0)
        .map(|(candidate, _)| candidate.id)
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
