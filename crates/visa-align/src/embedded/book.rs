//! The phrase book: written clauses, by the values that they speak, among which the decoder chooses.
//!
//! A small model knows which words go together, but hardly what makes sense; what was written for many sentences makes more. So where a rewriter's folder
//! holds a book, the shield lets the decoder write only what stands in it for the wish, and what is learnt is which clause
//! belongs behind which sentence. A file of lines, `++be:request+conduct:62 , which is a kind thing to do` (signs as in
//! [`format::shift_of`], the [`Acts`] behind which it may stand, or any if empty, and of a hundred readers those who called it good where they
//! found it; the last two may be missing), compressed by zstd.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use visa_nn::Tokenizer;

use super::ask::{gives_reason, joins};
use crate::acts::Acts;
use crate::backend::Sensible;
use crate::error::{AlignError, Result};
use crate::format::{self, WEAK};
use crate::shield::{Phrases, writable};

/// The file's name in a rewriter's folder.
pub const FILE: &str = "phrases.txt.zst";

/// Most bytes of a book, unpacked: a guard against what unpacks without end.
const MOST: u64 = 64 << 20;
/// How hard a book is packed: it is written seldom.
const LEVEL: i32 = 19;
/// Lists kept ready; a list takes a few kilobytes.
const KEPT: usize = 512;
/// Phrases at which the book is opened for a sentence: those that promise most.
const OPENED: usize = 32;
/// Log-odds that a reader approves of a phrase behind a sentence, for the product of what they are about and for the log-odds that readers
/// approved of it elsewhere; with what the sense reader says beside them ([`super::ask`]).
const ABOUT: f32 = 4.82;
const ELSEWHERE: f32 = 0.87;
/// Share of readers who approve of a phrase of which nobody was asked.
const UNKNOWN: f32 = 0.2;

/// Which way each value goes, circle order.
type Signs = [i8; 10];

#[derive(Debug)]
struct Phrase {
    text: String,
    signs: Signs,
    acts: Acts,
    /// Of a hundred readers, those who approved of it; nobody was asked if `None`.
    approved: Option<u8>,
    /// Its tokens, once somebody has asked for them.
    ids: OnceLock<Arc<[u32]>>,
    /// What it is about, likewise.
    about: OnceLock<Arc<[f32]>>,
}

impl Phrase {
    /// `None` for what speaks no value, and for what the shield or the loop would refuse in any sentence.
    fn new(shift: &[f32; 10], acts: Acts, text: String) -> Option<Self> {
        let signs = format::ways(shift);
        (signs != [0; 10] && joins(&text) && writable(&text)).then_some(Self {
            text,
            signs,
            acts,
            approved: None,
            ids: OnceLock::new(),
            about: OnceLock::new(),
        })
    }

    /// The acts as a line names them.
    fn named(&self) -> String {
        if self.acts == Acts::ALL {
            String::new()
        } else {
            self.acts.to_string()
        }
    }

    /// A line of a book.
    fn parse(line: &str) -> Option<Self> {
        let (speaks, clause) = line.split_once(' ')?;
        let mut parts = speaks.split(':');
        let shift = format::shift_of(parts.next()?)?;
        let acts = match parts.next() {
            None | Some("") => Acts::ALL,
            Some(acts) => Acts::parse(acts)?,
        };
        let percent = parts.next().map(str::parse).transpose().ok()?;
        if parts.next().is_some() || percent.is_some_and(|p| p > 100) {
            return None;
        }
        let phrase = Self::new(&shift, acts, format::behind_stem(clause))?;
        Some(Self {
            approved: percent,
            ..phrase
        })
    }

    /// The text without what joins it.
    fn words(&self) -> &str {
        self.text.trim_start_matches([' ', ','])
    }

    /// What it promises behind a sentence about something, once its own topic is known.
    fn promise(&self, about: &[f32]) -> f32 {
        let product = |own: &Arc<[f32]>| own.iter().zip(about).map(|(a, b)| a * b).sum::<f32>();
        let share = self
            .approved
            .map_or(UNKNOWN, |percent| f32::from(percent) / 100.0);
        ABOUT * self.about.get().map_or(0.0, product) + ELSEWHERE * log_odds(share)
    }

    fn ids(&self, tokenizer: &Tokenizer) -> Result<Arc<[u32]>> {
        if let Some(ids) = self.ids.get() {
            return Ok(Arc::clone(ids));
        }
        let encoding = tokenizer.encode_plain(&self.text);
        let ids = encoding.map_err(AlignError::nn("reading phrases"))?.ids;
        Ok(Arc::clone(self.ids.get_or_init(|| ids.into())))
    }
}

/// Sees to it that what phrases are about is known.
fn read_topics(reader: &dyn Sensible, phrases: &[&Phrase]) -> Result<()> {
    let unread: Vec<&Phrase> = (phrases.iter().copied())
        .filter(|phrase| phrase.about.get().is_none())
        .collect();
    let texts: Vec<&str> = unread.iter().map(|p| p.words()).collect();
    if !texts.is_empty() {
        for (phrase, about) in unread.iter().zip(reader.about(&texts)?) {
            phrase.about.get_or_init(|| about);
        }
    }
    Ok(())
}

/// Of a share of readers; a few readers are never sure.
fn log_odds(share: f32) -> f32 {
    let share = share.clamp(0.03, 0.97);
    (share / (1.0 - share)).ln()
}

/// Clauses by the values that they speak.
#[derive(Debug)]
pub struct Phrasebook {
    phrases: Vec<Phrase>,
    /// Places in `phrases`, by the words in lower case.
    at: HashMap<String, usize>,
    /// Places in `phrases` of those that fit.
    lists: Mutex<HashMap<Key, Arc<[usize]>>>,
}

/// Where a phrase is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What the sentence does; one of these.
    pub acts: Acts,
    /// Whether a reason may follow; else none that gives one does.
    pub bears_reasons: bool,
    /// Most tokens.
    pub longest: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    signs: Signs,
    place: Place,
}

impl Phrasebook {
    /// The book of a rewriter's folder, if it has one.
    ///
    /// # Errors
    /// A file that cannot be read, or the line that is no phrase.
    pub fn find(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let wrong = |e: &dyn std::fmt::Display| {
            AlignError::file(&path, format!("{e}; fetch the model again"))
        };
        let file = File::open(&path).map_err(|e| wrong(&e))?;
        let mut text = String::new();
        zstd::Decoder::new(file)
            .and_then(|unpacked| unpacked.take(MOST).read_to_string(&mut text))
            .map_err(|e| wrong(&e))?;
        Self::parse(&text).map(Some).map_err(|e| wrong(&e))
    }

    /// Of clauses with the shifts that they speak and the acts behind which they may stand; each is taken once, behind all acts
    /// that are named for it, and those that may stand nowhere are left out.
    pub fn new<'c>(clauses: impl Iterator<Item = (&'c str, &'c [f32; 10], Acts)>) -> Self {
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut phrases: Vec<Phrase> = Vec::new();
        for (text, shift, acts) in clauses {
            let Some(phrase) = Phrase::new(shift, acts, text.to_owned()) else {
                continue;
            };
            match at.entry(text.to_lowercase()) {
                Entry::Occupied(same) => {
                    let known = &mut phrases[*same.get()];
                    known.acts = known.acts | acts;
                }
                Entry::Vacant(new) => {
                    new.insert(phrases.len());
                    phrases.push(phrase);
                }
            }
        }
        Self {
            phrases,
            at,
            lists: Mutex::default(),
        }
    }

    /// The same, with the share of readers who approved of each clause where they found it, 0 to 1.
    #[must_use]
    pub fn with_approval(mut self, share: impl Fn(&str) -> Option<f32>) -> Self {
        for phrase in &mut self.phrases {
            phrase.approved =
                share(&phrase.text).map(|s| (100.0 * s.clamp(0.0, 1.0)).round() as u8);
        }
        self
    }

    /// What clauses promise behind stems that are about something, from what each is about and how readers liked it elsewhere: log-odds, less
    /// what is the same for all; `None` for what is no phrase.
    ///
    /// # Errors
    /// A failure of the reader.
    pub(super) fn promises(
        &self,
        reader: &dyn Sensible,
        pairs: &[(&str, &str)],
    ) -> Result<Vec<Option<f32>>> {
        let at = |clause: &str| self.at.get(&clause.to_lowercase());
        let phrases: Vec<Option<&Phrase>> = (pairs.iter())
            .map(|(_, clause)| at(clause).map(|&i| &self.phrases[i]))
            .collect();
        let known: Vec<&Phrase> = phrases.iter().flatten().copied().collect();
        read_topics(reader, &known)?;
        let mut stems: Vec<&str> = pairs.iter().map(|(before, _)| *before).collect();
        stems.sort_unstable();
        stems.dedup();
        let topics = reader.about(&stems)?;
        let about = |before: &str| stems.binary_search(&before).map(|i| &topics[i]);
        Ok((phrases.iter().zip(pairs))
            .map(|(phrase, (before, _))| Some((*phrase)?.promise(about(before).ok()?)))
            .collect())
    }

    /// The text that [`Self::parse`] reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for phrase in &self.phrases {
            text += &format::signs_of(&phrase.signs.map(f32::from));
            match phrase.approved {
                Some(percent) => text += &format!(":{}:{percent}", phrase.named()),
                None if phrase.acts != Acts::ALL => text += &format!(":{}", phrase.acts),
                None => {}
            }
            text += " ";
            text += phrase.text.trim_start();
            text += "\n";
        }
        text
    }

    /// Writes it into a rewriter's folder.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn save(&self, dir: &Path) -> std::io::Result<()> {
        let packed = zstd::encode_all(self.text().as_bytes(), LEVEL)?;
        std::fs::write(dir.join(FILE), packed)
    }

    /// The phrases of a text, a line each.
    ///
    /// # Errors
    /// The first line that is no phrase, with its number.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut phrases = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let phrase = Phrase::parse(line);
            phrases
                .push(phrase.ok_or_else(|| format!("line {} is no phrase: {line:?}", number + 1))?);
        }
        let at = (phrases.iter().enumerate())
            .map(|(i, phrase)| (phrase.text.to_lowercase(), i))
            .collect();
        Ok(Self {
            phrases,
            at,
            lists: Mutex::default(),
        })
    }

    /// How many phrases there are.
    pub fn len(&self) -> usize {
        self.phrases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.phrases.is_empty()
    }

    /// Whether the book has words for a wish, behind whatever sentence.
    ///
    /// # Errors
    /// As [`Self::phrases`].
    pub fn speaks(&self, tokenizer: &Tokenizer, wish: &[f32; 10], place: &Place) -> Result<bool> {
        let anywhere = Place {
            acts: Acts::ALL,
            ..*place
        };
        Ok(!self.fitting(tokenizer, wish, &anywhere)?.is_empty())
    }

    /// The phrases that may stand at a place and speak a wish: some of its values, its way, and no other. Where somebody reads what
    /// texts are about, the few that promise most. `None` if there is none. The tokenizer is the same in each call.
    ///
    /// # Errors
    /// A phrase that the tokenizer cannot encode; a failure of the reader.
    pub fn phrases(
        &self,
        tokenizer: &Tokenizer,
        wish: &[f32; 10],
        place: &Place,
        near: Option<(&dyn Sensible, &[f32])>,
    ) -> Result<Option<Phrases>> {
        let fitting = self.fitting(tokenizer, wish, place)?;
        let mut fitting: Vec<&Phrase> = fitting.iter().map(|&i| &self.phrases[i]).collect();
        if let Some((reader, about)) = near.filter(|_| fitting.len() > OPENED) {
            read_topics(reader, &fitting)?;
            let mut promising: Vec<(f32, &Phrase)> = (fitting.iter())
                .map(|phrase| (phrase.promise(about), *phrase))
                .collect();
            promising.sort_by(|a, b| b.0.total_cmp(&a.0));
            promising.truncate(OPENED);
            fitting = promising.into_iter().map(|(_, phrase)| phrase).collect();
        }
        let ids = fitting.iter().map(|phrase| phrase.ids(tokenizer));
        Ok(Phrases::new(ids.collect::<Result<_>>()?))
    }

    /// Places of the phrases that may stand somewhere and speak a wish.
    fn fitting(
        &self,
        tokenizer: &Tokenizer,
        wish: &[f32; 10],
        place: &Place,
    ) -> Result<Arc<[usize]>> {
        let key = Key {
            place: *place,
            signs: format::ways(&wish.map(|d| if d.abs() < WEAK { 0.0 } else { d })),
        };
        // A poisoned lock holds whole lists all the same: they are inserted in one step.
        let lists = || self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lists().get(&key) {
            return Ok(Arc::clone(found));
        }
        let mut found = Vec::new();
        for (i, phrase) in self.phrases.iter().enumerate() {
            let speaks = (phrase.signs.iter().zip(&key.signs)).all(|(p, w)| *p == 0 || p == w);
            if speaks
                && !(phrase.acts & place.acts).is_empty()
                && (place.bears_reasons || !gives_reason(&phrase.text))
                && phrase.ids(tokenizer)?.len() <= place.longest
            {
                found.push(i);
            }
        }
        let found: Arc<[usize]> = found.into();
        let mut lists = lists();
        if lists.len() >= KEPT {
            lists.clear();
        }
        lists.insert(key, Arc::clone(&found));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let specials = format::specials();
        let names: Vec<&str> = specials.iter().map(String::as_str).collect();
        Tokenizer::train_bpe([BOOK].iter(), 400, &names).unwrap()
    }

    #[test]
    fn what_readers_said_of_a_phrase_is_kept() {
        let text = "++be:request:62 , which is kind\n--po::7 because power is vain\n--po++be:thanks , which is kind and plain\n";
        let book = Phrasebook::parse(text).unwrap();
        assert_eq!(book.text(), text);
        let book = book.with_approval(|text| text.starts_with(',').then_some(0.555));
        let expected = "++be:request:56 , which is kind\n--po because power is vain\n--po++be:thanks:56 , which is kind and plain\n";
        assert_eq!(book.text(), expected);
        for wrong in [
            "++be:request:101 , a b",
            "++be:request:x , a b",
            "++be:request:1:2 , a b",
        ] {
            assert!(Phrasebook::parse(wrong).is_err(), "{wrong}");
        }
    }

    const BOOK: &str = "++be , which is kind\n--po because power is vain\n+be-po , which is kind and plain\n++se so that all are safe";

    #[track_caller]
    fn check(wish: &[(usize, f32)], bears_reasons: bool, longest: usize, expected: Option<usize>) {
        let mut all = [0.0; 10];
        wish.iter().for_each(|&(v, d)| all[v] = d);
        let book = Phrasebook::parse(BOOK).unwrap();
        let tokenizer = tokenizer();
        for _ in 0..2 {
            let place = Place {
                acts: Acts::ALL,
                bears_reasons,
                longest,
            };
            let found = book.phrases(&tokenizer, &all, &place, None).unwrap();
            assert_eq!(found.map(|p| p.len()), expected, "{wish:?}");
            let speaks = book.speaks(&tokenizer, &all, &place).unwrap();
            assert_eq!(speaks, expected.is_some(), "{wish:?}");
        }
    }

    #[test]
    fn a_wish_gets_what_speaks_of_nothing_else() {
        check(&[(8, 0.9)], true, 99, Some(1));
        check(&[(8, 0.9), (4, -0.5)], true, 99, Some(3));
        check(&[(8, 0.9), (4, -0.5)], false, 99, Some(2));
        check(&[(8, 0.9), (4, 0.5)], true, 99, Some(1));
        check(&[(8, -0.9)], true, 99, None);
        check(&[(8, 0.1)], true, 99, None);
        check(&[(5, 0.3)], true, 2, None);
    }

    #[test]
    fn what_is_no_phrase_is_named() {
        for line in [
            "be , which is kind",
            "0 , which is kind",
            "++be of wool and silk",
            "++be",
            "++be , for Ann and me",
            "++be:quest , which is kind",
        ] {
            let error = Phrasebook::parse(&format!("++be , which is kind\n{line}")).unwrap_err();
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn a_book_takes_what_may_stand_somewhere_and_once() {
        let be = format::shift_of("+be").unwrap();
        let none = [0.0; 10];
        let (request, plot) = (Acts::of(0), Acts::of(24));
        let clauses = [
            (", which is kind", &be, request),
            (", which is kind", &be, plot),
            (", so that 2 are safe", &be, request),
            (" of wool", &be, request),
            (", which is plain", &none, request),
            (", so that I and you are glad", &be, Acts::ALL),
        ];
        let book = Phrasebook::new(clauses.into_iter());
        assert_eq!(
            book.text(),
            "++be:request+plot , which is kind\n++be , so that I and you are glad\n"
        );
    }

    #[test]
    fn phrases_stand_behind_their_acts() {
        let book =
            "++be:request+plot , which is kind\n++be:fact , which is true\n++be , which is all";
        let book = Phrasebook::parse(book).unwrap();
        let mut wish = [0.0; 10];
        wish[8] = 0.9;
        let check = |acts: Acts, expected: usize| {
            let place = Place {
                acts,
                bears_reasons: true,
                longest: 99,
            };
            let found = book.phrases(&tokenizer(), &wish, &place, None).unwrap();
            assert_eq!(found.map_or(0, |p| p.len()), expected, "{acts}");
            assert!(book.speaks(&tokenizer(), &wish, &place).unwrap());
        };
        check(Acts::of(0), 2);
        check(Acts::parse("fact+plot").unwrap(), 3);
        check(Acts::parse("joy").unwrap(), 1);
        check(Acts::NONE, 0);
    }

    /// Reads that texts with an `x` are about one thing, and the rest about another.
    #[derive(Debug)]
    struct Topics;

    impl Sensible for Topics {
        fn acts(&self, before: &[&str]) -> Result<Vec<Acts>> {
            Ok(vec![Acts::ALL; before.len()])
        }

        fn sense(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
            Ok(vec![0.0; pairs.len()])
        }

        fn about(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>> {
            let about = |t: &&str| {
                if t.contains('x') {
                    [1.0, 0.0]
                } else {
                    [0.0, 1.0]
                }
            };
            Ok(texts.iter().map(|t| about(t).into()).collect())
        }
    }

    #[test]
    fn the_book_is_opened_where_it_promises_most() {
        let line = |i: u8, of: char, percent: u8| {
            let letter = char::from(b'a' + i);
            format!("++be::{percent} , which is {letter}{letter} and kind to {of}\n")
        };
        // As many of the topic as fit less two, then what readers liked, then what they did not.
        let topic =
            (0..OPENED as u8 - 2).map(|i| line(i % 26, ['x', 'y'][usize::from(i / 26)], 20));
        let text: String = topic.collect::<String>().replace('y', "xy")
            + &line(0, 'p', 90)
            + &line(1, 'p', 80)
            + &line(2, 'q', 10);
        let book = Phrasebook::parse(&text).unwrap();
        assert_eq!(book.len(), OPENED + 1);
        let mut wish = [0.0; 10];
        wish[8] = 0.9;
        let place = Place {
            acts: Acts::ALL,
            bears_reasons: true,
            longest: 99,
        };
        let tokenizer = tokenizer();
        let opened = |about: &[f32]| {
            let near: Option<(&dyn Sensible, &[f32])> = Some((&Topics, about));
            book.phrases(&tokenizer, &wish, &place, near)
                .unwrap()
                .unwrap()
        };
        let left_out = |about: &[f32]| -> Vec<&str> {
            let opened = opened(about);
            assert_eq!(opened.len(), OPENED);
            let out = book
                .phrases
                .iter()
                .filter(|p| !opened.contains(p.ids.get().unwrap()));
            out.map(|p| p.words()).collect()
        };
        assert_eq!(left_out(&[1.0, 0.0]), ["which is cc and kind to q"]);
        assert!(
            left_out(&[0.0, 1.0])[0].ends_with('x') || left_out(&[0.0, 1.0])[0].ends_with("xy")
        );
    }

    #[test]
    fn a_phrase_promises_by_its_topic_and_by_who_approved_of_it() {
        let book = "++be::80 , which is kind\n++be::20 , which helps the fox\n++be , which is new";
        let book = Phrasebook::parse(book).unwrap();
        let check = |before: &str, clause: &str, expected: Option<f32>| {
            // Beside another, of another stem.
            let pairs = [("Six came", ", which is new"), (before, clause)];
            let found = book.promises(&Topics, &pairs).unwrap()[1];
            let near = found
                .zip(expected)
                .is_none_or(|(a, b)| (a - b).abs() < 1e-5);
            assert!(
                near && found.is_some() == expected.is_some(),
                "{clause} {found:?}"
            );
        };
        let odds = 4f32.ln();
        check(
            "One came",
            ", which is kind",
            Some(ABOUT + ELSEWHERE * odds),
        );
        check("Max came", ", Which is kind", Some(ELSEWHERE * odds));
        check(
            "Max came",
            ", which helps the fox",
            Some(ABOUT - ELSEWHERE * odds),
        );
        check(
            "One came",
            ", which is new",
            Some(ABOUT + ELSEWHERE * log_odds(UNKNOWN)),
        );
        check("One came", ", which is old", None);
    }

    #[test]
    fn a_folder_may_have_a_book() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Phrasebook::find(dir.path()).unwrap().is_none());
        let book = Phrasebook::parse(BOOK).unwrap();
        book.save(dir.path()).unwrap();
        let found = Phrasebook::find(dir.path()).unwrap().unwrap();
        assert_eq!((found.len(), found.text()), (4, book.text()));
        std::fs::write(dir.path().join(FILE), "plain").unwrap();
        let error = Phrasebook::find(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }
}
