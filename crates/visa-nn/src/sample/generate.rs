//! The decoding loop.

use std::collections::HashMap;

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::pick::pick;
use super::{Allowed, Constraint, Finish, Generated, SampleOptions};
use crate::{Decoder, Error, KvCache, Result, Tap, Tokenizer};

/// Room in a new cache beyond the prompts; it grows when needed.
const HEADROOM: usize = 64;

/// Samples from a decoder, with a tokenizer for stop texts and a tap if wanted.
pub struct Generator<'a> {
    decoder: &'a Decoder,
    tokenizer: Option<&'a Tokenizer>,
    tap: Option<&'a mut dyn Tap>,
}

/// Samples one output for each prompt. `constraints` holds one a prompt, or
/// none at all. Stop texts need [`Generator::tokenizer`].
pub fn generate_batch(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    options: &SampleOptions,
    constraints: &mut [Box<dyn Constraint + '_>],
) -> Result<Vec<Generated>> {
    Generator::new(decoder).run(prompts, options, constraints)
}

/// One sequence on its way.
struct Sequence<'p> {
    prompt: &'p [u32],
    out: Generated,
    /// Tokens at the end of the output that the cache has not seen.
    unseen: usize,
    rng: ChaCha8Rng,
    ended: bool,
}

impl Sequence<'_> {
    fn end(&mut self, finish: Finish) {
        self.out.finish = finish;
        self.ended = true;
    }

    fn push(&mut self, token: u32, logprob: f32, options: &SampleOptions, room: usize) {
        self.out.ids.push(token);
        self.out.logprobs.push(logprob);
        self.unseen += 1;
        if options.stop_ids.contains(&token) {
            self.end(Finish::StopId);
        } else if self.out.ids.len() >= options.max_tokens.min(room) {
            self.end(Finish::Length);
        }
    }

    fn unseen(&self) -> &[u32] {
        &self.out.ids[self.out.ids.len() - self.unseen..]
    }
}

impl<'a> Generator<'a> {
    /// Samples from this decoder.
    pub fn new(decoder: &'a Decoder) -> Self {
        Self {
            decoder,
            tokenizer: None,
            tap: None,
        }
    }

    /// Looks for stop texts with this tokenizer.
    #[must_use]
    pub fn tokenizer(mut self, tokenizer: &'a Tokenizer) -> Self {
        self.tokenizer = Some(tokenizer);
        self
    }

    /// Reads or shifts hidden states behind each layer.
    #[must_use]
    pub fn tap(mut self, tap: &'a mut dyn Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Samples one output for each prompt. `constraints` holds one a prompt, or
    /// none at all.
    ///
    /// Each output depends on the seed, its place in the batch, its prompt and
    /// its constraint. The logits of a row may differ in the last bits between
    /// batches of different size, as matrix products sum in another order.
    pub fn run(
        mut self,
        prompts: &[Vec<u32>],
        options: &SampleOptions,
        constraints: &mut [Box<dyn Constraint + '_>],
    ) -> Result<Vec<Generated>> {
        options.check()?;
        if !options.stop.is_empty() && self.tokenizer.is_none() {
            return Err(Error::Input(
                "stop texts need a tokenizer; give the generator one".to_owned(),
            ));
        }
        if !constraints.is_empty() && constraints.len() != prompts.len() {
            return Err(Error::Input(format!(
                "{} constraints for {} prompts; give one a prompt, or none",
                constraints.len(),
                prompts.len()
            )));
        }
        let mut sequences = prompts
            .iter()
            .enumerate()
            .map(|(index, prompt)| self.begin(index, prompt, options))
            .collect::<Result<Vec<_>>>()?;
        for (index, sequence) in sequences.iter_mut().enumerate() {
            let constraint = constraints.get_mut(index);
            self.force(sequence, constraint, options)?;
        }

        let mut active: Vec<usize> = (0..sequences.len())
            .filter(|&i| !sequences[i].ended)
            .collect();
        if !active.is_empty() {
            let (mut cache, mut hidden) = self.prefill(&mut sequences, &active)?;
            loop {
                self.draw(&hidden, &mut sequences, &active, constraints, options)?;
                let keep: Vec<usize> = (0..active.len())
                    .filter(|&row| !sequences[active[row]].ended)
                    .collect();
                if keep.is_empty() {
                    break;
                }
                if keep.len() < active.len() {
                    cache = cache.select(&keep)?;
                    active = keep.iter().map(|&row| active[row]).collect();
                }
                let new: Vec<&[u32]> = active.iter().map(|&i| sequences[i].unseen()).collect();
                hidden = self.step(&mut cache, &new)?;
                for &i in &active {
                    sequences[i].unseen = 0;
                }
            }
        }
        Ok(sequences.into_iter().map(|sequence| sequence.out).collect())
    }

    fn begin<'p>(
        &self,
        index: usize,
        prompt: &'p [u32],
        options: &SampleOptions,
    ) -> Result<Sequence<'p>> {
        let config = self.decoder.config();
        if prompt.is_empty() {
            return Err(Error::Input(format!(
                "prompt {index} is empty; begin it with the token that begins a text"
            )));
        }
        if prompt.len() >= config.max_position_embeddings {
            return Err(Error::Input(format!(
                "prompt {index} has {} tokens, but the decoder has {} positions; shorten it",
                prompt.len(),
                config.max_position_embeddings
            )));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= config.vocab_size) {
            return Err(Error::Input(format!(
                "prompt {index} has token {id}, but the vocabulary ends at {}; use the model's own tokenizer",
                config.vocab_size
            )));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        rng.set_stream(index as u64);
        Ok(Sequence {
            prompt,
            out: Generated {
                ids: Vec::new(),
                logprobs: Vec::new(),
                finish: Finish::Length,
            },
            unseen: 0,
            rng,
            ended: false,
        })
    }

    /// Room for output behind a prompt.
    fn room(&self, sequence: &Sequence) -> usize {
        self.decoder.config().max_position_embeddings - sequence.prompt.len()
    }

    /// Appends every token that the constraint forces now.
    fn force(
        &self,
        sequence: &mut Sequence,
        constraint: Option<&mut Box<dyn Constraint + '_>>,
        options: &SampleOptions,
    ) -> Result<()> {
        let Some(constraint) = constraint else {
            return Ok(());
        };
        let room = self.room(sequence);
        while !sequence.ended {
            if constraint.done() {
                sequence.end(Finish::Constraint);
                return Ok(());
            }
            let token = match constraint.allowed(&sequence.out.ids) {
                Allowed::Force(token) => token,
                Allowed::Only(&[token]) => token,
                _ => return Ok(()),
            };
            let vocab = self.decoder.config().vocab_size;
            if token as usize >= vocab {
                return Err(Error::Input(format!(
                    "a constraint forces token {token}, but the vocabulary ends at {vocab}"
                )));
            }
            constraint.advance(token);
            sequence.push(token, 0.0, options, room);
            // A sequence that is complete ended for that reason, even when its
            // last token also used up the room.
            if sequence.ended && sequence.out.finish == Finish::Length && constraint.done() {
                sequence.out.finish = Finish::Constraint;
            }
        }
        Ok(())
    }

    /// Feeds the prompts with the tokens forced behind them, equal ones once.
    fn prefill(
        &mut self,
        sequences: &mut [Sequence],
        active: &[usize],
    ) -> Result<(KvCache, Tensor)> {
        let mut unique: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
        let mut rows = Vec::with_capacity(active.len());
        for &i in active {
            let sequence = &mut sequences[i];
            let text = [sequence.prompt, sequence.unseen()].concat();
            sequence.unseen = 0;
            let row = *known.entry(text).or_insert_with_key(|text| {
                unique.push(text.clone());
                unique.len() - 1
            });
            rows.push(row);
        }
        let config = self.decoder.config();
        let longest = unique.iter().map(Vec::len).max().unwrap_or(1);
        let capacity = (longest + HEADROOM).min(config.max_position_embeddings);
        let device = self.decoder.device();
        let mut cache = KvCache::new(config, unique.len(), capacity, device)?;
        let new: Vec<&[u32]> = unique.iter().map(Vec::as_slice).collect();
        let hidden = self.step(&mut cache, &new)?;
        if unique.len() == rows.len() {
            return Ok((cache, hidden));
        }
        let index: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let index = Tensor::from_vec(index, rows.len(), device)?;
        Ok((cache.select(&rows)?, hidden.index_select(&index, 0)?))
    }

    fn step(&mut self, cache: &mut KvCache, new: &[&[u32]]) -> Result<Tensor> {
        match &mut self.tap {
            Some(tap) => self.decoder.step_tapped(cache, new, Some(&mut **tap)),
            None => self.decoder.step(cache, new),
        }
    }

    /// Draws the next token of every active sequence, and appends what is
    /// forced behind it.
    fn draw(
        &self,
        hidden: &Tensor,
        sequences: &mut [Sequence],
        active: &[usize],
        constraints: &mut [Box<dyn Constraint + '_>],
        options: &SampleOptions,
    ) -> Result<()> {
        let logits = self
            .decoder
            .logits(hidden)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let vocab = self.decoder.config().vocab_size;
        for (logits, &i) in logits.chunks_exact(vocab).zip(active) {
            let sequence = &mut sequences[i];
            let room = self.room(sequence);
            let mut constraint = constraints.get_mut(i);
            let allowed = match &constraint {
                Some(constraint) => constraint.allowed(&sequence.out.ids),
                None => Allowed::All,
            };
            let seen = sequence.prompt.iter().chain(&sequence.out.ids).copied();
            let (token, logprob) = pick(logits, allowed, seen, options, &mut sequence.rng)?;
            if let Some(constraint) = &mut constraint {
                constraint.advance(token);
            }
            sequence.push(token, logprob, options, room);
            let complete = constraint
                .as_ref()
                .is_some_and(|constraint| constraint.done());
            if complete && sequence.out.finish == Finish::Length {
                sequence.end(Finish::Constraint);
            } else if self.stop_text_reached(&sequence.out.ids, options)?
                && sequence.out.finish == Finish::Length
            {
                sequence.end(Finish::StopText);
            }
            self.force(sequence, constraint, options)?;
        }
        Ok(())
    }

    /// Whether the last token completed a stop text.
    fn stop_text_reached(&self, ids: &[u32], options: &SampleOptions) -> Result<bool> {
        let Some(tokenizer) = self.tokenizer.filter(|_| !options.stop.is_empty()) else {
            return Ok(false);
        };
        // A token stands for a byte at least, so that a tail this long holds
        // the longest stop text whole, with some tokens for decoders that trim
        // the start.
        let longest = options.stop.iter().map(String::len).max().unwrap_or(0);
        let tail = &ids[ids.len().saturating_sub(longest + 8)..];
        let text = tokenizer.decode_all(tail)?;
        Ok(options.stop.iter().any(|stop| text.contains(stop.as_str())))
    }
}
