//! From what tokens were drawn: what a policy that learns from constrained rollouts must know of them.
//!
//! A constraint is asked again for each token of an output that is complete, so that rollouts, outputs from a file and
//! other models' outputs are all measured under the same rule. [`crate::Decoder::group_logprobs_among`] takes the answers.

use std::ops::Range;

use super::{Allowed, Constraint};
use crate::{Error, Result};

/// From what one token was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The whole vocabulary.
    Any,
    /// There was no other: its log-probability is 0.
    Forced,
    /// The set of this number.
    Among(usize),
}

/// A set of tokens: as the constraint listed them, and each once in order.
#[derive(Clone, Debug)]
struct Set {
    listed: Vec<u32>,
    sorted: Vec<u32>,
}

/// From what each token of some outputs was drawn, output after output. Equal sets are kept once.
#[derive(Clone, Debug)]
pub struct Choices {
    sets: Vec<Set>,
    of: Vec<Choice>,
    vocab: usize,
}

/// The choices of a stretch of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    all: &'a Choices,
    of: &'a [Choice],
}

impl Choices {
    /// No outputs yet; `vocab` is the decoder's vocabulary.
    pub fn new(vocab: usize) -> Self {
        Self {
            sets: Vec::new(),
            of: Vec::new(),
            vocab,
        }
    }

    /// Adds an output that was drawn freely.
    pub fn free(&mut self, tokens: usize) {
        self.of.extend(std::iter::repeat_n(Choice::Any, tokens));
    }

    /// Adds an output under a constraint that has seen nothing yet, and tells it the tokens.
    ///
    /// # Errors
    /// A token that the constraint forbids, or that the vocabulary lacks.
    pub fn record(&mut self, ids: &[u32], constraint: &mut dyn Constraint) -> Result<()> {
        let from = self.of.len();
        for (at, &id) in ids.iter().enumerate() {
            let choice = self.choice(constraint.allowed(&ids[..at]));
            let fits = (id as usize) < self.vocab
                && match choice {
                    Ok(Choice::Among(set)) => self.sets[set].sorted.binary_search(&id).is_ok(),
                    Ok(_) => true,
                    Err(forced) => forced == id,
                };
            if !fits {
                self.of.truncate(from);
                return Err(Error::Input(format!(
                    "token {at} of an output is {id}, which the constraint forbids; it was not written under this constraint"
                )));
            }
            self.of.push(choice.unwrap_or(Choice::Forced));
            constraint.advance(id);
        }
        Ok(())
    }

    /// The choice, or the only token there is.
    fn choice(&mut self, allowed: Allowed<'_>) -> Result<Choice, u32> {
        let of = |list: Vec<u32>| {
            let mut sorted = list.clone();
            sorted.sort_unstable();
            sorted.dedup();
            Set {
                listed: list,
                sorted,
            }
        };
        let set = match allowed {
            Allowed::All => return Ok(Choice::Any),
            Allowed::Force(id) => return Err(id),
            Allowed::Only(&[id]) => return Err(id),
            // A comparison costs little beside a token's logits; the lists of one constraint are few.
            Allowed::Only(list) => match self.sets.iter().position(|set| set.listed == list) {
                Some(at) => return Ok(Choice::Among(at)),
                None => of(list.to_vec()),
            },
            Allowed::Except(list) => {
                let mut set = of(list.to_vec());
                let kept =
                    (0..self.vocab as u32).filter(|id| set.sorted.binary_search(id).is_err());
                set.sorted = kept.collect();
                set.listed = set.sorted.clone();
                set
            }
        };
        let known = self.sets.iter().position(|s| s.listed == set.listed);
        Ok(Choice::Among(known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        })))
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Those of all tokens.
    pub fn all(&self) -> Drawn<'_> {
        self.part(0..self.of.len())
    }

    /// Those of a stretch of tokens.
    ///
    /// # Panics
    /// If the stretch is not inside.
    pub fn part(&self, tokens: Range<usize>) -> Drawn<'_> {
        Drawn {
            all: self,
            of: &self.of[tokens],
        }
    }
}

impl Drawn<'_> {
    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    /// Where a token's choice is not forced: the choice and the places of its tokens, choice after choice.
    pub(crate) fn by_choice(&self) -> Vec<(Choice, Vec<usize>)> {
        let mut found: Vec<(Choice, Vec<usize>)> = Vec::new();
        for (at, &choice) in self.of.iter().enumerate() {
            if choice == Choice::Forced {
                continue;
            }
            match found.iter_mut().find(|(c, _)| *c == choice) {
                Some((_, places)) => places.push(at),
                None => found.push((choice, vec![at])),
            }
        }
        found
    }

    /// The tokens of a set, ascending.
    pub(crate) fn set(&self, number: usize) -> &[u32] {
        &self.all.sets[number].sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows what its list says for each place.
    struct Listed(Vec<Allowed<'static>>, usize);

    impl Constraint for Listed {
        fn allowed(&self, generated: &[u32]) -> Allowed<'_> {
            assert_eq!(generated.len(), self.1);
            self.0[self.1]
        }

        fn advance(&mut self, _: u32) {
            self.1 += 1;
        }
    }

    fn listed() -> Listed {
        let sets = vec![
            Allowed::Only(&[4, 2, 2]),
            Allowed::Force(7),
            Allowed::All,
            Allowed::Except(&[0, 99]),
            Allowed::Only(&[3]),
            Allowed::Only(&[4, 2, 2]),
        ];
        Listed(sets, 0)
    }

    #[test]
    fn each_token_knows_from_what_it_was_drawn() {
        let mut choices = Choices::new(9);
        choices.record(&[2, 7, 0, 8, 3, 4], &mut listed()).unwrap();
        choices.free(2);
        assert_eq!(choices.len(), 8);
        let drawn = choices.all();
        let expected = vec![
            (Choice::Among(0), vec![0, 5]),
            (Choice::Any, vec![2, 6, 7]),
            (Choice::Among(1), vec![3]),
        ];
        assert_eq!(drawn.by_choice(), expected);
        assert_eq!(drawn.set(0), [2, 4]);
        assert_eq!(drawn.set(1), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            choices.part(5..7).by_choice()[0],
            (Choice::Among(0), vec![0])
        );
    }

    #[test]
    fn a_forbidden_token_is_refused_and_leaves_nothing() {
        for (ids, at) in [
            (vec![3u32], 0),
            (vec![2, 6], 1),
            (vec![2, 7, 9], 2),
            (vec![2, 7, 1, 0], 3),
        ] {
            let mut choices = Choices::new(9);
            let error = choices.record(&ids, &mut listed()).unwrap_err().to_string();
            assert!(error.contains(&format!("token {at} ")), "{error}");
            assert!(choices.is_empty());
        }
    }
}
