//! The shared encoder, and a model that stands on it: tokens in, calibrated probabilities out.
//!
//! Detector, translator and consistency checker differ only in what they feed and how they read the answer. What they
//! share is here: loading (the adapter is added to the weights once), tokenising in parallel, batches of like length.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use visa_nn::{Batch, Encoder, EncoderEngine, Encoding, Tokenizer, WeightType};

use crate::error::{AlignError, Result};
use crate::head::{Head, HeadKind, Input, Specials, encode_input};
use crate::models::{Models, Part, check_files};

/// Padded tokens a batch: 64 texts of 32 tokens. Larger batches gain nothing on a CPU and cost memory.
const BATCH_TOKENS: usize = 2048;

/// The encoder and tokenizer that several models share. Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct Trunk {
    encoder: Encoder,
    tokenizer: Arc<Tokenizer>,
    specials: Specials,
    pad: u32,
    /// SHA-256 of the weights' file, which adapters name.
    digest: String,
    dir: PathBuf,
    /// How the models over it hold their weights.
    stored: WeightType,
}

impl Trunk {
    /// Loads an encoder's folder; models over it compute with weights held in this way.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] and [`AlignError::Load`], naming the file.
    pub fn load(dir: &Path, stored: WeightType) -> Result<Self> {
        check_files(dir, Part::Encoder.files())?;
        let encoder = Encoder::load(dir, &Device::Cpu).map_err(AlignError::Load)?;
        let tokenizer = Tokenizer::load(dir).map_err(AlignError::Load)?;
        tokenizer
            .check_fits(encoder.config().vocab_size)
            .map_err(AlignError::Load)?;
        let id = |token| tokenizer.require(token).map_err(AlignError::Load);
        let specials = Specials {
            cls: id("[CLS]")?,
            sep: id("[SEP]")?,
        };
        let pad = id("[PAD]")?;
        let weights = dir.join("model.safetensors");
        let bytes = std::fs::read(&weights).map_err(|e| AlignError::file(&weights, e))?;
        let digest = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(Self {
            encoder,
            tokenizer: Arc::new(tokenizer),
            specials,
            pad,
            digest,
            dir: dir.to_path_buf(),
            stored,
        })
    }

    /// Loads the encoder among `models`.
    ///
    /// # Errors
    /// As [`Models::dir`] and [`Self::load`].
    pub fn find(models: &Models) -> Result<Self> {
        Self::load(&models.dir(Part::Encoder)?, models.weights())
    }
}

/// The encoder as it was published: a text's mean hidden state, of length 1, says what it is about.
#[derive(Debug)]
pub(crate) struct Embedder {
    engine: EncoderEngine,
    tokenizer: Arc<Tokenizer>,
    specials: Specials,
    most: usize,
}

impl Embedder {
    pub(crate) fn new(trunk: &Trunk) -> Result<Self> {
        let engine = EncoderEngine::new(&trunk.encoder, trunk.stored).map_err(AlignError::Load)?;
        Ok(Self {
            most: trunk.encoder.config().max_position_embeddings,
            engine,
            tokenizer: Arc::clone(&trunk.tokenizer),
            specials: trunk.specials,
        })
    }

    /// A vector a text, in order. What is too long loses its beginning.
    pub(crate) fn embed(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>> {
        let ids = tokens(&self.tokenizer, texts)?;
        let framed: Vec<Vec<u32>> = (ids.iter())
            .map(|ids| {
                let ids = &ids[ids.len().saturating_sub(self.most - 2)..];
                encode_input(self.specials, ids, None, self.most).ids
            })
            .collect();
        let inputs: Vec<(&[u32], Option<&[u32]>)> =
            framed.iter().map(|ids| (&ids[..], None)).collect();
        let hidden = self.engine.hidden(&inputs);
        let hidden = hidden.map_err(AlignError::nn("embedding"))?;
        let mean = |(ids, states): (&Vec<u32>, Vec<f32>)| {
            let width = states.len() / ids.len();
            let mut sum = vec![0f32; width];
            for state in states.chunks_exact(width) {
                sum.iter_mut().zip(state).for_each(|(s, x)| *s += x);
            }
            let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
            sum.iter()
                .map(|x| x / length.max(f32::MIN_POSITIVE))
                .collect()
        };
        Ok(framed.iter().zip(hidden).map(mean).collect())
    }
}

/// Tokens of texts, without specials.
fn tokens<S: AsRef<str> + Sync>(tokenizer: &Tokenizer, texts: &[S]) -> Result<Vec<Vec<u32>>> {
    let encode = |text: &S| {
        let encoding = tokenizer.encode_plain(text.as_ref());
        encoding
            .map(|e| e.ids)
            .map_err(AlignError::nn("tokenising"))
    };
    // Below this, handing out work costs more than it gains.
    if texts.len() < 8 {
        texts.iter().map(encode).collect()
    } else {
        texts.par_iter().map(encode).collect()
    }
}

/// A head and an adapted encoder.
#[derive(Debug)]
pub(crate) struct HeadModel {
    part: &'static str,
    engine: EncoderEngine,
    tokenizer: Arc<Tokenizer>,
    specials: Specials,
    pad: u32,
    head: Head,
}

impl HeadModel {
    /// Loads the folder of a part, over `trunk` or over the one that the folder names, which then computes in the
    /// processor's own way.
    pub(crate) fn load(dir: &Path, part: Part, trunk: Option<&Trunk>) -> Result<Self> {
        check_files(dir, part.files())?;
        let head = Head::load(dir, &Device::Cpu)?;
        let wanted = match part {
            Part::Detector | Part::JudgeDetector => HeadKind::Detector,
            Part::Translator => HeadKind::Translator,
            Part::Sense => HeadKind::Sense,
            _ => HeadKind::Nli,
        };
        if head.config.kind != wanted {
            return Err(AlignError::file(
                dir.join(crate::head::HEAD_JSON),
                format!("holds a {:?}, not a {wanted:?}", head.config.kind),
            ));
        }
        let own;
        let trunk = match trunk {
            Some(trunk) => trunk,
            None => {
                own = Trunk::load(&dir.join(&head.config.base), WeightType::native())?;
                &own
            }
        };
        let named = &head.config.base_sha256;
        if !named.is_empty() && *named != trunk.digest {
            return Err(AlignError::file(
                dir,
                format!(
                    "was trained on another encoder than {} (its SHA-256 begins {:.12}, wanted {named:.12}); fetch both from one release",
                    trunk.dir.display(),
                    trunk.digest
                ),
            ));
        }
        let config = trunk.encoder.config();
        if head.config.hidden != config.hidden_size
            || head.config.max_tokens > config.max_position_embeddings
        {
            return Err(AlignError::file(
                dir.join(crate::head::HEAD_JSON),
                format!(
                    "width {} and {} tokens do not fit the encoder's {} and {}",
                    head.config.hidden,
                    head.config.max_tokens,
                    config.hidden_size,
                    config.max_position_embeddings
                ),
            ));
        }
        let engine = trunk
            .encoder
            .clone()
            .with_adapter(dir)
            .and_then(Encoder::merged)
            .and_then(|merged| EncoderEngine::new(&merged, trunk.stored))
            .map_err(AlignError::Load)?;
        Ok(Self {
            part: part.folder(),
            engine,
            tokenizer: Arc::clone(&trunk.tokenizer),
            specials: trunk.specials,
            pad: trunk.pad,
            head,
        })
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn specials(&self) -> Specials {
        self.specials
    }

    /// Tokens of texts, without specials.
    pub(crate) fn tokens<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Vec<u32>>> {
        tokens(&self.tokenizer, texts)
    }

    /// Tokens of one text with their byte ranges, without specials.
    pub(crate) fn encode(&self, text: &str) -> Result<Encoding> {
        self.tokenizer
            .encode_plain(text)
            .map_err(AlignError::nn("tokenising"))
    }

    /// Calibrated probabilities of each output of the head, for each input, in order.
    pub(crate) fn run(&self, inputs: &[Input]) -> Result<Vec<Vec<Vec<f32>>>> {
        let lens: Vec<usize> = inputs.iter().map(|i| i.ids.len()).collect();
        let groups = Batch::buckets(&lens, BATCH_TOKENS);
        // Batches run beside each other too: what stands between the products is serial inside each.
        let done: Vec<Vec<Vec<Vec<f32>>>> = groups
            .par_iter()
            .map(|group| self.batch(group.iter().map(|&i| &inputs[i])))
            .collect::<Result<_>>()?;
        let mut answers: Vec<Vec<Vec<f32>>> = vec![Vec::new(); inputs.len()];
        for (group, rows) in groups.iter().zip(done) {
            for (&i, row) in group.iter().zip(rows) {
                if row.iter().flatten().any(|p| !p.is_finite()) {
                    let text = self.tokenizer.decode(&inputs[i].ids).unwrap_or_default();
                    return Err(AlignError::NotFinite {
                        part: self.part,
                        text: text.chars().take(60).collect(),
                    });
                }
                answers[i] = row;
            }
        }
        Ok(answers)
    }

    fn batch<'i>(
        &self,
        inputs: impl Iterator<Item = &'i Input> + Clone,
    ) -> Result<Vec<Vec<Vec<f32>>>> {
        let lens: Vec<usize> = inputs.clone().map(|i| i.ids.len()).collect();
        let (rows, width) = (lens.len(), lens.iter().copied().max().unwrap_or(0));
        let mut ids = vec![self.pad; rows * width];
        let mut types = vec![0u32; rows * width];
        for (row, input) in inputs.enumerate() {
            let at = row * width..row * width + input.ids.len();
            ids[at.clone()].copy_from_slice(&input.ids);
            types[at].copy_from_slice(&input.type_ids);
        }
        let paired = types.contains(&1);
        let types = Tensor::from_vec(types, (rows, width), &Device::Cpu)?;
        let batch = Batch {
            ids: Tensor::from_vec(ids, (rows, width), &Device::Cpu)?,
            type_ids: paired.then(|| types.clone()),
            lens,
        };
        let hidden = self
            .engine
            .forward(&batch)
            .map_err(AlignError::nn("encoding"))?;
        let logits = self.head.forward(&hidden, &types, &batch.lens)?;
        let mut answers = vec![Vec::with_capacity(logits.len()); rows];
        for (output, logits) in self.head.config.outputs.iter().zip(&logits) {
            for (answer, row) in answers.iter_mut().zip(logits.to_vec2::<f32>()?) {
                answer.push(output.calibrate(&row));
            }
        }
        Ok(answers)
    }

    /// The place of an output that the head's configuration guarantees.
    pub(crate) fn place(&self, name: &str) -> Result<usize> {
        let outputs = &self.head.config.outputs;
        outputs.iter().position(|o| o.name == name).ok_or_else(|| {
            AlignError::file(
                crate::head::HEAD_JSON,
                format!("output {name:?} is missing; fetch the model again"),
            )
        })
    }
}
