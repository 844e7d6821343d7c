//! A sentence and a wish → what the decoder is asked, and under which shield. Training asks by the same code, so that
//! what is learned is what is used.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use visa_nn::{DecoderConfig, Tokenizer};

use super::book::{Phrasebook, Place};
use crate::acts::Acts;
use crate::backend::Sensible;
use crate::error::{AlignError, Result};
use crate::format::Marks;
use crate::shield::{ClauseShield, ClauseVocab, Edit, Editable, Phrases};

/// How a clause may begin. What begins otherwise leans on the last word ("a friend | of women", "from 9 to 12 | years",
/// "28 minutes | to the door") and changes what the sentence says.
const JOINTS: [&str; 11] = [
    ",",
    " because ",
    " since ",
    " so ",
    " as ",
    " in order to ",
    " out of ",
    " for the sake of ",
    " without ",
    " with ",
    " while ",
];
/// Joints that give a reason, which a report of facts does not bear (see [`Editable::bears_reasons`]).
const REASONS: [&str; 8] = [
    " because ",
    ", because ",
    " since ",
    ", since ",
    " as ",
    ", as ",
    ", for ",
    " due to ",
];
/// Words of three letters and more that may well come twice in a clause.
const REPEATABLE: [&str; 40] = [
    "the", "and", "are", "for", "you", "his", "her", "our", "its", "who", "how", "can", "may",
    "has", "had", "was", "all", "any", "one", "out", "she", "him", "but", "not", "that", "with",
    "they", "their", "them", "your", "have", "from", "this", "what", "when", "which", "more",
    "than", "will", "every",
];
/// Longest sequence the rewriter is trained on, in tokens.
const TRAINED: usize = 160;
/// Texts whose acts are remembered.
const KEPT: usize = 4096;
/// Tokens that a clause may need beyond its limit: the rest of a word, and the final punctuation.
pub const AFTER_LIMIT: usize = 16;

/// Asks a decoder for clauses.
#[derive(Debug)]
pub struct Asker {
    tokenizer: Tokenizer,
    marks: Marks,
    vocab: Arc<ClauseVocab>,
    book: Option<Arc<Phrasebook>>,
    sense: Option<Arc<dyn Sensible>>,
    /// What was read of texts up to the end of a stem: each is asked several times.
    read: Mutex<HashMap<Arc<str>, Stem>>,
    positions: usize,
}

/// What is read of a text up to the end of a stem.
#[derive(Clone, Debug)]
struct Stem {
    /// What its last sentence may do.
    acts: Acts,
    /// As [`Sensible::about`].
    about: Arc<[f32]>,
}

/// A sense reader that knows how readers liked the phrases of a book behind other sentences.
#[derive(Debug)]
struct Experienced {
    reader: Arc<dyn Sensible>,
    book: Arc<Phrasebook>,
}

/// Log-odds that a reader approves, from those of the sense reader and from what a phrase promises: a logistic regression on 19,194 verdicts
/// that the reader had not seen, with the verdict itself left out of what is known elsewhere.
pub(super) const BASE: f32 = -1.13;
pub(super) const READ: f32 = 0.8;

impl Sensible for Experienced {
    fn acts(&self, before: &[&str]) -> Result<Vec<Acts>> {
        self.reader.acts(before)
    }

    fn sense(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        let read = self.reader.sense(pairs)?;
        let promised = self.book.promises(self.reader.as_ref(), pairs)?;
        let both = |(read, promised): (f32, Option<f32>)| match promised {
            Some(promised) => BASE + READ * read + promised,
            None => read,
        };
        Ok(read.into_iter().zip(promised).map(both).collect())
    }

    fn about(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>> {
        self.reader.about(texts)
    }
}

/// One request for a clause.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The tokens before the clause.
    pub prompt: Vec<u32>,
    /// What may follow; anything if `None`.
    pub shield: Option<ClauseShield>,
    /// Tokens of the final punctuation, which the answer ends in.
    pub terminator: usize,
}

impl Asker {
    /// For a decoder and its tokenizer.
    ///
    /// # Errors
    /// A tokenizer that does not fit the decoder, or lacks the format's tokens.
    pub fn new(tokenizer: Tokenizer, config: &DecoderConfig) -> Result<Self> {
        tokenizer
            .check_fits(config.vocab_size)
            .map_err(AlignError::Load)?;
        Ok(Self {
            marks: Marks::of(&tokenizer)?,
            vocab: Arc::new(ClauseVocab::new(&tokenizer)?),
            book: None,
            sense: None,
            read: Mutex::default(),
            positions: config.max_position_embeddings,
            tokenizer,
        })
    }

    /// The same, whose clauses are those of a book where it has words for a wish.
    #[must_use]
    pub fn with_book(self, book: Option<Phrasebook>) -> Self {
        Self {
            book: book.map(Arc::new),
            ..self
        }
    }

    /// The same, whose clauses suit what a sentence does by this reader, where there is a book; what the book knows of a phrase
    /// counts beside what is read.
    #[must_use]
    pub fn with_sense(self, sense: Option<Arc<dyn Sensible>>) -> Self {
        let sense = match (sense, &self.book) {
            (Some(reader), Some(book)) => {
                let book = Arc::clone(book);
                Some(Arc::new(Experienced { reader, book }) as Arc<dyn Sensible>)
            }
            (sense, _) => sense,
        };
        Self { sense, ..self }
    }

    /// What reads sense, if anything.
    pub fn sense(&self) -> Option<&Arc<dyn Sensible>> {
        self.sense.as_ref()
    }

    /// Reads what the sentences at these places do and are about in one batch, so that [`Self::ask`] finds it read.
    ///
    /// # Errors
    /// A failure of the sense reader.
    pub fn read_stems(&self, text: &str, places: &[Editable]) -> Result<()> {
        if let (Some(_), Some(sense)) = (&self.book, &self.sense) {
            let befores: Vec<Arc<str>> = places.iter().map(|edit| before(text, edit)).collect();
            self.stems(sense.as_ref(), &befores)?;
        }
        Ok(())
    }

    /// What is read of each text up to the end of a stem.
    fn stems(&self, sense: &dyn Sensible, befores: &[Arc<str>]) -> Result<Vec<Stem>> {
        // A poisoned lock holds a whole map all the same.
        let read = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stems: Vec<Option<Stem>> = {
            let read = read();
            befores.iter().map(|b| read.get(b).cloned()).collect()
        };
        let unread: Vec<&str> = (befores.iter().zip(&stems))
            .filter_map(|(before, stem)| stem.is_none().then_some(&**before))
            .collect();
        if !unread.is_empty() {
            let mut new = sense.acts(&unread)?.into_iter().zip(sense.about(&unread)?);
            let mut read = read();
            for (before, stem) in befores.iter().zip(&mut stems) {
                if stem.is_none() {
                    *stem = new.next().map(|(acts, about)| Stem { acts, about });
                    if read.len() >= KEPT {
                        read.clear();
                    }
                    read.extend(stem.clone().map(|stem| (Arc::clone(before), stem)));
                }
            }
        }
        Ok(stems.into_iter().flatten().collect())
    }

    /// The phrases of the book for a wish at a place, if it has some that suit it.
    fn phrases(
        &self,
        book: &Phrasebook,
        (text, edit): (&str, &Editable),
        wish: &[f32; 10],
        mut place: Place,
    ) -> Result<Option<Phrases>> {
        let Some(sense) = self.sense.as_deref() else {
            return book.phrases(&self.tokenizer, wish, &place, None);
        };
        let stems = self.stems(sense, &[before(text, edit)])?;
        let Some(stem) = stems.first() else {
            return Ok(None);
        };
        place.acts = stem.acts;
        book.phrases(&self.tokenizer, wish, &place, Some((sense, &stem.about)))
    }

    /// The book.
    pub fn book(&self) -> Option<&Phrasebook> {
        self.book.as_deref()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The marks of the format.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Asks for a clause of at most `max_clause` tokens at a place of `text`, for a wish (circle order). `None` if the
    /// sentence is too long for the decoder even without context, or does what no phrase for the wish suits.
    ///
    /// # Errors
    /// A text that the tokenizer cannot encode; a failure of the sense reader.
    pub fn ask(
        &self,
        text: &str,
        edit: &Editable,
        wish: &[f32; 10],
        max_clause: usize,
    ) -> Result<Option<Asked>> {
        let room = (self.positions.min(TRAINED)).saturating_sub(max_clause + 8);
        let stem = &text[edit.start..edit.stem];
        let terminator = self
            .marks
            .terminator(&self.tokenizer, &text[edit.clause..edit.end])?;
        let Some(mut shield) = ClauseShield::new(&self.vocab, &terminator, max_clause) else {
            return Ok(None);
        };
        if let Some(book) = &self.book {
            let place = Place {
                acts: Acts::ALL,
                bears_reasons: edit.bears_reasons,
                longest: max_clause,
            };
            if book.speaks(&self.tokenizer, wish, &place)? {
                let Some(phrases) = self.phrases(book, (text, edit), wish, place)? else {
                    return Ok(None);
                };
                shield = shield.among(&Arc::new(phrases));
            }
        }
        // Whole sentences of context or none, as in training: two, else one, else none.
        for sentences in (0..=2).rev() {
            let context = context(text, edit.start, sentences);
            let prompt = self.marks.prompt(&self.tokenizer, wish, context, stem)?;
            if prompt.len() <= room {
                return Ok(Some(Asked {
                    prompt,
                    shield: Some(shield),
                    terminator: terminator.len(),
                }));
            }
        }
        Ok(None)
    }

    /// The tokens that end an answer: the shield ends it by itself.
    pub fn stop_ids(&self, shielded: bool) -> Vec<u32> {
        let end = (!shielded).then_some(self.marks.end);
        end.into_iter().collect()
    }

    /// The clause of an answer that no shield led: what stands before the end, less the sentence's own final punctuation.
    ///
    /// # Errors
    /// Tokens that are no text.
    pub fn free_clause(&self, ids: &[u32], punctuation: &str) -> Result<String> {
        let ids = ids.strip_suffix(&[self.marks.end]).unwrap_or(ids);
        let text = self.tokenizer.decode(ids);
        let text = text.map_err(AlignError::nn("reading clauses"))?;
        Ok(text.strip_suffix(punctuation).unwrap_or(&text).to_owned())
    }

    /// The clause that an answer of `ids` with a final punctuation of `terminator` tokens holds.
    ///
    /// # Errors
    /// Tokens that are no text.
    pub fn clause(&self, ids: &[u32], terminator: usize) -> Result<String> {
        self.tokenizer
            .decode(&ids[..ids.len().saturating_sub(terminator)])
            .map_err(AlignError::nn("reading clauses"))
    }
}

/// Whether a clause says something, and joins the sentence in a way that it bears. The empty clause says something where
/// it takes the place of another.
pub fn fits(edit: &Editable, clause: &str) -> bool {
    if clause.is_empty() {
        return edit.edit == Edit::Replace;
    }
    joins(clause) && (edit.bears_reasons || !gives_reason(clause))
}

/// Whether a clause says something, and joins a sentence that bears reasons.
pub(super) fn joins(clause: &str) -> bool {
    let words = clause
        .split_whitespace()
        .filter(|w| w.chars().any(char::is_alphabetic))
        .count();
    words >= 2 && !stutters(clause) && JOINTS.iter().any(|joint| clause.starts_with(joint))
}

/// Whether a clause gives a reason.
pub(super) fn gives_reason(clause: &str) -> bool {
    REASONS.iter().any(|joint| clause.starts_with(joint))
}

/// Whether a word that says something comes twice ("so that it is safe and safe"), as small models write.
fn stutters(clause: &str) -> bool {
    let lower = clause.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphabetic());
    let mut seen = HashSet::new();
    words
        .filter(|word| word.len() >= 3 && !REPEATABLE.contains(word))
        .any(|word| !seen.insert(word))
}

/// A sentence with another clause.
pub fn edited(text: &str, edit: &Editable, clause: &str) -> String {
    format!(
        "{}{clause}{}",
        &text[edit.start..edit.stem],
        &text[edit.clause..edit.end]
    )
}

/// The text up to the end of a stem, from up to two sentences before it on: what the sense reader sees.
pub(super) fn before(text: &str, edit: &Editable) -> Arc<str> {
    let context = context(text, edit.start, 2);
    let stem = &text[edit.start..edit.stem];
    match context {
        "" => stem.into(),
        context => format!("{context} {stem}").into(),
    }
}

/// Up to `most` sentences before a place, as they stand.
pub(super) fn context(text: &str, at: usize, most: usize) -> &str {
    let before: Vec<_> = visa_score::sentences(text)
        .into_iter()
        .filter(|r| r.end <= at)
        .collect();
    let first = before.len().saturating_sub(most);
    let from = before.get(first).map_or(at, |r| r.start);
    text[from..at].trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shield::editable;

    #[test]
    fn clauses_join_their_sentence() {
        let check = |text: &str, clause: &str, expected: bool| {
            let places = editable(text);
            assert_eq!(fits(&places[0], clause), expected, "{text} | {clause}");
        };
        let (advice, report) = ("You should wear a coat.", "The price of bread rose.");
        check(advice, " because it is cold", true);
        check(report, " because it is cold", false);
        check(report, ", so that nobody is cold", true);
        check(report, " of the town", false);
        check(advice, ", then", false);
        check(advice, ", so that we are safe and safe", false);
        check(advice, ", so that old and old are kept", false);
        check(advice, ", so that they like it and that you do", true);
        check(advice, "", false);
        check("You should wear a coat because it is cold.", "", true);
    }
}
