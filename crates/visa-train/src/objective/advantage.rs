//! Rewards of groups to advantages: how much better a completion is than others to the same prompt.
//!
//! With `x` the weighted sum of the reward terms, of each term as it is (sum, then normalise) or of each term as a
//! z-score inside its group (normalise, then sum; GDPO, arXiv 2601.05242):
//!
//! ```text
//! A = (x − mean of the group) / s      s = spread of x in the group + ε     GRPO, arXiv 2402.03300
//!                                      s = spread of x in the batch + ε     REINFORCE++
//!                                      s = 1                                Dr. GRPO, arXiv 2503.20783
//! ```
//!
//! Spreads are standard deviations with n − 1. A factor that a whole group shares, such as how much somebody cares
//! for a prompt (RLEV), cancels under the group's spread and acts under the other two.

use serde::{Deserialize, Serialize};

use crate::trainer::Metrics;
use crate::{Error, Result};

/// What advantages are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// The spread inside the group.
    #[default]
    Group,
    /// The spread over the whole batch.
    Batch,
    /// Nothing.
    None,
}

/// In which order the terms of a reward are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// The weighted sum is compared inside the group.
    #[default]
    SumThenNormalise,
    /// Each term is compared inside the group by itself, so that none drowns the others.
    NormaliseThenSum,
}

/// How advantages are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdvantageConfig {
    /// What advantages are divided by.
    pub scale: Scale,
    /// The order of summing and normalising.
    pub aggregation: Aggregation,
    /// A group (or a term in it) whose rewards spread by less has no signal, only noise that division would blow up:
    /// its advantages are 0.
    pub minimum_spread: f64,
    /// ε, which keeps a small spread from becoming a large factor.
    pub epsilon: f64,
}

impl Default for AdvantageConfig {
    fn default() -> Self {
        Self {
            scale: Scale::default(),
            aggregation: Aggregation::default(),
            minimum_spread: 0.0,
            epsilon: 1e-4,
        }
    }
}

/// One term of the reward, for every completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// For the log.
    pub name: String,
    /// Its factor in the sum.
    pub weight: f64,
    /// One number a completion, group after group.
    pub values: Vec<f64>,
}

/// Advantages, and what the log shows of the rewards.
#[derive(Clone, Debug)]
pub struct Advantages {
    /// One a completion.
    pub values: Vec<f64>,
    /// `reward`, `reward_std`, `frac_reward_zero_std`, and `rewards/NAME/mean` and `/std`.
    pub metrics: Metrics,
}

/// The advantages of completions in groups of the given sizes.
///
/// # Errors
/// Terms of another length, numbers that are not finite, empty groups, settings out of range.
pub fn advantages(
    terms: &[Term],
    groups: &[usize],
    config: &AdvantageConfig,
) -> Result<Advantages> {
    check(terms, groups, config)?;
    let n: usize = groups.iter().sum();
    let whole = [n];
    let plain = sum(terms, n, |term| term.values.clone());
    let summed = match config.aggregation {
        Aggregation::SumThenNormalise => plain.clone(),
        Aggregation::NormaliseThenSum => sum(terms, n, |term| {
            let spread = spreads(&term.values, groups);
            scaled(&term.values, groups, &spread, &spread, config)
        }),
    };
    let inside = spreads(&summed, groups);
    let divisors = match config.scale {
        Scale::Group => inside.clone(),
        Scale::Batch => vec![spreads(&summed, &whole)[0]; groups.len()],
        // With ε the divisor is 1.
        Scale::None => vec![1.0 - config.epsilon; groups.len()],
    };
    let values = scaled(&summed, groups, &inside, &divisors, config);

    let flat = inside
        .iter()
        .filter(|s| **s <= config.minimum_spread.max(1e-8))
        .count();
    let mut metrics = vec![
        ("reward".to_owned(), mean(&plain)),
        ("reward_std".to_owned(), spreads(&plain, &whole)[0]),
        (
            "frac_reward_zero_std".to_owned(),
            flat as f64 / groups.len() as f64,
        ),
    ];
    for term in terms {
        metrics.push((format!("rewards/{}/mean", term.name), mean(&term.values)));
        metrics.push((
            format!("rewards/{}/std", term.name),
            spreads(&term.values, &whole)[0],
        ));
    }
    Ok(Advantages { values, metrics })
}

fn check(terms: &[Term], groups: &[usize], config: &AdvantageConfig) -> Result<()> {
    let wrong = |detail: String| Err(Error::Input(detail));
    let n: usize = groups.iter().sum();
    if terms.is_empty() || n == 0 || groups.contains(&0) {
        return wrong(format!(
            "advantages of {} reward terms over groups {groups:?}; give at least one of each, and no empty group",
            terms.len()
        ));
    }
    for term in terms {
        let Term {
            name,
            weight,
            values,
        } = term;
        if values.len() != n {
            return wrong(format!(
                "reward {name} has {} numbers for {n} completions; give one each",
                values.len()
            ));
        }
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            return wrong(format!(
                "reward {name} of completion {i} is {}; a reward that cannot be computed must be an error",
                values[i]
            ));
        }
        if !weight.is_finite() {
            return wrong(format!(
                "reward {name} has the weight {weight}; give a finite one"
            ));
        }
    }
    for (name, x) in [
        ("minimum_spread", config.minimum_spread),
        ("epsilon", config.epsilon),
    ] {
        if !(x.is_finite() && x >= 0.0) {
            return wrong(format!("{name} is {x}; give a number of at least 0"));
        }
    }
    Ok(())
}

fn sum(terms: &[Term], n: usize, values: impl Fn(&Term) -> Vec<f64>) -> Vec<f64> {
    let mut sum = vec![0.0; n];
    for term in terms {
        for (sum, x) in sum.iter_mut().zip(values(term)) {
            *sum += term.weight * x;
        }
    }
    sum
}

/// `(x − mean of its group) / (divisor + ε)`, 0 in groups whose spread says nothing.
fn scaled(
    x: &[f64],
    groups: &[usize],
    spreads: &[f64],
    divisors: &[f64],
    config: &AdvantageConfig,
) -> Vec<f64> {
    let mut rest = x;
    let mut out = Vec::with_capacity(x.len());
    for ((&len, &spread), divisor) in groups.iter().zip(spreads).zip(divisors) {
        let (group, behind) = rest.split_at(len);
        rest = behind;
        let mean = mean(group);
        let silent = spread == 0.0 || spread < config.minimum_spread;
        out.extend(group.iter().map(|x| {
            if silent {
                0.0
            } else {
                (x - mean) / (divisor + config.epsilon)
            }
        }));
    }
    out
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Standard deviations with n − 1 in each group; 0 of a single number, and of equal ones exactly.
fn spreads(x: &[f64], groups: &[usize]) -> Vec<f64> {
    let mut rest = x;
    groups
        .iter()
        .map(|&len| {
            let (group, behind) = rest.split_at(len);
            rest = behind;
            if len < 2 || group.iter().all(|x| *x == group[0]) {
                return 0.0;
            }
            let mean = mean(group);
            let squares: f64 = group.iter().map(|x| (x - mean).powi(2)).sum();
            (squares / (len - 1) as f64).sqrt()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(weight: f64, values: &[f64]) -> Term {
        Term {
            name: "r".into(),
            weight,
            values: values.to_vec(),
        }
    }

    /// Without ε, so that hand computation is exact.
    fn config(scale: Scale, aggregation: Aggregation) -> AdvantageConfig {
        AdvantageConfig {
            scale,
            aggregation,
            minimum_spread: 0.0,
            epsilon: 0.0,
        }
    }

    #[track_caller]
    fn check(terms: &[Term], groups: &[usize], config: &AdvantageConfig, expected: &[f64]) {
        let found = advantages(terms, groups, config).unwrap().values;
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn by_hand() {
        use Aggregation::{NormaliseThenSum, SumThenNormalise};
        // Groups (1, 3) and (0, 2, 4): spreads √2 and 2; of all five, √2.5.
        let r = [term(1.0, &[1.0, 3.0, 0.0, 2.0, 4.0])];
        let (g, root) = ([2, 3], 2f64.sqrt());
        check(
            &r,
            &g,
            &config(Scale::None, SumThenNormalise),
            &[-1.0, 1.0, -2.0, 0.0, 2.0],
        );
        let group = [-1.0 / root, 1.0 / root, -1.0, 0.0, 1.0];
        check(&r, &g, &config(Scale::Group, SumThenNormalise), &group);
        let s = 2.5f64.sqrt();
        let batch = [-1.0 / s, 1.0 / s, -2.0 / s, 0.0, 2.0 / s];
        check(&r, &g, &config(Scale::Batch, SumThenNormalise), &batch);
        // Two terms, one in thousandths: summed first it does not count, normalised first it does.
        let two = [term(1.0, &[0.0, 1.0]), term(0.5, &[0.002, 0.0])];
        let z = [-1.0 / root, 1.0 / root];
        let sums = [z[0] - 0.5 * z[0], z[1] - 0.5 * z[1]];
        check(&two, &[2], &config(Scale::None, NormaliseThenSum), &sums);
        check(
            &two,
            &[2],
            &config(Scale::None, SumThenNormalise),
            &[-0.4995, 0.4995],
        );
    }

    #[test]
    fn a_factor_of_the_group_cancels_under_its_spread_alone() {
        let with = |scale, factor: f64| {
            let values = [0.2, 0.9, 0.4].map(|x| x * factor);
            let mut all = values.to_vec();
            all.extend([0.1, 0.5, 0.3]);
            let config = config(scale, Aggregation::SumThenNormalise);
            advantages(&[term(1.0, &all)], &[3, 3], &config)
                .unwrap()
                .values[0]
        };
        for factor in [1.3, 2.0] {
            assert!((with(Scale::Group, 1.0) - with(Scale::Group, factor)).abs() < 1e-12);
            for scale in [Scale::Batch, Scale::None] {
                assert!(
                    (with(scale, 1.0) - with(scale, factor)).abs() > 0.01,
                    "{scale:?}"
                );
            }
        }
    }

    #[test]
    fn groups_that_say_nothing_are_silent() {
        let r = [term(1.0, &[0.5, 0.5, 0.3, 0.3001, 0.0, 1.0, 0.7])];
        let config = AdvantageConfig {
            minimum_spread: 0.01,
            ..config(Scale::Group, Aggregation::SumThenNormalise)
        };
        let found = advantages(&r, &[2, 2, 2, 1], &config).unwrap();
        assert_eq!(found.values[..4], [0.0; 4]);
        assert_eq!(found.values[6], 0.0);
        assert!(found.values[5] > 0.7);
        let frac = found
            .metrics
            .iter()
            .find(|(name, _)| name == "frac_reward_zero_std");
        assert_eq!(frac.unwrap().1, 0.75);
        for aggregation in [Aggregation::SumThenNormalise, Aggregation::NormaliseThenSum] {
            let config = AdvantageConfig {
                aggregation,
                ..AdvantageConfig::default()
            };
            let found = advantages(&r[..1], &[2, 2, 2, 1], &config).unwrap();
            assert!(found.values.iter().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn what_is_no_reward_is_refused() {
        let refused = |terms: &[Term], groups: &[usize], part: &str| {
            let error = advantages(terms, groups, &AdvantageConfig::default()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(&[], &[1], "0 reward terms");
        refused(&[term(1.0, &[1.0])], &[2], "1 numbers for 2");
        refused(&[term(1.0, &[1.0, f64::NAN])], &[2], "completion 1 is NaN");
        refused(&[term(f64::INFINITY, &[1.0])], &[1], "weight inf");
        refused(&[term(1.0, &[1.0])], &[1, 0], "empty group");
    }
}
