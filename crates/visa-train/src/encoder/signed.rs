//! Texts that embrace or reject values: the committed tables that map public sources to the ten values, and sentences
//! made from the phrase lists.
//!
//! What the tables do not speak of stays unknown rather than silent, with a small weight for silence, because one
//! statement rarely speaks of many values. The PVQ-40 and the traits under `hold_out` are never turned into examples
//! here; [`Traits::hold_out`] lists the latter for the test.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use visa_values::Value;
use visa_wire::datasets::{persona, valuebench};

use super::Target;

/// Classes of the sign output.
pub const CLASSES: [&str; 3] = ["rejects", "silent", "embraces"];

/// Weight of silence on values that a table does not name.
const UNNAMED: f32 = 0.15;

/// Weight of a named value's neighbours on the circle, which lean the same way (Schwartz 1992): a statement about wealth
/// (power) is no silence about achievement.
const NEIGHBOUR: f32 = 0.12;

/// The questionnaire that is the detector's test.
pub const TEST_QUESTIONNAIRE: &str = "PVQ40";

/// Values with a sign: "power+ benevolence-".
pub type Signs = Vec<(Value, bool)>;

/// A text and what it says about the ten values.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The text.
    pub text: String,
    /// What it answers, where that is known.
    pub context: Option<String>,
    /// Target of the sign output.
    pub target: Target,
    /// Chance of being drawn in an epoch.
    pub rate: f64,
}

/// Parses "power+ benevolence-"; "silent" is the empty list.
fn signs(text: &str) -> Result<Signs, String> {
    if text == "silent" {
        return Ok(Vec::new());
    }
    text.split_whitespace()
        .map(|word| {
            let (name, embraces) = match (word.strip_suffix('+'), word.strip_suffix('-')) {
                (Some(name), _) => (name, true),
                (_, Some(name)) => (name, false),
                _ => return Err(format!("{word:?} has no sign")),
            };
            let value = name.parse::<Value>().map_err(|e| e.to_string())?;
            Ok((value, embraces))
        })
        .collect()
}

fn table(map: BTreeMap<String, String>) -> BTreeMap<String, Signs> {
    map.into_iter()
        .map(|(name, text)| {
            let signs = signs(&text).unwrap_or_else(|e| panic!("committed table, {name}: {e}"));
            (name, signs)
        })
        .collect()
}

/// Traits of the persona statements: trained on, and held out for the test.
pub struct Traits {
    /// Trained on.
    pub train: BTreeMap<String, Signs>,
    /// Trained on where a statement fits the trait: what a believer of one religion would not say is often said by one
    /// of another, so it rejects nothing.
    pub matching_only: BTreeMap<String, Signs>,
    /// The test of the sign.
    pub hold_out: BTreeMap<String, Signs>,
}

impl Traits {
    /// Reads a committed table.
    pub(super) fn parse(text: &str) -> Self {
        #[derive(Deserialize)]
        struct File {
            train: BTreeMap<String, String>,
            matching_only: BTreeMap<String, String>,
            hold_out: BTreeMap<String, String>,
        }
        let file: File = toml::from_str(text).expect("committed table parses");
        Traits {
            train: table(file.train),
            matching_only: table(file.matching_only),
            hold_out: table(file.hold_out),
        }
    }
}

/// Reads a committed table of names and signs.
pub(super) fn signs_of(text: &str) -> BTreeMap<String, Signs> {
    table(toml::from_str(text).expect("committed table parses"))
}

/// `data/traits.toml`.
pub static TRAITS: LazyLock<Traits> =
    LazyLock::new(|| Traits::parse(include_str!("data/traits.toml")));

/// `data/inventories.toml`: questionnaire → construct → signs.
pub static INVENTORIES: LazyLock<BTreeMap<String, BTreeMap<String, Signs>>> = LazyLock::new(|| {
    let file: BTreeMap<String, BTreeMap<String, String>> =
        toml::from_str(include_str!("data/inventories.toml")).expect("committed table parses");
    file.into_iter()
        .map(|(questionnaire, constructs)| (questionnaire, table(constructs)))
        .collect()
});

/// A target: `signs` (turned around unless `agrees`) with `weight`; their neighbours on the circle lean the same way a
/// little, every other value is silent with `rest`.
pub fn target(signs: &[(Value, bool)], agrees: bool, weight: f32, rest: f32) -> Target {
    let mut target = Target {
        value: vec![1.0; 10],
        weight: vec![rest; 10],
    };
    let class = |embraces: bool| if embraces == agrees { 2.0 } else { 0.0 };
    for &(value, embraces) in signs {
        for near in [value.index() + 1, value.index() + 9] {
            let near = near % 10;
            let torn = target.value[near] != 1.0 && target.value[near] != class(embraces);
            target.value[near] = class(embraces);
            target.weight[near] = if torn { 0.0 } else { NEIGHBOUR * weight };
        }
    }
    for &(value, embraces) in signs {
        target.value[value.index()] = class(embraces);
        target.weight[value.index()] = weight;
    }
    target
}

/// Persona statements of one trait. A doubtful label counts less: weight (2c − 1)² for confidence c over one half.
pub fn personas(signs: &Signs, statements: &[persona::Statement], rate: f64) -> Vec<Signed> {
    (statements.iter())
        .filter(|s| s.confidence > 0.6)
        .map(|s| Signed {
            text: sentence(&s.statement),
            context: None,
            target: target(
                signs,
                s.matches,
                (2.0 * s.confidence - 1.0).powi(2),
                UNNAMED,
            ),
            rate,
        })
        .collect()
}

/// Items and definitions of the mapped inventories.
pub fn inventory(
    items: &[valuebench::Item],
    definitions: &[valuebench::Definition],
) -> Vec<Signed> {
    let lookup = |questionnaire: &str, construct: &str| {
        let map = INVENTORIES.get(questionnaire)?;
        map.get(construct.trim())
            .filter(|_| questionnaire != TEST_QUESTIONNAIRE)
    };
    let one = |text: &str, signs: &Signs, agrees: bool| {
        // A construct of mood and style is silent throughout, by our judgement and not by the authors': half weight.
        let rest = if signs.is_empty() { 0.5 } else { UNNAMED };
        Signed {
            text: sentence(text),
            context: None,
            target: target(signs, agrees, 1.0, rest),
            rate: 1.0,
        }
    };
    let from_items = (items.iter())
        .filter_map(|i| Some(one(&i.item, lookup(&i.questionnaire, &i.value)?, i.agrees)));
    let from_definitions = (definitions.iter())
        .filter(|d| d.questionnaire == "SVS" || d.questionnaire == "LVI")
        .filter_map(|d| {
            Some(one(
                &format!("{}: {}", d.value, d.definition),
                lookup(&d.questionnaire, &d.value)?,
                true,
            ))
        });
    from_items.chain(from_definitions).collect()
}

#[derive(Deserialize)]
struct Frames {
    frames: String,
    flip: String,
    plain: String,
}

#[derive(Deserialize)]
struct Lists {
    nouns: String,
    verbs: String,
}

struct Phrases {
    frames: Vec<(&'static str, bool)>,
    plain: Vec<&'static str>,
    /// (value, embraced, nouns, verbs); secondary values of a phrase make them unknown.
    lists: Vec<(Value, bool, Vec<Phrase>, Vec<Phrase>)>,
}

struct Phrase {
    text: String,
    also: Vec<Value>,
}

fn leak_lines(text: String) -> Vec<&'static str> {
    Box::leak(text.into_boxed_str())
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect()
}

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let f: Frames =
        toml::from_str(include_str!("data/statements.toml")).expect("committed sentences parse");
    let all: toml::Table = toml::from_str(include_str!("../generate/data/phrases.toml"))
        .expect("committed phrases parse");
    let phrase = |entry: &str| {
        let mut parts = entry.split('|').map(str::trim);
        let text = parts.next().unwrap_or_default().replace('_', "");
        let also = parts
            .filter_map(|p| p.split_whitespace().next()?.parse().ok())
            .collect();
        Phrase { text, also }
    };
    let list = |text: &str| {
        text.split(';')
            .map(phrase)
            .filter(|p| !p.text.is_empty())
            .collect::<Vec<_>>()
    };
    let mut lists = Vec::new();
    for value in Value::ALL {
        for (sign, embraced) in [("plus", true), ("minus", false)] {
            let Some(table) = all.get(value.name()).and_then(|t| t.get(sign)) else {
                continue;
            };
            let l: Lists = table
                .clone()
                .try_into()
                .expect("committed phrases have nouns and verbs");
            lists.push((value, embraced, list(&l.nouns), list(&l.verbs)));
        }
    }
    let frames = leak_lines(f.frames).into_iter().map(|l| (l, true));
    let flips = leak_lines(f.flip).into_iter().map(|l| (l, false));
    Phrases {
        frames: frames.chain(flips).collect(),
        plain: leak_lines(f.plain),
        lists,
    }
});

/// Our own sentences that speak of no value.
pub fn plain() -> Vec<Signed> {
    PHRASES
        .plain
        .iter()
        .map(|text| Signed {
            text: (*text).to_owned(),
            context: None,
            target: target(&[], true, 0.0, 1.0),
            rate: 1.0,
        })
        .collect()
}

/// `count` short texts in which one or two sentences made from the phrase lists embrace or reject a value, alone or
/// among `filler` sentences that speak of none.
pub fn made(seed: u64, count: usize, filler: &[String], rate: f64) -> Vec<Signed> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x51_6E_ED);
    (0..count)
        .map(|_| {
            let mut target = Target {
                value: vec![1.0; 10],
                weight: vec![0.5; 10],
            };
            let mut parts = Vec::new();
            for _ in 0..if rng.random_bool(0.25) { 2 } else { 1 } {
                let (text, value, embraces, also) = one(&mut rng);
                let v = value.index();
                if target.value[v] != 1.0 {
                    continue;
                }
                target.value[v] = if embraces { 2.0 } else { 0.0 };
                target.weight[v] = 1.0;
                also.iter()
                    .filter(|a| target.value[a.index()] == 1.0)
                    .for_each(|a| target.weight[a.index()] = 0.0);
                parts.push(text);
            }
            if rng.random_bool(0.35)
                && let Some(filler) = filler.choose(&mut rng)
            {
                parts.insert(rng.random_range(0..=parts.len()), filler.clone());
            }
            Signed {
                text: parts.join(" "),
                context: None,
                target,
                rate,
            }
        })
        .collect()
}

/// Sentences with a value-bearing clause, as the rewriter writes them, from our own generator.
pub fn clauses(seed: u64, count: usize, rate: f64) -> Vec<Signed> {
    (crate::generate::Clauses::new(seed)
        .generate(count)
        .into_iter())
    .map(|c| {
        let mut target = Target {
            value: vec![1.0; 10],
            weight: vec![0.3; 10],
        };
        for (v, &shift) in c.shift.iter().enumerate() {
            if shift.abs() >= 0.3 {
                target.value[v] = if shift > 0.0 { 2.0 } else { 0.0 };
                target.weight[v] = 1.0;
            } else if shift != 0.0 {
                target.weight[v] = 0.0;
            }
        }
        let text = format!("{} {}{}{}", c.context, c.stem, c.clause, c.terminator);
        Signed {
            text: text.trim().to_owned(),
            context: None,
            target,
            rate,
        }
    })
    .collect()
}

fn one(rng: &mut ChaCha8Rng) -> (String, Value, bool, &'static [Value]) {
    let (value, embraced, nouns, verbs) = PHRASES.lists.choose(rng).expect("lists are not empty");
    let (frame, keeps) = loop {
        let &(frame, keeps) = PHRASES.frames.choose(rng).expect("frames are not empty");
        // Twice as many frames keep the sign; the others are drawn as often as they are.
        if keeps || rng.random_bool(0.7) {
            break (frame, keeps);
        }
    };
    let noun = frame.contains("{noun}");
    let phrase = if noun { nouns } else { verbs }
        .choose(rng)
        .expect("lists are not empty");
    let said = |own: &str, self_: &str| {
        let text = phrase.text.replace("oneself", self_).replace("one's", own);
        text.split_whitespace()
            .map(|w| if w == "one" { own_subject(own) } else { w })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let me = said("my", "myself");
    // "I be curious" → "I am curious"
    let me = match me.strip_prefix("be ") {
        Some(rest) if frame.starts_with("I {me}") => format!("am {rest}"),
        _ => me,
    };
    let they = said("their", "themselves");
    let they = match they.strip_prefix("be ") {
        Some(rest) if frame.contains("people who {they}") => format!("are {rest}"),
        _ => they,
    };
    let you = said("your", "yourself");
    let you = match you.strip_prefix("be ") {
        Some(rest) if frame.contains("that you {you}") => format!("are {rest}"),
        _ => you,
    };
    let text = frame
        .replace("{me}", &me)
        .replace("{you}", &you)
        .replace("{they}", &they)
        .replace("{noun}", &said("your", "yourself"));
    (capital(&text), *value, *embraced == keeps, &phrase.also)
}

fn own_subject(own: &str) -> &'static str {
    match own {
        "my" => "I",
        "your" => "you",
        _ => "they",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| {
        c.to_uppercase().collect::<String>() + chars.as_str()
    })
}

/// The text as a sentence with an end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_parse_and_keep_the_tests_apart() {
        assert!(!INVENTORIES.contains_key(TEST_QUESTIONNAIRE));
        let traits = &*TRAITS;
        assert!(
            traits
                .hold_out
                .keys()
                .all(|t| !traits.train.contains_key(t) && !traits.matching_only.contains_key(t))
        );
        let covered: std::collections::HashSet<usize> = traits
            .hold_out
            .values()
            .flatten()
            .map(|(v, _)| v.index())
            .collect();
        assert!(
            traits.hold_out.len() >= 8 && covered.len() == 10,
            "{covered:?}"
        );
    }

    #[test]
    fn signs_turn_around() {
        let signs = signs("power+ benevolence-").unwrap();
        let t = target(&signs, false, 1.0, 0.1);
        let (power, benevolence) = (Value::ALL[4], Value::ALL[8]);
        assert_eq!(
            (t.value[power.index()], t.value[benevolence.index()]),
            (0.0, 2.0)
        );
        assert_eq!((t.value[1], t.weight[1]), (1.0, 0.1));
        assert_eq!((t.value[3], t.weight[3]), (0.0, NEIGHBOUR));
        assert!(super::signs("power").is_err() && super::signs("pover+").is_err());
    }

    #[test]
    fn made_sentences_are_whole_and_repeatable() {
        let filler = ["It rained.".to_owned()];
        let a = made(3, 500, &filler, 1.0);
        let b = made(3, 500, &filler, 1.0);
        assert!(
            a.iter()
                .zip(&b)
                .all(|(a, b)| a.text == b.text && a.target == b.target)
        );
        for s in &a {
            assert!(
                !s.text.contains(['{', '}', '_', '|']) && s.text.ends_with('.'),
                "{}",
                s.text
            );
            assert!(s.target.value.iter().any(|&v| v != 1.0));
            assert!(
                !s.text
                    .split_whitespace()
                    .any(|w| w == "oneself" || w == "one's"),
                "{}",
                s.text
            );
        }
    }
}
