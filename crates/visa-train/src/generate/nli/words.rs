//! The word lists of `data/nli.toml`, and words found and replaced in sentences.

use std::sync::LazyLock;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::generate::inflect::article;
use crate::generate::noise::capitalise;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    synonyms: String,
    antonyms: String,
    hypernyms: String,
    weaker: String,
    against: String,
    contractions: String,
    adjectives: String,
    people: String,
    verbs: String,
    comparisons: String,
    places: String,
    names: String,
}

pub(super) struct Words {
    pub(super) synonyms: Vec<(String, String)>,
    pub(super) antonyms: Vec<(String, String)>,
    pub(super) hypernyms: Vec<(String, String)>,
    pub(super) weaker: Vec<(String, String)>,
    pub(super) against: Vec<(String, String)>,
    pub(super) contractions: Vec<(String, String)>,
    pub(super) adjectives: Vec<String>,
    pub(super) people: Vec<String>,
    /// past, participle, directions exclude each other
    pub(super) verbs: Vec<(String, String, bool)>,
    pub(super) comparisons: Vec<String>,
    pub(super) places: Vec<String>,
    pub(super) names: Vec<String>,
}

fn entries(text: &str) -> Vec<String> {
    text.split([';', '\n'])
        .map(str::trim)
        .filter(|e| !e.is_empty())
        .map(str::to_owned)
        .collect()
}

/// "a = b" gives both directions, "a > b" one.
fn swaps(text: &str) -> Vec<(String, String)> {
    entries(text)
        .iter()
        .flat_map(|entry| {
            let both = entry.split_once(" = ");
            let (a, b) = both
                .or(entry.split_once(" > "))
                .unwrap_or_else(|| panic!("nli.toml: no \"=\" or \">\" in {entry:?}"));
            let pair = (a.trim().to_owned(), b.trim().to_owned());
            let back = both.map(|_| (pair.1.clone(), pair.0.clone()));
            [Some(pair), back].into_iter().flatten()
        })
        .collect()
}

pub(super) static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let file: File =
        toml::from_str(include_str!("../data/nli.toml")).expect("data/nli.toml parses");
    let verbs = entries(&file.verbs)
        .iter()
        .map(|entry| {
            let parts: Vec<&str> = entry.split('|').map(str::trim).collect();
            (parts[0].to_owned(), parts[1].to_owned(), parts.len() > 2)
        })
        .collect();
    Words {
        synonyms: swaps(&file.synonyms),
        antonyms: swaps(&file.antonyms),
        hypernyms: swaps(&file.hypernyms),
        weaker: swaps(&file.weaker),
        against: swaps(&file.against),
        contractions: swaps(&file.contractions),
        adjectives: entries(&file.adjectives),
        people: entries(&file.people),
        verbs,
        comparisons: entries(&file.comparisons),
        places: entries(&file.places),
        names: entries(&file.names),
    }
});

/// Where a whole word (or words) stands in a sentence, whatever its capitals.
pub(super) fn find_word(sentence: &str, word: &str) -> Option<usize> {
    let lower = sentence.to_ascii_lowercase();
    let edge = |c: Option<char>| {
        c.is_none_or(|c| !c.is_alphanumeric() && c != '\'' && c != '-' && c != '’')
    };
    lower.match_indices(word).map(|(at, _)| at).find(|at| {
        edge(lower[..*at].chars().next_back()) && edge(lower[at + word.len()..].chars().next())
    })
}

pub(super) fn has_any(sentence: &str, words: &[&str]) -> bool {
    words.iter().any(|word| find_word(sentence, word).is_some())
}

/// Replaces a whole word (or words) once, keeping a capital and mending "a" and "an" before it.
pub(super) fn replace_word(sentence: &str, from: &str, to: &str) -> Option<String> {
    let at = find_word(sentence, from)?;
    let capital = sentence[at..].starts_with(|c: char| c.is_uppercase());
    let new = if capital {
        capitalise(to)
    } else {
        to.to_owned()
    };
    let mut head = sentence[..at].to_owned();
    for old in ["an ", "a "] {
        if let Some(rest) = head.strip_suffix(old)
            && (rest.is_empty() || rest.ends_with(' '))
        {
            head = format!("{rest}{} ", article(to));
            break;
        }
        if head == capitalise(old) {
            head = format!("{} ", capitalise(article(to)));
            break;
        }
    }
    Some(format!("{head}{new}{}", &sentence[at + from.len()..]))
}

/// Swaps by the first fitting entry, from a random place of the list on.
pub(super) fn swap(
    sentence: &str,
    list: &[(String, String)],
    rng: &mut ChaCha8Rng,
) -> Option<String> {
    let start = rng.random_range(0..list.len());
    list[start..]
        .iter()
        .chain(&list[..start])
        .find_map(|(from, to)| replace_word(sentence, from, to))
}

/// Contexts where saying less of a part does not say less of the whole.
pub(super) fn turns(sentence: &str) -> bool {
    sentence.contains("n't")
        || sentence.contains("n’t")
        || has_any(
            sentence,
            &[
                "not",
                "never",
                "no",
                "nobody",
                "none",
                "nothing",
                "nor",
                "neither",
                "without",
                "if",
                "unless",
                "every",
                "all",
                "any",
                "each",
                "only",
                "few",
                "hardly",
                "cannot",
                "whether",
                "most",
                "than",
                "least",
                "best",
                "first",
                "last",
                "least",
                "refused",
                "denied",
                "forbidden",
            ],
        )
        || sentence.contains('?')
}
