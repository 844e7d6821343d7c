//! Rules that keep the meaning.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::edit::Edit;
use super::super::words::{WORDS, swap};
use crate::generate::noise::capitalise;

/// Idioms and set phrases stay as they are, or the label would be wrong too often.
pub(super) fn synonym(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    Some(Edit::same("synonym", swap(sentence, &WORDS.synonyms, rng)?))
}

pub(super) fn contraction(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    let text = swap(sentence, &WORDS.contractions, rng)?;
    Some(Edit::same(
        "contraction",
        text.replace("i'", "I'")
            .replace("i am", "I am")
            .replace("i have", "I have")
            .replace("i will", "I will"),
    ))
}

/// "When it rains, we stay in." ↔ "We stay in when it rains."
pub(super) fn reorder(sentence: &str, _: &mut ChaCha8Rng) -> Option<Edit> {
    const LEADS: [&str; 10] = [
        "When ",
        "If ",
        "After ",
        "Before ",
        "Although ",
        "Because ",
        "While ",
        "Since ",
        "Unless ",
        "Until ",
    ];
    let body = sentence.strip_suffix('.')?;
    if LEADS.iter().any(|lead| body.starts_with(lead)) {
        let (clause, main) = body.split_once(", ")?;
        if main.contains(',')
            || main.split(' ').count() < 3
            || !(3..=12).contains(&clause.split(' ').count())
        {
            return None;
        }
        return Some(Edit::same(
            "clause-order",
            format!("{} {}.", capitalise(main), uncapitalise(clause)),
        ));
    }
    for lead in LEADS {
        let mark = format!(" {}", lead.to_lowercase());
        if let Some((main, clause)) = body.split_once(&mark)
            && !body.contains(',')
            && clause.split(' ').count() >= 3
            && main.split(' ').count() >= 3
            && !matches!(lead, "After " | "Before " | "Since " | "Until ")
        {
            return Some(Edit::same(
                "clause-order",
                format!("{lead}{clause}, {}.", uncapitalise(main)),
            ));
        }
    }
    None
}

/// Lower case for words that are not names; "I" stays.
fn uncapitalise(text: &str) -> String {
    const PLAIN: [&str; 40] = [
        "the", "a", "an", "he", "she", "it", "they", "we", "you", "his", "her", "its", "their",
        "our", "this", "that", "these", "those", "there", "when", "if", "after", "before",
        "although", "because", "while", "since", "unless", "until", "my", "your", "many", "most",
        "some", "people", "in", "on", "at", "no", "all",
    ];
    let first = text.split(' ').next().unwrap_or_default();
    if PLAIN.contains(&first.to_lowercase().as_str()) {
        format!("{}{}", first.to_lowercase(), &text[first.len()..])
    } else {
        text.to_owned()
    }
}

/// Case and end marks carry no meaning here.
pub(super) fn case(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    let text = match rng.random_range(0..4) {
        0 => sentence.to_lowercase(),
        1 => sentence.trim_end_matches(['.', '!']).to_owned(),
        2 => sentence.replace(',', ""),
        _ => sentence.replace(';', ","),
    };
    (text != sentence).then(|| Edit::same("surface", text))
}
