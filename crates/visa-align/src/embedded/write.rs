//! The decoder's part of the embedded rewriter: clauses that are asked for, written and weighed in one batch.
//!
//! Requests of one rewrite or of many at once: each has its own sampling options and random stream, so that what one is
//! answered does not depend, beyond rounding, on who else asks.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use visa_nn::sample::{Constraint, Finish, Generator, Request, SampleOptions};
use visa_nn::{Decoder, Engine, Tokenizer, WeightType};

use super::ask::{Asked, Asker};
use crate::error::{AlignError, Result};
use crate::models::{Part, check_files};
use crate::shield::ClauseShield;

/// Sentences about nothing. What fits behind them fits anywhere.
pub const ELSEWHERE: [&str; 2] = ["This is how it is", "We talked about it yesterday"];

/// A clause to be written.
#[derive(Clone, Debug)]
pub struct ClauseRequest {
    pub(super) asked: Asked,
    /// The final punctuation of the sentence.
    pub(super) punctuation: String,
    /// The same wish behind each of [`ELSEWHERE`].
    pub(super) elsewhere: Arc<[Vec<u32>]>,
    pub(super) options: SampleOptions,
    /// Which random stream of the seed in `options`.
    pub(super) stream: u64,
}

/// A clause that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// What it says, with the blank or comma it begins with; may be empty.
    pub text: String,
    /// Mean log-probability, nats a token.
    pub logprob: f32,
    /// That, less the mean behind [`ELSEWHERE`]: what fits anywhere says nothing about anything.
    pub relevance: f32,
}

/// Weight of a clause's mean log-probability (nats a token) against movement: a clause that reads well may move less.
const FLUENCY: f32 = 0.2;
/// Weight of a clause's relevance against movement.
const RELEVANCE: f32 = 0.25;

impl Clause {
    /// How well it reads and belongs where it stands, in units of movement.
    pub(super) fn sense(&self) -> f32 {
        FLUENCY * self.logprob + RELEVANCE * self.relevance
    }
}

/// Writes clauses: the decoder itself, or whatever stands before it.
pub trait Clauses {
    /// One answer a request, in order; none where the limit cut the clause off.
    ///
    /// # Errors
    /// A model failure.
    fn write(&self, requests: Vec<ClauseRequest>) -> Result<Vec<Option<Clause>>>;
}

/// The decoder with what asks it.
#[derive(Debug)]
pub struct Writer {
    engine: Engine,
    asker: Arc<Asker>,
}

impl Writer {
    /// Loads a decoder's folder, to compute with weights held in this way.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] or [`AlignError::Load`], naming the file.
    pub fn load(dir: &Path, stored: WeightType) -> Result<Self> {
        check_files(dir, Part::Rewriter.files())?;
        let decoder = Decoder::load(dir, &Device::Cpu).map_err(AlignError::Load)?;
        let tokenizer = Tokenizer::load(dir).map_err(AlignError::Load)?;
        let engine = Engine::new(&decoder, stored).map_err(AlignError::Load)?;
        Self::new(engine, tokenizer)
    }

    /// Of parts that are loaded already.
    ///
    /// # Errors
    /// A tokenizer that does not fit the decoder, or lacks the format's tokens.
    pub fn new(engine: Engine, tokenizer: Tokenizer) -> Result<Self> {
        Ok(Self {
            asker: Arc::new(Asker::new(tokenizer, engine.config())?),
            engine,
        })
    }

    /// What makes its requests.
    pub fn asker(&self) -> &Arc<Asker> {
        &self.asker
    }

    /// One answer a request, in order; none where the limit cut the clause off.
    ///
    /// # Errors
    /// A model failure.
    pub fn write(&self, requests: &[&ClauseRequest]) -> Result<Vec<Option<Clause>>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut shields: Vec<Option<ClauseShield>> =
            requests.iter().map(|r| r.asked.shield.clone()).collect();
        let mut constraints: Vec<Box<dyn Constraint + '_>> = shields
            .iter_mut()
            .map(|shield| Box::new(shield) as Box<dyn Constraint + '_>)
            .collect();
        let sampled: Vec<Request<'_>> = requests
            .iter()
            .map(|r| Request {
                prompt: &r.asked.prompt,
                options: &r.options,
                stream: r.stream,
            })
            .collect();
        let generated = Generator::over(&self.engine)
            .requests(&sampled, &mut constraints)
            .map_err(AlignError::nn("writing clauses"))?;
        drop(constraints);
        let mut clauses = Vec::with_capacity(requests.len());
        let mut rows: Vec<(&[u32], &[u32])> = Vec::new();
        for ((request, out), shield) in requests.iter().zip(&generated).zip(&shields) {
            let terminator = request.asked.terminator;
            let text = match shield {
                Some(shield) if out.finish == Finish::Constraint && !shield.is_cut() => {
                    self.asker.clause(&out.ids, terminator)?
                }
                None if out.finish == Finish::StopId => {
                    self.asker.free_clause(&out.ids, &request.punctuation)?
                }
                _ => {
                    clauses.push(None);
                    continue;
                }
            };
            clauses.push(Some(Clause {
                text,
                logprob: 0.0,
                relevance: 0.0,
            }));
            // The end is a choice of the model too, so its log-probability counts.
            let end = out.ids.len().saturating_sub(terminator);
            let answer = &out.ids[..out.ids.len().min(end + 1)];
            rows.push((&request.asked.prompt, answer));
            let elsewhere = request.elsewhere.iter();
            rows.extend(elsewhere.map(|p| (p.as_slice(), answer)));
        }
        let logprobs = self.logprobs(&rows)?;
        let each = logprobs.chunks(1 + ELSEWHERE.len());
        for (clause, logprobs) in clauses.iter_mut().flatten().zip(each) {
            let (own, elsewhere) = (logprobs[0], &logprobs[1..]);
            clause.logprob = own;
            clause.relevance = own - elsewhere.iter().sum::<f32>() / elsewhere.len() as f32;
        }
        Ok(clauses)
    }

    /// Mean log-probability of each answer after its prompt, nats a token.
    fn logprobs(&self, rows: &[(&[u32], &[u32])]) -> Result<Vec<f32>> {
        let each = self.engine.log_probabilities(rows);
        let each = each.map_err(AlignError::nn("reading clauses"))?;
        let mean = |logprobs: Vec<f32>| logprobs.iter().sum::<f32>() / logprobs.len() as f32;
        Ok(each.into_iter().map(mean).collect())
    }
}

impl Clauses for Writer {
    fn write(&self, requests: Vec<ClauseRequest>) -> Result<Vec<Option<Clause>>> {
        self.write(&requests.iter().collect::<Vec<_>>())
    }
}
