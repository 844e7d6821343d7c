//! Which tokens a clause may consist of, sorted by what they may follow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use visa_nn::Tokenizer;

use crate::error::{AlignError, Result};

/// What the last character of a clause was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet.
    Start,
    /// A letter: the clause may end here.
    Word,
    /// The word "I", which is no beginning of a longer word.
    Capital,
    /// A blank.
    Blank,
    /// A comma.
    Comma,
    /// A hyphen inside a word.
    Hyphen,
    /// An apostrophe inside or behind a word.
    Apostrophe,
}

impl State {
    const ALL: [State; 7] = [
        State::Start,
        State::Word,
        State::Capital,
        State::Blank,
        State::Comma,
        State::Hyphen,
        State::Apostrophe,
    ];

    pub(super) fn may_end(self) -> bool {
        matches!(self, State::Start | State::Word)
    }

    /// The state behind one more character, if it may stand there.
    fn step(self, c: char) -> Option<State> {
        use State::{Apostrophe, Blank, Capital, Comma, Hyphen, Start, Word};
        match (self, c) {
            (Start, ',') => Some(Comma),
            (Start, ' ') => Some(Blank),
            (Word | Blank | Hyphen | Apostrophe, c) if c.is_lowercase() => Some(Word),
            (Blank, 'I') => Some(Capital),
            (Word | Capital | Apostrophe, ' ') | (Comma, ' ') => Some(Blank),
            (Word | Capital, ',') => Some(Comma),
            (Word, '-') => Some(Hyphen),
            (Word | Capital, '\'' | '’') => Some(Apostrophe),
            _ => None,
        }
    }

    /// The state behind a whole piece of text.
    fn walk(self, piece: &str) -> Option<State> {
        piece.chars().try_fold(self, State::step)
    }
}

/// Whether the shield would let this be written as a clause, given tokens for it.
pub fn writable(clause: &str) -> bool {
    !clause.is_empty() && State::Start.walk(clause) == Some(State::Word)
}

/// The tokens of a tokenizer that a clause may hold.
#[derive(Debug)]
pub struct ClauseVocab {
    /// For each state the tokens that may come, ascending.
    lists: [Vec<u32>; 7],
    /// Of those the ones behind which a clause may end, where there are any: for clauses that must come to an end.
    closing: [Vec<u32>; 7],
    /// The state behind each token; it does not depend on the state before.
    after: HashMap<u32, State>,
    /// Lists with an end added, by the end's first token.
    ends: Mutex<HashMap<u32, Ends>>,
}

type Ends = (Arc<Vec<u32>>, Arc<Vec<u32>>);

impl ClauseVocab {
    /// Sorts the vocabulary of a byte-level tokenizer.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] if some state could not be left, as with a tokenizer without single letters.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let pieces = (0..tokenizer.vocab_size() as u32)
            .filter(|&id| !tokenizer.is_special(id))
            .filter_map(|id| Some((id, tokenizer.decode_all(&[id]).ok()?)));
        Self::from_pieces(pieces).ok_or_else(|| {
            AlignError::file(
                tokenizer.path(),
                "holds no tokens for single letters, blanks and commas, so no clause can be written; fetch the model again",
            )
        })
    }

    /// Sorts tokens given as text; `None` if some state could not be left.
    pub fn from_pieces(pieces: impl Iterator<Item = (u32, String)>) -> Option<Self> {
        let mut lists: [Vec<u32>; 7] = Default::default();
        let mut after = HashMap::new();
        for (id, piece) in pieces {
            if piece.is_empty() {
                continue;
            }
            for (list, state) in lists.iter_mut().zip(State::ALL) {
                if let Some(end) = state.walk(&piece) {
                    list.push(id);
                    after.insert(id, end);
                }
            }
        }
        for list in &mut lists {
            list.sort_unstable();
        }
        let closing = lists.clone().map(|list| {
            let last: Vec<u32> = list
                .iter()
                .copied()
                .filter(|id| after[id] == State::Word)
                .collect();
            if last.is_empty() { list } else { last }
        });
        // From a blank or a hyphen a word must be within reach, and every other state leads to one of these.
        let reach = |state: State| {
            closing[state as usize]
                .iter()
                .any(|id| after[id] == State::Word)
        };
        let complete = lists.iter().all(|list| !list.is_empty())
            && reach(State::Blank)
            && reach(State::Hyphen);
        complete.then(|| Self {
            lists,
            closing,
            after,
            ends: Mutex::default(),
        })
    }

    pub(super) fn list(&self, state: State) -> &[u32] {
        &self.lists[state as usize]
    }

    /// As [`Self::list`], for a clause that must end.
    pub(super) fn closing(&self, state: State) -> &[u32] {
        &self.closing[state as usize]
    }

    pub(super) fn after(&self, token: u32) -> Option<State> {
        self.after.get(&token).copied()
    }

    /// The lists of the start and of a word's end, with the token that ends the clause.
    pub(super) fn with_end(&self, end: u32) -> Ends {
        let with = |state: State| {
            let mut list = self.list(state).to_vec();
            list.push(end);
            Arc::new(list)
        };
        // A poisoned lock holds whole entries all the same: they are inserted in one step.
        let mut ends = self
            .ends
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ends.entry(end)
            .or_insert_with(|| (with(State::Start), with(State::Word)))
            .clone()
    }
}
