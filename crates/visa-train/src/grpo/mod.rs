//! A step of GRPO: draw a group of completions for each prompt, score them, and make the better ones likelier.
//!
//! The policy draws by an [`Engine`], which shares a prompt's cache among its group, and learns by
//! [`Decoder::group_logprobs`], which computes a prompt once for its group, forward and backward. What is good is
//! decided by a [`Reward`]; what is done with it by [`crate::objective`]. Completions are drawn at temperature 1 from
//! the whole distribution: anything else would be another policy than the one that learns.
//!
//! Prompts, schedules, checkpoints and logs belong to the caller.

use std::time::Instant;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use visa_nn::sample::{Finish, Generated, Generator, SampleOptions};
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
    /// What is done about completions that are cut off.
    pub overlong: Overlong,
    /// From rewards to advantages.
    pub advantage: AdvantageConfig,
    /// The loss.
    pub policy: PolicyConfig,
    /// The optimiser.
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
        self.overlong.check(self.max_tokens)?;
        self.policy.check()
    }
}

/// A prompt and what the policy made of it.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// Its tokens.
    pub prompt: &'a [u32],
    /// The group's completions.
    pub completions: &'a [Generated],
}

/// Says how good completions are.
pub trait Reward {
    /// The terms of the reward, each with one number a completion, rollout after rollout.
    ///
    /// # Errors
    /// Whatever keeps a completion from being judged: a failure is no reward of zero.
    fn score(&mut self, rollouts: &[Rollout<'_>]) -> Result<Vec<Term>>;
}

/// A policy in training.
pub struct Grpo {
    config: GrpoConfig,
    decoder: Decoder,
    engine: Engine,
    reference: Option<Decoder>,
    adam: AdamW,
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
        prompts: &[Vec<u32>],
        reward: &mut dyn Reward,
        lr: f64,
        seed: u64,
    ) -> Result<Metrics> {
        let start = Instant::now();
        let drawn = self.draw(prompts, seed)?;
        let rolled_out = Instant::now();
        let rollouts: Vec<Rollout<'_>> = prompts
            .iter()
            .zip(&drawn)
            .map(|(prompt, completions)| Rollout {
                prompt,
                completions,
            })
            .collect();
        let batch = Batch::new(&rollouts, reward, &self.config)?;
        let scored = Instant::now();
        let mut metrics = batch.metrics.clone();
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

    fn draw(&self, prompts: &[Vec<u32>], seed: u64) -> Result<Vec<Vec<Generated>>> {
        let options = SampleOptions {
            max_tokens: self.config.max_tokens,
            stop_ids: self.config.stop_ids.clone(),
            seed,
            ..SampleOptions::default()
        };
        Ok(Generator::over(&self.engine).groups(prompts, self.config.group, &options, &mut [])?)
    }

    /// Updates on one batch; the metrics of the first, when the completions were fresh.
    fn learn(&mut self, batch: &Batch<'_>, lr: f64) -> Result<Metrics> {
        let reference = match &self.reference {
            Some(reference) => Some(
                self.each_part(batch, |part| {
                    Ok(reference.group_logprobs(part)?.to_vec1()?)
                })?,
            ),
            None => None,
        };
        let mut old: Option<Vec<f32>> = None;
        let mut first = Metrics::new();
        for iteration in 0..self.config.iterations {
            let mut sums: Vec<Option<Tensor>> = vec![None; self.adam.vars().len()];
            let mut log = Log::default();
            let mut now = Vec::with_capacity(batch.tokens());
            for part in batch.parts(self.config.micro_prompts) {
                let logprobs = self
                    .decoder
                    .group_logprobs(&batch.groups[part.groups.clone()])?;
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
        run: impl Fn(&[Group<'_>]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(batch.tokens());
        for part in batch.parts(self.config.micro_prompts) {
            all.extend(run(&batch.groups[part.groups])?);
        }
        Ok(all)
    }
}

/// Scored completions.
struct Batch<'a> {
    groups: Vec<Group<'a>>,
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
    fn new(rollouts: &[Rollout<'a>], reward: &mut dyn Reward, config: &GrpoConfig) -> Result<Self> {
        let completions = || rollouts.iter().flat_map(|r| r.completions);
        let lens: Vec<usize> = completions().map(|c| c.ids.len()).collect();
        let cut_off: Vec<bool> = completions().map(|c| c.finish == Finish::Length).collect();
        let mut terms = reward.score(rollouts)?;
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
        Ok(Self {
            groups: rollouts
                .iter()
                .map(|r| Group {
                    prompt: r.prompt,
                    completions: r.completions.iter().map(|c| c.ids.as_slice()).collect(),
                })
                .collect(),
            drawn: completions()
                .flat_map(|c| c.logprobs.iter().copied())
                .collect(),
            whole: Whole::new(&lens, Some(&kept), config.max_tokens),
            advantages: scored.values,
            lens,
            kept,
            metrics,
        })
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
mod tests {
    use candle_core::Device;
    use visa_nn::DecoderConfig;

    use super::*;

    fn decoder(trainable: bool) -> Decoder {
        let config = DecoderConfig {
            vocab_size: 12,
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 16,
            max_position_embeddings: 32,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
            pad_token_id: None,
        };
        let mut decoder = Decoder::new_random(&config, 5, &Device::Cpu).unwrap();
        decoder.set_trainable(|_| trainable).unwrap();
        decoder
    }

    fn config() -> GrpoConfig {
        GrpoConfig {
            group: 6,
            max_tokens: 5,
            stop_ids: vec![0],
            ..GrpoConfig::default()
        }
    }

    const PROMPTS: usize = 3;

    fn prompts() -> Vec<Vec<u32>> {
        (0..PROMPTS as u32).map(|i| vec![1 + i, 2, 3]).collect()
    }

    /// The share of odd tokens.
    struct Odd;

    impl Reward for Odd {
        fn score(&mut self, rollouts: &[Rollout<'_>]) -> Result<Vec<Term>> {
            let share = |c: &Generated| {
                c.ids.iter().filter(|id| *id % 2 == 1).count() as f64 / c.ids.len() as f64
            };
            Ok(vec![Term {
                name: "odd".into(),
                weight: 1.0,
                values: rollouts
                    .iter()
                    .flat_map(|r| r.completions)
                    .map(share)
                    .collect(),
            }])
        }
    }

    fn metric(metrics: &Metrics, name: &str) -> f64 {
        metrics
            .iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("no metric {name}"))
            .1
    }

    fn bits(decoder: &Decoder) -> Vec<u32> {
        let vars = decoder.vars();
        let values = vars
            .iter()
            .flat_map(|(_, v)| v.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        values.map(f32::to_bits).collect()
    }

    fn train(config: GrpoConfig, steps: u64) -> (Grpo, Vec<Metrics>) {
        let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config).unwrap();
        let run = |seed| grpo.step(&prompts(), &mut Odd, 5e-3, seed).unwrap();
        let metrics = (0..steps).map(run).collect();
        (grpo, metrics)
    }

    #[test]
    fn the_reward_rises_and_the_engine_follows_the_trainer() {
        let (_, metrics) = train(config(), 40);
        let mean = |range: std::ops::Range<usize>| {
            let n = range.len() as f64;
            metrics[range]
                .iter()
                .map(|m| metric(m, "reward"))
                .sum::<f64>()
                / n
        };
        let (before, after) = (mean(0..5), mean(35..40));
        assert!(after > before + 0.2, "{before} → {after}");
        for m in &metrics {
            assert!(metric(m, "sampling/sampling_logp_difference/mean") < 1e-4);
        }
        assert!(metric(&metrics[0], "kl").abs() < 1e-6 && metric(&metrics[39], "kl") > 1e-3);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_in_parts_or_not() {
        let run = |micro_prompts| {
            let config = GrpoConfig {
                micro_prompts,
                ..config()
            };
            train(config, 3)
        };
        let (whole, again, parts) = (run(0), run(0), run(2));
        assert_eq!(bits(whole.0.decoder()), bits(again.0.decoder()));
        for (whole, parts) in whole.1.iter().zip(&parts.1) {
            for name in ["reward", "loss", "grad_norm", "kl", "entropy"] {
                let (a, b) = (metric(whole, name), metric(parts, name));
                assert!((a - b).abs() < 1e-3 * a.abs().max(1e-3), "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn several_updates_move_away_from_what_was_drawn() {
        let config = GrpoConfig {
            iterations: 3,
            ..config()
        };
        let (grpo, metrics) = train(config, 1);
        assert_eq!(grpo.adam.steps(), 3);
        // The metrics are those of fresh completions.
        assert_eq!(metric(&metrics[0], "clip_ratio/region_mean"), 0.0);
    }

    #[test]
    fn long_completions_are_treated_as_asked() {
        let (_, metrics) = train(
            GrpoConfig {
                overlong: Overlong::Penalty { buffer: 2 },
                ..config()
            },
            1,
        );
        assert!(metric(&metrics[0], "rewards/overlong/mean") < 0.0);
        // Without an end every completion is cut off.
        let endless = GrpoConfig {
            overlong: Overlong::Mask,
            stop_ids: Vec::new(),
            ..config()
        };
        let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), endless).unwrap();
        let error = grpo.step(&prompts(), &mut Odd, 1e-3, 0).unwrap_err();
        assert!(error.to_string().contains("max_tokens"), "{error}");
    }

    /// A judge that is not there.
    struct Silent;

    impl Reward for Silent {
        fn score(&mut self, _: &[Rollout<'_>]) -> Result<Vec<Term>> {
            Err(Error::Input("the judge is gone".into()))
        }
    }

    #[test]
    fn what_cannot_be_done_is_said_and_changes_nothing() {
        let refused = |policy: Decoder, reference, config, part: &str| {
            let error = Grpo::new(policy, reference, config)
                .err()
                .expect("an error")
                .to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(decoder(true), None, config(), "no reference");
        refused(decoder(false), Some(decoder(false)), config(), "trainable");
        refused(
            decoder(true),
            None,
            GrpoConfig {
                group: 0,
                ..config()
            },
            "group is 0",
        );
        let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config()).unwrap();
        let before = bits(grpo.decoder());
        let error = grpo.step(&prompts(), &mut Silent, 1e-3, 0).unwrap_err();
        assert!(error.to_string().contains("the judge is gone"));
        assert_eq!(bits(grpo.decoder()), before);
    }
}
