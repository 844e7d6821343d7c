//! `train grpo`: the rewriter learns from what its own clauses are worth.
//!
//! A step asks a few sentences, draws a group of clauses for each under the shield, judges them in one batch and makes the
//! better ones likelier ([`crate::grpo`]). What is asked is in [`super::prompts`], what is good in [`super::reward`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use visa_align::embedded::{AFTER_LIMIT, Asker};
use visa_nn::StoreType;

use super::language::Language;
use super::policy::{self, AdapterRecipe};
use super::prompts::{Item, PromptRecipe, Prompts};
use super::reward::{ClauseReward, RewardRecipe};
use crate::grpo::{Grpo, GrpoConfig, Prompt, Reward, Rollout};
use crate::judges::Judges;
use crate::lm::{Precision, append};
use crate::optim::AdamW;
use crate::pairs::row;
use crate::trainer::{self, Metrics, Stepper, Summary, TrainerConfig};
use crate::{Error, Result, RunContext};

/// Clauses of each held-out sentence in an evaluation.
const LOOKS: usize = 4;

/// Everything that makes a better rewriter out of a rewriter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoRecipe {
    /// Start of every random stream.
    pub seed: u64,
    /// The folder of the rewriter after supervised training: where the policy starts, and what it is held to.
    pub policy: PathBuf,
    /// A plain language model that judges how clauses read; the frozen rewriter itself if empty.
    pub language: PathBuf,
    /// The file of pairs whose sentences are asked about.
    pub pairs: PathBuf,
    /// Factors of matrix products.
    pub precision: Precision,
    /// Sentences asked in a step.
    pub prompts: usize,
    /// Held-out sentences in an evaluation.
    pub valid_prompts: usize,
    /// Steps between samples for people.
    pub sample_every: u64,
    /// An adapter to train in the place of the whole model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterRecipe>,
    /// The sentences and wishes.
    pub prompt: PromptRecipe,
    /// The reward.
    pub reward: RewardRecipe,
    /// The step; `max_tokens` and `stop_ids` follow from the clauses.
    pub grpo: GrpoConfig,
    /// How the weights of the trained model are stored.
    pub store: StoreType,
    /// The loop; `accumulate` must be 1.
    pub trainer: TrainerConfig,
}

impl Default for GrpoRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            policy: "runs/sft/model".into(),
            language: PathBuf::new(),
            pairs: "runs/pairs/pairs.jsonl".into(),
            precision: Precision::default(),
            prompts: 8,
            valid_prompts: 64,
            sample_every: 20,
            adapter: None,
            prompt: PromptRecipe::default(),
            reward: RewardRecipe::default(),
            grpo: GrpoConfig::default(),
            store: StoreType::Bf16,
            trainer: TrainerConfig::default(),
        }
    }
}

/// Trains the policy and writes it into the folder `model` of the run.
///
/// # Errors
/// What data, checkpoints, models or the judges report; [`Error::Interrupted`] after a checkpoint.
pub fn train(recipe: &GrpoRecipe, judges: Judges<'_>, context: &RunContext) -> Result<Summary> {
    recipe.precision.set();
    if recipe.prompts == 0 || recipe.trainer.accumulate != 1 {
        let detail = "`prompts` must be at least 1 and `trainer.accumulate` 1; `grpo.micro_prompts` takes a step in parts";
        return Err(Error::recipe(&context.out.join("recipe.toml"), detail));
    }
    context.save_recipe(recipe)?;
    let rows = row::read(&recipe.pairs)?;
    let prompts = Prompts::new(&rows, &recipe.prompt, recipe.seed)?;
    context.say(&format!("{} sentences to ask about", prompts.len()));
    let (decoder, frozen, asker) = policy::load(
        &recipe.policy,
        recipe.adapter.as_ref(),
        judges.sense,
        recipe.seed,
    )?;
    let language = Language::of(&recipe.language, &recipe.reward, &frozen, &asker)?;
    let reward = ClauseReward::new(judges, &asker, language, &recipe.reward)?;
    let mut config = recipe.grpo.clone();
    config.max_tokens = recipe.prompt.max_clause + AFTER_LIMIT;
    config.stop_ids = asker.stop_ids(recipe.prompt.shielded);
    config.optimizer = recipe.trainer.optimizer.clone();
    let mut run = Run {
        grpo: Grpo::new(decoder, Some(frozen), config)?,
        held_out: prompts.held_out(recipe.valid_prompts, &asker)?,
        recipe,
        prompts,
        asker: &asker,
        reward,
        sums: Vec::new(),
        samples: context.out.join("samples.txt"),
    };
    let summary = trainer::drive(&mut run, &recipe.trainer, context)?;
    policy::save(run.grpo.decoder(), &asker, &context.out, recipe.store)?;
    Ok(summary)
}

/// A run under way.
struct Run<'a> {
    recipe: &'a GrpoRecipe,
    prompts: Prompts,
    held_out: Vec<Item>,
    asker: &'a Asker,
    reward: ClauseReward<'a>,
    grpo: Grpo,
    /// Metrics added up since they were last asked for.
    sums: Vec<(String, f64, f64)>,
    samples: PathBuf,
}

impl Stepper for Run<'_> {
    fn adam(&mut self) -> &mut AdamW {
        self.grpo.optimizer()
    }

    fn step(&mut self, step: u64, _steps: u64, lr: f64) -> Result<()> {
        let items = self.prompts.draw(step, self.recipe.prompts, self.asker)?;
        let prompts: Vec<Prompt> = items.iter().map(|item| item.prompt.clone()).collect();
        self.reward.expect(items);
        // Streams of neighbouring seeds are unrelated, but steps of neighbouring runs would meet.
        let seed = self.recipe.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step;
        let mut metrics = self.grpo.step(&prompts, &mut self.reward, lr, seed)?;
        metrics.extend(self.reward.metrics());
        for (name, x) in metrics {
            match self.sums.iter_mut().find(|(n, ..)| *n == name) {
                Some((_, sum, n)) => (*sum, *n) = (*sum + x, *n + 1.0),
                None => self.sums.push((name, x, 1.0)),
            }
        }
        if step.is_multiple_of(self.recipe.sample_every.max(1)) {
            let text = format!("== step {}\n{}", step + 1, self.reward.samples(4));
            append(&self.samples, &text)?;
        }
        Ok(())
    }

    fn metrics(&mut self, lr: f64) -> Metrics {
        let mut metrics: Metrics = std::mem::take(&mut self.sums)
            .into_iter()
            .map(|(name, sum, n)| (name, sum / n))
            .collect();
        metrics.push(("lr".into(), lr));
        metrics
    }

    /// A few clauses for each held-out sentence, always from the same random numbers.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        if self.held_out.is_empty() {
            return Ok(Metrics::new());
        }
        let prompts: Vec<Prompt> = self.held_out.iter().map(|i| i.prompt.clone()).collect();
        let drawn = self.grpo.draw(&prompts, LOOKS, self.recipe.seed)?;
        let rollouts: Vec<Rollout<'_>> = prompts
            .iter()
            .zip(&drawn)
            .map(|(prompt, completions)| Rollout {
                prompt: &prompt.ids,
                completions,
            })
            .collect();
        self.reward.expect(self.held_out.clone());
        self.reward.score(&rollouts)?;
        let totals: Vec<f64> = (self.reward.verdicts())
            .flat_map(|(_, verdicts)| verdicts.iter().map(|v| v.total(&self.recipe.reward)))
            .collect();
        let mut metrics = Metrics::new();
        if !totals.is_empty() {
            metrics.push((
                "reward".into(),
                totals.iter().sum::<f64>() / totals.len() as f64,
            ));
        }
        metrics.extend(self.reward.metrics());
        Ok(metrics)
    }

    fn state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(self.grpo.tally).expect("plain data serialises"))
    }

    fn resume(&mut self, _step: u64, state: &serde_json::Value) -> Result<()> {
        self.grpo.tally = serde_json::from_value(state.clone())
            .map_err(|e| Error::Input(format!("the checkpoint's count of groups: {e}")))?;
        self.grpo.refresh()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use candle_core::Device;
    use visa_nn::Decoder;

    use super::*;
    use crate::rewriter::testing::{self, Letters, Picky, Squeamish, weights};

    fn recipe(dir: &Path) -> GrpoRecipe {
        let (policy, pairs) = testing::policy_and_pairs(dir);
        GrpoRecipe {
            precision: Precision::F32,
            policy,
            pairs,
            prompts: 3,
            valid_prompts: 2,
            sample_every: 2,
            prompt: PromptRecipe {
                max_clause: 8,
                ..PromptRecipe::default()
            },
            reward: testing::lenient(),
            grpo: GrpoConfig {
                group: 4,
                micro_prompts: 2,
                max_dropped: 1.0,
                ..GrpoConfig::default()
            },
            trainer: TrainerConfig {
                steps: 6,
                eval_every: 3,
                log_every: 1,
                checkpoint_every: 2,
                ..TrainerConfig::default()
            },
            ..GrpoRecipe::default()
        }
    }

    fn judges() -> Judges<'static> {
        Judges {
            values: &Letters,
            checker: &Picky(""),
            sense: None,
        }
    }

    fn lines(out: &Path, kind: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let all = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        all.filter(|line| line["kind"] == kind).collect()
    }

    #[test]
    fn a_run_leaves_a_model_metrics_and_samples_and_resumes_to_the_same_bytes() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = |out: &str| crate::lm::tests::context(dir.path(), out, &stop);
        let mut recipe = recipe(dir.path());
        recipe.trainer.schedule.shape = crate::schedule::Shape::Wsd;
        recipe.trainer.schedule.decay = 1;
        let whole = context("whole").out;
        train(&recipe, judges(), &context("whole")).unwrap();
        for line in lines(&whole, "train") {
            for name in [
                "loss",
                "reward",
                "reward_std",
                "frac_reward_zero_std",
                "kl",
                "entropy",
                "clip_ratio/low_mean",
                "clip_ratio/high_mean",
                "completions/mean_length",
                "completions/clipped_ratio",
                "completions/usable",
                "rewards/consistency/mean",
                "groups_dropped",
                "lr",
                "rollout_s",
                "score_s",
                "update_s",
            ] {
                assert!(line[name].is_number(), "{name}: {line}");
            }
            let apart = line["sampling/sampling_logp_difference/mean"]
                .as_f64()
                .unwrap();
            assert!(apart < 1e-4, "{line}");
        }
        assert_eq!(lines(&whole, "eval").len(), 2);
        let samples = std::fs::read_to_string(whole.join("samples.txt")).unwrap();
        assert!(
            samples.contains("== step 5") && samples.contains("house"),
            "{samples}"
        );

        let mut first = recipe.clone();
        first.trainer.steps = 3;
        train(&first, judges(), &context("parts")).unwrap();
        stop.store(true, Ordering::Relaxed);
        let error = train(&recipe, judges(), &context("parts")).unwrap_err();
        assert!(
            matches!(error, Error::Interrupted { step: 3, .. }),
            "{error}"
        );
        stop.store(false, Ordering::Relaxed);
        train(&recipe, judges(), &context("parts")).unwrap();
        assert_eq!(weights(&whole), weights(&context("parts").out));
    }

    #[test]
    fn the_committed_recipes_are_read() {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let grpo: GrpoRecipe = crate::runlog::read_recipe(&recipes.join("grpo.toml")).unwrap();
        grpo.reward.check().unwrap();
        grpo.prompt.check().unwrap();
        for (name, less) in [
            ("grpo-no-value.toml", "value"),
            ("grpo-no-consistency.toml", "consistency"),
            ("grpo-no-shield.toml", "shield"),
        ] {
            let mut other: GrpoRecipe = crate::runlog::read_recipe(&recipes.join(name)).unwrap();
            other.reward.check().unwrap();
            assert_ne!(other, grpo, "{name}");
            // One thing is missing, and all else is the same.
            match less {
                "value" => {
                    let from = &grpo.reward;
                    let value = (from.value, from.movement, from.progress);
                    let reward = &mut other.reward;
                    (reward.value, reward.movement, reward.progress) = value;
                }
                "consistency" => {
                    other.reward.consistency = grpo.reward.consistency;
                    other.reward.gate = grpo.reward.gate;
                }
                _ => other.prompt.shielded = true,
            }
            assert_eq!(other, grpo, "{name}");
        }
        for name in ["dpo.toml", "simpo.toml"] {
            let prefs: crate::rewriter::prefs::PrefsRecipe =
                crate::runlog::read_recipe(&recipes.join(name)).unwrap();
            // What is compared is judged alike.
            assert_eq!((&prefs.reward, &prefs.prompt), (&grpo.reward, &grpo.prompt));
        }
        crate::runlog::read_recipe::<crate::pairs::PairsRecipe>(&recipes.join("pairs.toml"))
            .unwrap();
        crate::runlog::read_recipe::<crate::sft::SftRecipe>(&recipes.join("sft.toml")).unwrap();
    }

    #[test]
    fn without_the_shield_what_guards_refuse_is_written_and_counted() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = crate::lm::tests::context(dir.path(), "run", &stop);
        let mut recipe = recipe(dir.path());
        recipe.prompt.shielded = false;
        recipe.trainer.steps = 3;
        train(&recipe, judges(), &context).unwrap();
        let (mut apart, mut refused) = (0.0_f64, 0.0);
        for line in lines(&context.out, "train") {
            let of = |name: &str| line[name].as_f64().unwrap();
            apart = apart.max(of("sampling/sampling_logp_difference/mean"));
            refused += of("completions/cut_off") + of("completions/no_joint");
            refused += of("completions/guarded");
        }
        assert!(apart < 1e-4, "{apart}");
        // A random model under the shield joins its sentence far more often.
        assert!(refused > 1.5, "{refused} of 3");
    }

    #[test]
    fn an_adapter_learns_in_the_place_of_the_whole() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = crate::lm::tests::context(dir.path(), "run", &stop);
        let mut recipe = recipe(dir.path());
        recipe.adapter = Some(AdapterRecipe::default());
        recipe.trainer.steps = 2;
        recipe.reward.fluency = 0.0;
        train(&recipe, judges(), &context).unwrap();
        assert!(
            context
                .out
                .join("adapter/adapter_model.safetensors")
                .exists()
        );
        let trained = Decoder::load(&context.out.join("model"), &Device::Cpu).unwrap();
        assert!(trained.adapter().is_none());
    }

    #[test]
    fn groups_without_a_judge_are_dropped_until_they_are_too_many() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = |out: &str| crate::lm::tests::context(dir.path(), out, &stop);
        let mut recipe = recipe(dir.path());
        recipe.prompts = 6;
        let squeamish = Judges {
            values: &Squeamish("red"),
            checker: &Picky(""),
            sense: None,
        };
        train(&recipe, squeamish, &context("some")).unwrap();
        let dropped: f64 = lines(&context("some").out, "train")
            .iter()
            .map(|line| line["groups_dropped"].as_f64().unwrap())
            .sum();
        assert!(dropped > 0.0);
        recipe.grpo.max_dropped = 0.01;
        let error = train(&recipe, squeamish, &context("many")).unwrap_err();
        assert!(error.to_string().contains("max_dropped is 0.01"), "{error}");
    }
}
