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

use std::fs;
use std::path::{Path, PathBuf};

use visa_align::format;

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

/// All clauses of a folder; those of one paragraph are about one thing.
///
/// # Errors
/// A file that cannot be read, or the line that is neither a sentence nor a clause of one.
pub fn pairs(folder: &Path) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for file in files(folder)? {
        let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
        pairs.extend(parse(&text).map_err(|detail| Error::data(&file, detail))?);
    }
    Ok(pairs)
}

/// The clauses of one file.
///
/// # Errors
/// What is wrong, and in which line.
pub fn parse(text: &str) -> std::result::Result<Vec<Pair>, String> {
    let mut pairs = Vec::new();
    let mut sentences: Vec<&str> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = |detail: &str| format!("line {}: {detail}: {line:?}", number + 1);
        match line.split_once(' ').unwrap_or((line, "")) {
            ("" | "#", _) => {}
            ("P", "") => sentences.clear(),
            ("S", sentence) if !sentence.trim().is_empty() => sentences.push(sentence.trim()),
            (signs, clause) if signs.starts_with(['+', '-', '0']) => {
                let Some((sentence, before)) = sentences.split_last() else {
                    return Err(at("a clause without a sentence"));
                };
                let shift = format::shift_of(signs).ok_or_else(|| {
                    at("expected signs and codes of values, such as ++be or -po+co")
                })?;
                pairs.push(
                    pair(sentence, before, clause, shift, sentences[0]).ok_or_else(|| {
                        at("expected words behind a sentence that ends in . or !")
                    })?,
                );
            }
            _ => return Err(at("expected P, S and a sentence, or a clause")),
        }
    }
    Ok(pairs)
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

    #[test]
    fn a_paragraph_is_read() {
        let text = "# ours\nP\nS One came.\nS Two sat down!\n++be-po , out of love\nS It rained.\n--st because of rain\n\nP\nS New.\n+un for all\n0 . It was warm\n";
        let pairs = parse(text).unwrap();
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
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([PS#+ -]|be|[a-z.,!\\n])*") {
            if let Ok(pairs) = parse(&text) {
                for pair in pairs {
                    prop_assert!(pair.shift.is_some());
                    prop_assert!(pair.after().ends_with(&pair.terminator));
                }
            }
        }
    }

    #[test]
    fn the_clauses_speak_values_and_pass_the_guards() {
        let pairs = pairs(&folder()).unwrap();
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
