//! `train lm`: a Llama decoder from scratch on plain text.
//!
//! Sequences are packed, so no token is padding; each source keeps a held-out part, and its loss is
//! reported by itself. The mix of sources, the model's shape and every rate are in the recipe. What
//! the model is for is not known here.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use visa_align::format;
use visa_nn::sample::{SampleOptions, generate_batch};
use visa_nn::{Decoder, DecoderConfig, StoreType, Tokenizer, ops};

use crate::data::{Mixer, Source, Stream, cache};
use crate::trainer::{self, Loss, Metrics, Summary, Task, TrainerConfig};
use crate::{Error, Result, RunContext, checkpoint};

/// The shape of a decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Width of the hidden states.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of the feed-forward layers.
    pub feed_forward: usize,
    /// Longest sequence that training sees.
    pub context: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            hidden: 256,
            layers: 8,
            heads: 8,
            kv_heads: 4,
            feed_forward: 704,
            context: 256,
        }
    }
}

/// Factors of matrix products, see [`ops::Precision`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// `f32` throughout.
    F32,
    /// `bf16` factors, `f32` sums, where the processor can.
    #[default]
    Bf16,
}

impl Precision {
    /// Sets the process-wide precision of products.
    pub fn set(self) {
        ops::set_precision(match self {
            Self::F32 => ops::Precision::F32,
            Self::Bf16 => ops::Precision::Bf16,
        });
    }
}

/// Everything that makes a language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LmRecipe {
    /// Start of every random stream.
    pub seed: u64,
    /// A folder with `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// The folder of a model to begin with in the place of random weights. One of half the width is doubled
    /// ([`Decoder::widened`]), fewer layers are repeated ([`Decoder::stacked`]). Random weights if empty.
    pub initial: PathBuf,
    /// Factors of matrix products.
    pub precision: Precision,
    /// Sequences in a micro-batch.
    pub batch: usize,
    /// Held-out sequences of each source in an evaluation.
    pub valid_sequences: usize,
    /// Beginnings that are continued at each evaluation, into `samples.txt`.
    pub prompts: Vec<String>,
    /// The model.
    pub model: Shape,
    /// The loop.
    pub trainer: TrainerConfig,
    /// The text.
    pub source: Vec<Source>,
}

impl Default for LmRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            tokenizer: "runs/tokenizer".into(),
            initial: PathBuf::new(),
            precision: Precision::default(),
            batch: 16,
            valid_sequences: 24,
            prompts: Vec::new(),
            model: Shape::default(),
            trainer: TrainerConfig::default(),
            source: Vec::new(),
        }
    }
}

/// The configuration of a fresh decoder of this shape.
pub fn decoder_config(shape: &Shape, tokenizer: &Tokenizer) -> Result<DecoderConfig> {
    if shape.heads == 0 || !shape.hidden.is_multiple_of(shape.heads) {
        let detail = format!(
            "hidden {} is not a multiple of heads {}",
            shape.hidden, shape.heads
        );
        return Err(Error::recipe(Path::new("[model]"), detail));
    }
    Ok(DecoderConfig {
        // A multiple of 64 keeps the rows of the head in whole vectors.
        vocab_size: tokenizer.vocab_size().next_multiple_of(64),
        hidden_size: shape.hidden,
        intermediate_size: shape.feed_forward,
        num_hidden_layers: shape.layers,
        num_attention_heads: shape.heads,
        num_key_value_heads: shape.kv_heads,
        head_dim: shape.hidden / shape.heads,
        // Rotary positions go on a little behind what training saw.
        max_position_embeddings: 2 * shape.context,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: Some(tokenizer.require(format::BEGIN)?),
        eos_token_ids: vec![tokenizer.require(format::END)?],
        pad_token_id: Some(tokenizer.require(format::PAD)?),
    })
}

/// The weights that training begins with.
fn beginning(recipe: &LmRecipe, config: &DecoderConfig) -> Result<Decoder> {
    if recipe.initial.as_os_str().is_empty() {
        return Ok(Decoder::new_random(config, recipe.seed, &Device::Cpu)?);
    }
    let mut found = Decoder::load(&recipe.initial, &Device::Cpu)?;
    if 2 * found.config().hidden_size == config.hidden_size {
        found = found.widened(recipe.seed)?;
    }
    let shape = |c: &DecoderConfig| {
        let head = (c.num_attention_heads, c.num_key_value_heads, c.head_dim);
        (c.vocab_size, c.hidden_size, c.intermediate_size, head)
    };
    if shape(found.config()) != shape(config) {
        let detail = format!(
            "begins at vocabulary, width, feed-forward and heads {:?}, the recipe asks for {:?}; only the depth may differ, and the width by half",
            shape(found.config()),
            shape(config)
        );
        return Err(Error::recipe(&recipe.initial, detail));
    }
    Ok(found.stacked(config.num_hidden_layers)?)
}

/// Trains the model of `recipe` and writes a Hugging Face folder `model` into the run's folder.
///
/// # Errors
/// What data, checkpoints or the loop report; [`Error::Interrupted`] after a checkpoint.
pub fn train(recipe: &LmRecipe, context: &RunContext) -> Result<Summary> {
    recipe.precision.set();
    context.save_recipe(recipe)?;
    let tokenizer = Tokenizer::load(&recipe.tokenizer)?;
    let mut task = Lm::new(recipe, tokenizer, context)?;
    let summary = trainer::run(&mut task, &recipe.trainer, context)?;
    let dir = context.out.join("model");
    save_model(&task.decoder, &task.tokenizer, &dir, StoreType::F32)?;
    Ok(summary)
}

/// Writes `config.json`, `generation_config.json`, `model.safetensors` and the tokenizer's files.
pub fn save_model(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    dir: &Path,
    dtype: StoreType,
) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    decoder.save(dir, dtype)?;
    crate::tokenizer::save(tokenizer, dir)?;
    let config = decoder.config();
    let generation = serde_json::json!({
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids.first(),
        "pad_token_id": config.pad_token_id,
        "do_sample": true,
        "temperature": 0.8,
        "top_p": 0.95,
    });
    let text = format!("{generation:#}\n");
    checkpoint::write_atomically(&dir.join("generation_config.json"), text.as_bytes())
}

/// The language model as a task.
struct Lm<'a> {
    recipe: &'a LmRecipe,
    tokenizer: Tokenizer,
    decoder: Decoder,
    mixer: Mixer,
    valid: Vec<(String, Vec<u32>)>,
    samples: PathBuf,
}

impl<'a> Lm<'a> {
    fn new(recipe: &'a LmRecipe, tokenizer: Tokenizer, context: &RunContext) -> Result<Self> {
        let config = decoder_config(&recipe.model, &tokenizer)?;
        let decoder = beginning(recipe, &config)?;
        let window = recipe.model.context;
        let (mut streams, mut valid) = (Vec::new(), Vec::new());
        for source in &recipe.source {
            let tokens = cache(source, &tokenizer, context)?;
            context.say(&format!(
                "{}: {:.2} M tokens, {:.2} M held out, weight {}",
                tokens.name,
                tokens.train.len() as f64 / 1e6,
                tokens.valid.len() as f64 / 1e6,
                tokens.weight
            ));
            let rows = tokens.valid.windows(window + 1).step_by(window);
            let held: Vec<u32> = rows
                .take(recipe.valid_sequences)
                .flatten()
                .map(|&t| u32::from(t))
                .collect();
            valid.push((tokens.name.clone(), held));
            streams.push(Stream {
                name: tokens.name,
                weight: tokens.weight,
                tokens: tokens.train,
            });
        }
        context.say(&format!(
            "{:.2} M weights",
            config.parameters() as f64 / 1e6
        ));
        Ok(Self {
            recipe,
            tokenizer,
            decoder,
            mixer: Mixer::new(streams, window, recipe.seed)?,
            valid,
            samples: context.out.join("samples.txt"),
        })
    }

    /// Mean loss of rows of `context + 1` tokens.
    fn mean_loss(&self, rows: &[u32]) -> Result<Tensor> {
        let (ids, targets) = split(rows, self.recipe.model.context + 1)?;
        Ok(self
            .decoder
            .token_losses(&ids, &targets, None)?
            .mean_all()?)
    }

    fn write_samples(&self, step: u64) -> Result<()> {
        if self.recipe.prompts.is_empty() {
            return Ok(());
        }
        let begin = self.tokenizer.require(format::BEGIN)?;
        let prompts = self.recipe.prompts.iter().map(|prompt| {
            let mut ids = vec![begin];
            ids.extend(self.tokenizer.encode_plain(prompt)?.ids);
            Ok(ids)
        });
        let prompts: Vec<Vec<u32>> = prompts.collect::<Result<_>>()?;
        let options = SampleOptions {
            temperature: 0.7,
            top_p: 0.9,
            seed: self.recipe.seed,
            max_tokens: 48,
            stop_ids: vec![self.tokenizer.require(format::END)?],
            ..SampleOptions::default()
        };
        let outputs = generate_batch(&self.decoder, &prompts, &options, &mut [])?;
        let mut text = format!("== step {step}\n");
        for (prompt, output) in self.recipe.prompts.iter().zip(outputs) {
            let continued = self.tokenizer.decode(&output.ids)?.replace('\n', " / ");
            text.push_str(&format!("{prompt} |{continued}\n"));
        }
        append(&self.samples, &text)
    }
}

/// Adds to a text file for people.
pub(crate) fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::io(path))
}

/// Inputs and targets `[B, width − 1]` of rows of `width` tokens.
fn split(rows: &[u32], width: usize) -> Result<(Tensor, Tensor)> {
    let count = rows.len() / width;
    let rows = Tensor::from_slice(rows, (count, width), &Device::Cpu)?;
    let ids = rows.narrow(1, 0, width - 1)?.contiguous()?;
    let targets = rows.narrow(1, 1, width - 1)?.contiguous()?;
    Ok((ids, targets))
}

impl Task for Lm<'_> {
    fn vars(&self) -> Vec<(String, Var)> {
        self.decoder.vars()
    }

    fn loss(&mut self, _step: u64, _steps: u64, _micro: usize) -> Result<Loss> {
        let rows = self.mixer.batch(self.recipe.batch);
        let tokens = self.recipe.batch * self.recipe.model.context;
        Ok(Loss {
            loss: self.mean_loss(&rows)?,
            weight: tokens as f64,
            items: tokens,
            metrics: Vec::new(),
        })
    }

    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        let width = self.recipe.model.context + 1;
        let mut metrics = Metrics::new();
        for (name, rows) in &self.valid {
            let (mut sum, mut count) = (0.0, 0.0);
            for part in rows.chunks(self.recipe.batch * width) {
                let n = (part.len() / width) as f64;
                sum += f64::from(self.mean_loss(part)?.to_scalar::<f32>()?) * n;
                count += n;
            }
            if count > 0.0 {
                metrics.push((format!("valid_{name}"), sum / count));
            }
        }
        self.write_samples(step)?;
        Ok(metrics)
    }

    fn state(&self) -> Result<serde_json::Value> {
        Ok(self.mixer.drawn().into())
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let drawn = serde_json::from_value(state.clone());
        let drawn =
            drawn.map_err(|e| Error::Input(format!("the checkpoint's data position: {e}")))?;
        self.mixer.set_drawn(drawn)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::data::Kind;

    /// A tokenizer and a little text in `dir`.
    pub(crate) fn tiny(dir: &Path) -> LmRecipe {
        let text: String = (0..300)
            .map(|i| format!("Number {i} walks to the market because it is near.\nIt rains.\n\n"))
            .collect();
        let specials = format::specials();
        let specials: Vec<&str> = specials.iter().map(String::as_str).collect();
        let tokenizer = Tokenizer::train_bpe(text.lines(), 340, &specials).unwrap();
        fs::create_dir_all(dir.join("tokenizer")).unwrap();
        crate::tokenizer::save(&tokenizer, &dir.join("tokenizer")).unwrap();
        fs::write(
            dir.join("a.zst"),
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        )
        .unwrap();
        LmRecipe {
            // The precision is the process's, which other tests share.
            precision: Precision::F32,
            tokenizer: dir.join("tokenizer"),
            batch: 2,
            valid_sequences: 2,
            prompts: vec!["Number".into()],
            model: Shape {
                hidden: 16,
                layers: 2,
                heads: 2,
                kv_heads: 1,
                feed_forward: 32,
                context: 16,
            },
            trainer: TrainerConfig {
                steps: 6,
                accumulate: 2,
                checkpoint_every: 2,
                eval_every: 3,
                log_every: 1,
                ..TrainerConfig::default()
            },
            source: vec![Source {
                name: "a".into(),
                kind: Kind::Text,
                path: "a.zst".into(),
                weight: 1.0,
                every: 1,
                skip: None,
            }],
            ..LmRecipe::default()
        }
    }

    pub(crate) fn context<'a>(dir: &Path, out: &str, stop: &'a AtomicBool) -> RunContext<'a> {
        RunContext {
            data: dir.into(),
            out: dir.join(out),
            stop,
            progress: false,
        }
    }

    #[test]
    fn a_resumed_model_has_the_same_bytes() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let recipe = tiny(dir.path());
        let whole = context(dir.path(), "whole", &stop);
        let summary = train(&recipe, &whole).unwrap();
        assert_eq!(summary.evaluation.len(), 1);
        let loss = summary.evaluation[0].1;
        assert!(loss > 1.0 && loss < 6.5, "{loss}");

        let parts = context(dir.path(), "parts", &stop);
        let mut first = recipe.clone();
        first.trainer.steps = 3;
        // The schedule knows the end, so the first half must aim at the same one.
        first.trainer.schedule.shape = crate::schedule::Shape::Wsd;
        first.trainer.schedule.decay = 1;
        let mut all = first.clone();
        all.trainer.steps = 6;
        let whole = context(dir.path(), "whole-wsd", &stop);
        train(&all, &whole).unwrap();
        stop.store(true, Ordering::Relaxed);
        // Stopped while text is prepared: nothing is left half-done.
        assert!(train(&all, &parts).unwrap_err().is_interruption());
        stop.store(false, Ordering::Relaxed);
        train(&first, &parts).unwrap();
        train(&all, &parts).unwrap();
        let name = "model/model.safetensors";
        assert_eq!(
            fs::read(whole.out.join(name)).unwrap(),
            fs::read(parts.out.join(name)).unwrap()
        );
        assert!(
            fs::read_to_string(parts.out.join("samples.txt"))
                .unwrap()
                .contains("Number |")
        );
    }

    #[test]
    fn a_shallow_model_goes_on_as_a_deeper_one() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let mut recipe = tiny(dir.path());
        train(&recipe, &context(dir.path(), "shallow", &stop)).unwrap();
        recipe.initial = dir.path().join("shallow/model");
        recipe.model.layers = 4;
        let begun = |recipe: &LmRecipe| {
            let tokenizer = Tokenizer::load(&recipe.tokenizer).unwrap();
            beginning(recipe, &decoder_config(&recipe.model, &tokenizer).unwrap())
        };
        let deep = begun(&recipe).unwrap();
        let values = |layer: usize| {
            let name = format!("model.layers.{layer}.mlp.up_proj.weight");
            let weight = deep.params().get(&name).unwrap();
            weight.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!((values(0), values(1)), (values(2), values(3)));
        assert_ne!(values(0), values(1));
        let summary = train(&recipe, &context(dir.path(), "deep", &stop)).unwrap();
        assert!(summary.evaluation[0].1 < 6.5);
        recipe.model = Shape {
            hidden: 32,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            feed_forward: 64,
            context: 16,
        };
        let wide = train(&recipe, &context(dir.path(), "wide", &stop)).unwrap();
        assert!(wide.evaluation[0].1 < 6.5);
        recipe.model = tiny(dir.path()).model;
        recipe.model.layers = 1;
        let message = begun(&recipe).unwrap_err().to_string();
        assert!(message.contains("cannot be stacked to 1"), "{message}");
        recipe.model.feed_forward = 48;
        let message = begun(&recipe).unwrap_err().to_string();
        assert!(message.contains("only the depth may differ"), "{message}");
    }

    #[test]
    fn the_committed_recipes_grow_into_each_other() {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let read =
            |name: &str| -> LmRecipe { crate::runlog::read_recipe(&recipes.join(name)).unwrap() };
        let (small, wide, deep) = (read("lm.toml"), read("lm13.toml"), read("lm22.toml"));
        assert!(small.initial.as_os_str().is_empty());
        let doubled = Shape {
            hidden: 2 * small.model.hidden,
            heads: 2 * small.model.heads,
            kv_heads: 2 * small.model.kv_heads,
            feed_forward: 2 * small.model.feed_forward,
            ..small.model
        };
        assert_eq!(wide.model, doubled);
        let deeper = Shape {
            layers: deep.model.layers,
            ..wide.model
        };
        assert_eq!(deep.model, deeper);
        assert!(deep.model.layers > wide.model.layers);
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut recipe = tiny(dir.path());
        recipe.model.heads = 3;
        let tokenizer = Tokenizer::load(&recipe.tokenizer).unwrap();
        let message = decoder_config(&recipe.model, &tokenizer)
            .unwrap_err()
            .to_string();
        assert!(message.contains("heads 3"), "{message}");
    }
}
