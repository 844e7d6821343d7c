//! The edits: each takes a sentence and says what became of it and of entailment.

use std::sync::LazyLock;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::NliLabel::{self, Contradiction, Entailment, Neutral};
use crate::generate::clauses;
use crate::generate::inflect::article;
use crate::generate::noise::capitalise;
use crate::generate::phrases::pick;

/// An edited text and the relation in both directions.
pub(super) struct Edit {
    pub(super) text: String,
    /// Original to edited.
    pub(super) forward: NliLabel,
    /// Edited to original.
    pub(super) backward: NliLabel,
    pub(super) kind: &'static str,
}

impl Edit {
    /// Says the same.
    pub(super) fn same(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Entailment,
            backward: Entailment,
            kind,
        }
    }

    /// Says less: the original entails it, and not the other way round.
    fn less(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Entailment,
            backward: Neutral,
            kind,
        }
    }

    /// Says more.
    fn more(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Neutral,
            backward: Entailment,
            kind,
        }
    }

    /// Cannot be true of the same event.
    fn against(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Contradiction,
            backward: Contradiction,
            kind,
        }
    }
}

type Rule = fn(&str, &mut ChaCha8Rng) -> Option<Edit>;

/// Lets the generic caller use plain function pointers: the rules draw from a generator of their
/// own, seeded by the caller's.
pub(super) struct Draw(Rule);

impl Draw {
    pub(super) fn call<R: Rng>(&self, sentence: &str, rng: &mut R) -> Option<Edit> {
        use rand::SeedableRng;
        (self.0)(sentence, &mut ChaCha8Rng::seed_from_u64(rng.random()))
    }
}

/// Every rule that edits one sentence.
pub(super) static RULES: [Draw; 16] = [
    Draw(synonym),
    Draw(contraction),
    Draw(reorder),
    Draw(case),
    Draw(drop_clause),
    Draw(drop_adjective),
    Draw(hypernym),
    Draw(weaken),
    Draw(negate),
    Draw(negate),
    Draw(antonym),
    Draw(antonym),
    Draw(number),
    Draw(number),
    Draw(name),
    Draw(conjunct),
];

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

struct Words {
    synonyms: Vec<(String, String)>,
    antonyms: Vec<(String, String)>,
    hypernyms: Vec<(String, String)>,
    weaker: Vec<(String, String)>,
    against: Vec<(String, String)>,
    contractions: Vec<(String, String)>,
    adjectives: Vec<String>,
    people: Vec<String>,
    /// past, participle, directions exclude each other
    verbs: Vec<(String, String, bool)>,
    comparisons: Vec<String>,
    places: Vec<String>,
    names: Vec<String>,
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

static WORDS: LazyLock<Words> = LazyLock::new(|| {
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

/// The sentence in lower case with every end of a word marked by single blanks, for searching; a
/// byte of it stands where the same byte stands in the sentence.
fn find_word(sentence: &str, word: &str) -> Option<usize> {
    let lower = sentence.to_ascii_lowercase();
    let edge = |c: Option<char>| {
        c.is_none_or(|c| !c.is_alphanumeric() && c != '\'' && c != '-' && c != '’')
    };
    lower.match_indices(word).map(|(at, _)| at).find(|at| {
        edge(lower[..*at].chars().next_back()) && edge(lower[at + word.len()..].chars().next())
    })
}

fn has_any(sentence: &str, words: &[&str]) -> bool {
    words.iter().any(|word| find_word(sentence, word).is_some())
}

/// Replaces a whole word (or words) once, keeping a capital and mending "a" and "an" before it.
fn replace_word(sentence: &str, from: &str, to: &str) -> Option<String> {
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
fn swap(sentence: &str, list: &[(String, String)], rng: &mut ChaCha8Rng) -> Option<String> {
    let start = rng.random_range(0..list.len());
    list[start..]
        .iter()
        .chain(&list[..start])
        .find_map(|(from, to)| replace_word(sentence, from, to))
}

/// Contexts where saying less of a part does not say less of the whole.
fn turns(sentence: &str) -> bool {
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

/// Idioms and set phrases stay as they are, or the label would be wrong too often.
fn synonym(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    Some(Edit::same("synonym", swap(sentence, &WORDS.synonyms, rng)?))
}

fn contraction(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
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
fn reorder(sentence: &str, _: &mut ChaCha8Rng) -> Option<Edit> {
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
fn case(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    let text = match rng.random_range(0..4) {
        0 => sentence.to_lowercase(),
        1 => sentence.trim_end_matches(['.', '!']).to_owned(),
        2 => sentence.replace(',', ""),
        _ => sentence.replace(';', ","),
    };
    (text != sentence).then(|| Edit::same("surface", text))
}

const REASONS: [&str; 14] = [
    ", because ",
    " because ",
    ", which ",
    " in order to ",
    ", so that ",
    " so that ",
    " out of ",
    " for the sake of ",
    ", since ",
    ", while ",
    ", although ",
    ", and ",
    ", but ",
    " while ",
];

/// The clause that gives a reason or an addition at the end of the sentence, with its connective.
pub(super) fn reason(sentence: &str) -> Option<String> {
    let body = sentence.strip_suffix('.')?;
    let (at, mark) = REASONS
        .iter()
        .filter_map(|mark| body.rfind(mark).map(|at| (at, mark)))
        .min()?;
    let clause = &body[at..];
    // "and" may join two nouns; only a clause with a verb can go.
    let verb = has_any(
        clause,
        &[
            "is", "are", "was", "were", "has", "had", "have", "will", "would", "can", "could",
            "did", "does", "made", "took", "became", "went", "came", "to",
        ],
    );
    let enough =
        body[..at].split_whitespace().count() >= 4 && clause.split_whitespace().count() >= 4;
    (enough && verb && !(mark.contains("which") && clause[1..].contains(',')))
        .then(|| clause.to_owned())
}

fn drop_clause(sentence: &str, _: &mut ChaCha8Rng) -> Option<Edit> {
    let clause = reason(sentence)?;
    let kept = &sentence[..sentence.len() - clause.len() - 1];
    // "did not leave because he was ill" may mean that he left.
    (!turns(kept)).then(|| Edit::less("dropped-clause", format!("{kept}.")))
}

/// One of two joined main clauses: each follows from both.
fn conjunct(sentence: &str, _: &mut ChaCha8Rng) -> Option<Edit> {
    let body = sentence.strip_suffix('.')?;
    let at = [", and ", ", but "]
        .iter()
        .find_map(|mark| body.find(mark).map(|at| at + mark.len()))?;
    let second = &body[at..];
    let subject = second.split(' ').next()?;
    let own_subject = [
        "he", "she", "it", "they", "we", "i", "the", "his", "her", "their", "this", "there",
    ]
    .contains(&subject.to_lowercase().as_str());
    (own_subject && second.split(' ').count() >= 4 && !turns(sentence))
        .then(|| Edit::less("second-conjunct", format!("{}.", capitalise(second))))
}

fn drop_adjective(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    if turns(sentence) {
        return None;
    }
    let start = rng.random_range(0..WORDS.adjectives.len());
    let (a, b) = WORDS.adjectives.split_at(start);
    b.iter().chain(a).find_map(|adjective| {
        let at = find_word(sentence, adjective)?;
        // Only inside "the old house", where a noun follows and the noun phrase stands without it.
        let before = sentence[..at].to_lowercase();
        let determiner = [
            "the ", "a ", "an ", "his ", "her ", "their ", "its ", "my ", "our ",
        ]
        .iter()
        .find(|d| {
            before.ends_with(**d)
                && (before.len() == d.len()
                    || before.as_bytes()[before.len() - d.len() - 1] == b' ')
        })?;
        let rest = sentence[at + adjective.len()..].strip_prefix(' ')?;
        let next = rest
            .split(|c: char| !c.is_alphabetic())
            .next()
            .filter(|w| w.len() > 2)?;
        if matches!(
            next,
            "and"
                | "but"
                | "one"
                | "ones"
                | "are"
                | "was"
                | "were"
                | "have"
                | "had"
                | "for"
                | "who"
        ) {
            return None;
        }
        let head = &sentence[..at - determiner.len()];
        let first = if matches!(*determiner, "a " | "an ") {
            article(next).to_owned()
        } else {
            determiner.trim().to_owned()
        };
        let first = if head.is_empty() {
            capitalise(&first)
        } else {
            first
        };
        Some(Edit::less(
            "dropped-adjective",
            format!("{head}{first} {rest}"),
        ))
    })
}

fn hypernym(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    if turns(sentence) {
        return None;
    }
    let list = &WORDS.hypernyms;
    let start = rng.random_range(0..list.len());
    list[start..]
        .iter()
        .chain(&list[..start])
        .find_map(|(word, broader)| {
            let at = find_word(sentence, word)?;
            // "a dog" becomes "an animal"; "the dog house" and "table tennis" do not.
            let before = sentence[..at].to_lowercase();
            let alone = !sentence[at + word.len()..].starts_with(" ")
                || [
                    "is", "was", "and", "in", "on", "at", "has", "had", "to", "for", "with",
                    "from", "of", "who", "that",
                ]
                .contains(
                    &sentence[at + word.len()..]
                        .trim_start()
                        .split([' ', '.', ','])
                        .next()
                        .unwrap_or_default(),
                );
            (alone
                && (before.ends_with(" a ")
                    || before.ends_with(" an ")
                    || before == "a "
                    || before == "an "))
                .then_some(())?;
            Some(Edit::less(
                "hypernym",
                replace_word(sentence, word, broader)?,
            ))
        })
}

/// "all" → "some" one way, "some" → "all" the other.
fn weaken(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    const NEGATIVE: [&str; 9] = [
        "not", "never", "no", "nobody", "without", "if", "cannot", "unless", "nothing",
    ];
    if has_any(sentence, &NEGATIVE) || sentence.contains("n't") || sentence.contains('?') {
        return None;
    }
    let list = &WORDS.weaker;
    let start = rng.random_range(0..list.len());
    let forward = rng.random_bool(0.6);
    list[start..]
        .iter()
        .chain(&list[..start])
        .find_map(|(strong, weak)| {
            if forward {
                replace_word(sentence, strong, weak).map(|text| Edit::less("weakened", text))
            } else {
                replace_word(sentence, weak, strong).map(|text| Edit::more("strengthened", text))
            }
        })
}

fn negate(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    if sentence.contains('?') {
        return None;
    }
    let text = swap(sentence, &WORDS.against, rng)?;
    let doubled = [
        "not not",
        "no no",
        "not never",
        "never not",
        "not no ",
        "not been not",
    ]
    .iter()
    .any(|bad| text.contains(bad));
    (!doubled).then(|| Edit::against("negation", text))
}

fn antonym(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    Some(Edit::against(
        "antonym",
        swap(sentence, &WORDS.antonyms, rng)?,
    ))
}

fn number(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    const NAMES: [&str; 14] = [
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "twenty", "fifty", "hundred",
    ];
    // A figure of digits, away from letters, such as the year in "in 1912".
    let digits = sentence
        .match_indices(|c: char| c.is_ascii_digit())
        .map(|(at, _)| at)
        .find(|at| *at == 0 || !sentence.as_bytes()[at - 1].is_ascii_alphanumeric());
    if let Some(at) = digits {
        let length = sentence[at..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let old: u64 = sentence[at..at + length].parse().ok()?;
        let new = match rng.random_range(0..4) {
            0 => old + rng.random_range(1..10),
            1 => old.saturating_sub(rng.random_range(1..10)),
            2 => old + 10 * rng.random_range(1..5),
            _ => old * 2 + 1,
        };
        return (new != old).then(|| {
            Edit::against(
                "number",
                format!("{}{new}{}", &sentence[..at], &sentence[at + length..]),
            )
        });
    }
    let word = NAMES.iter().find(|n| find_word(sentence, n).is_some())?;
    let other = NAMES
        .iter()
        .filter(|n| n != &word)
        .copied()
        .collect::<Vec<_>>();
    Some(Edit::against(
        "number",
        replace_word(sentence, word, pick::<&str, _>(&other, rng))?,
    ))
}

/// Another name inside the sentence; the first word is left, for it may be no name.
fn name(sentence: &str, rng: &mut ChaCha8Rng) -> Option<Edit> {
    const NO_NAMES: [&str; 20] = [
        "I", "The", "He", "She", "It", "They", "We", "A", "An", "In", "God", "Monday", "Sunday",
        "English", "Mr", "Mrs", "Dr", "St", "Lord", "Sir",
    ];
    let words: Vec<&str> = sentence.split(' ').collect();
    let found: Vec<&str> = words
        .windows(2)
        .filter(|pair| !pair[0].ends_with([':', '.', '?', '!', '"', '“']))
        .map(|pair| pair[1])
        .map(|w| w.trim_end_matches(|c: char| !c.is_alphabetic()))
        .filter(|w| {
            w.len() > 2
                && w.chars().next().is_some_and(char::is_uppercase)
                && w.chars().skip(1).all(|c| c.is_lowercase())
                && !NO_NAMES.contains(w)
        })
        .collect();
    let old = found.choose(rng)?;
    let new = pick(&WORDS.names, rng);
    if new == *old {
        return None;
    }
    // Every mention changes, or the text would speak of two.
    let changed: Vec<String> = words
        .iter()
        .map(|w| match w.strip_prefix(old) {
            Some(rest) if !rest.starts_with(char::is_alphabetic) => format!("{new}{rest}"),
            _ => (*w).to_owned(),
        })
        .collect();
    Some(Edit::against("name", changed.join(" ")))
}

/// One meaning-keeping change, for chains of them.
pub(super) fn reworded<R: Rng>(sentence: &str, rng: &mut R) -> Option<String> {
    let rule = pick(&[0, 0, 1, 2, 3], rng);
    RULES[*rule].call(sentence, rng).map(|edit| edit.text)
}

/// The sentence with another clause before its full stop.
pub(super) fn append(sentence: &str, clause: &str) -> Option<String> {
    let body = sentence.strip_suffix('.')?;
    Some(format!("{body}{clause}."))
}

/// A clause of the kind that our own rewriter adds.
pub(super) fn value_clause<R: Rng>(rng: &mut R) -> String {
    clauses::any_clause(rng)
}

/// Sentences made whole by rule, where roles, voice and comparison are known.
pub(super) fn composed<R: Rng>(rng: &mut R) -> Vec<(String, Edit)> {
    let w = &*WORDS;
    let two: Vec<&String> = w.people.choose_multiple(rng, 2).collect();
    let place = if rng.random_bool(0.6) {
        format!(" {}", pick(&w.places, rng))
    } else {
        String::new()
    };
    let with_names = rng.random_bool(0.3);
    let who = |i: usize| {
        if with_names {
            capitalise(&w.names[(two[i].len() * 7 + i) % 20])
        } else {
            format!("the {}", two[i])
        }
    };
    let (a, b) = (who(0), who(1));
    let sentence = |text: String| format!("{}.", capitalise(&text));
    if rng.random_bool(0.75) {
        let (past, participle, exclusive) = pick(&w.verbs, rng);
        let active = sentence(format!("{a} {past} {b}{place}"));
        let passive = sentence(format!("{b} was {participle} by {a}{place}"));
        let swapped = sentence(format!("{b} {past} {a}{place}"));
        let swapped_passive = sentence(format!("{a} was {participle} by {b}{place}"));
        let roles = |text: String| {
            if *exclusive {
                Edit::against("role", text)
            } else {
                Edit {
                    text,
                    forward: Neutral,
                    backward: Neutral,
                    kind: "role",
                }
            }
        };
        let mut made = vec![
            (active.clone(), Edit::same("passive", passive.clone())),
            (active.clone(), roles(swapped.clone())),
            (passive.clone(), roles(swapped_passive.clone())),
            (active.clone(), roles(swapped_passive)),
            (
                active.clone(),
                Edit::less(
                    "agentless",
                    sentence(format!("{b} was {participle}{place}")),
                ),
            ),
            (
                active.clone(),
                Edit::against(
                    "negation",
                    sentence(format!("{b} was not {participle} by {a}{place}")),
                ),
            ),
            (passive, roles(swapped)),
        ];
        if !place.is_empty() {
            made.push((
                active.clone(),
                Edit::less("dropped-phrase", sentence(format!("{a} {past} {b}"))),
            ));
            made.push((
                active,
                Edit::same(
                    "phrase-order",
                    sentence(format!("{}, {a} {past} {b}", place.trim())),
                ),
            ));
        }
        made
    } else {
        let word = pick(&w.comparisons, rng);
        let plain = sentence(format!("{a} is {word} than {b}"));
        let was = sentence(format!("{a} was {word} than {b}{place}"));
        let less = word
            .strip_prefix("more ")
            .map(|adjective| sentence(format!("{b} is less {adjective} than {a}")));
        let mut made = vec![
            (
                plain.clone(),
                Edit::against("role", sentence(format!("{b} is {word} than {a}"))),
            ),
            (
                plain.clone(),
                Edit::against("negation", sentence(format!("{a} is not {word} than {b}"))),
            ),
            (
                was,
                Edit::against("role", sentence(format!("{b} was {word} than {a}{place}"))),
            ),
            (
                plain.clone(),
                Edit::less(
                    "weakened",
                    sentence(format!("{a} is not as {} as {b}", opposite(word))),
                ),
            ),
        ];
        if opposite(word).is_empty() {
            made.pop();
        }
        made.extend(less.map(|text| (plain, Edit::same("comparison", text))));
        made
    }
}

/// The positive form of the opposite: taller → "short".
fn opposite(comparative: &str) -> &'static str {
    match comparative {
        "taller" => "short",
        "older" => "young",
        "younger" => "old",
        "richer" => "poor",
        "faster" => "slow",
        "stronger" => "weak",
        "heavier" => "light",
        "poorer" => "rich",
        "slower" => "fast",
        "shorter" => "tall",
        _ => "",
    }
}
