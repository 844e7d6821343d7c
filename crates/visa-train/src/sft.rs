//! `train sft`: the language model learns to write the clause that a wanted value shift asks for.
//!
//! One example is one sequence in the rewriter's format ([`visa_align::format`]); the loss counts
//! clause, final punctuation and end, and a little of the text before so that the model stays one.
//! Control tokens are dropped now and then, so that the model can also write without a wish. Which
//! clauses are good is not judged here: the loop's scores do that.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{Device, Tensor, Var};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use visa_align::embedded::Phrasebook;
use visa_align::format::{self, Marks};
use visa_nn::sample::{SampleOptions, generate_batch};
use visa_nn::{Decoder, StoreType, Tokenizer};

use crate::lm::{Precision, append, save_model};
use crate::pairs::row::{self, Kind, Row, Split};
use crate::pairs::{verdicts, written};
use crate::trainer::{self, Loss, Metrics, Summary, Task, TrainerConfig};
use crate::{Error, Result, RunContext};

/// Micro-batches that are sorted by length together.
const POOL: usize = 16;

/// Everything that makes a rewriter out of a language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftRecipe {
    /// Start of every random stream.
    pub seed: u64,
    /// The folder of the language model, with its tokenizer.
    pub lm: PathBuf,
    /// Factors of matrix products.
    pub precision: Precision,
    /// Examples in a micro-batch.
    pub batch: usize,
    /// Longest sequence in tokens; context is cut from the left, then left out.
    pub max_tokens: usize,
    /// Weight of the loss on context and stem, beside 1 on the clause.
    pub prompt_weight: f32,
    /// Share of examples whose control tokens are dropped.
    pub drop_control: f64,
    /// Held-out examples of each kind in an evaluation.
    pub valid_examples: usize,
    /// The file of pairs.
    pub pairs: PathBuf,
    /// Kinds of pairs that are learned from; they must have clauses.
    pub kinds: Vec<Kind>,
    /// How often each pair of a kind comes in a pass, where not once.
    pub times: BTreeMap<Kind, usize>,
    /// A folder whose speech acts ([`written`]) become the rewriter's phrase book; none if empty.
    pub book: PathBuf,
    /// A file of [`verdicts`] that tell how readers liked its phrases; none if empty.
    pub verdicts: PathBuf,
    /// The loop.
    pub trainer: TrainerConfig,
}

impl Default for SftRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            lm: "runs/lm/model".into(),
            precision: Precision::default(),
            batch: 32,
            max_tokens: 160,
            prompt_weight: 0.1,
            drop_control: 0.1,
            valid_examples: 200,
            pairs: "runs/pairs/pairs.jsonl".into(),
            kinds: vec![
                Kind::Mined,
                Kind::Argument,
                Kind::Kept,
                Kind::Generated,
                Kind::Written,
            ],
            times: BTreeMap::from([(Kind::Written, 3)]),
            book: PathBuf::new(),
            verdicts: PathBuf::new(),
            trainer: TrainerConfig::default(),
        }
    }
}

/// Trains the rewriter and writes it as bf16 into the folder `model` of the run.
///
/// # Errors
/// What data, checkpoints or the loop report; [`Error::Interrupted`] after a checkpoint.
pub fn train(recipe: &SftRecipe, context: &RunContext) -> Result<Summary> {
    recipe.precision.set();
    context.save_recipe(recipe)?;
    let tokenizer = Tokenizer::load(&recipe.lm)?;
    let mut decoder = Decoder::load(&recipe.lm, &Device::Cpu)?;
    tokenizer.check_fits(decoder.config().vocab_size)?;
    decoder.set_trainable(|_| true)?;
    let positions = decoder.config().max_position_embeddings;
    if recipe.max_tokens > positions {
        let detail = format!(
            "max_tokens {} is more than the {positions} positions of the language model; lower it",
            recipe.max_tokens
        );
        return Err(Error::recipe(&context.out.join("recipe.toml"), detail));
    }
    // What is missing is better told before the training than behind it.
    let book = book(recipe)?;
    let rows = row::read(&recipe.pairs)?;
    let mut task = Sft::new(recipe, tokenizer, decoder, &rows, context)?;
    let summary = trainer::run(&mut task, &recipe.trainer, context)?;
    save_model(
        &task.decoder,
        &task.tokenizer,
        &context.out.join("model"),
        StoreType::Bf16,
    )?;
    if let Some(book) = book {
        let dir = context.out.join("model");
        book.save(&dir).map_err(Error::io(&dir))?;
    }
    Ok(summary)
}

/// The phrase book that the recipe asks for, if any.
fn book(recipe: &SftRecipe) -> Result<Option<Phrasebook>> {
    if recipe.book.as_os_str().is_empty() {
        return Ok(None);
    }
    let acts = written::read(&recipe.book)?.acts;
    let clauses = (acts.iter()).flat_map(|act| {
        (act.clauses.iter()).map(|(clause, shift)| (clause.as_str(), shift, act.acts))
    });
    let book = Phrasebook::new(clauses);
    if recipe.verdicts.as_os_str().is_empty() {
        return Ok(Some(book));
    }
    let shares = verdicts::shares(&verdicts::read(&recipe.verdicts)?);
    Ok(Some(
        book.with_approval(|clause| shares.get(clause).copied()),
    ))
}

/// A tokenised pair: the prompt in two forms, and what is to be written.
#[derive(Clone)]
struct Example {
    /// `<|begin|>` and value tokens.
    control: Vec<u32>,
    /// `<|text|>` to the end of the stem.
    prompt: Vec<u32>,
    /// Clause, final punctuation, `<|end|>`.
    answer: Vec<u32>,
    shift: [f32; 10],
    kind: Kind,
}

impl Example {
    /// `None` for what is too long, or has no clause.
    fn new(row: &Row, tokenizer: &Tokenizer, marks: &Marks, max: usize) -> Result<Option<Self>> {
        let (Some(clause), Some(stem)) = (row.clause.as_deref(), row.stem()) else {
            return Ok(None);
        };
        let shift = row.shift.as_ref().map_or([0.0; 10], |s| *s.as_array());
        let mut control = vec![marks.begin];
        for token in format::value_tokens(&shift) {
            control.push(tokenizer.require(&token)?);
        }
        let plain = |text: &str| Ok::<_, Error>(tokenizer.encode_plain(text)?.ids);
        let mut answer = plain(clause)?;
        answer.extend(plain(&row.terminator)?);
        answer.push(marks.end);
        let stem = plain(stem)?;
        let room = max.saturating_sub(control.len() + stem.len() + answer.len() + 2);
        let mut before = plain(&row.context)?;
        if before.len() > room {
            // Half a context is worse than none: inference gives whole sentences.
            before.clear();
        }
        let mut prompt = vec![marks.text];
        prompt.extend(before);
        prompt.push(marks.edit);
        prompt.extend(stem);
        let len = control.len() + prompt.len() + answer.len();
        Ok((len <= max).then_some(Self {
            control,
            prompt,
            answer,
            shift,
            kind: row.kind,
        }))
    }

    fn len(&self) -> usize {
        self.control.len() + self.prompt.len() + self.answer.len()
    }
}

/// Rows of a batch, padded on the right.
#[derive(Default)]
struct Rows {
    rows: Vec<(Vec<u32>, Vec<f32>)>,
}

impl Rows {
    /// Adds an example, with or without its control tokens.
    fn push(&mut self, example: &Example, control: bool, prompt_weight: f32) {
        let head = if control {
            &example.control[..]
        } else {
            &example.control[..1]
        };
        let ids = [head, &example.prompt, &example.answer].concat();
        // The weight of a target stands at its input; control tokens are given, not learnt.
        let mut weights = vec![0.0; head.len()];
        weights.extend(vec![prompt_weight; example.prompt.len() - 1]);
        weights.extend(vec![1.0; example.answer.len()]);
        self.rows.push((ids, weights));
    }

    /// Inputs, targets and weights `[B, S]`, and how many tokens were not padding.
    fn tensors(&self, pad: u32) -> Result<(Tensor, Tensor, Tensor, usize)> {
        let width = self
            .rows
            .iter()
            .map(|(ids, _)| ids.len() - 1)
            .max()
            .unwrap_or(1);
        let (mut ids, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut tokens = 0;
        for (row, row_weights) in &self.rows {
            let n = row.len() - 1;
            tokens += n;
            ids.extend_from_slice(&row[..n]);
            targets.extend_from_slice(&row[1..]);
            weights.extend_from_slice(&row_weights[..n]);
            for _ in n..width {
                ids.push(pad);
                targets.push(pad);
                weights.push(0.0);
            }
        }
        let shape = (self.rows.len(), width);
        Ok((
            Tensor::from_vec(ids, shape, &Device::Cpu)?,
            Tensor::from_vec(targets, shape, &Device::Cpu)?,
            Tensor::from_vec(weights, shape, &Device::Cpu)?,
            tokens,
        ))
    }
}

/// The rewriter as a task.
struct Sft<'a> {
    recipe: &'a SftRecipe,
    tokenizer: Tokenizer,
    decoder: Decoder,
    pad: u32,
    end: u32,
    train: Vec<Example>,
    valid: Vec<Example>,
    /// What the generator's clauses move, by their tokens up to the end.
    known: HashMap<Vec<u32>, [f32; 10]>,
    /// The order of one pass, made when first needed.
    order: Option<(u64, Vec<Vec<u32>>)>,
    /// Micro-batches drawn.
    drawn: u64,
    samples: PathBuf,
}

impl<'a> Sft<'a> {
    fn new(
        recipe: &'a SftRecipe,
        tokenizer: Tokenizer,
        decoder: Decoder,
        rows: &[Row],
        context: &RunContext,
    ) -> Result<Self> {
        let marks = Marks::of(&tokenizer).map_err(|e| Error::Input(e.to_string()))?;
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| recipe.kinds.contains(&row.kind)) {
            let (into, times) = match row.split {
                Split::Train => {
                    let times = recipe.times.get(&row.kind).copied();
                    (&mut train, times.unwrap_or(1))
                }
                Split::Valid => (&mut valid, 1),
                Split::Test => continue,
            };
            if let Some(example) = Example::new(row, &tokenizer, &marks, recipe.max_tokens)? {
                into.extend(std::iter::repeat_n(example, times));
            }
        }
        if train.len() < recipe.batch {
            return Err(Error::Input(format!(
                "only {} examples, fewer than one batch of {}; give it more pairs, or more kinds of them",
                train.len(),
                recipe.batch
            )));
        }
        let generated = train
            .iter()
            .filter(|e: &&Example| e.kind == Kind::Generated);
        let known = generated.map(|e| (e.answer.clone(), e.shift)).collect();
        context.say(&format!(
            "{} examples, {} held out",
            train.len(),
            valid.len()
        ));
        Ok(Self {
            recipe,
            decoder,
            pad: marks.pad,
            end: marks.end,
            tokenizer,
            train,
            valid,
            known,
            order: None,
            drawn: 0,
            samples: context.out.join("samples.txt"),
        })
    }

    /// The examples of the next micro-batch: of similar length, each once in a pass.
    fn next(&mut self) -> Vec<u32> {
        let size = self.recipe.batch;
        let per_pass = (self.train.len() / size) as u64;
        let (pass, place) = (self.drawn / per_pass, self.drawn % per_pass);
        if self.order.as_ref().is_none_or(|(of, _)| *of != pass) {
            let mut rng = self.rng(1, pass);
            let mut all: Vec<u32> = (0..self.train.len() as u32).collect();
            all.shuffle(&mut rng);
            all.truncate(per_pass as usize * size);
            let mut batches = Vec::new();
            for pool in all.chunks_mut(size * POOL) {
                pool.sort_by_key(|&i| self.train[i as usize].len());
                batches.extend(pool.chunks(size).map(<[u32]>::to_vec));
            }
            batches.shuffle(&mut rng);
            self.order = Some((pass, batches));
        }
        self.drawn += 1;
        let (_, batches) = self.order.as_ref().expect("made above");
        batches[place as usize].clone()
    }

    fn rng(&self, stream: u64, number: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(number) << 32);
        rng
    }

    /// Mean loss on the answers of held-out examples of one kind.
    fn held_out(&self, kind: Kind, control: bool) -> Result<Option<f64>> {
        let mut all: Vec<&Example> = self.valid.iter().filter(|e| e.kind == kind).collect();
        all.truncate(self.recipe.valid_examples);
        let (mut sum, mut weight) = (0.0, 0.0);
        for part in all.chunks(self.recipe.batch) {
            let mut rows = Rows::default();
            for example in part {
                rows.push(example, control, 0.0);
            }
            let (ids, targets, weights, _) = rows.tensors(self.pad)?;
            let (loss, n) = self.decoder.loss_sum(&ids, &targets, &weights, None)?;
            sum += f64::from(loss.to_scalar::<f32>()?);
            weight += n;
        }
        Ok((weight > 0.0).then(|| sum / weight))
    }

    /// Samples clauses for the wishes of held-out generated examples. Of those that the generator
    /// could have written: the share that moves the wished value, and moves it the wished way.
    fn obedience(&self) -> Result<Metrics> {
        let valid = self.valid.iter().filter(|e| {
            e.kind == Kind::Generated && e.shift.iter().filter(|d| **d != 0.0).count() == 1
        });
        let asked: Vec<&Example> = valid.take(self.recipe.valid_examples).collect();
        let prompts: Vec<Vec<u32>> = asked
            .iter()
            .map(|e| [&e.control[..], &e.prompt].concat())
            .collect();
        if prompts.is_empty() {
            return Ok(Metrics::new());
        }
        let options = SampleOptions {
            temperature: 0.8,
            top_p: 0.95,
            seed: self.recipe.seed,
            max_tokens: 40,
            stop_ids: vec![self.end],
            ..SampleOptions::default()
        };
        let (mut known, mut value, mut sign) = (0.0, 0.0, 0.0);
        let outputs = generate_batch(&self.decoder, &prompts, &options, &mut [])?;
        for (example, output) in asked.iter().zip(outputs) {
            let Some(moved) = self.known.get(&output.ids) else {
                continue;
            };
            known += 1.0;
            let wished = example
                .shift
                .iter()
                .position(|d| *d != 0.0)
                .unwrap_or_default();
            if moved[wished] != 0.0 {
                value += 1.0;
                sign += f64::from(moved[wished].signum() == example.shift[wished].signum());
            }
        }
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        Ok(vec![
            ("sampled_known".into(), known / asked.len() as f64),
            ("sampled_value".into(), share(value, known)),
            ("sampled_sign".into(), share(sign, value)),
        ])
    }

    /// Clauses for the first held-out stems: without a wish, and for two opposite wishes.
    fn write_samples(&self, step: u64) -> Result<()> {
        let wishes = [
            [0.0; 10],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0],
            [0.8, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.4],
        ];
        let (mut prompts, mut names) = (Vec::new(), Vec::new());
        let mined = self.valid.iter().filter(|e| e.kind == Kind::Mined);
        for example in mined.take(6) {
            for wish in &wishes {
                let mut ids = vec![example.control[0]];
                let tokens = format::value_tokens(wish);
                for token in &tokens {
                    ids.push(self.tokenizer.require(token)?);
                }
                ids.extend(&example.prompt);
                let stem = example.prompt.rsplit(|&id| id == example.prompt[0]).next();
                names.push((
                    self.tokenizer.decode(stem.unwrap_or_default())?,
                    tokens.concat(),
                ));
                prompts.push(ids);
            }
        }
        let options = SampleOptions {
            temperature: 0.7,
            top_p: 0.9,
            seed: self.recipe.seed,
            max_tokens: 32,
            stop_ids: vec![self.end],
            ..SampleOptions::default()
        };
        let outputs = generate_batch(&self.decoder, &prompts, &options, &mut [])?;
        let mut text = format!("== step {step}\n");
        for ((stem, wish), output) in names.iter().zip(outputs) {
            let clause = self.tokenizer.decode(&output.ids)?;
            text.push_str(&format!("{stem} |{clause}   {wish}\n"));
        }
        append(&self.samples, &text)
    }
}

impl Task for Sft<'_> {
    fn vars(&self) -> Vec<(String, Var)> {
        self.decoder.vars()
    }

    fn loss(&mut self, _step: u64, _steps: u64, _micro: usize) -> Result<Loss> {
        let mut rng = self.rng(2, self.drawn);
        let picked = self.next();
        let mut rows = Rows::default();
        for &i in &picked {
            let control = !rng.random_bool(self.recipe.drop_control.clamp(0.0, 1.0));
            rows.push(&self.train[i as usize], control, self.recipe.prompt_weight);
        }
        let (ids, targets, weights, tokens) = rows.tensors(self.pad)?;
        let (sum, weight) = self.decoder.loss_sum(&ids, &targets, &weights, None)?;
        Ok(Loss {
            loss: (sum / weight)?,
            weight,
            items: tokens,
            metrics: Vec::new(),
        })
    }

    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        for kind in &self.recipe.kinds {
            let name = kind.name();
            let Some(with) = self.held_out(*kind, true)? else {
                continue;
            };
            metrics.push((format!("valid_{name}"), with));
            // How much the value tokens say about the clause: nats a token.
            if let Some(without) = self.held_out(*kind, false)? {
                metrics.push((format!("control_{name}"), without - with));
            }
        }
        metrics.extend(self.obedience()?);
        self.write_samples(step)?;
        Ok(metrics)
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
    use crate::lm;

    fn pair(stem: &str, clause: &str, security: f32) -> Row {
        let mut shift = [0.0; 10];
        shift[5] = security;
        Row {
            kind: Kind::Mined,
            topic: stem.into(),
            split: Split::Train,
            context: "It rains.".into(),
            source: format!("{stem}."),
            target: format!("{stem}{clause}."),
            clause: Some(clause.into()),
            terminator: ".".into(),
            shift: Some(visa_values::Shift::new(shift).unwrap()),
            before: None,
            after: None,
            consistency: None,
            guards: 0,
        }
    }

    #[test]
    fn the_loss_counts_clause_mark_and_end() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::load(&lm::tests::tiny(dir.path()).tokenizer).unwrap();
        let marks = Marks::of(&tokenizer).unwrap();
        let pair = pair("He walks", " because it is near", 0.7);
        let example = Example::new(&pair, &tokenizer, &marks, 160)
            .unwrap()
            .unwrap();
        let decoded = |ids: &[u32]| tokenizer.decode_all(ids).unwrap();
        assert_eq!(decoded(&example.control), "<|begin|><|security:+2|>");
        assert_eq!(
            decoded(&example.prompt),
            "<|text|>It rains.<|edit|>He walks"
        );
        assert_eq!(decoded(&example.answer), " because it is near.<|end|>");

        let mut rows = Rows::default();
        rows.push(&example, true, 0.25);
        rows.push(&example, false, 0.25);
        let (ids, targets, weights, tokens) = rows.tensors(marks.pad).unwrap();
        let (n, width) = (example.len(), example.len() - 1);
        assert_eq!(ids.dims(), [2, width]);
        assert_eq!(tokens, width + width - 1);
        let targets = targets.to_vec2::<u32>().unwrap();
        let weights = weights.to_vec2::<f32>().unwrap();
        let counted = |row: usize| -> Vec<u32> {
            let pairs = targets[row].iter().zip(&weights[row]);
            pairs.filter(|(_, w)| **w == 1.0).map(|(t, _)| *t).collect()
        };
        assert_eq!(counted(0), example.answer);
        assert_eq!(counted(1), example.answer);
        let light = weights[0].iter().filter(|w| **w == 0.25).count();
        assert_eq!(light, n - example.control.len() - example.answer.len() - 1);
    }

    #[test]
    fn too_long_a_context_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::load(&lm::tests::tiny(dir.path()).tokenizer).unwrap();
        let marks = Marks::of(&tokenizer).unwrap();
        let mut pair = pair("He walks", " because it is near", 0.0);
        pair.context = "It rains. ".repeat(40);
        let example = Example::new(&pair, &tokenizer, &marks, 40)
            .unwrap()
            .unwrap();
        assert_eq!(example.prompt[..2], [marks.text, marks.edit]);
        pair.target = pair.target.replace("He walks", &"He walks ".repeat(40));
        assert!(
            Example::new(&pair, &tokenizer, &marks, 40)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_language_model_becomes_a_rewriter_folder() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let mut lm_recipe = lm::tests::tiny(dir.path());
        lm_recipe.model.context = 80;
        lm::train(&lm_recipe, &lm::tests::context(dir.path(), "lm", &stop)).unwrap();
        crate::pairs::tests::data(dir.path());
        let pairs = dir.path().join("pairs/pairs.jsonl");
        let made = crate::pairs::PairsRecipe {
            generated: 160,
            valid_share: 0.2,
            ..crate::pairs::tests::recipe()
        };
        let context = lm::tests::context(dir.path(), "pairs", &stop);
        crate::pairs::write(&made, None, &pairs, &context).unwrap();
        let recipe = SftRecipe {
            precision: Precision::F32,
            lm: dir.path().join("lm/model"),
            batch: 4,
            pairs,
            trainer: TrainerConfig {
                steps: 8,
                eval_every: 4,
                ..TrainerConfig::default()
            },
            ..SftRecipe::default()
        };
        let mut long = recipe.clone();
        long.max_tokens = 161;
        let context = lm::tests::context(dir.path(), "long", &stop);
        let message = train(&long, &context).unwrap_err().to_string();
        assert!(message.contains("max_tokens 161"), "{message}");

        let mut short = recipe.clone();
        // Four positions hold no example.
        short.max_tokens = 4;
        let context = lm::tests::context(dir.path(), "short", &stop);
        let message = train(&short, &context).unwrap_err().to_string();
        assert!(message.contains("fewer than one batch"), "{message}");

        let context = lm::tests::context(dir.path(), "sft", &stop);
        let summary = train(&recipe, &context).unwrap();
        let names: Vec<&str> = summary.evaluation.iter().map(|(n, _)| n.as_str()).collect();
        assert!(names.contains(&"valid_generated") && names.contains(&"control_generated"));
        let model = context.out.join("model");
        for name in [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            assert!(model.join(name).exists(), "{name}");
        }
        let tokenizer = Tokenizer::load(&model).unwrap();
        let decoder = Decoder::load(&model, &Device::Cpu).unwrap();
        tokenizer.check_fits(decoder.config().vocab_size).unwrap();
    }
}
