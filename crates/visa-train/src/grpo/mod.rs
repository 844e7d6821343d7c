//! A step of GRPO: draw a group of completions for each prompt, score them, and make the better ones likelier.
//!
//! The policy draws by an [`Engine`], which shares a prompt's cache among its group, and learns by
//! [`Decoder::group_logprobs`], which computes a prompt once for its group, forward and backward. What is good is
//! decided by a [`Reward`]; what is done with it by [`crate::objective`]. Completions are drawn at temperature 1 from
//! what the prompt's shield allows: the policy that draws, the one that learns and the reference all have the same
//! probabilities, those among the allowed tokens.
//!
//! A group that cannot be judged is dropped and counted; when too many are, the run stops. Prompts, schedules, checkpoints and logs belong to the caller.

use std::time::Instant;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use visa_align::shield::ClauseShield;
use visa_nn::sample::{Choices, Constraint, Finish, Generated, Generator, SampleOptions};
use visa_nn::{Decoder, Engine, Group, WeightType, ops};

use crate::objective::advantage::{AdvantageConfig, Term, advantages};
use crate::objective::overlong::Overlong;
use crate::objective::policy::{self, Completions, PolicyConfig, Whole};
use crate::objective::surrogate;
use crate::optim::{AdamW, AdamWConfig};
use crate::trainer::Metrics;
use crate::{Error, Result};

/// The name under which the overlong penalty stands among the rewards.
const OVERLONG: &str = "overlong";
/// Groups from which on a share of dropped ones means something.
const ENOUGH: u64 = 20;

/// The settings of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// Completions of each prompt.
    pub group: usize,
    /// Most tokens of a completion.
    pub max_tokens: usize,
    /// Tokens that end a completion.
    pub stop_ids: Vec<u32>,
    /// Updates on the same completions.
    pub iterations: usize,
    /// Prompts whose groups go through the model together; their gradients are added up. 0 takes all at once.
    pub micro_prompts: usize,
    /// Share of groups that may be dropped, of all in the run, because they could not be judged.
    pub max_dropped: f64,
    /// What is done about completions that are cut off.
    pub overlong: Overlong,
    /// From rewards to advantages.
    pub advantage: AdvantageConfig,
    /// The loss.
    pub policy: PolicyConfig,
    /// The optimiser; a recipe gives it with the schedule.
    #[serde(skip)]
    pub optimizer: AdamWConfig,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            group: 8,
            max_tokens: 64,
            stop_ids: Vec::new(),
            iterations: 1,
            micro_prompts: 0,
            max_dropped: 0.05,
            overlong: Overlong::default(),
            advantage: AdvantageConfig::default(),
            policy: PolicyConfig::default(),
            optimizer: AdamWConfig {
                weight_decay: 0.0,
                ..AdamWConfig::default()
            },
        }
    }
}

impl GrpoConfig {
    fn check(&self) -> Result<()> {
        for (name, n) in [
            ("group", self.group),
            ("max_tokens", self.max_tokens),
            ("iterations", self.iterations),
        ] {
            if n == 0 {
                return Err(Error::Input(format!("{name} is 0; give at least 1")));
            }
        }
        if !(0.0..=1.0).contains(&self.max_dropped) {
            return Err(Error::Input(format!(
                "max_dropped is {}; give a share from 0 to 1",
                self.max_dropped
            )));
        }
        self.overlong.check(self.max_tokens)?;
        self.policy.check()
    }
}

/// What completions are drawn from.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// What may follow; anything if `None`.
    pub shield: Option<ClauseShield>,
}

impl From<Vec<u32>> for Prompt {
    fn from(ids: Vec<u32>) -> Self {
        Self { ids, shield: None }
    }
}

/// A prompt and what the policy made of it.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// Its tokens.
    pub prompt: &'a [u32],
    /// The group's completions.
    pub completions: &'a [Completion],
}

/// What the policy wrote.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Tokens, their log-probabilities when drawn, and why it ended.
    pub generated: Generated,
    /// Whether a limit ended it.
    pub cut_off: bool,
}

/// The terms of one group's reward, each with one number a completion; or why it cannot be judged.
pub type Judged = std::result::Result<Vec<Term>, String>;

/// Says how good completions are.
pub trait Reward {
    /// One judgement a group. All groups that are judged have the same terms.
    ///
    /// # Errors
    /// Whatever must end the run. What keeps a single group from being judged is a judgement: a failure is no reward of
    /// zero.
    fn score(&mut self, rollouts: &[Rollout<'_>]) -> Result<Vec<Judged>>;
}

/// Groups of a run, and those of them that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All groups.
    pub groups: u64,
    /// Those that could not be judged.
    pub dropped: u64,
}

/// A policy in training.
pub struct Grpo {
    config: GrpoConfig,
    decoder: Decoder,
    engine: Engine,
    reference: Option<Decoder>,
    adam: AdamW,
    /// Groups so far; belongs into a checkpoint.
    pub tally: Tally,
}

impl Grpo {
    /// Trains the trainable tensors of `decoder`. `reference` is what the divergence is measured from; its weights must
    /// not change with the decoder's. Matrices of the engine are held as [`ops::precision`] says now.
    ///
    /// # Errors
    /// Settings out of range, nothing to train, a divergence with a weight but no reference.
    pub fn new(decoder: Decoder, reference: Option<Decoder>, config: GrpoConfig) -> Result<Self> {
        config.check()?;
        let vars = decoder.vars();
        if vars.is_empty() {
            return Err(Error::Input(
                "no tensor of the policy is trainable; unfreeze it or put an adapter over it"
                    .into(),
            ));
        }
        if config.policy.kl_weight > 0.0 && reference.is_none() {
            return Err(Error::Input(format!(
                "kl_weight is {} but there is no reference to hold the policy to; give one or set it to 0",
                config.policy.kl_weight
            )));
        }
        Ok(Self {
            engine: Engine::new(&decoder, WeightType::of(ops::precision()))?,
            adam: AdamW::new(vars, config.optimizer.clone(), |_| 1.0)?,
            reference: reference.filter(|_| config.policy.kl_weight > 0.0),
            decoder,
            config,
            tally: Tally::default(),
        })
    }

    /// The policy as it is now.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The optimiser, whose state belongs into a checkpoint.
    pub fn optimizer(&mut self) -> &mut AdamW {
        &mut self.adam
    }

    /// Draws, scores and learns once. The same seed, prompts and weights give the same bytes.
    ///
    /// The metrics have TRL's names where it has them, and `rollout_s`, `score_s` and `update_s`, the seconds of the
    /// three parts. `sampling/sampling_logp_difference/mean` is how far the log-probabilities of the engine are from
    /// the trainer's.
    ///
    /// # Errors
    /// What the model or the reward reports; a loss or gradient that is not finite.
    pub fn step(
        &mut self,
        prompts: &[Prompt],
        reward: &mut dyn Reward,
        lr: f64,
        seed: u64,
    ) -> Result<Metrics> {
        let start = Instant::now();
        let drawn = self.draw(prompts, self.config.group, seed)?;
        let rolled_out = Instant::now();
        let vocab = self.decoder.config().vocab_size;
        let (batch, dropped) = Batch::new(
            prompts,
            &drawn,
            reward,
            &self.config,
            vocab,
            &mut self.tally,
        )?;
        let scored = Instant::now();
        let mut metrics = batch.metrics.clone();
        metrics.push(("groups_dropped".to_owned(), dropped as f64));
        metrics.extend(self.learn(&batch, lr)?);
        self.engine.refresh(&self.decoder)?;
        let mut time = |name: &str, from: Instant, to: Instant| {
            metrics.push((name.to_owned(), (to - from).as_secs_f64()));
        };
        time("rollout_s", start, rolled_out);
        time("score_s", rolled_out, scored);
        time("update_s", scored, Instant::now());
        Ok(metrics)
    }

    /// Takes over weights that were changed from outside, as by a checkpoint.
    ///
    /// # Errors
    /// As [`Engine::refresh`].
    pub fn refresh(&mut self) -> Result<()> {
        Ok(self.engine.refresh(&self.decoder)?)
    }

    /// Draws `each` completions of every prompt, as a step does.
    ///
    /// # Errors
    /// What the model reports.
    pub fn draw(&self, prompts: &[Prompt], each: usize, seed: u64) -> Result<Vec<Vec<Completion>>> {
        draw(
            &self.engine,
            prompts,
            each,
            self.config.max_tokens,
            &self.config.stop_ids,
            seed,
        )
    }

    /// Updates on one batch; the metrics of the first, when the completions were fresh.
    fn learn(&mut self, batch: &Batch<'_>, lr: f64) -> Result<Metrics> {
        let reference = match &self.reference {
            Some(reference) => Some(self.each_part(batch, |part| {
                let groups = &batch.groups[part.groups.clone()];
                let drawn = batch.choices.part(part.tokens.clone());
                Ok(reference.group_logprobs_among(groups, drawn)?.to_vec1()?)
            })?),
            None => None,
        };
        let mut old: Option<Vec<f32>> = None;
        let mut first = Metrics::new();
        for iteration in 0..self.config.iterations {
            let mut sums: Vec<Option<Tensor>> = vec![None; self.adam.vars().len()];
            let mut log = Log::default();
            let mut now = Vec::with_capacity(batch.tokens());
            for part in batch.parts(self.config.micro_prompts) {
                let groups = &batch.groups[part.groups.clone()];
                let drawn = batch.choices.part(part.tokens.clone());
                let logprobs = self.decoder.group_logprobs_among(groups, drawn)?;
                let values = logprobs.to_vec1::<f32>()?;
                let completions = Completions {
                    lens: &batch.lens[part.completions.clone()],
                    logprobs: &values,
                    old: old.as_ref().map(|old| &old[part.tokens.clone()]),
                    reference: reference.as_ref().map(|all| &all[part.tokens.clone()]),
                    advantages: &batch.advantages[part.completions.clone()],
                    kept: Some(&batch.kept[part.completions.clone()]),
                };
                let objective = policy::loss(&completions, &batch.whole, &self.config.policy)?;
                let mut grads = surrogate(&logprobs, &objective.gradient)?.backward()?;
                for (sum, (_, var)) in sums.iter_mut().zip(self.adam.vars()) {
                    *sum = match (sum.take(), grads.remove(var)) {
                        (Some(sum), Some(grad)) => Some((sum + grad)?),
                        (sum, grad) => sum.or(grad),
                    };
                }
                log.add(objective.loss, objective.metrics, part.tokens.len());
                now.extend(values);
            }
            let step = self.adam.steps();
            let finite = |what, value: f64| match value.is_finite() {
                true => Ok(value),
                false => Err(Error::NotFinite { step, what, value }),
            };
            let loss = finite("loss", log.loss)?;
            let norm = finite("gradient norm", self.adam.step(&sums, 1.0, lr)?)?;
            if iteration == 0 {
                first = log.metrics();
                first.push(("loss".into(), loss));
                first.push(("grad_norm".into(), norm));
                first.push((
                    "sampling/sampling_logp_difference/mean".into(),
                    batch.difference(&now),
                ));
            }
            old.get_or_insert(now);
        }
        Ok(first)
    }

    fn each_part(
        &self,
        batch: &Batch<'_>,
        run: impl Fn(&Part) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(batch.tokens());
        for part in batch.parts(self.config.micro_prompts) {
            all.extend(run(&part)?);
        }
        Ok(all)
    }
}

/// Draws `each` completions of every prompt under its shield, at temperature 1.
///
/// # Errors
/// What the model reports.
pub fn draw(
    engine: &Engine,
    prompts: &[Prompt],
    each: usize,
    max_tokens: usize,
    stop_ids: &[u32],
    seed: u64,
) -> Result<Vec<Vec<Completion>>> {
    let options = SampleOptions {
        max_tokens,
        stop_ids: stop_ids.to_vec(),
        seed,
        ..SampleOptions::default()
    };
    let ids: Vec<Vec<u32>> = prompts.iter().map(|p| p.ids.clone()).collect();
    let free = prompts.iter().all(|p| p.shield.is_none());
    let mut shields: Vec<Option<ClauseShield>> = if free {
        Vec::new()
    } else {
        let each_of = |p: &Prompt| std::iter::repeat_n(p.shield.clone(), each);
        prompts.iter().flat_map(each_of).collect()
    };
    let mut constraints: Vec<Box<dyn Constraint + '_>> = shields
        .iter_mut()
        .map(|shield| Box::new(shield) as Box<dyn Constraint + '_>)
        .collect();
    let drawn = Generator::over(engine).groups(&ids, each, &options, &mut constraints)?;
    drop(constraints);
    let mut shields = shields.into_iter();
    let completion = |generated: Generated| {
        let cut = shields.next().flatten().is_some_and(|s| s.is_cut());
        Completion {
            cut_off: cut || generated.finish == Finish::Length,
            generated,
        }
    };
    let mut flat = drawn.into_iter().flatten().map(completion);
    Ok(prompts
        .iter()
        .map(|_| flat.by_ref().take(each).collect())
        .collect())
}

/// Scored completions.
struct Batch<'a> {
    groups: Vec<Group<'a>>,
    /// From what each token was drawn.
    choices: Choices,
    /// Tokens of each completion, and their log-probabilities when drawn.
    lens: Vec<usize>,
    drawn: Vec<f32>,
    kept: Vec<bool>,
    advantages: Vec<f64>,
    whole: Whole,
    metrics: Metrics,
}

/// A stretch of a batch: which groups, completions and tokens.
struct Part {
    groups: std::ops::Range<usize>,
    completions: std::ops::Range<usize>,
    tokens: std::ops::Range<usize>,
}

impl<'a> Batch<'a> {
    /// The groups that can be judged, and how many cannot.
    fn new(
        prompts: &'a [Prompt],
        drawn: &'a [Vec<Completion>],
        reward: &mut dyn Reward,
        config: &GrpoConfig,
        vocab: usize,
        tally: &mut Tally,
    ) -> Result<(Self, usize)> {
        let rollouts: Vec<Rollout<'a>> = prompts
            .iter()
            .zip(drawn)
            .map(|(prompt, completions)| Rollout {
                prompt: &prompt.ids,
                completions,
            })
            .collect();
        let (mut terms, kept_groups) = keep(reward.score(&rollouts)?, config, tally)?;
        let dropped = rollouts.len() - kept_groups.len();
        let rollouts: Vec<Rollout<'a>> = kept_groups.iter().map(|&i| rollouts[i]).collect();
        let mut choices = Choices::new(vocab);
        for (&i, rollout) in kept_groups.iter().zip(&rollouts) {
            for completion in rollout.completions {
                let ids = &completion.generated.ids;
                match &prompts[i].shield {
                    Some(shield) => choices.record(ids, &mut shield.clone())?,
                    None => choices.free(ids.len()),
                }
            }
        }
        let completions = || rollouts.iter().flat_map(|r| r.completions);
        let lens: Vec<usize> = completions().map(|c| c.generated.ids.len()).collect();
        let cut_off: Vec<bool> = completions().map(|c| c.cut_off).collect();
        if let Overlong::Penalty { .. } = config.overlong {
            terms.push(Term {
                name: OVERLONG.into(),
                weight: 1.0,
                values: lens
                    .iter()
                    .map(|len| config.overlong.penalty(*len, config.max_tokens))
                    .collect(),
            });
        }
        let sizes = vec![config.group; rollouts.len()];
        let scored = advantages(&terms, &sizes, &config.advantage)?;
        let kept: Vec<bool> = cut_off
            .iter()
            .map(|cut| config.overlong.keeps(*cut))
            .collect();
        if !kept.contains(&true) {
            return Err(Error::Input(format!(
                "every completion was cut off at {} tokens, and overlong is \"mask\": nothing is left to learn from; raise max_tokens",
                config.max_tokens
            )));
        }
        let n = lens.len() as f64;
        let mut metrics = scored.metrics;
        metrics.push((
            "completions/mean_length".into(),
            lens.iter().sum::<usize>() as f64 / n,
        ));
        let cut = cut_off.iter().filter(|cut| **cut).count();
        metrics.push(("completions/clipped_ratio".into(), cut as f64 / n));
        let groups = rollouts.iter().map(|r| Group {
            prompt: r.prompt,
            completions: (r.completions.iter())
                .map(|c| c.generated.ids.as_slice())
                .collect(),
        });
        let batch = Self {
            groups: groups.collect(),
            choices,
            drawn: completions()
                .flat_map(|c| c.generated.logprobs.iter().copied())
                .collect(),
            whole: Whole::new(&lens, Some(&kept), config.max_tokens),
            advantages: scored.values,
            lens,
            kept,
            metrics,
        };
        Ok((batch, dropped))
    }

    fn tokens(&self) -> usize {
        self.lens.iter().sum()
    }

    /// So many prompts at a time; 0 means all.
    fn parts(&self, prompts: usize) -> Vec<Part> {
        let n = self.groups.len();
        let size = if prompts == 0 { n } else { prompts };
        let mut parts: Vec<Part> = Vec::new();
        for start in (0..n).step_by(size.max(1)) {
            let groups = start..n.min(start + size);
            let (completion, token) = parts
                .last()
                .map_or((0, 0), |p| (p.completions.end, p.tokens.end));
            let count: usize = self.groups[groups.clone()]
                .iter()
                .map(|g| g.completions.len())
                .sum();
            let completions = completion..completion + count;
            let tokens: usize = self.lens[completions.clone()].iter().sum();
            parts.push(Part {
                groups,
                completions,
                tokens: token..token + tokens,
            });
        }
        parts
    }

    /// Mean distance of the log-probabilities when drawn from those of the trainer.
    fn difference(&self, now: &[f32]) -> f64 {
        let sum: f64 = self
            .drawn
            .iter()
            .zip(now)
            .map(|(a, b)| f64::from((a - b).abs()))
            .sum();
        sum / now.len() as f64
    }
}

/// The terms of the groups that were judged, joined, and which groups those are.
fn keep(
    judged: Vec<Judged>,
    config: &GrpoConfig,
    tally: &mut Tally,
) -> Result<(Vec<Term>, Vec<usize>)> {
    let mut terms: Vec<Term> = Vec::new();
    let mut kept = Vec::new();
    let mut reason = String::new();
    let count = judged.len() as u64;
    for (i, group) in judged.into_iter().enumerate() {
        match group {
            Err(why) => reason = why,
            Ok(group) if kept.is_empty() => {
                terms = group;
                kept.push(i);
            }
            Ok(group) => {
                if !group
                    .iter()
                    .map(|t| &t.name)
                    .eq(terms.iter().map(|t| &t.name))
                {
                    return Err(Error::Input(format!(
                        "group {i} is judged by other terms than the first; a reward has the same terms for all"
                    )));
                }
                for (all, term) in terms.iter_mut().zip(group) {
                    all.values.extend(term.values);
                }
                kept.push(i);
            }
        }
    }
    tally.groups += count;
    tally.dropped += count - kept.len() as u64;
    let share = tally.dropped as f64 / tally.groups.max(1) as f64;
    // The first few groups of a run say nothing about a share.
    let too_many = tally.groups >= ENOUGH && share > config.max_dropped;
    if too_many || kept.is_empty() {
        return Err(Error::Input(format!(
            "{} of {} groups could not be judged, and max_dropped is {}; the last one: {reason}",
            tally.dropped, tally.groups, config.max_dropped
        )));
    }
    Ok((terms, kept))
}

/// Sums over the parts of a batch.
#[derive(Default)]
struct Log {
    loss: f64,
    tokens: f64,
    sums: Metrics,
}

impl Log {
    fn add(&mut self, loss: f64, metrics: Metrics, tokens: usize) {
        let tokens = tokens as f64;
        self.loss += loss;
        self.tokens += tokens;
        for (name, x) in metrics {
            match self.sums.iter_mut().find(|(n, _)| *n == name) {
                Some((_, sum)) => *sum += x * tokens,
                None => self.sums.push((name, x * tokens)),
            }
        }
    }

    fn metrics(self) -> Metrics {
        let tokens = self.tokens;
        self.sums
            .into_iter()
            .map(|(name, sum)| (name, sum / tokens))
            .collect()
    }
}

#[cfg(test)]
mod tests;
