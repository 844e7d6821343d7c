//! A closed set of clauses, walked token by token: under it a decoder chooses among what was written (constrained
//! decoding over a prefix tree, as in GENRE, arXiv 2010.00904; the tree is a sorted list here).

use std::ops::Range;
use std::sync::Arc;

/// Clauses as token sequences, sorted, each once, none empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Phrases(Vec<Arc<[u32]>>);

impl Phrases {
    /// Sorts them; `None` without any.
    pub fn new(mut tokens: Vec<Arc<[u32]>>) -> Option<Self> {
        tokens.retain(|phrase| !phrase.is_empty());
        tokens.sort_unstable();
        tokens.dedup();
        (!tokens.is_empty()).then_some(Self(tokens))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a clause is one of them.
    pub fn contains(&self, phrase: &[u32]) -> bool {
        self.0.binary_search_by(|p| (**p).cmp(phrase)).is_ok()
    }

    /// Whether there is none; [`Phrases::new`] makes no such.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A place in the tree: the phrases that begin with what has been written.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    phrases: Arc<Phrases>,
    range: Range<usize>,
    depth: usize,
    /// What may come, ascending; behind a whole phrase its end too, last.
    next: Vec<u32>,
    end: u32,
}

impl Walk {
    /// At the root. `end` is the first token behind a phrase.
    pub(super) fn new(phrases: &Arc<Phrases>, end: u32) -> Self {
        let mut walk = Self {
            phrases: Arc::clone(phrases),
            range: 0..phrases.len(),
            depth: 0,
            next: Vec::new(),
            end,
        };
        walk.look();
        walk
    }

    pub(super) fn next(&self) -> &[u32] {
        &self.next
    }

    /// Goes on by a token of [`Self::next`] that is not the end.
    pub(super) fn advance(&mut self, token: u32) {
        let among = &self.phrases.0[self.range.clone()];
        let at = |phrase: &Arc<[u32]>| phrase.get(self.depth).copied();
        let from = among.partition_point(|p| at(p) < Some(token));
        let to = among.partition_point(|p| at(p) <= Some(token));
        self.range = self.range.start + from..self.range.start + to;
        self.depth += 1;
        self.look();
    }

    fn look(&mut self) {
        self.next.clear();
        let mut among = &self.phrases.0[self.range.clone()];
        // A phrase that ends here sorts before those that go on.
        let ends = among.first().is_some_and(|p| p.len() == self.depth);
        among = &among[usize::from(ends)..];
        while let Some(token) = among.first().map(|p| p[self.depth]) {
            self.next.push(token);
            among = &among[among.partition_point(|p| p[self.depth] <= token)..];
        }
        if ends {
            self.next.push(self.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const END: u32 = 9;

    /// All that can be walked.
    fn walked(walk: &Walk, written: &mut Vec<u32>, found: &mut Vec<Vec<u32>>) {
        for &token in walk.next() {
            if token == END {
                found.push(written.clone());
                continue;
            }
            let mut on = walk.clone();
            on.advance(token);
            written.push(token);
            walked(&on, written, found);
            written.pop();
        }
    }

    proptest! {
        #[test]
        fn exactly_the_phrases_can_be_written(
            phrases in prop::collection::vec(prop::collection::vec(0u32..4, 0..5), 1..30)
        ) {
            let wanted: BTreeSet<Vec<u32>> = phrases.iter().filter(|p| !p.is_empty()).cloned().collect();
            let phrases = phrases.into_iter().map(Arc::from).collect();
            let Some(all) = Phrases::new(phrases) else { return Ok(()) };
            let mut found = Vec::new();
            walked(&Walk::new(&Arc::new(all), END), &mut Vec::new(), &mut found);
            prop_assert_eq!(found.len(), wanted.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
        }
    }

    #[test]
    fn nothing_is_no_set_of_phrases() {
        assert_eq!(Phrases::new(vec![Arc::new([])]), None);
        assert_eq!(Phrases::new(Vec::new()), None);
    }
}
