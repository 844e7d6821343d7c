//! Two texts → consistency both ways, by entailment between windows of sentences.
//!
//! One pass over two whole texts would cut long ones off, and one vector for a page forgets a page. So each sentence is
//! asked for by itself:
//!
//! * forward (falls when the candidate invents): mean over the candidate's sentences h, weighted by tokens, of
//!   max over premises p of P(p entails h), where p runs over the original's best-aligned sentence, that sentence with
//!   its neighbours, and the whole original if it fits the encoder;
//! * backward (falls when the candidate drops): the same with the two texts exchanged.
//!
//! A sentence that stands word for word in the other text has probability 1 and is not asked for; equal texts are
//! therefore exactly (1, 1). Alignment is by shared words (Jaccard index), which is cheap and only has to find the
//! neighbourhood. White space and the case of letters do not count.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use visa_score::Consistency;

use crate::backend::Consistent;
use crate::error::Result;
use crate::head::{Input, encode_input};
use crate::models::{Models, Part};
use crate::rewrite::check_text;
use crate::trunk::{HeadModel, Trunk};

/// The consistency checker.
#[derive(Debug)]
pub struct Checker {
    model: HeadModel,
    relation: usize,
    entailment: usize,
}

impl Checker {
    /// Loads `dir` (adapter and head) over the trunk that the head names, by default `../encoder`.
    ///
    /// # Errors
    /// [`ModelFile`](crate::AlignError::ModelFile) or [`Load`](crate::AlignError::Load), naming the file.
    pub fn load(dir: &Path) -> Result<Self> {
        Self::over(dir, None)
    }

    /// Loads the checker among `models` over a trunk that is shared.
    ///
    /// # Errors
    /// As [`Models::dir`] and [`Self::load`].
    pub fn find(models: &Models, trunk: &Trunk) -> Result<Self> {
        Self::over(&models.dir(Part::Nli)?, Some(trunk))
    }

    /// Loads the judge's checker among `models`: a second opinion, trained apart, for evaluation.
    ///
    /// # Errors
    /// As [`Models::dir`] and [`Self::load`].
    pub fn judge(models: &Models, trunk: &Trunk) -> Result<Self> {
        Self::over(&models.dir(Part::JudgeChecker)?, Some(trunk))
    }

    fn over(dir: &Path, trunk: Option<&Trunk>) -> Result<Self> {
        let model = HeadModel::load(dir, Part::Nli, trunk)?;
        let relation = model.place("relation")?;
        let classes = &model.head().config.outputs[relation].classes;
        let entailment = classes
            .iter()
            .position(|c| c == "entailment")
            .ok_or_else(|| {
                crate::AlignError::file(
                    dir.join(crate::head::HEAD_JSON),
                    "no class is named entailment; fetch the model again",
                )
            })?;
        Ok(Self {
            model,
            relation,
            entailment,
        })
    }

    /// One judgement a pair (original, candidate), in order.
    ///
    /// # Errors
    /// [`Empty`](crate::AlignError::Empty), [`TooLong`](crate::AlignError::TooLong), or a model failure.
    pub fn consistency(&self, pairs: &[(&str, &str)]) -> Result<Vec<Consistency>> {
        let mut asked = Questions::default();
        let mut plans = Vec::with_capacity(pairs.len());
        let mut sides: HashMap<&str, Side> = HashMap::new();
        for &(original, candidate) in pairs {
            for (what, text) in [("original", original), ("candidate", candidate)] {
                check_text(what, text)?;
                if !sides.contains_key(text) {
                    sides.insert(text, self.side(text)?);
                }
            }
        }
        let room = self.model.head().config.max_tokens.saturating_sub(3);
        for (original, candidate) in pairs {
            let (original, candidate) = (&sides[original], &sides[candidate]);
            plans.push((
                plan(original, candidate, room, &mut asked),
                plan(candidate, original, room, &mut asked),
            ));
        }
        let answers = self.entailments(&asked)?;
        Ok(plans
            .iter()
            .map(|(forward, backward)| Consistency {
                forward: forward.value(&answers),
                backward: backward.value(&answers),
            })
            .collect())
    }

    /// P(premise entails hypothesis) of whole texts, in one window; what exceeds the encoder is cut off. For measuring
    /// the model itself.
    ///
    /// # Errors
    /// As [`Self::consistency`].
    pub fn relations(&self, pairs: &[(&str, &str)]) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<&str> = pairs.iter().flat_map(|p| [p.0, p.1]).collect();
        let tokens = self.model.tokens(&texts)?;
        let inputs: Vec<Input> = tokens
            .chunks(2)
            .map(|pair| self.input(&pair[0], &pair[1]))
            .collect();
        Ok(self
            .model
            .run(&inputs)?
            .into_iter()
            .map(|mut answer| answer.swap_remove(self.relation))
            .collect())
    }

    /// Names of the classes that [`Self::relations`] answers with.
    pub fn classes(&self) -> &[String] {
        &self.model.head().config.outputs[self.relation].classes
    }

    fn input(&self, premise: &[u32], hypothesis: &[u32]) -> Input {
        encode_input(
            self.model.specials(),
            premise,
            Some(hypothesis),
            self.model.head().config.max_tokens,
        )
    }

    fn side(&self, text: &str) -> Result<Side> {
        let ranges = visa_score::sentences(text);
        let texts: Vec<&str> = if ranges.is_empty() {
            vec![text]
        } else {
            ranges.iter().map(|r| &text[r.clone()]).collect()
        };
        let tokens = self.model.tokens(&texts)?;
        Ok(Side::new(&texts, tokens))
    }

    fn entailments(&self, asked: &Questions) -> Result<Vec<f32>> {
        let inputs: Vec<Input> = asked.list.iter().map(|(p, h)| self.input(p, h)).collect();
        let answers = self.model.run(&inputs)?;
        Ok(answers
            .iter()
            .map(|a| a[self.relation][self.entailment])
            .collect())
    }
}

impl Consistent for Checker {
    fn consistency(&self, pairs: &[(&str, &str)]) -> Result<Vec<Consistency>> {
        Checker::consistency(self, pairs)
    }
}

/// A text by sentences.
struct Side {
    sentences: Vec<Sentence>,
    tokens: usize,
}

struct Sentence {
    ids: Vec<u32>,
    /// The sentence without regard to white space and case.
    normal: String,
    words: HashSet<String>,
}

impl Side {
    fn new(texts: &[&str], tokens: Vec<Vec<u32>>) -> Self {
        let total = tokens.iter().map(Vec::len).sum();
        let sentences = texts
            .iter()
            .zip(tokens)
            .map(|(text, ids)| {
                let normal = text
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .to_lowercase();
                let words = normal
                    .split(|c: char| !c.is_alphanumeric())
                    .filter(|w| !w.is_empty())
                    .map(str::to_string)
                    .collect();
                Sentence { ids, normal, words }
            })
            .collect();
        Self {
            sentences,
            tokens: total,
        }
    }

    fn joined(&self, range: std::ops::Range<usize>) -> Vec<u32> {
        self.sentences[range]
            .iter()
            .flat_map(|s| s.ids.iter().copied())
            .collect()
    }
}

/// Distinct (premise, hypothesis) pairs; candidates of one text share most of them.
#[derive(Default)]
struct Questions {
    list: Vec<(Vec<u32>, Vec<u32>)>,
    places: HashMap<(Vec<u32>, Vec<u32>), usize>,
}

impl Questions {
    fn ask(&mut self, premise: Vec<u32>, hypothesis: Vec<u32>) -> usize {
        let pair = (premise, hypothesis);
        if let Some(&place) = self.places.get(&pair) {
            return place;
        }
        self.list.push(pair.clone());
        self.places.insert(pair, self.list.len() - 1);
        self.list.len() - 1
    }
}

/// How one direction of one pair comes out of the answers.
struct Direction {
    /// Weight of each sentence, and the places of its questions; none for a sentence that stands in the other text.
    parts: Vec<(f32, Vec<usize>)>,
}

impl Direction {
    fn value(&self, answers: &[f32]) -> f32 {
        let mut sum = 0.0;
        let mut total = 0.0;
        for (weight, places) in &self.parts {
            let best = if places.is_empty() {
                1.0
            } else {
                places.iter().map(|&p| answers[p]).fold(0.0, f32::max)
            };
            sum += weight * best;
            total += weight;
        }
        // A sum of shares may exceed one by the last bit.
        (sum / total).clamp(0.0, 1.0)
    }
}

/// Asks whether the sentences of `to` follow from `from`.
fn plan(from: &Side, to: &Side, room: usize, asked: &mut Questions) -> Direction {
    let known: HashSet<&str> = from.sentences.iter().map(|s| s.normal.as_str()).collect();
    let parts = to
        .sentences
        .iter()
        .map(|sentence| {
            let weight = sentence.ids.len().max(1) as f32;
            if known.contains(sentence.normal.as_str()) {
                return (weight, Vec::new());
            }
            let places = premises(from, sentence, room)
                .into_iter()
                .map(|range| asked.ask(from.joined(range), sentence.ids.clone()))
                .collect();
            (weight, places)
        })
        .collect();
    Direction { parts }
}

/// The premises for one sentence: the best-aligned sentence, it with its neighbours, and the whole if it fits.
fn premises(from: &Side, sentence: &Sentence, room: usize) -> Vec<std::ops::Range<usize>> {
    let best = (0..from.sentences.len())
        .map(|i| (jaccard(&from.sentences[i].words, &sentence.words), i))
        // Of equals the first: `max_by` would take the last.
        .fold(
            (-1.0f32, 0),
            |best, this| if this.0 > best.0 { this } else { best },
        )
        .1;
    let mut ranges = vec![
        best..best + 1,
        best.saturating_sub(1)..(best + 2).min(from.sentences.len()),
    ];
    if from.tokens + sentence.ids.len() <= room {
        ranges.push(0..from.sentences.len());
    }
    ranges.dedup();
    ranges
}

fn jaccard(a: &HashSet<String>, b: &HashSet<String>) -> f32 {
    let shared = a.intersection(b).count();
    let all = a.len() + b.len() - shared;
    if all == 0 {
        0.0
    } else {
        shared as f32 / all as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(sentences: &[&str]) -> Side {
        let tokens = sentences
            .iter()
            .map(|s| s.bytes().map(u32::from).collect())
            .collect();
        Side::new(sentences, tokens)
    }

    #[test]
    fn sentences_of_the_other_text_are_not_asked_for() {
        let mut asked = Questions::default();
        let a = side(&["One thing.", "Another  thing."]);
        let b = side(&["another thing.", "One thing."]);
        assert_eq!(plan(&a, &b, 100, &mut asked).value(&[]), 1.0);
        assert!(asked.list.is_empty());
    }

    #[test]
    fn an_edited_sentence_is_asked_of_its_neighbourhood() {
        let check = |room: usize, expected: &[std::ops::Range<usize>]| {
            let from = side(&[
                "The sky is blue.",
                "Dogs bark at night.",
                "Cats sleep.",
                "Rain falls.",
            ]);
            let to = side(&["Dogs bark loudly at night."]);
            assert_eq!(
                premises(&from, &to.sentences[0], room),
                expected,
                "room {room}"
            );
        };
        check(1000, &[1..2, 0..3, 0..4]);
        check(40, &[1..2, 0..3]);
        // A single sentence is one premise, not three times the same.
        let single = premises(&side(&["A b."]), &side(&["A c."]).sentences[0], 100);
        assert_eq!(single.len(), 1);
    }

    #[test]
    fn the_best_premise_counts_and_long_sentences_weigh_more() {
        let direction = Direction {
            parts: vec![(3.0, vec![0, 1]), (1.0, vec![])],
        };
        assert!((direction.value(&[0.2, 0.6]) - (3.0 * 0.6 + 1.0) / 4.0).abs() < 1e-6);
    }

    #[test]
    fn equal_questions_are_asked_once() {
        let mut asked = Questions::default();
        let (a, b) = (side(&["One."]), side(&["Two."]));
        plan(&a, &b, 100, &mut asked);
        plan(&a, &b, 100, &mut asked);
        assert_eq!(asked.list.len(), 1);
    }
}
