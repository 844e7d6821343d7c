//! GRPO: the clipped surrogate of PPO without a critic (arXiv 2402.03300), with what DAPO (arXiv 2503.14476) and
//! Dr. GRPO (arXiv 2503.20783) changed as options.
//!
//! For a token with log-probabilities `l` now, `o` when it was drawn and `f` under the reference, and the advantage `A`
//! of its completion:
//!
//! ```text
//! ρ = e^(l − o)
//! loss = −min(ρ·A, clip(ρ, 1 − ε_low, 1 + ε_high)·A) + β·KL
//! ```
//!
//! Estimators of the divergence (Schulman, "Approximating KL divergence", 2020), with `d = f − l`:
//!
//! ```text
//! k1 = −d     k2 = d²/2     k3 = e^d − d − 1
//! ```
//!
//! each times ρ when weighted by importance, which makes its gradient that of the divergence itself although the
//! tokens were drawn before.

use serde::{Deserialize, Serialize};

use super::{Objective, check_lens, check_tokens};
use crate::{Error, Result};

/// How the divergence from the reference is estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// `−d`: no bias and much noise, and without importance weights a gradient that is zero on average; so it is
    /// refused without them.
    K1,
    /// `d²/2`: its plain gradient is that of the divergence as long as the tokens are fresh.
    K2,
    /// `e^d − d − 1`: never negative, little noise; what GRPO uses.
    #[default]
    K3,
}

/// By what the sum over tokens is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// All tokens of the batch: each token counts alike (DAPO).
    #[default]
    Token,
    /// The tokens of the completion, then completions: each completion counts alike, tokens of long ones less (GRPO).
    Sequence,
    /// Completions times their longest length: no part depends on how long answers became (Dr. GRPO).
    Constant,
}

/// The settings of the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// How far a token's probability may fall before its gradient stops.
    pub clip_low: f64,
    /// How far it may rise; larger than `clip_low`, rare tokens get a chance (DAPO's clip higher).
    pub clip_high: f64,
    /// β, the weight of the divergence; 0 needs no reference.
    pub kl_weight: f64,
    /// Its estimator.
    pub divergence: Divergence,
    /// Whether the divergence is weighted by ρ.
    pub kl_importance: bool,
    /// By what the sum is divided.
    pub normalisation: Normalisation,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            clip_low: 0.2,
            clip_high: 0.28,
            kl_weight: 0.01,
            divergence: Divergence::default(),
            kl_importance: true,
            normalisation: Normalisation::default(),
        }
    }
}

impl PolicyConfig {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// With a message that names the setting.
    pub fn check(&self) -> Result<()> {
        let wrong = |detail: String| Err(Error::Input(detail));
        if !(self.clip_low.is_finite() && self.clip_low > 0.0 && self.clip_low <= 1.0) {
            return wrong(format!(
                "clip_low is {}; give a number above 0, up to 1",
                self.clip_low
            ));
        }
        for (name, x) in [("clip_high", self.clip_high), ("kl_weight", self.kl_weight)] {
            if !(x.is_finite() && x >= 0.0) {
                return wrong(format!("{name} is {x}; give a number of at least 0"));
            }
        }
        if self.kl_weight > 0.0 && self.divergence == Divergence::K1 && !self.kl_importance {
            return wrong("the estimator k1 without kl_importance has a gradient of zero on average and holds nothing back; set kl_importance, or take k2 or k3".into());
        }
        Ok(())
    }
}

/// Completions to learn from: tokens one completion after the other.
#[derive(Clone, Copy, Debug)]
pub struct Completions<'a> {
    /// Tokens of each completion.
    pub lens: &'a [usize],
    /// Log-probabilities now, in nats.
    pub logprobs: &'a [f32],
    /// When they were drawn; `None` if nothing was updated since.
    pub old: Option<&'a [f32]>,
    /// Under the reference; needed if the divergence has a weight.
    pub reference: Option<&'a [f32]>,
    /// One a completion.
    pub advantages: &'a [f64],
    /// Which completions take part; all if `None`.
    pub kept: Option<&'a [bool]>,
}

/// What a batch is divided by when its parts are computed one by one: then the losses and the gradients of the parts
/// add up to those of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Completions, whether they take part or not.
    pub completions: usize,
    /// Tokens of those that take part.
    pub tokens: usize,
    /// Tokens that a completion may have.
    pub limit: usize,
}

impl Whole {
    /// Of completions of the given lengths; `limit` is the most tokens one may have.
    pub fn new(lens: &[usize], kept: Option<&[bool]>, limit: usize) -> Self {
        let takes_part = |i: usize| kept.is_none_or(|kept| kept[i]);
        Self {
            completions: lens.len(),
            tokens: (0..lens.len())
                .filter(|i| takes_part(*i))
                .map(|i| lens[i])
                .sum(),
            limit,
        }
    }
}

/// What one token adds, and its derivative by `l`.
#[derive(Clone, Copy, Debug, Default)]
struct Token {
    loss: f64,
    slope: f64,
    divergence: f64,
    /// Clipped from below or from above.
    low: bool,
    high: bool,
}

fn token(
    now: f64,
    old: f64,
    reference: Option<f64>,
    advantage: f64,
    config: &PolicyConfig,
) -> Token {
    let ratio = (now - old).exp();
    let bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high);
    let (free, held) = (ratio * advantage, bounded * advantage);
    let mut token = Token {
        loss: -free.min(held),
        // The clipped value is a constant.
        slope: if free <= held { -free } else { 0.0 },
        low: ratio < 1.0 - config.clip_low && advantage < 0.0,
        high: ratio > 1.0 + config.clip_high && advantage > 0.0,
        ..Token::default()
    };
    if let Some(reference) = reference {
        let d = reference - now;
        let (k, slope) = match config.divergence {
            Divergence::K1 => (-d, 1.0),
            Divergence::K2 => (d * d / 2.0, -d),
            Divergence::K3 => (d.exp_m1() - d, -d.exp_m1()),
        };
        let (k, slope) = match config.kl_importance {
            true => (ratio * k, ratio * (slope + k)),
            false => (k, slope),
        };
        token.divergence = k;
        token.loss += config.kl_weight * k;
        token.slope += config.kl_weight * slope;
    }
    token
}

/// The loss of completions, which are all of the batch or a part of it.
///
/// # Errors
/// Numbers of another count than the tokens, numbers that are not finite, a missing reference, settings out of range.
pub fn loss(
    completions: &Completions<'_>,
    whole: &Whole,
    config: &PolicyConfig,
) -> Result<Objective> {
    config.check()?;
    check(completions, whole, config)?;
    let Completions {
        lens,
        logprobs,
        old,
        reference,
        advantages,
        kept,
    } = *completions;
    let reference = reference.filter(|_| config.kl_weight > 0.0);
    let old = old.unwrap_or(logprobs);
    let mut gradient = vec![0f32; logprobs.len()];
    let mut sums = Sums::default();
    let mut at = 0;
    for (i, &len) in lens.iter().enumerate() {
        let tokens = at..at + len;
        at += len;
        if kept.is_some_and(|kept| !kept[i]) {
            continue;
        }
        let weight = match config.normalisation {
            Normalisation::Token => 1.0 / whole.tokens as f64,
            Normalisation::Sequence => 1.0 / (whole.completions * len) as f64,
            Normalisation::Constant => 1.0 / (whole.completions * whole.limit) as f64,
        };
        for t in tokens {
            let reference = reference.map(|r| f64::from(r[t]));
            let token = token(
                f64::from(logprobs[t]),
                f64::from(old[t]),
                reference,
                advantages[i],
                config,
            );
            gradient[t] = (weight * token.slope) as f32;
            sums.add(&token, weight, f64::from(logprobs[t]));
        }
    }
    Ok(sums.objective(gradient, reference.is_some()))
}

fn check(completions: &Completions<'_>, whole: &Whole, config: &PolicyConfig) -> Result<()> {
    let Completions {
        lens,
        logprobs,
        old,
        reference,
        advantages,
        kept,
    } = *completions;
    check_lens(lens)?;
    check_tokens("the log-probability", logprobs, lens)?;
    for (what, values) in [
        ("the old log-probability", old),
        ("the reference's log-probability", reference),
    ] {
        if let Some(values) = values {
            check_tokens(what, values, lens)?;
        }
    }
    let n = lens.len();
    if advantages.len() != n
        || kept.is_some_and(|kept| kept.len() != n)
        || advantages.iter().any(|a| !a.is_finite())
    {
        return Err(Error::Input(format!(
            "{n} completions need a finite advantage each, and a word each on whether they take part if any has one; the advantages are {advantages:?}"
        )));
    }
    if config.kl_weight > 0.0 && reference.is_none() {
        return Err(Error::Input(format!(
            "kl_weight is {} but there are no log-probabilities of a reference; give them, or set it to 0",
            config.kl_weight
        )));
    }
    let part = Whole::new(lens, kept, whole.limit);
    let longest = lens.iter().copied().max().unwrap_or(0);
    if part.completions > whole.completions || part.tokens > whole.tokens || longest > whole.limit {
        return Err(Error::Input(format!(
            "completions of {lens:?} tokens are no part of the batch {whole:?}; count the whole batch"
        )));
    }
    Ok(())
}

#[derive(Default)]
struct Sums {
    loss: f64,
    tokens: f64,
    divergence: f64,
    surprise: f64,
    low: f64,
    high: f64,
}

impl Sums {
    fn add(&mut self, token: &Token, weight: f64, logprob: f64) {
        self.loss += weight * token.loss;
        self.tokens += 1.0;
        self.divergence += token.divergence;
        self.surprise -= logprob;
        self.low += f64::from(u8::from(token.low));
        self.high += f64::from(u8::from(token.high));
    }

    /// Metrics are means over tokens. `entropy` is the mean surprise of the drawn tokens, which estimates it as long
    /// as they are fresh and were drawn at temperature 1.
    fn objective(self, gradient: Vec<f32>, divergence: bool) -> Objective {
        let mut metrics = Vec::new();
        if self.tokens > 0.0 {
            let mut say = |name: &str, sum: f64| metrics.push((name.to_owned(), sum / self.tokens));
            if divergence {
                say("kl", self.divergence);
            }
            say("entropy", self.surprise);
            say("clip_ratio/low_mean", self.low);
            say("clip_ratio/high_mean", self.high);
            say("clip_ratio/region_mean", self.low + self.high);
        }
        Objective {
            loss: self.loss,
            gradient,
            metrics,
        }
    }
}

#[cfg(test)]
mod tests;
