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
use super::book::Phrasebook;
use crate::backend::Sensible;
use crate::error::{AlignError, Result};
use crate::models::{Models, Part, check_files};
use crate::sense::Sense;
use crate::shield::ClauseShield;
use crate::trunk::Trunk;

/// A clause to be written.
#[derive(Clone, Debug)]
pub struct ClauseRequest {
    /// What the decoder is asked, and under which shield.
    pub asked: Asked,
    /// The final punctuation of the sentence.
    pub punctuation: String,
    /// The text before the clause, as far as the sense reader looks back.
    pub before: Arc<str>,
    /// How its tokens are drawn.
    pub options: SampleOptions,
    /// Which random stream of the seed in `options`.
    pub stream: u64,
}

/// A clause that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// What it says, with the blank or comma it begins with; may be empty.
    pub text: String,
    /// Mean log-probability, nats a token.
    pub logprob: f32,
    /// Log-odds that it belongs there ([`Sense`]); 0 where nobody reads it.
    pub sense: f32,
}

/// Weight of a clause's mean log-probability (nats a token) against movement: a clause that reads well may move less.
const FLUENCY: f32 = 0.1;
/// Weight of a clause's sense (nats) against movement.
const SENSE: f32 = 0.4;

impl Clause {
    /// How well it reads and belongs where it stands, in units of movement.
    pub(super) fn merit(&self) -> f32 {
        FLUENCY * self.logprob + SENSE * self.sense
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

/// The decoder with what asks it, and what reads its clauses.
#[derive(Debug)]
pub struct Writer {
    engine: Engine,
    asker: Arc<Asker>,
}

impl Writer {
    /// Loads the rewriter among `models`, with the sense reader over a trunk that is shared.
    ///
    /// # Errors
    /// As [`Models::dir`], [`Self::load`] and [`Sense::find`].
    pub fn find(models: &Models, trunk: &Trunk) -> Result<Self> {
        let sense = Sense::find(models, trunk)?;
        Self::load(&models.dir(Part::Rewriter)?, models.weights(), Some(sense))
    }

    /// Loads a decoder's folder, to compute with weights held in this way; its sentences and clauses are read by `sense`, if anything.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] or [`AlignError::Load`], naming the file.
    pub fn load(dir: &Path, stored: WeightType, sense: Option<Sense>) -> Result<Self> {
        check_files(dir, Part::Rewriter.files())?;
        let decoder = Decoder::load(dir, &Device::Cpu).map_err(AlignError::Load)?;
        let tokenizer = Tokenizer::load(dir).map_err(AlignError::Load)?;
        let engine = Engine::new(&decoder, stored).map_err(AlignError::Load)?;
        let asker = Asker::new(tokenizer, engine.config())?
            .with_book(Phrasebook::find(dir)?)
            .with_sense(sense.map(|sense| Arc::new(sense) as Arc<dyn Sensible>));
        Ok(Self {
            asker: Arc::new(asker),
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
                sense: 0.0,
            }));
            // The end is a choice of the model too, so its log-probability counts.
            let end = out.ids.len().saturating_sub(terminator);
            let answer = &out.ids[..out.ids.len().min(end + 1)];
            rows.push((&request.asked.prompt, answer));
        }
        let logprobs = self.logprobs(&rows)?;
        for (clause, logprob) in clauses.iter_mut().flatten().zip(logprobs) {
            clause.logprob = logprob;
        }
        if let Some(sense) = self.asker.sense() {
            let pairs: Vec<(&str, &str)> = (requests.iter().zip(&clauses))
                .filter_map(|(request, clause)| Some((&*request.before, &*clause.as_ref()?.text)))
                .collect();
            let read = sense.sense(&pairs)?;
            for (clause, sense) in clauses.iter_mut().flatten().zip(read) {
                clause.sense = sense;
            }
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
