//! Clauses that we wrote, each for its own sentence: the text files of a folder, which a recipe names.
//!
//! ```text
//! # A remark.
//! P
//! S The clinic now opens at 7 on weekdays.
//! ++be , so that parents can see a doctor before work
//! -tr+se because old habits must give way to good care
//! S You can book online or call the desk.
//! ```
//!
//! `P` begins a paragraph, `S` a sentence of it (or several that stand together and have no clauses). A clause follows the
//! values that it speaks by their first two letters (`sd`, `st` … for those of two words): `++` embraces strongly, `+` weakly,
//! `-` and `--` reject, and `0` speaks none. It begins with its comma, with a full stop where it is a sentence of its own, or
//! with the word behind the blank. What is good is not judged here.
//!
//! ```text
//! A request
//! S Please bring your identity card.
//! S Return the key to the front desk.
//! ++se , so that we can keep everybody safe
//! ```
//!
//! `A` with the names of some [`Acts`] begins sentences that do one of these things, and clauses of which each may stand behind any
//! such sentence, whatever it is about.

use std::fs;
use std::path::{Path, PathBuf};

use visa_align::{Acts, format};

use super::{Kind, Pair};
use crate::{Error, Result};

/// The files of `folder` and of the folders in it that hold clauses, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "txt") {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::data(
            folder,
            "has no .txt file of written clauses; name another folder, or none",
        ));
    }
    Ok(files)
}

/// Sentences that each clause of an act is put behind, in turn.
const BEHIND: usize = 8;

/// Sentences that perform some acts, and clauses of which each may stand behind any of them, with the values that it speaks (circle order).
#[derive(Debug, Default, PartialEq)]
pub struct Act {
    /// What the sentences do; one of these.
    pub acts: Acts,
    /// Whole sentences.
    pub sentences: Vec<String>,
    /// As [`Pair::clause`].
    pub clauses: Vec<(String, [f32; 10])>,
}

impl Act {
    /// Each clause behind some sentences.
    fn pairs(&self) -> impl Iterator<Item = Pair> {
        let behind =
            |i: usize, nth: usize| &self.sentences[(BEHIND * i + nth) % self.sentences.len()];
        let most = BEHIND.min(self.sentences.len());
        (self.clauses.iter().enumerate()).flat_map(move |(i, (clause, shift))| {
            (0..most).filter_map(move |nth| {
                let sentence = behind(i, nth);
                pair(sentence, &[], clause, *shift, sentence)
            })
        })
    }
}

/// What was written: clauses for their own sentences, and clauses for sentences of a kind.
#[derive(Debug, Default)]
pub struct Written {
    /// Clauses of paragraphs; those of one paragraph are about one thing.
    pub paragraphs: Vec<Pair>,
    /// Speech acts.
    pub acts: Vec<Act>,
}

impl Written {
    /// All clauses behind sentences: those of paragraphs, then those of acts.
    pub fn pairs(self) -> Vec<Pair> {
        let mut pairs = self.paragraphs;
        pairs.extend(self.acts.iter().flat_map(Act::pairs));
        pairs
    }
}

/// The text files of a folder and of the folders in it.
///
/// # Errors
/// A file that cannot be read, or the line that is neither a sentence nor a clause of one.
pub fn read(folder: &Path) -> Result<Written> {
    let mut all = Written::default();
    for file in files(folder)? {
        let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
        let written = parse(&text).map_err(|detail| Error::data(&file, detail))?;
        all.paragraphs.extend(written.paragraphs);
        all.acts.extend(written.acts);
    }
    Ok(all)
}

/// One file.
///
/// # Errors
/// What is wrong, and in which line.
pub fn parse(text: &str) -> std::result::Result<Written, String> {
    let Written {
        mut paragraphs,
        mut acts,
    } = Written::default();
    let mut sentences: Vec<&str> = Vec::new();
    let mut in_act = false;
    for (number, line) in text.lines().enumerate() {
        let at = |detail: &str| format!("line {}: {detail}: {line:?}", number + 1);
        match line.split_once(' ').unwrap_or((line, "")) {
            ("" | "#", _) => {}
            ("P", "") => {
                sentences.clear();
                in_act = false;
            }
            ("A", names) => {
                sentences.clear();
                in_act = true;
                let named = (names.split(' ').map(Acts::parse))
                    .try_fold(Acts::NONE, |all, one| Some(all | one?))
                    .ok_or_else(|| at("expected names of acts, such as A request conduct"))?;
                acts.push(Act {
                    acts: named,
                    ..Act::default()
                });
            }
            ("S", sentence) if !sentence.trim().is_empty() => {
                let sentence = sentence.trim();
                sentences.push(sentence);
                if let Some(act) = acts.last_mut().filter(|_| in_act) {
                    if !act.clauses.is_empty() {
                        return Err(at("a sentence of an act behind its clauses"));
                    }
                    act.sentences.push(sentence.to_owned());
                }
            }
            (signs, clause) if signs.starts_with(['+', '-', '0']) => {
                let Some((sentence, before)) = sentences.split_last() else {
                    return Err(at("a clause without a sentence"));
                };
                let shift = format::shift_of(signs).ok_or_else(|| {
                    at("expected signs and codes of values, such as ++be or -po+co")
                })?;
                let before = if in_act { &[] } else { before };
                let pair = pair(sentence, before, clause, shift, sentences[0])
                    .ok_or_else(|| at("expected words behind a sentence that ends in . or !"))?;
                match acts.last_mut().filter(|_| in_act) {
                    Some(act) => act.clauses.push((pair.clause, shift)),
                    None => paragraphs.push(pair),
                }
            }
            _ => return Err(at("expected P, A, S and a sentence, or a clause")),
        }
    }
    for act in &acts {
        if let Some(sentence) = (act.sentences.iter()).find(|s| !s.ends_with(['.', '!'])) {
            return Err(format!("a sentence of an act ends in . or !: {sentence:?}"));
        }
    }
    Ok(Written { paragraphs, acts })
}

fn pair(
    sentence: &str,
    before: &[&str],
    clause: &str,
    shift: [f32; 10],
    topic: &str,
) -> Option<Pair> {
    let stem = sentence.trim_end_matches(['.', '!']);
    let terminator = &sentence[stem.len()..];
    let clause = clause.trim();
    if terminator.is_empty() || stem.is_empty() || !clause.contains(char::is_alphabetic) {
        return None;
    }
    Some(Pair {
        kind: Kind::Written,
        topic: topic.to_owned(),
        old: None,
        context: before[before.len().saturating_sub(2)..].join(" "),
        stem: stem.to_owned(),
        clause: format::behind_stem(clause),
        terminator: terminator.to_owned(),
        shift: Some(shift),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use visa_align::format::{STRONG, WEAK};
    use visa_score::guards;

    use super::*;

    /// The folder of the repository.
    pub(in super::super) fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/written")
    }

    /// The phrases of the rewriter.
    pub(in super::super) fn book() -> PathBuf {
        folder().join("../book")
    }

    #[test]
    fn no_detector_learns_a_phrase_of_the_book() {
        let learnt: HashSet<String> = (read(&folder()).unwrap().pairs().into_iter())
            .map(|pair| pair.clause.to_lowercase())
            .collect();
        let book = read(&book()).unwrap();
        assert!(book.paragraphs.is_empty() && book.acts.len() >= 30);
        for (clause, _) in book.acts.iter().flat_map(|act| &act.clauses) {
            assert!(!learnt.contains(&clause.to_lowercase()), "{clause:?}");
        }
    }

    #[test]
    fn a_paragraph_is_read() {
        let text = "# ours\nP\nS One came.\nS Two sat down!\n++be-po , out of love\nS It rained.\n--st because of rain\n\nP\nS New.\n+un for all\n0 . It was warm\n";
        let pairs = parse(text).unwrap().pairs();
        let [first, second, third, silent] = &pairs[..] else {
            panic!("{pairs:?}");
        };
        assert_eq!(first.context, "One came.");
        assert_eq!(first.after(), "Two sat down, out of love!");
        let shift = first.shift.unwrap();
        assert_eq!((shift[8], shift[4]), (0.8, -0.4));
        assert!(shift[8] >= STRONG && -shift[4] >= WEAK && -shift[4] < STRONG);
        assert_eq!(second.context, "One came. Two sat down!");
        assert_eq!(second.clause, " because of rain");
        assert_eq!(
            (second.topic.as_str(), third.topic.as_str()),
            ("One came.", "New.")
        );
        assert_eq!(third.context, "");
        assert_eq!(silent.after(), "New. It was warm.");
        assert_eq!(silent.shift, Some([0.0; 10]));
    }

    #[test]
    fn a_clause_of_an_act_stands_behind_some_sentences_of_it() {
        let text = "A request joy\nS One came.\nS Two sat down!\n++be , out of love\n--st because of rain\nP\nS New.\n+un for all\n";
        let written = parse(text).unwrap();
        assert_eq!((written.paragraphs.len(), written.acts.len()), (1, 1));
        assert_eq!(written.acts[0].clauses[1].0, " because of rain");
        assert_eq!(written.acts[0].acts.to_string(), "request+joy");
        let after: Vec<String> = written.pairs().iter().map(Pair::after).collect();
        let expected = [
            "New for all.",
            "One came, out of love.",
            "Two sat down, out of love!",
            "One came because of rain.",
            "Two sat down because of rain!",
        ];
        assert_eq!(after, expected);
    }

    #[test]
    fn what_is_no_clause_is_named() {
        let check = |text: &str, part: &str| {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check("S A b c.\n0be , so", "expected signs");
        check("P\n+be , so", "line 2: a clause without a sentence");
        check("S A b c.\n+xx , so", "line 2: expected signs and codes");
        check("S A b c.\n+++be , so", "expected signs");
        check("S A b c?\n+be , so", "ends in . or !");
        check("S A b c.\n+be ", "expected words");
        check("Sentence.", "line 1: expected P");
        check("A\nS A b c.", "line 1: expected names of acts");
        check("A joy\n+be , so", "line 2: a clause without a sentence");
        check(
            "A joy\nS A b c.\n+be , so\nS D e f.",
            "line 4: a sentence of an act",
        );
        check(
            "A joy\nS A b?\nS A b c.\n+be , so",
            "ends in . or !: \"A b?\"",
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([PAS#+ -]|be|[a-z.,!\\n])*") {
            if let Ok(written) = parse(&text) {
                for pair in written.pairs() {
                    prop_assert!(pair.shift.is_some());
                    prop_assert!(pair.after().ends_with(&pair.terminator));
                }
            }
        }
    }

    #[test]
    fn the_clauses_speak_values_and_pass_the_guards() {
        let pairs = read(&folder()).unwrap().pairs();
        assert!(pairs.len() > 1000, "{}", pairs.len());
        let distinct: HashSet<(&str, &str, &str)> = pairs
            .iter()
            .map(|p| (p.context.as_str(), p.stem.as_str(), p.clause.as_str()))
            .collect();
        assert_eq!(distinct.len(), pairs.len());
        let mut refused = 0;
        for pair in &pairs {
            refused += usize::from(!guards(&pair.before(), &pair.after()).is_empty());
        }
        // A few say "nobody" or "never", which the negation guard cannot tell from a denial.
        assert!(20 * refused < pairs.len(), "{refused} of {}", pairs.len());
    }
}
