//! Shielded decoding: what the embedded rewriter may write, enforced on the next token.
//!
//! A rewrite is made sentence by sentence. A source sentence is kept word for word, or its *stem* is kept word for word
//! and only the clause behind it is new: an added one (extension), or one in place of a clause that carried a value
//! (change, or removal when the new one is empty). Protected spans (numbers, names, quotations, URLs, code) stand in
//! stems: a clause that holds one is never taken out. The stem is part of the prompt and the [`ClauseShield`] restricts
//! what follows, so no sampled token can touch it:
//!
//! * the clause begins with a comma or a blank, or is empty;
//! * it consists of lower-case words, commas, hyphens and apostrophes inside words, so there can be no digit, quotation
//!   mark, URL, code, line break or new name; the one capital is the word "I";
//! * words are separated by one blank, a comma is followed by one;
//! * it ends only behind a whole word, in the sentence's own final punctuation, which is forced to its end;
//! * it ends in any case after `max_clause` tokens and what completes the word begun;
//! * where a set of [`Phrases`] is given, it is one of these, and not empty: to say nothing is no answer to a wish.
//!
//! This module knows tokens and strings. What the clause should say is the model's business, and whether the result is
//! any good is the loop's.

mod phrases;
mod sentence;
#[cfg(test)]
mod tests;
mod vocab;

use std::sync::Arc;

use visa_nn::sample::{Allowed, Constraint};

pub use phrases::Phrases;
pub use sentence::{Edit, Editable, editable};
pub use vocab::{ClauseVocab, writable};

use phrases::Walk;
use vocab::State;

/// Most tokens of a clause, unless said otherwise.
pub const MAX_CLAUSE: usize = 24;

/// The constraint on one sentence's new clause and its end.
#[derive(Clone, Debug)]
pub struct ClauseShield {
    vocab: Arc<ClauseVocab>,
    /// The final punctuation, or the end-of-text token where the sentence has none; not empty.
    terminator: Vec<u32>,
    max_clause: usize,
    state: State,
    clause: usize,
    /// Terminator tokens written.
    ended: usize,
    /// The length limit ended the clause.
    cut: bool,
    /// Where the clause stands among the phrases that it must be one of.
    walk: Option<Walk>,
    /// Lists of `vocab` with the terminator's first token, for the states in which the clause may end.
    start: Arc<Vec<u32>>,
    word: Arc<Vec<u32>>,
}

impl ClauseShield {
    /// A shield for a sentence that ends in `terminator` (tokens; the end-of-text token where the sentence has no final
    /// punctuation). An empty terminator ends nothing and is refused.
    pub fn new(vocab: &Arc<ClauseVocab>, terminator: &[u32], max_clause: usize) -> Option<Self> {
        let first = *terminator.first()?;
        let (start, word) = vocab.with_end(first);
        Some(Self {
            vocab: Arc::clone(vocab),
            terminator: terminator.to_vec(),
            max_clause: max_clause.max(1),
            state: State::Start,
            clause: 0,
            ended: 0,
            cut: false,
            walk: None,
            start,
            word,
        })
    }

    /// The same, with one of `phrases` for a clause. They are taken as they are: what else a clause must be is theirs to be.
    #[must_use]
    pub fn among(self, phrases: &Arc<Phrases>) -> Self {
        Self {
            walk: Some(Walk::new(phrases, self.terminator[0])),
            ..self
        }
    }

    /// Whether the limit ended the clause, so that its last word may be half a word.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// How many tokens of the clause have been written.
    pub fn clause_len(&self) -> usize {
        self.clause
    }

    fn at_limit(&self) -> bool {
        self.clause >= self.max_clause
    }
}

impl Constraint for ClauseShield {
    fn allowed(&self, _generated: &[u32]) -> Allowed<'_> {
        if self.ended > 0 {
            // Behind its last token `done` holds and nobody asks.
            return Allowed::Force(self.terminator[self.ended.min(self.terminator.len() - 1)]);
        }
        if let Some(walk) = &self.walk {
            return Allowed::Only(walk.next());
        }
        match self.state {
            State::Start => Allowed::Only(&self.start),
            State::Word if self.at_limit() => Allowed::Force(self.terminator[0]),
            State::Word => Allowed::Only(&self.word),
            state if self.at_limit() => Allowed::Only(self.vocab.closing(state)),
            state => Allowed::Only(self.vocab.list(state)),
        }
    }

    fn advance(&mut self, token: u32) {
        // A clause token is never the terminator's: the vocabulary leaves it out.
        let may_end = self.walk.is_some() || self.state.may_end();
        if self.ended > 0 || (may_end && token == self.terminator[0]) {
            self.cut |= self.ended == 0 && self.walk.is_none() && self.at_limit();
            self.ended += 1;
            return;
        }
        self.clause += 1;
        if let Some(walk) = &mut self.walk {
            walk.advance(token);
        }
        // A token that the vocabulary does not know cannot be followed by anything but the end.
        self.state = self.vocab.after(token).unwrap_or(State::Word);
    }

    fn done(&self) -> bool {
        self.ended >= self.terminator.len()
    }
}
