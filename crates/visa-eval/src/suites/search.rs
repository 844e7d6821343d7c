//! Adaptive value search on simulated people: how near the found profile is to the true one after so many choices.
//!
//! A person has a random ideal and chooses between two texts as the preference model says, mistakes included; the texts are
//! random profiles. Asked are the most telling questions, beside questions drawn at random. The zero profile, which knows
//! nothing, has cosine 0 with everybody.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_align::person::preference::{Choice, Preference};
use visa_values::{Profile, metrics};

use super::Setting;
use crate::{EvalError, Figure, Report};

/// Choices after which the profile is compared.
const COUNTS: [usize; 4] = [5, 10, 20, 40];
/// Simulated people.
const PEOPLE: usize = 40;
/// Texts to ask about.
const POOL: usize = 30;
/// How sharply a person chooses: at 4, of two texts that lie 0.5 and 1 from the ideal, the nearer one in 82 of 100 cases.
const SHARPNESS: f64 = 4.0;

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let people = setting.limit.unwrap_or(PEOPLE).max(1);
    let mut figures = Vec::new();
    let mut found: Vec<[Vec<f64>; 2]> = vec![Default::default(); COUNTS.len()];
    for person in 0..people {
        for (how, adaptive) in [false, true].into_iter().enumerate() {
            let cosines = one(setting.seed.wrapping_add(person as u64), adaptive)?;
            for (at, cosine) in cosines.into_iter().enumerate() {
                found[at][how].push(cosine);
            }
        }
    }
    for (count, [chance, adaptive]) in COUNTS.iter().zip(&found) {
        let random = chance.iter().sum::<f64>() / chance.len() as f64;
        figures.push(
            Figure::mean(
                &format!("cosine after {count} choices"),
                adaptive,
                setting.seed,
            )
            .against("random questions", random),
        );
    }
    Ok(Report {
        suite: "search".into(),
        figures,
        remarks: vec![
            "Simulated people choose as the model supposes; real ones need not. The zero profile has cosine 0.".into(),
        ],
    })
}

/// The cosine with the truth after each of [`COUNTS`].
fn one(seed: u64, adaptive: bool) -> Result<Vec<f64>, EvalError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth = profile(&mut rng)?;
    let pool = (0..POOL)
        .map(|_| profile(&mut rng))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut choices, mut asked, mut cosines) = (Vec::new(), Vec::new(), Vec::new());
    while cosines.len() < COUNTS.len() {
        if COUNTS[cosines.len()] == choices.len() {
            let found = Preference::fit(&choices)?.ideal();
            cosines.push(f64::from(metrics::cosine(
                found.as_array(),
                truth.as_array(),
            )));
            continue;
        }
        let (a, b) = if adaptive {
            let now = Preference::fit(&choices)?;
            let (a, b, _) = now
                .question(&pool, &asked)
                .expect("the pool has more pairs than are asked");
            (a, b)
        } else {
            let a = rng.random_range(1..POOL);
            (rng.random_range(0..a), a)
        };
        asked.push((a, b));
        let far = |p: &Profile| f64::from(metrics::l2(p.as_array(), truth.as_array())).powi(2);
        let odds = SHARPNESS / 2.0 * (far(&pool[b]) - far(&pool[a]));
        let first = rng.random::<f64>() < 1.0 / (1.0 + (-odds).exp());
        let (chosen, other) = if first { (a, b) } else { (b, a) };
        choices.push(Choice::new(pool[chosen].clone(), pool[other].clone()));
    }
    Ok(cosines)
}

/// Values uniform in ±0.8.
fn profile(rng: &mut ChaCha8Rng) -> Result<Profile, EvalError> {
    Ok(Profile::new(std::array::from_fn(|_| {
        rng.random_range(-0.8..=0.8)
    }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_choices_recover_more_of_the_person() {
        let mean = |at: usize| {
            (0..12)
                .map(|p| one(p, true).expect("found")[at])
                .sum::<f64>()
                / 12.0
        };
        let (few, many) = (mean(0), mean(3));
        assert!(few > 0.2 && many > few + 0.1, "{few} {many}");
    }
}
