//! Batched sampling from a decoder, under constraints.
//!
//! Each sequence has its own random stream, constraint and end. Prompts that
//! are equal (with the tokens forced at their start) are computed once, and
//! their continuations share keys and values: [`Generator::groups`] samples the
//! rollouts of a policy. A sequence that ends gives its slot to a waiting one. Tokens that a constraint forces are not sampled: a
//! stretch of them goes through the decoder in one pass. Knows nothing of what
//! a constraint is for.

mod choices;
mod generate;
mod pick;
mod sequence;

use crate::{Error, Result};

pub(crate) use choices::Choice;
pub use choices::{Choices, Drawn};
pub use generate::{Generator, Request, generate_batch};

/// How to draw tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOptions {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Keeps the fewest tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f64,
    /// Keeps this many likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Divides positive and multiplies negative logits of tokens that occurred
    /// in prompt or output (Keskar et al. 2019); 1 changes nothing.
    pub repetition_penalty: f64,
    /// Start of the random streams, one for each sequence.
    pub seed: u64,
    /// Most tokens in an output, forced ones included.
    pub max_tokens: usize,
    /// Tokens that end an output. They are the last token of it.
    pub stop_ids: Vec<u32>,
    /// Texts that end an output when a drawn token completes them; needs a
    /// tokenizer.
    pub stop: Vec<String>,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            seed: 0,
            max_tokens: 128,
            stop_ids: Vec::new(),
            stop: Vec::new(),
        }
    }
}

impl SampleOptions {
    /// Refuses numbers out of range, each with its name.
    pub fn check(&self) -> Result<()> {
        let number = |name: &str, x: f64, low: f64, high: f64| {
            if x.is_finite() && x >= low && x <= high {
                return Ok(());
            }
            Err(Error::Input(format!(
                "{name} is {x}, expected a number from {low} to {high}"
            )))
        };
        number("temperature", self.temperature, 0.0, 100.0)?;
        number("top_p", self.top_p, 0.0, 1.0)?;
        number("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        if self.max_tokens == 0 {
            return Err(Error::Input(
                "max_tokens is 0, expected at least 1".to_owned(),
            ));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::Input(
                "a stop text is empty; leave it out".to_owned(),
            ));
        }
        Ok(())
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// Any token.
    All,
    /// One of these; none at all is an error.
    Only(&'a [u32]),
    /// Any token but these.
    Except(&'a [u32]),
    /// This token, without asking the model. Consecutive forced tokens go
    /// through the decoder in one pass.
    Force(u32),
}

/// A rule on the tokens of one sequence.
pub trait Constraint {
    /// What may follow the tokens generated so far (forced ones included,
    /// without the prompt).
    fn allowed(&self, generated: &[u32]) -> Allowed<'_>;

    /// Told each token, forced or drawn, before the next question.
    fn advance(&mut self, token: u32);

    /// Whether the sequence is complete. Asked before the first token and after
    /// each one.
    fn done(&self) -> bool {
        false
    }
}

/// A rule that is looked at again when the outputs are there.
impl<C: Constraint + ?Sized> Constraint for &mut C {
    fn allowed(&self, generated: &[u32]) -> Allowed<'_> {
        (**self).allowed(generated)
    }

    fn advance(&mut self, token: u32) {
        (**self).advance(token);
    }

    fn done(&self) -> bool {
        (**self).done()
    }
}

/// A rule, or none: then anything may follow, and the sequence is never complete by itself.
impl<C: Constraint> Constraint for Option<C> {
    fn allowed(&self, generated: &[u32]) -> Allowed<'_> {
        self.as_ref()
            .map_or(Allowed::All, |rule| rule.allowed(generated))
    }

    fn advance(&mut self, token: u32) {
        if let Some(rule) = self {
            rule.advance(token);
        }
    }

    fn done(&self) -> bool {
        self.as_ref().is_some_and(Constraint::done)
    }
}

/// Why an output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token, which is the last one.
    StopId,
    /// A stop text was completed.
    StopText,
    /// The constraint was done.
    Constraint,
    /// `max_tokens`, or the decoder's last position.
    Length,
}

/// One output.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The tokens behind the prompt.
    pub ids: Vec<u32>,
    /// Log-probability of each token in nats, under the model restricted to the
    /// allowed tokens, before temperature, penalty and truncation. Forced tokens
    /// have 0.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}
