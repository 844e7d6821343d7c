//! `train prefs`: the comparison methods of the paper, DPO and SimPO, on the same reward as GRPO.
//!
//! First the policy answers every sentence several times, and of each group the best and the worst answer become a pair
//! where their rewards differ by a margin ([`make`]). The pairs are a file of the run, and another run, or another program,
//! may give one. Then a loss of [`crate::objective::preference`] is minimised on them, under the shield as they were drawn.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use candle_core::Var;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use visa_align::embedded::{AFTER_LIMIT, Asker};
use visa_align::shield::editable;
use visa_nn::sample::Choices;
use visa_nn::{Decoder, Engine, Group, StoreType, WeightType, ops};
use visa_values::Shift;

use super::language::Language;
use super::policy::{self, AdapterRecipe};
use super::prompts::{Item, PromptRecipe, Prompts};
use super::reward::{ClauseReward, RewardRecipe};
use crate::checkpoint::{sha256, write_atomically};
use crate::grpo::{Completion, Prompt, Reward, Rollout, draw};
use crate::judges::Judges;
use crate::lm::Precision;
use crate::objective::preference::{self, Pairs, Preference};
use crate::objective::surrogate;
use crate::pairs::row;
use crate::trainer::{self, Loss, Metrics, Summary, Task, TrainerConfig};
use crate::{Error, Result, RunContext};

/// Sentences that are answered together.
const TOGETHER: usize = 16;
/// Clauses of each held-out sentence in an evaluation.
const LOOKS: usize = 4;

/// Everything that makes a better rewriter out of a rewriter and comparisons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrefsRecipe {
    /// Start of every random stream.
    pub seed: u64,
    /// The folder of the rewriter after supervised training: it answers, and is the reference.
    pub policy: PathBuf,
    /// A plain language model that judges how clauses read; the frozen rewriter itself if empty.
    pub language: PathBuf,
    /// The file of pairs of texts whose sentences are asked about.
    pub pairs: PathBuf,
    /// A file of preferences; made from the policy's answers if empty.
    pub preferences: PathBuf,
    /// Factors of matrix products.
    pub precision: Precision,
    /// Sentences that are answered.
    pub sentences: usize,
    /// Answers of each.
    pub candidates: usize,
    /// By how much the best must lead the worst.
    pub margin: f64,
    /// Pairs of answers in a micro-batch.
    pub batch: usize,
    /// Held-out sentences in an evaluation.
    pub valid_prompts: usize,
    /// An adapter to train in the place of the whole model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterRecipe>,
    /// The sentences and wishes.
    pub prompt: PromptRecipe,
    /// The reward.
    pub reward: RewardRecipe,
    /// The loss.
    pub objective: Preference,
    /// The loop.
    pub trainer: TrainerConfig,
}

impl Default for PrefsRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            policy: "runs/sft/model".into(),
            language: PathBuf::new(),
            pairs: "runs/pairs/pairs.jsonl".into(),
            preferences: PathBuf::new(),
            precision: Precision::default(),
            sentences: 2000,
            candidates: 8,
            margin: 0.2,
            batch: 16,
            valid_prompts: 64,
            adapter: None,
            prompt: PromptRecipe::default(),
            reward: RewardRecipe::default(),
            objective: Preference::DPO,
            trainer: TrainerConfig::default(),
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The clause.
    pub clause: String,
    /// The tokens that were drawn, with the final punctuation; the tokenizer's if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
    /// Its reward, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
}

/// Two answers to one question: a line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The text, with the asked sentence at its end.
    pub text: String,
    /// The wish.
    pub wish: Shift,
    /// The better answer.
    pub chosen: Answer,
    /// The worse one.
    pub rejected: Answer,
}

/// Trains the policy and writes it as bf16 into the folder `model` of the run.
///
/// # Errors
/// What data, checkpoints, models or the judges report; [`Error::Interrupted`] after a checkpoint.
pub fn train(recipe: &PrefsRecipe, judges: Judges<'_>, context: &RunContext) -> Result<Summary> {
    recipe.precision.set();
    if recipe.candidates < 2 || recipe.batch == 0 || recipe.sentences == 0 {
        let detail = "`candidates` must be at least 2, `batch` and `sentences` at least 1";
        return Err(Error::recipe(&context.out.join("recipe.toml"), detail));
    }
    if !recipe.prompt.shielded {
        let detail = "`prompt.shielded` is false; answers are compared under the shield of use, so leave it true";
        return Err(Error::recipe(&context.out.join("recipe.toml"), detail));
    }
    context.save_recipe(recipe)?;
    let rows = row::read(&recipe.pairs)?;
    let prompts = Prompts::new(&rows, &recipe.prompt, recipe.seed)?;
    let (decoder, frozen, asker) = policy::load(
        &recipe.policy,
        recipe.adapter.as_ref(),
        judges.sense,
        recipe.seed,
    )?;
    let language = Language::of(&recipe.language, &recipe.reward, &frozen, &asker)?;
    let mut reward = ClauseReward::new(judges, &asker, language, &recipe.reward)?;
    let comparisons = if recipe.preferences.as_os_str().is_empty() {
        let path = context
            .out
            .join(format!("preferences-{}.jsonl", key(recipe)));
        if !path.exists() {
            let engine = Engine::new(&frozen, WeightType::of(ops::precision()))?;
            let made = make(recipe, &prompts, &engine, &asker, &mut reward, context)?;
            write(&path, &made)?;
        }
        read(&path)?
    } else {
        read(&recipe.preferences)?
    };
    let most = recipe.prompt.max_clause;
    let examples: Vec<Example> = comparisons
        .iter()
        .map(|c| Example::new(c, &asker, most))
        .collect::<Result<_>>()?;
    context.say(&format!("{} pairs of answers", examples.len()));
    if examples.len() < recipe.batch {
        return Err(Error::Input(format!(
            "only {} pairs of answers, fewer than one batch of {}; ask more sentences, lower margin or batch",
            examples.len(),
            recipe.batch
        )));
    }
    let mut task = Prefs {
        held_out: prompts.held_out(recipe.valid_prompts, &asker)?,
        reference: matches!(recipe.objective, Preference::Dpo { .. }).then_some(frozen),
        recipe,
        decoder,
        examples,
        reward,
        drawn: 0,
    };
    let summary = trainer::run(&mut task, &recipe.trainer, context)?;
    policy::save(&task.decoder, &asker, &context.out, StoreType::Bf16)?;
    Ok(summary)
}

/// What the pairs of answers depend on.
fn key(recipe: &PrefsRecipe) -> String {
    let parts = PrefsRecipe {
        // Only learning depends on these.
        objective: Preference::DPO,
        trainer: TrainerConfig::default(),
        adapter: None,
        batch: 0,
        valid_prompts: 0,
        ..recipe.clone()
    };
    let text = serde_json::to_string(&parts).expect("plain data serialises");
    sha256(text.as_bytes())[..12].to_owned()
}

/// The best and the worst answer to each sentence, where the best leads by the margin.
///
/// # Errors
/// What the model or the judges report; a judge that fails too often; [`Error::InterruptedEarly`].
pub fn make(
    recipe: &PrefsRecipe,
    prompts: &Prompts,
    engine: &Engine,
    asker: &Asker,
    reward: &mut ClauseReward<'_>,
    context: &RunContext,
) -> Result<Vec<Comparison>> {
    let mut made = Vec::new();
    let (mut asked, mut failed, mut last) = (0, 0, String::new());
    let batches = recipe.sentences.div_ceil(TOGETHER);
    for batch in 0..batches as u64 {
        context.check("comparing answers")?;
        let items = prompts.draw(batch, TOGETHER, asker)?;
        let drawn = answers(engine, &items, recipe.candidates, recipe, batch)?;
        for judged in score(reward, items, &drawn)? {
            asked += 1;
            if let Err(why) = judged {
                failed += 1;
                last = why;
            }
        }
        for ((item, verdicts), drawn) in reward.verdicts().zip(&drawn) {
            let totals: Vec<f64> = verdicts.iter().map(|v| v.total(&recipe.reward)).collect();
            let Some((best, worst)) = ends(&totals) else {
                continue;
            };
            let answer = |i: usize| Answer {
                clause: verdicts[i].clause.clone(),
                ids: drawn[i].generated.ids.clone(),
                reward: Some(totals[i]),
            };
            if verdicts[best].score.is_ok() && totals[best] - totals[worst] >= recipe.margin {
                made.push(Comparison {
                    text: item.text.clone(),
                    wish: item.wish.clone(),
                    chosen: answer(best),
                    rejected: answer(worst),
                });
            }
        }
        if batch % 10 == 9 {
            context.say(&format!("{} pairs from {asked} sentences", made.len()));
        }
    }
    if 20 * failed > asked {
        return Err(Error::Input(format!(
            "{failed} of {asked} groups of answers could not be judged; the last one: {last}"
        )));
    }
    Ok(made)
}

/// The places of the greatest and the least number, the first of equals; `None` without numbers.
fn ends(x: &[f64]) -> Option<(usize, usize)> {
    let first = |better: fn(f64, f64) -> bool| {
        (0..x.len()).reduce(|best, i| if better(x[i], x[best]) { i } else { best })
    };
    Some((first(|a, b| a > b)?, first(|a, b| a < b)?))
}

fn answers(
    engine: &Engine,
    items: &[Item],
    each: usize,
    recipe: &PrefsRecipe,
    number: u64,
) -> Result<Vec<Vec<Completion>>> {
    let prompts: Vec<Prompt> = items.iter().map(|item| item.prompt.clone()).collect();
    let most = recipe.prompt.max_clause + AFTER_LIMIT;
    let seed = recipe.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
    draw(engine, &prompts, each, most, &[], seed)
}

fn score(
    reward: &mut ClauseReward<'_>,
    items: Vec<Item>,
    drawn: &[Vec<Completion>],
) -> Result<Vec<crate::grpo::Judged>> {
    let prompts: Vec<Vec<u32>> = items.iter().map(|item| item.prompt.ids.clone()).collect();
    let rollouts: Vec<Rollout<'_>> = prompts
        .iter()
        .zip(drawn)
        .map(|(prompt, completions)| Rollout {
            prompt,
            completions,
        })
        .collect();
    reward.expect(items);
    reward.score(&rollouts)
}

/// Reads a file of preferences.
///
/// # Errors
/// The line that is none.
pub fn read(path: &Path) -> Result<Vec<Comparison>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty());
    lines
        .map(|(i, line)| {
            serde_json::from_str(line)
                .map_err(|e| Error::data(path, format!("line {}: {e}", i + 1)))
        })
        .collect()
}

/// Writes a file of preferences, whole or not at all.
///
/// # Errors
/// What the file system reports.
pub fn write(path: &Path, comparisons: &[Comparison]) -> Result<()> {
    let mut text = String::new();
    for comparison in comparisons {
        let line = serde_json::to_string(comparison).expect("plain data serialises");
        writeln!(text, "{line}").expect("strings take everything");
    }
    write_atomically(path, text.as_bytes())
}

/// A comparison in tokens.
struct Example {
    prompt: Prompt,
    answers: [Vec<u32>; 2],
}

impl Example {
    fn new(comparison: &Comparison, asker: &Asker, most: usize) -> Result<Self> {
        let text = &comparison.text;
        let failed = |e: visa_align::AlignError| Error::Input(e.to_string());
        let unfit = |detail: &str| {
            Error::Input(format!(
                "the comparison on {:?} {detail}; make the preferences again",
                text.chars().take(60).collect::<String>()
            ))
        };
        let edit = editable(text)
            .into_iter()
            .find(|edit| edit.end == text.len())
            .ok_or_else(|| unfit("does not end in a sentence that bears a clause"))?;
        let asked = asker
            .ask(text, &edit, comparison.wish.as_array(), most)
            .map_err(failed)?
            .ok_or_else(|| unfit("is too long for the decoder"))?;
        let ids = |answer: &Answer| -> Result<Vec<u32>> {
            if !answer.ids.is_empty() {
                return Ok(answer.ids.clone());
            }
            let (tokenizer, marks) = (asker.tokenizer(), asker.marks());
            let mut ids = tokenizer.encode_plain(&answer.clause)?.ids;
            let end = marks.terminator(tokenizer, &text[edit.clause..edit.end]);
            ids.extend(end.map_err(failed)?);
            Ok(ids)
        };
        Ok(Self {
            answers: [ids(&comparison.chosen)?, ids(&comparison.rejected)?],
            prompt: Prompt {
                ids: asked.prompt,
                shield: asked.shield,
            },
        })
    }
}

/// Learning from comparisons as a task.
struct Prefs<'a> {
    recipe: &'a PrefsRecipe,
    decoder: Decoder,
    reference: Option<Decoder>,
    examples: Vec<Example>,
    held_out: Vec<Item>,
    reward: ClauseReward<'a>,
    /// Micro-batches drawn.
    drawn: u64,
}

impl Prefs<'_> {
    /// The examples of the next micro-batch, each once in a pass.
    fn next(&mut self) -> Vec<usize> {
        let (size, n) = (self.recipe.batch, self.examples.len());
        let per_pass = (n / size) as u64;
        let (pass, place) = (self.drawn / per_pass, (self.drawn % per_pass) as usize);
        let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.seed);
        rng.set_stream(1);
        rng.set_word_pos(u128::from(pass) << 32);
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut rng);
        self.drawn += 1;
        order[place * size..(place + 1) * size].to_vec()
    }
}

impl Task for Prefs<'_> {
    fn vars(&self) -> Vec<(String, Var)> {
        self.decoder.vars()
    }

    fn loss(&mut self, _step: u64, _steps: u64, _micro: usize) -> Result<Loss> {
        let picked = self.next();
        let examples: Vec<&Example> = picked.iter().map(|&i| &self.examples[i]).collect();
        let mut choices = Choices::new(self.decoder.config().vocab_size);
        let mut lens = Vec::with_capacity(2 * examples.len());
        for example in &examples {
            for ids in &example.answers {
                match &example.prompt.shield {
                    Some(shield) => choices.record(ids, &mut shield.clone())?,
                    None => choices.free(ids.len()),
                }
                lens.push(ids.len());
            }
        }
        let groups: Vec<Group<'_>> = examples
            .iter()
            .map(|example| Group {
                prompt: &example.prompt.ids,
                completions: example.answers.iter().map(Vec::as_slice).collect(),
            })
            .collect();
        let reference = match &self.reference {
            Some(reference) => {
                let logprobs = reference.group_logprobs_among(&groups, choices.all())?;
                Some(logprobs.to_vec1::<f32>()?)
            }
            None => None,
        };
        let logprobs = self.decoder.group_logprobs_among(&groups, choices.all())?;
        let values = logprobs.to_vec1::<f32>()?;
        let pairs = Pairs {
            lens: &lens,
            logprobs: &values,
            reference: reference.as_deref(),
        };
        let objective = preference::loss(&pairs, examples.len(), self.recipe.objective)?;
        let slope = surrogate(&logprobs, &objective.gradient)?;
        // The slope is the loss's; the constant gives it the loss's value too, for the log.
        let value = f64::from(slope.to_scalar::<f32>()?);
        Ok(Loss {
            loss: (slope + (objective.loss - value))?,
            weight: examples.len() as f64,
            items: values.len(),
            metrics: objective.metrics,
        })
    }

    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        if self.held_out.is_empty() {
            return Ok(Metrics::new());
        }
        let engine = Engine::new(&self.decoder, WeightType::of(ops::precision()))?;
        let drawn = answers(&engine, &self.held_out, LOOKS, self.recipe, 0)?;
        score(&mut self.reward, self.held_out.clone(), &drawn)?;
        Ok(self.reward.metrics())
    }

    fn state(&self) -> Result<serde_json::Value> {
        Ok(self.drawn.into())
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.drawn = trainer::data_position(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::rewriter::testing::{self, Letters, Picky, weights};

    fn recipe(dir: &Path) -> PrefsRecipe {
        let (policy, pairs) = testing::policy_and_pairs(dir);
        PrefsRecipe {
            precision: Precision::F32,
            policy,
            pairs,
            // A random decoder seldom ends a clause by itself, and cut ones are not chosen.
            sentences: 128,
            candidates: 8,
            margin: 0.01,
            batch: 2,
            valid_prompts: 3,
            reward: testing::lenient(),
            trainer: TrainerConfig {
                steps: 4,
                accumulate: 2,
                eval_every: 4,
                log_every: 1,
                checkpoint_every: 2,
                ..TrainerConfig::default()
            },
            ..PrefsRecipe::default()
        }
    }

    const JUDGES: Judges<'static> = Judges {
        values: &Letters,
        checker: &Picky(""),
        sense: None,
    };

    #[test]
    fn answers_become_pairs_and_pairs_a_policy_that_resumes_to_the_same_bytes() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = |out: &str| crate::lm::tests::context(dir.path(), out, &stop);
        let recipe = recipe(dir.path());
        let whole = context("whole");
        let summary = train(&recipe, JUDGES, &whole).unwrap();
        assert!(
            summary
                .evaluation
                .iter()
                .any(|(name, _)| name == "completions/usable")
        );
        let file = whole
            .out
            .join(format!("preferences-{}.jsonl", key(&recipe)));
        let comparisons = read(&file).unwrap();
        assert!(comparisons.len() >= recipe.batch, "{}", comparisons.len());
        for c in &comparisons {
            assert!(c.chosen.reward.unwrap() >= c.rejected.reward.unwrap() + recipe.margin);
        }

        let mut first = recipe.clone();
        first.trainer.steps = 2;
        first.trainer.schedule.shape = crate::schedule::Shape::Wsd;
        first.trainer.schedule.decay = 1;
        let mut all = first.clone();
        all.trainer.steps = 4;
        train(&all, JUDGES, &context("straight")).unwrap();
        train(&first, JUDGES, &context("parts")).unwrap();
        train(&all, JUDGES, &context("parts")).unwrap();
        assert_eq!(
            weights(&context("straight").out),
            weights(&context("parts").out)
        );

        // A given file, the other loss, an adapter.
        let given = PrefsRecipe {
            preferences: file,
            objective: Preference::SIMPO,
            adapter: Some(AdapterRecipe::default()),
            ..recipe.clone()
        };
        train(&given, JUDGES, &context("simpo")).unwrap();
        assert!(
            dir.path()
                .join("simpo/adapter/adapter_config.json")
                .exists()
        );
        assert_ne!(weights(&context("simpo").out), weights(&whole.out));
    }

    #[test]
    fn pairs_need_a_margin_and_a_batch() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = crate::lm::tests::context(dir.path(), "run", &stop);
        let strict = PrefsRecipe {
            margin: 100.0,
            ..recipe(dir.path())
        };
        let message = train(&strict, JUDGES, &context).unwrap_err().to_string();
        assert!(message.contains("only 0 pairs"), "{message}");
    }

    #[test]
    fn the_first_of_equals_stands_at_each_end() {
        assert_eq!(ends(&[0.5, 1.0, 0.25, 1.0, 0.25]), Some((1, 2)));
        assert_eq!(ends(&[1.0]), Some((0, 0)));
        assert_eq!(ends(&[]), None);
    }
}
