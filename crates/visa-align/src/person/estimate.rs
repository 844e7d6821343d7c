//! The mean of many detections, how far it may be off, and how many texts would pin it down.
//!
//! The texts are a sample of what a person writes. For each value the mean m of n readings has the 95 % interval
//! m ± t·s/√n, with s their standard deviation and t the quantile .975 of Student's distribution with n − 1 degrees of
//! freedom. The interval covers what differs from text to text, in the person and in the detector's reading; an error
//! that the detector makes on every text alike is not in it.

use visa_values::{Profile, metrics};

use crate::error::{AlignError, Result};

/// A profile estimated from texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The mean of each value.
    pub mean: Profile,
    /// Half the width of each 95 % interval, at most 1; `None` for a single text, which says nothing about itself.
    pub uncertainty: Option<Profile>,
    /// How many texts.
    pub texts: usize,
    /// How many texts would bring every half width to the precision wanted, judged by these; `None` for a single text.
    pub needed: Option<usize>,
}

/// Most texts that [`Estimate::needed`] counts to.
const MOST: usize = 1_000_000;

/// The mean of `readings`; `precision` is the half width wanted of every value.
///
/// # Errors
/// No readings, or a precision that is not above 0.
pub fn estimate(readings: &[Profile], precision: f32) -> Result<Estimate> {
    if readings.is_empty() {
        return Err(AlignError::Empty {
            what: "list of texts",
        });
    }
    if !(precision > 0.0 && precision <= 1.0) {
        return Err(AlignError::Option {
            option: "precision",
            given: precision.to_string(),
            wanted: "above 0 and at most 1",
        });
    }
    let n = readings.len() as f64;
    let column = |v: usize| readings.iter().map(move |r| f64::from(r.as_array()[v]));
    let means: [f64; 10] = std::array::from_fn(|v| column(v).sum::<f64>() / n);
    let mean = Profile::new(means.map(|m| (m as f32).clamp(-1.0, 1.0)))?;
    if readings.len() == 1 {
        return Ok(Estimate {
            mean,
            uncertainty: None,
            texts: 1,
            needed: None,
        });
    }
    let spread: [f64; 10] = std::array::from_fn(|v| {
        let squares: f64 = column(v).map(|x| (x - means[v]).powi(2)).sum();
        (squares / (n - 1.0)).sqrt()
    });
    let half = spread.map(|s| half_width(s, readings.len()).min(1.0) as f32);
    let widest = spread.into_iter().fold(0.0, f64::max);
    Ok(Estimate {
        mean,
        uncertainty: Some(Profile::new(half)?),
        texts: readings.len(),
        needed: Some(needed(widest, f64::from(precision))),
    })
}

/// The weighted mean of people's profiles, with its uncertainty where every one has its own: √(Σ w²u²) / Σ w, as of
/// independent estimates.
///
/// # Errors
/// No profiles, a weight that is not above 0, or counts that differ.
pub fn average(
    profiles: &[(Profile, Option<Profile>)],
    weights: &[f32],
) -> Result<(Profile, Option<Profile>)> {
    if profiles.is_empty() {
        return Err(AlignError::Empty {
            what: "list of profiles",
        });
    }
    if weights.len() != profiles.len() {
        return Err(AlignError::Option {
            option: "weights",
            given: format!("{} numbers for {} profiles", weights.len(), profiles.len()),
            wanted: "one number a profile",
        });
    }
    if let Some(wrong) = weights.iter().find(|w| !(w.is_finite() && **w > 0.0)) {
        return Err(AlignError::Option {
            option: "weights",
            given: wrong.to_string(),
            wanted: "numbers above 0",
        });
    }
    let total: f32 = weights.iter().sum();
    let shares: Vec<f32> = weights.iter().map(|w| w / total).collect();
    let mean: [f32; 10] = std::array::from_fn(|v| {
        let sum: f32 = (profiles.iter().zip(&shares))
            .map(|((p, _), w)| w * p.as_array()[v])
            .sum();
        sum.clamp(-1.0, 1.0)
    });
    let known: Option<Vec<&Profile>> = profiles.iter().map(|(_, u)| u.as_ref()).collect();
    let uncertainty = known.map(|all| -> [f32; 10] {
        std::array::from_fn(|v| {
            let parts: Vec<f32> = (all.iter().zip(&shares))
                .map(|(u, w)| w * u.as_array()[v])
                .collect();
            metrics::norm(&parts).min(1.0)
        })
    });
    Ok((
        Profile::new(mean)?,
        uncertainty.map(Profile::new).transpose()?,
    ))
}

fn half_width(spread: f64, n: usize) -> f64 {
    t_quantile(n - 1) * spread / (n as f64).sqrt()
}

/// The smallest n whose half width is at most `precision`. It falls with n, so halving finds it.
fn needed(spread: f64, precision: f64) -> usize {
    let (mut low, mut high) = (2, MOST);
    while low < high {
        let middle = low + (high - low) / 2;
        if half_width(spread, middle) <= precision {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Quantile .975 of Student's t: exact up to three degrees of freedom, else the expansion in 1/ν about the normal quantile
/// (Fisher and Cornish 1960), right to .001.
fn t_quantile(freedom: usize) -> f64 {
    match freedom {
        1 => 12.706_204_736,
        2 => 4.302_652_73,
        3 => 3.182_446_305,
        _ => {
            let (z, nu) = (1.959_963_985_f64, freedom as f64);
            let (z3, z5, z7, z9) = (z.powi(3), z.powi(5), z.powi(7), z.powi(9));
            z + (z3 + z) / (4.0 * nu)
                + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * nu.powi(2))
                + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * nu.powi(3))
                + (79.0 * z9 + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * z)
                    / (92160.0 * nu.powi(4))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(power: &[f32]) -> Vec<Profile> {
        power
            .iter()
            .map(|x| {
                Profile::new([0.0, 0.0, 0.0, 0.0, *x, 0.0, 0.0, 0.0, 0.0, 0.0]).expect("in range")
            })
            .collect()
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (9, 2.262),
            (29, 2.045),
            (120, 1.980),
        ] {
            let found = t_quantile(freedom);
            assert!((found - expected).abs() < 1e-3, "{freedom}: {found}");
        }
    }

    #[test]
    fn mean_and_interval_of_three_texts() {
        // s = 0.2, t(2) = 4.303: half width 4.303 · 0.2 / √3 = 0.497.
        let found = estimate(&readings(&[0.2, 0.4, 0.6]), 0.1).expect("three texts");
        let half = found.uncertainty.expect("three texts").as_array()[4];
        assert!((found.mean.as_array()[4] - 0.4).abs() < 1e-6);
        assert!((half - 0.497).abs() < 1e-3, "{half}");
        // 18 · (0.1 / 0.2)² = 4.5 > t(17)² = 4.45, and 17 · 0.25 = 4.25 < t(16)² = 4.49.
        assert_eq!(found.needed, Some(18));
    }

    #[test]
    fn needed_texts_are_the_fewest_that_do() {
        for (spread, precision) in [(0.2, 0.1), (0.5, 0.05), (0.01, 0.5), (0.0, 0.1)] {
            let n = needed(spread, precision);
            assert!(half_width(spread, n) <= precision);
            assert!(
                n == 2 || half_width(spread, n - 1) > precision,
                "{spread} {precision} {n}"
            );
        }
    }

    #[test]
    fn one_text_knows_nothing_of_its_uncertainty() {
        let found = estimate(&readings(&[0.5]), 0.1).expect("one text");
        assert_eq!(
            (found.uncertainty, found.needed, found.texts),
            (None, None, 1)
        );
        assert!(estimate(&[], 0.1).is_err());
        assert!(estimate(&readings(&[0.5]), 0.0).is_err());
    }

    #[test]
    fn averages_weigh_and_carry_uncertainty() {
        let all = readings(&[1.0, 0.0]);
        let half = readings(&[0.3, 0.4]);
        let with = [
            (all[0].clone(), Some(half[0].clone())),
            (all[1].clone(), Some(half[1].clone())),
        ];
        let (mean, uncertainty) = average(&with, &[1.0, 1.0]).expect("two");
        assert_eq!(mean.as_array()[4], 0.5);
        assert!((uncertainty.expect("both have it").as_array()[4] - 0.25).abs() < 1e-6);
        let (mean, uncertainty) =
            average(&[with[0].clone(), (all[1].clone(), None)], &[3.0, 1.0]).expect("two");
        assert_eq!((mean.as_array()[4], uncertainty), (0.75, None));
        assert!(average(&with, &[1.0]).is_err());
        assert!(average(&with, &[1.0, 0.0]).is_err());
    }
}
