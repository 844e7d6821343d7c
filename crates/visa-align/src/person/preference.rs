//! What a person would have a text speak, from choices between texts: a preference model with its uncertainty.
//!
//! The person is taken to have an ideal profile t and to like a text with profile p by u(p) = −κ/2·‖p − t‖². Of two texts
//! they choose the first with probability σ(u(a) − u(b)) (Bradley and Terry 1952; the ideal point is Coombs's), and
//! u(a) − u(b) = κ·[(a − b)·t − (‖a‖² − ‖b‖²)/2] is linear in t. So t has a logistic regression's posterior, which is
//! approximated by a Gaussian at its mode (Laplace). Before any choice t ~ N(0, τ²K), K a kernel on Schwartz's circle, by
//! which neighbouring values are expected to agree and opposite ones to conflict: a choice about power says something
//! about achievement. How sharply the person chooses, κ, is taken from a grid by its evidence.
//!
//! Pure: nothing here reads a text. [`front`] and [`Preference::question`] are what an adaptive search asks.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_values::{Profile, metrics};

use crate::error::{AlignError, Result};

/// Ten numbers, a value each.
type Vector = [f64; 10];
type Matrix = [Vector; 10];

/// Standard deviation of an ideal's values before any choice.
const SPREAD: f64 = 0.5;
/// Share of the prior's variance that the circle explains.
const CIRCLE: f64 = 0.6;
/// Sharpnesses that are tried, and the one expected most.
const SHARPNESS: [f64; 7] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
const EXPECTED: f64 = 4.0;
/// Newton steps; a strictly concave function of ten numbers needs fewer than ten.
const STEPS: usize = 50;
/// Draws behind [`Preference::expected_cosine`].
const DRAWS: usize = 400;

/// One choice: `chosen` was liked better than `other`.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The profile of the text that was chosen.
    pub chosen: Profile,
    /// The profile of the other text.
    pub other: Profile,
    /// How much the choice counts, above 0; 1 for a choice between two texts.
    pub weight: f64,
}

impl Choice {
    /// A choice that counts once.
    pub fn new(chosen: Profile, other: Profile) -> Self {
        Self {
            chosen,
            other,
            weight: 1.0,
        }
    }
}

/// Choices between every two texts of unlike ratings. A rating is one judgement and not as many as there are other texts,
/// so each pair weighs 2 / (n − 1): n texts count as n choices.
///
/// # Errors
/// A rating that is not finite; fewer than two different ones.
pub fn rated(texts: &[(Profile, f64)]) -> Result<Vec<Choice>> {
    let mut choices = Vec::new();
    for (i, (a, high)) in texts.iter().enumerate() {
        for (b, low) in &texts[..i] {
            if !high.is_finite() || !low.is_finite() {
                return Err(AlignError::Option {
                    option: "rating",
                    given: format!("{high} or {low}"),
                    wanted: "a finite number",
                });
            }
            let (chosen, other) = match high.total_cmp(low) {
                std::cmp::Ordering::Greater => (a, b),
                std::cmp::Ordering::Less => (b, a),
                std::cmp::Ordering::Equal => continue,
            };
            choices.push(Choice {
                chosen: chosen.clone(),
                other: other.clone(),
                weight: 2.0 / (texts.len() - 1) as f64,
            });
        }
    }
    if choices.is_empty() {
        return Err(AlignError::Empty {
            what: "list of texts with unlike ratings",
        });
    }
    Ok(choices)
}

/// What is known of a person's ideal profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Preference {
    ideal: Vector,
    covariance: Matrix,
    /// How sharply the person chooses, κ.
    pub sharpness: f64,
}

impl Preference {
    /// The posterior after `choices`; without any, the prior.
    ///
    /// # Errors
    /// A weight that is not above 0.
    pub fn fit(choices: &[Choice]) -> Result<Self> {
        if let Some(wrong) = choices
            .iter()
            .find(|c| !(c.weight > 0.0 && c.weight.is_finite()))
        {
            return Err(AlignError::Option {
                option: "weight of a choice",
                given: wrong.weight.to_string(),
                wanted: "above 0",
            });
        }
        let mut best: Option<(f64, Self)> = None;
        for sharpness in SHARPNESS {
            let (evidence, fitted) = at(choices, sharpness);
            let expected = (sharpness / EXPECTED).ln().powi(2) / 2.0;
            let worth = evidence - expected;
            // Of equals the first stays, so that nothing depends on the order of the grid's floats.
            if best.as_ref().is_none_or(|(most, _)| worth > *most) {
                best = Some((worth, fitted));
            }
        }
        Ok(best.expect("the grid is not empty").1)
    }

    /// The most probable ideal, within −1…1.
    pub fn ideal(&self) -> Profile {
        Profile::new(self.ideal.map(|x| (x as f32).clamp(-1.0, 1.0))).expect("clamped")
    }

    /// Half the width of each value's 95 % interval, at most 1.
    pub fn uncertainty(&self) -> Profile {
        let half =
            std::array::from_fn(|v| (1.96 * self.covariance[v][v].max(0.0).sqrt()).min(1.0) as f32);
        Profile::new(half).expect("clamped")
    }

    /// The expected cosine of the ideal with the true one, over the posterior: 1 when sure, near 0 when nothing is known.
    pub fn expected_cosine(&self, seed: u64) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ideal = self.ideal.map(|x| x as f32);
        let total: f64 = (0..DRAWS)
            .map(|_| f64::from(metrics::cosine(&ideal, &self.one(&mut rng))))
            .sum();
        total / DRAWS as f64
    }

    /// One ideal that the choices allow, for a search that also tries what it is not sure of (Thompson sampling).
    pub fn draw(&self, seed: u64) -> Profile {
        let drawn = self.one(&mut ChaCha8Rng::seed_from_u64(seed));
        Profile::new(drawn.map(|x| x.clamp(-1.0, 1.0))).expect("clamped")
    }

    fn one(&self, rng: &mut ChaCha8Rng) -> [f32; 10] {
        let root = cholesky(&self.covariance);
        let noise: Vector = std::array::from_fn(|_| normal(rng));
        std::array::from_fn(|i| {
            let moved: f64 = (0..=i).map(|j| root[i][j] * noise[j]).sum();
            (self.ideal[i] + moved) as f32
        })
    }

    /// Probability that a text of profile `a` is liked better than one of profile `b`, the uncertainty included.
    pub fn prefers(&self, a: &Profile, b: &Profile) -> f64 {
        let (mean, variance) = self.margin(a, b);
        // MacKay's approximation of the Gaussian average of the logistic function.
        sigmoid(mean / (1.0 + std::f64::consts::PI * variance / 8.0).sqrt())
    }

    /// What the answer to "a or b?" would tell of the ideal, in nats: its entropy less that which would remain if the
    /// ideal were known (Houlsby et al. 2011, arXiv 1112.5745).
    pub fn information(&self, a: &Profile, b: &Profile) -> f64 {
        let (mean, variance) = self.margin(a, b);
        // Averages over the margin by a fine grid of its normal distribution.
        let (mut p, mut known, mut total) = (0.0, 0.0, 0.0);
        for k in -24..=24 {
            let z = f64::from(k) / 6.0;
            let weight = (-z * z / 2.0).exp();
            let chosen = sigmoid(mean + z * variance.sqrt());
            p += weight * chosen;
            known += weight * entropy(chosen);
            total += weight;
        }
        (entropy(p / total) - known / total).max(0.0)
    }

    /// The two of `pool`, not yet `asked`, whose comparison would tell the most, and how much; `None` when none is left.
    /// The lower index comes first, in `asked` too.
    pub fn question(
        &self,
        pool: &[Profile],
        asked: &[(usize, usize)],
    ) -> Option<(usize, usize, f64)> {
        let mut best: Option<(usize, usize, f64)> = None;
        for a in 0..pool.len() {
            for b in a + 1..pool.len() {
                let tells = self.information(&pool[a], &pool[b]);
                if !asked.contains(&(a, b)) && best.is_none_or(|(_, _, most)| tells > most) {
                    best = Some((a, b, tells));
                }
            }
        }
        best
    }

    /// Mean and variance of u(a) − u(b).
    fn margin(&self, a: &Profile, b: &Profile) -> (f64, f64) {
        let (x, offset) = features(a, b, self.sharpness);
        let spread = times(&self.covariance, &x);
        (dot(&x, &self.ideal) - offset, dot(&x, &spread).max(0.0))
    }
}

/// The members that no other beats: none is at least as good in both and better in one. Indices, the most preferred first.
pub fn front(points: &[(f64, f64)]) -> Vec<usize> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 >= b.0 && a.1 >= b.1 && a != b;
    let mut kept: Vec<usize> = (0..points.len())
        .filter(|&i| {
            let earlier = points[..i].contains(&points[i]);
            !earlier && !points.iter().any(|other| beats(other, &points[i]))
        })
        .collect();
    kept.sort_by(|&a, &b| points[b].0.total_cmp(&points[a].0));
    kept
}

/// κ(a − b) and κ(‖a‖² − ‖b‖²)/2.
fn features(a: &Profile, b: &Profile, sharpness: f64) -> (Vector, f64) {
    let of = |p: &Profile| p.as_array().map(f64::from);
    let (a, b) = (of(a), of(b));
    let x = std::array::from_fn(|v| sharpness * (a[v] - b[v]));
    (x, sharpness * (dot(&a, &a) - dot(&b, &b)) / 2.0)
}

/// Log evidence and posterior at one sharpness.
fn at(choices: &[Choice], sharpness: f64) -> (f64, Preference) {
    let prior = inverse(&kernel());
    let rows: Vec<(Vector, f64, f64)> = (choices.iter())
        .map(|c| {
            let (x, offset) = features(&c.chosen, &c.other, sharpness);
            (x, offset, c.weight)
        })
        .collect();
    let value = |t: &Vector| -> f64 {
        let likely: f64 = (rows.iter())
            .map(|(x, offset, weight)| -weight * softplus(-(dot(x, t) - offset)))
            .sum();
        likely - dot(t, &times(&prior, t)) / 2.0
    };
    let curvature = |t: &Vector| -> (Vector, Matrix) {
        let mut gradient = times(&prior, t).map(|g| -g);
        let mut hessian = prior;
        for (x, offset, weight) in &rows {
            let p = sigmoid(dot(x, t) - offset);
            for i in 0..10 {
                gradient[i] += weight * (1.0 - p) * x[i];
                for j in 0..10 {
                    hessian[i][j] += weight * p * (1.0 - p) * x[i] * x[j];
                }
            }
        }
        (gradient, hessian)
    };
    let mut ideal = [0.0; 10];
    let mut now = value(&ideal);
    for _ in 0..STEPS {
        let (gradient, hessian) = curvature(&ideal);
        let step = times(&inverse(&hessian), &gradient);
        // Halved until it climbs: a whole Newton step may overshoot where the choices are sharp.
        let mut length = 1.0;
        let mut moved = false;
        while length > 1e-6 && !moved {
            let there: Vector = std::array::from_fn(|i| ideal[i] + length * step[i]);
            let worth = value(&there);
            if worth > now {
                (ideal, now, moved) = (there, worth, true);
            }
            length /= 2.0;
        }
        if !moved {
            break;
        }
    }
    let (_, hessian) = curvature(&ideal);
    let evidence = now + (log_determinant(&prior) - log_determinant(&hessian)) / 2.0;
    let fitted = Preference {
        ideal,
        covariance: inverse(&hessian),
        sharpness,
    };
    (evidence, fitted)
}

/// τ²·((1 − c)·I + c·cos of the angle between two values on the circle).
fn kernel() -> Matrix {
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let angle = std::f64::consts::TAU * (i as f64 - j as f64) / 10.0;
            let own = if i == j { 1.0 - CIRCLE } else { 0.0 };
            SPREAD * SPREAD * (own + CIRCLE * angle.cos())
        })
    })
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn times(m: &Matrix, x: &Vector) -> Vector {
    std::array::from_fn(|i| dot(&m[i], x))
}

/// The lower root of a positive definite matrix.
fn cholesky(m: &Matrix) -> Matrix {
    let mut root = [[0.0; 10]; 10];
    for i in 0..10 {
        for j in 0..=i {
            let below: f64 = (0..j).map(|k| root[i][k] * root[j][k]).sum();
            root[i][j] = if i == j {
                (m[i][i] - below).max(1e-12).sqrt()
            } else {
                (m[i][j] - below) / root[j][j]
            };
        }
    }
    root
}

fn inverse(m: &Matrix) -> Matrix {
    let root = cholesky(m);
    let mut out = [[0.0; 10]; 10];
    #[allow(clippy::needless_range_loop)]
    for column in 0..10 {
        let mut y = [0.0; 10];
        for i in 0..10 {
            let below: f64 = (0..i).map(|k| root[i][k] * y[k]).sum();
            y[i] = (f64::from(u8::from(i == column)) - below) / root[i][i];
        }
        for i in (0..10).rev() {
            let above: f64 = (i + 1..10).map(|k| root[k][i] * out[k][column]).sum();
            out[i][column] = (y[i] - above) / root[i][i];
        }
    }
    out
}

fn log_determinant(m: &Matrix) -> f64 {
    let root = cholesky(m);
    (0..10).map(|i| 2.0 * root[i][i].ln()).sum()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (-2.0 * u.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng;
    use visa_values::Value;

    use super::*;

    fn profile(text: &str) -> Profile {
        Profile::parse(text).unwrap()
    }

    fn random(rng: &mut ChaCha8Rng, size: f32) -> Profile {
        Profile::new(std::array::from_fn(|_| {
            (size * normal(rng) as f32).clamp(-1.0, 1.0)
        }))
        .unwrap()
    }

    /// The cosine recovered from `count` choices of a person with a known ideal, asked at random or by information.
    fn recovered(seed: u64, count: usize, adaptive: bool) -> f32 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let truth = random(&mut rng, 0.5);
        let pool: Vec<Profile> = (0..24).map(|_| random(&mut rng, 0.5)).collect();
        let mut choices = Vec::new();
        for _ in 0..count {
            let (a, b) = if adaptive {
                let now = Preference::fit(&choices).unwrap();
                let (a, b, _) = now.question(&pool, &[]).unwrap();
                (a, b)
            } else {
                (rng.random_range(0..24), rng.random_range(0..24))
            };
            let far = |p: &Profile| f64::from(metrics::l2(p.as_array(), truth.as_array()).powi(2));
            let likes = sigmoid(2.0 * (far(&pool[b]) - far(&pool[a])));
            choices.push(if rng.random::<f64>() < likes {
                Choice::new(pool[a].clone(), pool[b].clone())
            } else {
                Choice::new(pool[b].clone(), pool[a].clone())
            });
        }
        let found = Preference::fit(&choices).unwrap().ideal();
        metrics::cosine(found.as_array(), truth.as_array())
    }

    fn mean(count: usize, adaptive: bool) -> f32 {
        (0..24)
            .map(|seed| recovered(seed, count, adaptive))
            .sum::<f32>()
            / 24.0
    }

    #[test]
    fn people_are_recovered_from_their_choices_and_better_from_more() {
        // The zero profile has cosine 0 with everybody.
        assert_eq!(mean(0, false), 0.0);
        let (few, many) = (mean(8, false), mean(60, false));
        assert!(few > 0.3 && many > few + 0.1 && many > 0.75, "{few} {many}");
    }

    #[test]
    fn questions_that_tell_more_recover_sooner() {
        let (chance, chosen) = (mean(12, false), mean(12, true));
        assert!(chosen > chance, "{chosen} against {chance}");
    }

    #[test]
    fn one_choice_moves_its_value_and_a_little_its_neighbours() {
        let found =
            Preference::fit(&[Choice::new(profile("power=1"), profile("power=-1"))]).unwrap();
        let ideal = found.ideal();
        assert!(ideal.get(Value::Power) > ideal.get(Value::Achievement));
        assert!(ideal.get(Value::Achievement) > 0.0 && ideal.get(Value::Universalism) < 0.0);
        assert!(found.prefers(&profile("power=0.5"), &profile("power=-0.5")) > 0.5);
        let before = Preference::fit(&[]).unwrap();
        assert_eq!(before.ideal(), Profile::zero());
        assert!(found.uncertainty().get(Value::Power) < before.uncertainty().get(Value::Power));
        assert!(before.expected_cosine(1).abs() < 0.1 && found.expected_cosine(1) > 0.2);
    }

    #[test]
    fn the_mode_is_a_mode() {
        // One dimension by hand: at the mode the prior's pull equals the choices' push.
        let choices = vec![Choice::new(profile("power=0.5"), profile("power=-0.5")); 3];
        let (_, found) = at(&choices, 4.0);
        let (x, offset) = features(&choices[0].chosen, &choices[0].other, 4.0);
        let p = sigmoid(dot(&x, &found.ideal) - offset);
        let pull = times(&inverse(&kernel()), &found.ideal);
        for v in 0..10 {
            let push = 3.0 * (1.0 - p) * x[v];
            assert!((pull[v] - push).abs() < 1e-4, "{v}: {} {push}", pull[v]);
        }
    }

    #[test]
    fn the_question_that_tells_most_is_about_what_is_not_known() {
        let known = vec![Choice::new(profile("power=1"), profile("power=-1")); 40];
        let now = Preference::fit(&known).unwrap();
        let pool = [
            profile("power=0.6"),
            profile("power=-0.6"),
            profile("self-direction=0.6"),
            profile("self-direction=-0.6"),
        ];
        let (a, b, tells) = now.question(&pool, &[]).unwrap();
        assert_eq!((a, b), (2, 3));
        assert!(tells > now.information(&pool[0], &pool[1]));
        assert_ne!(
            now.question(&pool, &[(2, 3)]).map(|q| (q.0, q.1)),
            Some((2, 3))
        );
        assert!(now.question(&pool[..1], &[]).is_none());
    }

    #[test]
    fn ratings_become_choices() {
        let texts = [
            (profile("power=1"), 5.0),
            (profile("power=0"), 3.0),
            (profile("power=-1"), 3.0),
        ];
        let choices = rated(&texts).unwrap();
        assert_eq!(choices.len(), 2);
        assert!(
            choices
                .iter()
                .all(|c| c.chosen == texts[0].0 && c.weight == 1.0)
        );
        assert!(rated(&texts[1..]).is_err() && rated(&[]).is_err());
        assert!(rated(&[(profile("power=1"), f64::NAN), (profile("power=0"), 1.0)]).is_err());
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let check = |points: &[(f64, f64)], expected: &[usize]| assert_eq!(front(points), expected);
        check(
            &[(0.5, 1.0), (0.7, 0.9), (0.6, 0.8), (0.9, 0.2)],
            &[3, 1, 0],
        );
        check(&[(0.5, 0.5), (0.5, 0.5)], &[0]);
        check(&[], &[]);
    }

    proptest! {
        #[test]
        fn whatever_is_chosen_the_posterior_is_sound(
            pairs in proptest::collection::vec((proptest::array::uniform10(-1.0f32..=1.0), proptest::array::uniform10(-1.0f32..=1.0)), 0..30),
        ) {
            let choices: Vec<Choice> = (pairs.into_iter())
                .map(|(a, b)| Choice::new(Profile::new(a).unwrap(), Profile::new(b).unwrap()))
                .collect();
            let found = Preference::fit(&choices).unwrap();
            let prior = Preference::fit(&[]).unwrap();
            for v in Value::ALL {
                let half = found.uncertainty().get(v);
                prop_assert!(half > 0.0 && half <= prior.uncertainty().get(v) + 1e-4);
            }
            for c in &choices {
                let p = found.prefers(&c.chosen, &c.other);
                prop_assert!((p + found.prefers(&c.other, &c.chosen) - 1.0).abs() < 1e-9);
                prop_assert!(found.information(&c.chosen, &c.other) <= std::f64::consts::LN_2 + 1e-9);
            }
        }
    }
}
