//! Sentences that a clause can follow: what kind they are, and which are unfit.
//!
//! The kind is guessed by surface rules that suit everyday prose; a wrong guess costs a purpose
//! after a thing now and then, no more.

use std::sync::LazyLock;

use rand::Rng;
use serde::Deserialize;

use super::phrases::pick;

/// What the sentence is, as far as a clause cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StemKind {
    /// "Check the oven before you leave"
    Order,
    /// Somebody does something
    Acting,
    /// Something is so
    Thing,
}

/// A sentence without its end mark.
#[derive(Clone, Debug)]
pub(super) struct Stem {
    context: Option<String>,
    pub(super) text: String,
    pub(super) terminator: String,
    pub(super) kind: StemKind,
    pub(super) past: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    advice: String,
    people: String,
    things: String,
    past_people: String,
    past_things: String,
    plans: String,
    contexts: String,
}

static FILE: LazyLock<File> = LazyLock::new(|| {
    toml::from_str(include_str!("data/stems.toml")).expect("data/stems.toml parses")
});
static CONTEXTS: LazyLock<Vec<&str>> = LazyLock::new(|| lines(&FILE.contexts).collect());

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// The stems we wrote.
pub(super) fn committed() -> Vec<Stem> {
    let sections = [
        (&FILE.advice, StemKind::Order, false),
        (&FILE.people, StemKind::Acting, false),
        (&FILE.things, StemKind::Thing, false),
        (&FILE.past_people, StemKind::Acting, true),
        (&FILE.past_things, StemKind::Thing, true),
        (&FILE.plans, StemKind::Acting, false),
    ];
    sections
        .into_iter()
        .flat_map(|(text, kind, past)| {
            lines(text).map(move |line| Stem {
                context: None,
                text: line.to_owned(),
                terminator: ".".to_owned(),
                kind,
                past,
            })
        })
        .collect()
}

impl Stem {
    /// Reads an external sentence, or declines it.
    pub(super) fn read(context: &str, sentence: &str) -> Option<Self> {
        let sentence = sentence.trim();
        let text = sentence.trim_end_matches(['.', '!']);
        let terminator = &sentence[text.len()..];
        let terminator = match terminator {
            "" | "." => ".",
            "!" => "!",
            _ => return None,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let plain = text
            .chars()
            .all(|c| c.is_alphanumeric() || " ,'’-".contains(c));
        let begins = text
            .chars()
            .next()
            .is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
        const REASONS: [&str; 9] = [
            "because",
            "since",
            "so that",
            "in order",
            "out of",
            "sake",
            "therefore",
            "although",
            "which",
        ];
        let lower = text.to_lowercase();
        if !(4..=24).contains(&words.len())
            || !plain
            || !begins
            || REASONS.iter().any(|r| lower.contains(r))
        {
            return None;
        }
        let (kind, past) = classify(&words);
        Some(Self {
            context: Some(context.trim().to_owned()),
            text: text.to_owned(),
            terminator: terminator.to_owned(),
            kind,
            past,
        })
    }

    /// The sentences before: the caller's, or for our own stems often none.
    pub(super) fn context<R: Rng>(&self, rng: &mut R) -> String {
        match &self.context {
            Some(context) => context.clone(),
            None if rng.random_bool(0.5) => String::new(),
            None => (*pick(&CONTEXTS, rng)).to_owned(),
        }
    }
}

/// Kind and tense by the first words and the first verb that can be told by its form.
fn classify(words: &[&str]) -> (StemKind, bool) {
    const ORDERS: [&str; 60] = [
        "add", "apply", "ask", "avoid", "be", "book", "bring", "buy", "call", "change", "check",
        "choose", "clean", "come", "consider", "cook", "cover", "cut", "do", "don't", "drink",
        "eat", "fill", "find", "follow", "get", "give", "go", "keep", "learn", "leave", "let",
        "look", "make", "move", "open", "pay", "place", "plan", "please", "put", "read",
        "remember", "remove", "save", "send", "set", "start", "stay", "stop", "take", "talk",
        "tell", "try", "turn", "use", "visit", "wait", "wash", "write",
    ];
    const ACTORS: [&str; 26] = [
        "i",
        "we",
        "you",
        "he",
        "she",
        "they",
        "people",
        "everyone",
        "nobody",
        "somebody",
        "someone",
        "teacher",
        "students",
        "parents",
        "children",
        "mother",
        "father",
        "brother",
        "sister",
        "friend",
        "man",
        "woman",
        "team",
        "workers",
        "family",
        "neighbours",
    ];
    const PAST: [&str; 44] = [
        "was", "were", "had", "did", "went", "came", "took", "made", "said", "got", "gave", "saw",
        "found", "told", "felt", "left", "kept", "began", "brought", "bought", "built", "wrote",
        "ran", "met", "sold", "stood", "heard", "held", "knew", "thought", "became", "led", "lost",
        "paid", "sat", "spoke", "spent", "grew", "fell", "sent", "won", "taught", "chose", "drove",
    ];
    const PRESENT: [&str; 20] = [
        "is", "are", "am", "has", "have", "do", "does", "will", "can", "should", "would", "may",
        "might", "must", "could", "goes", "takes", "makes", "keeps", "wants",
    ];
    let lower: Vec<String> = words
        .iter()
        .map(|w| w.trim_matches(',').to_lowercase())
        .collect();
    if ORDERS.contains(&lower[0].as_str()) {
        return (StemKind::Order, false);
    }
    let verb = lower.iter().position(|w| {
        PAST.contains(&w.as_str())
            || PRESENT.contains(&w.as_str())
            || (w.len() > 4 && w.ends_with("ed"))
    });
    let past = verb.is_some_and(|v| !PRESENT.contains(&lower[v].as_str()));
    // An actor near the front who does more than be something.
    let copula =
        verb.is_some_and(|v| matches!(lower[v].as_str(), "is" | "are" | "am" | "was" | "were"));
    let actor = lower
        .iter()
        .take(verb.unwrap_or(3).clamp(1, 4))
        .any(|w| ACTORS.contains(&w.as_str()));
    (
        if actor && !copula {
            StemKind::Acting
        } else {
            StemKind::Thing
        },
        past,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sentence: &str, expected: Option<(StemKind, bool)>) {
        assert_eq!(
            Stem::read("", sentence).map(|s| (s.kind, s.past)),
            expected,
            "{sentence}"
        );
    }

    #[test]
    fn external_sentences_are_told_apart() {
        check(
            "Take the early train on Monday.",
            Some((StemKind::Order, false)),
        );
        check(
            "She sold her car last autumn.",
            Some((StemKind::Acting, true)),
        );
        check(
            "They walk to school together.",
            Some((StemKind::Acting, false)),
        );
        check(
            "The hotel is close to the harbour.",
            Some((StemKind::Thing, false)),
        );
        check(
            "The bridge was closed for repairs.",
            Some((StemKind::Thing, true)),
        );
    }

    #[test]
    fn unfit_sentences_are_declined() {
        check("Are you coming with us tonight?", None);
        check("We left because it rained.", None);
        check("Yes.", None);
        check("He said \"go home\" and left.", None);
        check("and so it went on", None);
    }
}
