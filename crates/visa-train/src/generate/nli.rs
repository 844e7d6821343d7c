//! Sentence pairs for the bidirectional consistency checker.
//!
//! Each rule (`nli/rules/`) edits a text and knows what the edit does to entailment in both
//! directions, so one edit gives two pairs. Edits of a single sentence are also made inside windows
//! of two or three, because the checker reads windows. Labels follow the usual convention that both
//! texts speak of the same event: another name, number or role is a contradiction.
//!
//! The labels are right by construction for most texts and not for all: an antonym can hit an
//! idiom, a dropped clause a scope. Rules that weaken ("a dog" → "an animal") stay away from
//! sentences with negation, conditions or universal quantifiers, where the direction turns.

mod composed;
mod edit;
mod rules;
mod words;

use std::collections::{BTreeMap, HashSet};

use rand::Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use visa_score::sentences;

use super::phrases::pick;
use edit::Edit;
use rules::RULES;

/// Whether the premise entails the hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NliLabel {
    /// The hypothesis follows.
    Entailment,
    /// It neither follows nor conflicts.
    Neutral,
    /// It conflicts.
    Contradiction,
}

/// One directed pair.
#[derive(Clone, Debug, PartialEq)]
pub struct NliExample {
    /// What is given.
    pub premise: String,
    /// What is claimed.
    pub hypothesis: String,
    /// The relation.
    pub label: NliLabel,
    /// The rule that made the pair, for analysis.
    pub kind: &'static str,
}

/// Up to `count` pairs, a third for each label and even over the kinds within a label, made from
/// running `texts` (a paragraph or a sentence each) and from `splits` (a sentence, and the two or
/// more sentences that say the same). Pairs come in shuffled order, no pair twice.
///
/// It reads at most `count` texts and `count` splits, and returns fewer pairs where they give fewer.
pub fn nli(
    seed: u64,
    count: usize,
    texts: impl IntoIterator<Item = String>,
    splits: impl IntoIterator<Item = (String, String)>,
) -> Vec<NliExample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pool = Pool {
        cap: count.div_ceil(6).max(1),
        ..Pool::default()
    };
    for (whole, parts) in splits.into_iter().take(count) {
        pool.edit(&whole, Edit::same("split", parts));
    }
    // Texts are taken in blocks, so that "unrelated" has something to be unrelated to.
    let mut block: Vec<Vec<String>> = Vec::new();
    for text in texts.into_iter().take(count) {
        let found: Vec<String> = sentences(&text)
            .into_iter()
            .map(|r| text[r].trim().to_owned())
            .filter(|s| usable(s))
            .collect();
        if !found.is_empty() {
            block.push(found);
        }
        if block.len() == 64 {
            work(&block, &mut pool, &mut rng);
            block.clear();
        }
    }
    work(&block, &mut pool, &mut rng);
    // Few of these: they are as uniform as they are certain.
    for _ in 0..count.div_ceil(30) {
        for (text, edit) in composed::composed(&mut rng) {
            pool.edit(&text, edit);
        }
    }
    pool.balanced(count, &mut rng)
}

/// Sentences of ordinary length; the rest is headings, lists and run-on passages.
fn usable(sentence: &str) -> bool {
    (3..=50).contains(&sentence.split_whitespace().count())
}

fn work<R: Rng>(block: &[Vec<String>], pool: &mut Pool, rng: &mut R) {
    let mut last_clause: Option<String> = None;
    for (i, text) in block.iter().enumerate() {
        for at in 0..text.len() {
            let sentence = &text[at];
            let length = *pick(&[1, 1, 1, 2, 2, 3], rng);
            let from = at.saturating_sub(rng.random_range(0..length));
            let to = (from + length).min(text.len()).max(at + 1);
            let (before, after) = (text[from..at].join(" "), text[at + 1..to].join(" "));
            let wrap = |s: &str| {
                [before.as_str(), s, after.as_str()]
                    .iter()
                    .filter(|p| !p.is_empty())
                    .copied()
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            let whole = wrap(sentence);

            let mut rules: Vec<_> = RULES.iter().collect();
            rules.shuffle(rng);
            let mut made = 0;
            for rule in rules {
                if let Some(mut edit) = rule.call(sentence, rng)
                    && edit.text != *sentence
                {
                    edit.text = wrap(&edit.text);
                    pool.edit(&whole, edit);
                    made += 1;
                    if made == 5 {
                        break;
                    }
                }
            }
            // Two rewordings at once.
            if let Some(first) = rules::reworded(sentence, rng)
                && let Some(second) = rules::reworded(&first, rng)
                && second != *sentence
            {
                pool.edit(&whole, Edit::same("reworded-twice", wrap(&second)));
            }
            // A clause from elsewhere, or of the kind that our own rewriter adds.
            let taken = rules::reason(sentence);
            let invented = match (&last_clause, rng.random_bool(0.5)) {
                (Some(clause), true) if taken.is_none() => rules::append(sentence, clause),
                _ => rules::append(sentence, &rules::value_clause(rng)),
            };
            if let Some(longer) = invented {
                pool.edit(
                    &whole,
                    Edit {
                        text: wrap(&longer),
                        forward: NliLabel::Neutral,
                        backward: NliLabel::Entailment,
                        kind: "invented-clause",
                    },
                );
            }
            last_clause = taken.or(last_clause);

            if rng.random_bool(0.3) {
                pool.edit(&whole, Edit::same("copy", whole.clone()));
            }
            if to - from > 1 {
                pool.edit(
                    &whole,
                    Edit {
                        text: sentence.clone(),
                        forward: NliLabel::Entailment,
                        backward: NliLabel::Neutral,
                        kind: "dropped-sentence",
                    },
                );
            }
            let other = &block[(i + 1 + rng.random_range(0..block.len())) % block.len()];
            if !std::ptr::eq(other, text) {
                let stranger = pick(other, rng);
                if rng.random_bool(0.4) {
                    pool.edit(
                        &whole,
                        Edit {
                            text: stranger.clone(),
                            forward: NliLabel::Neutral,
                            backward: NliLabel::Neutral,
                            kind: "unrelated",
                        },
                    );
                } else {
                    let longer = if rng.random_bool(0.5) {
                        format!("{whole} {stranger}")
                    } else {
                        format!("{stranger} {whole}")
                    };
                    pool.edit(
                        &whole,
                        Edit {
                            text: longer,
                            forward: NliLabel::Neutral,
                            backward: NliLabel::Entailment,
                            kind: "invented-sentence",
                        },
                    );
                }
            }
            if let Some(next) = text.get(to) {
                pool.edit(
                    &whole,
                    Edit {
                        text: next.clone(),
                        forward: NliLabel::Neutral,
                        backward: NliLabel::Neutral,
                        kind: "next-sentence",
                    },
                );
            }
        }
    }
}

/// Pairs by label and kind, each up to a cap, so that common rules do not crowd out rare ones.
#[derive(Default)]
struct Pool {
    cap: usize,
    seen: HashSet<(String, String)>,
    pairs: BTreeMap<(NliLabel, &'static str), Vec<NliExample>>,
}

impl Pool {
    fn edit(&mut self, original: &str, edit: Edit) {
        self.add(original, &edit.text, edit.forward, edit.kind);
        if edit.kind != "copy" {
            self.add(&edit.text, original, edit.backward, edit.kind);
        }
    }

    fn add(&mut self, premise: &str, hypothesis: &str, label: NliLabel, kind: &'static str) {
        let list = self.pairs.entry((label, kind)).or_default();
        if list.len() < self.cap
            && self
                .seen
                .insert((premise.to_owned(), hypothesis.to_owned()))
        {
            list.push(NliExample {
                premise: premise.to_owned(),
                hypothesis: hypothesis.to_owned(),
                label,
                kind,
            });
        }
    }

    /// Takes from the kinds of each label in turn until the label has its third.
    fn balanced<R: Rng>(mut self, count: usize, rng: &mut R) -> Vec<NliExample> {
        let labels = [
            NliLabel::Entailment,
            NliLabel::Neutral,
            NliLabel::Contradiction,
        ];
        for list in self.pairs.values_mut() {
            list.shuffle(rng);
        }
        let mut taken: Vec<Vec<NliExample>> = labels
            .iter()
            .map(|label| {
                let mut out = Vec::new();
                loop {
                    let before = out.len();
                    for ((of, _), list) in &mut self.pairs {
                        if of == label && out.len() < count.div_ceil(3) {
                            out.extend(list.pop());
                        }
                    }
                    if out.len() == before {
                        return out;
                    }
                }
            })
            .collect();
        // Balance matters more than size: every label is cut to the scarcest, if it has any.
        let least = taken
            .iter()
            .map(Vec::len)
            .filter(|n| *n > 0)
            .min()
            .unwrap_or(0);
        let mut all: Vec<NliExample> = taken
            .iter_mut()
            .flat_map(|list| list.drain(..least.min(list.len())))
            .collect();
        all.shuffle(rng);
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests;
