//! One output on its way.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Allowed, Constraint, Finish, Generated, Request, SampleOptions};
use crate::{DecoderConfig, Error, Result};

pub(super) struct Sequence<'p> {
    prompt: &'p [u32],
    options: &'p SampleOptions,
    out: Generated,
    /// Tokens at the end of the output that the cache has not seen.
    unseen: usize,
    rng: ChaCha8Rng,
    ended: bool,
    /// Most tokens that fit behind the prompt.
    room: usize,
    vocab: usize,
}

impl<'p> Sequence<'p> {
    pub(super) fn begin(
        index: usize,
        request: Request<'p>,
        config: &DecoderConfig,
    ) -> Result<Self> {
        let Request {
            prompt,
            options,
            stream,
        } = request;
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
        rng.set_stream(stream);
        Ok(Self {
            prompt,
            options,
            out: Generated {
                ids: Vec::new(),
                logprobs: Vec::new(),
                finish: Finish::Length,
            },
            unseen: 0,
            rng,
            ended: false,
            room: config.max_position_embeddings - prompt.len(),
            vocab: config.vocab_size,
        })
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn finish(&self) -> Finish {
        self.out.finish
    }

    pub(super) fn options(&self) -> &'p SampleOptions {
        self.options
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.out.ids
    }

    /// Tokens of prompt and output.
    pub(super) fn seen(&self) -> impl Iterator<Item = u32> + '_ {
        self.prompt.iter().chain(&self.out.ids).copied()
    }

    pub(super) fn rng(&self) -> ChaCha8Rng {
        self.rng.clone()
    }

    pub(super) fn into_output(self) -> Generated {
        self.out
    }

    pub(super) fn end(&mut self, finish: Finish) {
        self.out.finish = finish;
        self.ended = true;
    }

    /// Prompt and forced beginning, which counts as seen from now on.
    pub(super) fn take_text(&mut self) -> Vec<u32> {
        let text = [self.prompt, self.unseen()].concat();
        self.unseen = 0;
        text
    }

    pub(super) fn unseen(&self) -> &[u32] {
        &self.out.ids[self.out.ids.len() - self.unseen..]
    }

    pub(super) fn saw_all(&mut self) {
        self.unseen = 0;
    }

    /// Appends a token that was drawn, and keeps the state of the generator behind it.
    pub(super) fn drew(&mut self, token: u32, logprob: f32, rng: ChaCha8Rng) {
        self.rng = rng;
        self.push(token, logprob);
    }

    fn push(&mut self, token: u32, logprob: f32) {
        self.out.ids.push(token);
        self.out.logprobs.push(logprob);
        self.unseen += 1;
        if self.options.stop_ids.contains(&token) {
            self.end(Finish::StopId);
        } else if self.out.ids.len() >= self.options.max_tokens.min(self.room) {
            self.end(Finish::Length);
        }
    }

    /// Appends every token that the constraint forces now.
    pub(super) fn force(
        &mut self,
        constraint: Option<&mut Box<dyn Constraint + '_>>,
    ) -> Result<()> {
        let Some(constraint) = constraint else {
            return Ok(());
        };
        while !self.ended {
            if constraint.done() {
                self.end(Finish::Constraint);
                return Ok(());
            }
            let token = match constraint.allowed(&self.out.ids) {
                Allowed::Force(token) => token,
                Allowed::Only(&[token]) => token,
                _ => return Ok(()),
            };
            if token as usize >= self.vocab {
                return Err(Error::Input(format!(
                    "a constraint forces token {token}, but the vocabulary ends at {}",
                    self.vocab
                )));
            }
            constraint.advance(token);
            self.push(token, 0.0);
            // A sequence that is complete ended for that reason, even when its
            // last token also used up the room.
            if self.ended && self.out.finish == Finish::Length && constraint.done() {
                self.out.finish = Finish::Constraint;
            }
        }
        Ok(())
    }
}
