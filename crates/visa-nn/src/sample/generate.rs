//! The decoding loop: groups of continuations, batched as they come and go.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rayon::prelude::*;

use super::pick::pick;
use super::sequence::Sequence;
use super::{Allowed, Constraint, Finish, Generated, SampleOptions};
use crate::engine::Feed;
use crate::{Decoder, Engine, Error, KvCache, Result, Tap, Tokenizer};

/// Sequences that are decoded at one time unless [`Generator::slots`] says otherwise.
const SLOTS: usize = 64;
/// Prompt tokens in one pass, beyond the first prompt: enough to fill the
/// products, few enough that activations stay in the cache.
const PREFILL: usize = 1024;

enum Source<'a> {
    Decoder(&'a Decoder),
    Engine(&'a Engine),
}

/// One output to sample beside others, each in its own way ([`Generator::requests`]).
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The tokens it follows.
    pub prompt: &'a [u32],
    /// How to draw its tokens.
    pub options: &'a SampleOptions,
    /// Which random stream of the seed is its own.
    pub stream: u64,
}

/// Samples from a decoder, with a tokenizer for stop texts and a tap if wanted.
pub struct Generator<'a> {
    source: Source<'a>,
    slots: usize,
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

impl<'a> Generator<'a> {
    /// Samples from this decoder, through [`Decoder::engine`].
    pub fn new(decoder: &'a Decoder) -> Self {
        Self::from(Source::Decoder(decoder))
    }

    /// Samples from this engine, which a training loop keeps and refreshes.
    pub fn over(engine: &'a Engine) -> Self {
        Self::from(Source::Engine(engine))
    }

    fn from(source: Source<'a>) -> Self {
        Self {
            source,
            slots: SLOTS,
            tokenizer: None,
            tap: None,
        }
    }

    /// Decodes at most this many sequences at a time: when one ends, a waiting
    /// one takes its place.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
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

    /// Samples `each` outputs for every prompt, as the rollouts of a policy:
    /// `[prompt][continuation]`. `constraints` holds one an output, those of a
    /// prompt side by side, or none at all. Otherwise as [`Generator::run`].
    pub fn groups(
        self,
        prompts: &[Vec<u32>],
        each: usize,
        options: &SampleOptions,
        constraints: &mut [Box<dyn Constraint + '_>],
    ) -> Result<Vec<Vec<Generated>>> {
        if each == 0 {
            return Err(Error::Input(
                "a group of 0 continuations was asked for; ask for at least one".to_owned(),
            ));
        }
        let repeated = (prompts.iter()).flat_map(|prompt| std::iter::repeat_n(prompt, each));
        let mut out = self.requests(&requests(repeated, options), constraints)?;
        let mut groups = Vec::with_capacity(out.len() / each);
        while !out.is_empty() {
            let rest = out.split_off(each);
            groups.push(std::mem::replace(&mut out, rest));
        }
        Ok(groups)
    }

    /// Samples one output for each prompt. `constraints` holds one a prompt, or
    /// none at all.
    ///
    /// Each output depends on the seed, its place in the batch, its prompt and
    /// its constraint. The logits of a row may differ in the last bits between
    /// batches of different size, as matrix products sum in another order.
    pub fn run(
        self,
        prompts: &[Vec<u32>],
        options: &SampleOptions,
        constraints: &mut [Box<dyn Constraint + '_>],
    ) -> Result<Vec<Generated>> {
        self.requests(&requests(prompts, options), constraints)
    }

    /// Samples one output for each request, with its own options and random
    /// stream: what one asked does not depend on who else did. `constraints`
    /// holds one a request, or none at all.
    pub fn requests(
        self,
        requests: &[Request<'_>],
        constraints: &mut [Box<dyn Constraint + '_>],
    ) -> Result<Vec<Generated>> {
        for request in requests {
            request.options.check()?;
            if !request.options.stop.is_empty() && self.tokenizer.is_none() {
                return Err(Error::Input(
                    "stop texts need a tokenizer; give the generator one".to_owned(),
                ));
            }
        }
        if self.slots == 0 {
            return Err(Error::Input(
                "a generator with 0 slots decodes nothing; give it at least one".to_owned(),
            ));
        }
        if !constraints.is_empty() && constraints.len() != requests.len() {
            return Err(Error::Input(format!(
                "{} constraints for {} outputs; give one an output, or none",
                constraints.len(),
                requests.len()
            )));
        }
        let made: Arc<Engine>;
        let engine = match self.source {
            Source::Engine(engine) => engine,
            Source::Decoder(decoder) => {
                made = decoder.engine()?;
                &*made
            }
        };
        let mut sequences = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            let mut sequence = Sequence::begin(index, *request, engine.config())?;
            sequence.force(constraints.get_mut(index))?;
            sequences.push(sequence);
        }
        let run = Run {
            engine,
            tokenizer: self.tokenizer,
            tap: self.tap,
            cache: engine.cache(),
            groups: groups(&mut sequences),
            active: Vec::new(),
        };
        run.finish(&mut sequences, constraints, self.slots)?;
        Ok(sequences.into_iter().map(Sequence::into_output).collect())
    }
}

/// A batch in which all are sampled alike.
fn requests<'a>(
    prompts: impl IntoIterator<Item = &'a Vec<u32>>,
    options: &'a SampleOptions,
) -> Vec<Request<'a>> {
    let request = |(stream, prompt): (u64, &'a Vec<u32>)| Request {
        prompt,
        options,
        stream,
    };
    (0..).zip(prompts).map(request).collect()
}

/// Sequences that begin with the same tokens.
struct Group {
    text: Vec<u32>,
    waiting: VecDeque<usize>,
    /// Once the text was computed: its row in the cache and the logits behind it.
    row: usize,
    logits: Option<Arc<Vec<f32>>>,
}

/// A sequence in a slot, and the logits from which its next token is drawn.
struct Active {
    sequence: usize,
    row: usize,
    logits: Arc<Vec<f32>>,
    /// Which row of the logits.
    at: usize,
}

/// Sequences that have not ended, by the text they begin with.
fn groups(sequences: &mut [Sequence<'_>]) -> VecDeque<Group> {
    let mut groups: VecDeque<Group> = VecDeque::new();
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    for (i, sequence) in sequences.iter_mut().enumerate() {
        if sequence.ended() {
            continue;
        }
        let text = sequence.take_text();
        let at = *known.entry(text).or_insert_with_key(|text| {
            groups.push_back(Group {
                text: text.clone(),
                waiting: VecDeque::new(),
                row: 0,
                logits: None,
            });
            groups.len() - 1
        });
        groups[at].waiting.push_back(i);
    }
    groups
}

struct Run<'r, 't> {
    engine: &'r Engine,
    tokenizer: Option<&'r Tokenizer>,
    tap: Option<&'t mut dyn Tap>,
    cache: KvCache,
    groups: VecDeque<Group>,
    active: Vec<Active>,
}

impl Run<'_, '_> {
    /// Runs all sequences to their ends.
    fn finish(
        mut self,
        sequences: &mut [Sequence<'_>],
        constraints: &mut [Box<dyn Constraint + '_>],
        slots: usize,
    ) -> Result<()> {
        loop {
            self.admit(slots)?;
            if self.active.is_empty() {
                return Ok(());
            }
            self.draw(sequences, constraints)?;
            for active in self.active.iter().filter(|a| sequences[a.sequence].ended()) {
                self.cache.remove(active.row);
            }
            self.active.retain(|a| !sequences[a.sequence].ended());
            if self.active.is_empty() {
                continue;
            }
            let feeds: Vec<Feed<'_>> = (self.active.iter())
                .map(|a| (a.row, sequences[a.sequence].unseen()))
                .collect();
            let hidden = step(self.engine, &mut self.cache, &feeds, &mut self.tap)?;
            let logits = Arc::new(self.engine.logits(&hidden));
            for (at, active) in self.active.iter_mut().enumerate() {
                sequences[active.sequence].saw_all();
                (active.logits, active.at) = (logits.clone(), at);
            }
        }
    }

    /// Fills free slots with waiting sequences; computes their prompts.
    fn admit(&mut self, slots: usize) -> Result<()> {
        while self.active.len() < slots && !self.groups.is_empty() {
            self.prefill(slots - self.active.len())?;
            let Some(group) = self.groups.front_mut() else {
                return Ok(());
            };
            let Some(logits) = group.logits.clone() else {
                return Ok(());
            };
            while self.active.len() < slots
                && let Some(sequence) = group.waiting.pop_front()
            {
                // The last one takes the row itself.
                let row = match group.waiting.is_empty() {
                    true => group.row,
                    false => self.cache.fork(group.row)?,
                };
                self.active.push(Active {
                    sequence,
                    row,
                    logits: logits.clone(),
                    at: 0,
                });
            }
            if group.waiting.is_empty() {
                self.groups.pop_front();
            }
        }
        Ok(())
    }

    /// Computes the texts of the first groups, as many as have room in `free`
    /// slots and in one pass.
    fn prefill(&mut self, free: usize) -> Result<()> {
        let (mut members, mut tokens, mut count) = (0, 0, 0);
        for group in &self.groups {
            let more = tokens + group.text.len();
            if group.logits.is_some() || members >= free || (count > 0 && more > PREFILL) {
                break;
            }
            members += group.waiting.len();
            tokens = more;
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        for group in self.groups.iter_mut().take(count) {
            group.row = self.cache.add();
        }
        let new = self.groups.iter().take(count);
        let feeds: Vec<Feed<'_>> = new.map(|g| (g.row, g.text.as_slice())).collect();
        let hidden = step(self.engine, &mut self.cache, &feeds, &mut self.tap)?;
        let logits = self.engine.logits(&hidden);
        let rows = logits.chunks_exact(self.engine.config().vocab_size);
        for (group, row) in self.groups.iter_mut().zip(rows) {
            group.logits = Some(Arc::new(row.to_vec()));
        }
        Ok(())
    }

    /// Draws the next token of every active sequence, and appends what is
    /// forced behind it.
    fn draw(
        &self,
        sequences: &mut [Sequence<'_>],
        constraints: &mut [Box<dyn Constraint + '_>],
    ) -> Result<()> {
        let vocab = self.engine.config().vocab_size;
        let mut draws = Vec::with_capacity(self.active.len());
        for active in &self.active {
            let sequence = &sequences[active.sequence];
            let allowed = match constraints.get(active.sequence) {
                Some(constraint) => constraint.allowed(sequence.ids()),
                None => Allowed::All,
            };
            let logits = &active.logits[active.at * vocab..][..vocab];
            draws.push((sequence, logits, allowed, sequence.rng()));
        }
        let drawn = draws
            .into_par_iter()
            .map(|(sequence, logits, allowed, mut rng)| {
                let drawn = pick(
                    logits,
                    allowed,
                    sequence.seen(),
                    sequence.options(),
                    &mut rng,
                )?;
                Ok((drawn, rng))
            })
            .collect::<Result<Vec<_>>>()?;
        for (active, ((token, logprob), rng)) in self.active.iter().zip(drawn) {
            let sequence = &mut sequences[active.sequence];
            let mut constraint = constraints.get_mut(active.sequence);
            if let Some(constraint) = &mut constraint {
                constraint.advance(token);
            }
            sequence.drew(token, logprob, rng);
            let complete = constraint.as_ref().is_some_and(|c| c.done());
            if complete && sequence.finish() == Finish::Length {
                sequence.end(Finish::Constraint);
            } else if sequence.finish() == Finish::Length
                && stop_text_reached(self.tokenizer, sequence.ids(), sequence.options())?
            {
                sequence.end(Finish::StopText);
            }
            sequence.force(constraint)?;
        }
        Ok(())
    }
}

fn step(
    engine: &Engine,
    cache: &mut KvCache,
    feeds: &[Feed<'_>],
    tap: &mut Option<&mut dyn Tap>,
) -> Result<Vec<f32>> {
    match tap {
        Some(tap) => engine.step_tapped(cache, feeds, &mut **tap),
        None => engine.step(cache, feeds),
    }
}

/// Whether the last token completed a stop text.
fn stop_text_reached(
    tokenizer: Option<&Tokenizer>,
    ids: &[u32],
    options: &SampleOptions,
) -> Result<bool> {
    let Some(tokenizer) = tokenizer.filter(|_| !options.stop.is_empty()) else {
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
