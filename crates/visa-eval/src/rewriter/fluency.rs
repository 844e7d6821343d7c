//! Fluency: perplexity under a language model that was not trained to rewrite.
//!
//! A model trained on the task finds its own clauses likely whatever they are; so the folder is the caller's to name. Text
//! longer than the model's window is read in windows that do not overlap, each begun as the model's texts begin.

use std::path::Path;

use candle_core::{Device, Tensor};
use visa_nn::{Decoder, Tokenizer};

use crate::EvalError;

/// A language model that reads.
pub(super) struct Fluency {
    decoder: Decoder,
    tokenizer: Tokenizer,
}

/// Total surprise of a text in nats, over how many tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Surprise {
    pub nats: f64,
    pub tokens: usize,
}

impl Fluency {
    pub(super) fn load(dir: &Path) -> Result<Self, EvalError> {
        let failed = visa_align::AlignError::Load;
        let decoder = Decoder::load(dir, &Device::Cpu).map_err(failed)?;
        let tokenizer = Tokenizer::load(dir).map_err(failed)?;
        tokenizer
            .check_fits(decoder.config().vocab_size)
            .map_err(failed)?;
        Ok(Self { decoder, tokenizer })
    }

    pub(super) fn read(&self, text: &str) -> Result<Surprise, EvalError> {
        let failed = |source| visa_align::AlignError::Nn {
            doing: "reading fluency",
            source,
        };
        let begin = self.decoder.config().bos_token_id;
        let ids = (self.tokenizer.encode_bare(text).map_err(failed)?).ids;
        let room = self.decoder.config().max_position_embeddings - usize::from(begin.is_some());
        let mut sum = Surprise {
            nats: 0.0,
            tokens: 0,
        };
        for window in ids.chunks(room.max(2)) {
            let mut row: Vec<u32> = begin.into_iter().collect();
            row.extend(window);
            if row.len() < 2 {
                continue;
            }
            let tensor = |ids: &[u32]| {
                Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)
                    .map_err(visa_align::AlignError::Tensor)
            };
            let losses = self
                .decoder
                .token_losses(&tensor(&row[..row.len() - 1])?, &tensor(&row[1..])?, None)
                .map_err(failed)?
                .flatten_all()
                .and_then(|losses| losses.to_vec1::<f32>())
                .map_err(visa_align::AlignError::Tensor)?;
            sum.tokens += losses.len();
            sum.nats += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        }
        Ok(sum)
    }
}
