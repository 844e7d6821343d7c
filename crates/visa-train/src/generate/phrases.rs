//! The phrase lists as data: what people call each value, with the shift each phrase speaks of.
//!
//! It only parses the committed files; a file that does not parse is a defect of the build, which
//! the tests find, so loading panics instead of passing errors to every caller.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::Deserialize;
use visa_values::NAMES;

use super::ShiftArray;

/// A phrase and its shift, where 1.0 stands for the strength of the frame around it.
#[derive(Clone, Debug)]
pub(super) struct Phrase {
    pub(super) text: String,
    pub(super) shift: ShiftArray,
}

/// All the ways to name one direction: a value embraced or turned down, or a higher-order value.
#[derive(Clone, Debug)]
pub(super) struct Lexicon {
    /// The values it moves most; two lexicons of one sentence must not share any.
    pub(super) members: Vec<usize>,
    /// Embraced: fits "cares about …".
    pub(super) embraced: bool,
    pub(super) nouns: Vec<Phrase>,
    pub(super) adjectives: Vec<Phrase>,
    pub(super) verbs: Vec<Phrase>,
    pub(super) personas: Vec<Phrase>,
    /// Plural; empty where nobody is called so.
    pub(super) crowds: Vec<Phrase>,
}

/// The plain strength, at which the second values of a phrase are noted in the files.
pub(super) const PLAIN: f32 = 0.6;

/// Splits "text | a | b".
pub(super) fn fields(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).collect()
}

fn index(name: &str) -> usize {
    NAMES
        .iter()
        .position(|n| *n == name)
        .unwrap_or_else(|| panic!("phrase data name an unknown value {name:?}"))
}

/// "security 1.0" → (5, 1.0)
fn weight(note: &str) -> (usize, f32) {
    let (name, number) = note
        .split_once(' ')
        .unwrap_or_else(|| panic!("phrase data: expected \"value strength\", found {note:?}"));
    (
        index(name),
        number
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("phrase data: no number in {note:?}")),
    )
}

fn phrases(list: &str, main: &ShiftArray) -> Vec<Phrase> {
    list.split(';')
        .map(|entry| {
            let parts = fields(entry);
            let mut shift = *main;
            for note in &parts[1..] {
                let (value, strength) = weight(note);
                shift[value] = strength / PLAIN;
            }
            Phrase {
                text: parts[0].to_owned(),
                shift,
            }
        })
        .filter(|phrase| !phrase.text.is_empty())
        .collect()
}

#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    members: String,
    nouns: String,
    adjectives: String,
    verbs: String,
    personas: String,
    #[serde(default)]
    crowds: String,
}

impl Lists {
    fn lexicon(&self, members: Vec<usize>, main: &ShiftArray, embraced: bool) -> Lexicon {
        // The adjective lists speak of "their" own things; the verb lists of "one's".
        let adjectives = self
            .adjectives
            .replace("their ", "one's ")
            .replace("themselves", "oneself");
        Lexicon {
            members,
            embraced,
            nouns: phrases(&self.nouns, main),
            adjectives: phrases(&adjectives, main),
            verbs: phrases(&self.verbs, main),
            personas: phrases(&self.personas, main),
            crowds: phrases(&self.crowds, main),
        }
    }
}

/// `[value][0 embraced, 1 turned down]`
pub(super) static VALUES: LazyLock<Vec<[Lexicon; 2]>> = LazyLock::new(|| {
    let file: BTreeMap<String, BTreeMap<String, Lists>> =
        toml::from_str(include_str!("data/phrases.toml")).expect("data/phrases.toml parses");
    NAMES
        .iter()
        .enumerate()
        .map(|(value, name)| {
            let lists = file
                .get(*name)
                .unwrap_or_else(|| panic!("phrases.toml lacks {name}"));
            ["plus", "minus"].map(|polarity| {
                let mut main = [0.0; 10];
                main[value] = if polarity == "plus" { 1.0 } else { -1.0 };
                lists[polarity].lexicon(vec![value], &main, polarity == "plus")
            })
        })
        .collect()
});

/// The four higher-order values.
pub(super) static HIGHER: LazyLock<Vec<Lexicon>> = LazyLock::new(|| {
    let file: BTreeMap<String, Lists> =
        toml::from_str(include_str!("data/higher.toml")).expect("data/higher.toml parses");
    file.values()
        .map(|lists| {
            let mut main = [0.0; 10];
            let mut members = Vec::new();
            for note in fields(&lists.members) {
                let (value, strength) = weight(note);
                main[value] = strength;
                members.push(value);
            }
            lists.lexicon(members, &main, true)
        })
        .collect()
});

/// The sentences around the phrases; see the comments in `data/frames.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Frames {
    pub(super) degrees: Vec<String>,
    pub(super) adverbs: Vec<String>,
    pub(super) noun: Vec<String>,
    pub(super) noun_carriers: Vec<String>,
    pub(super) adjective: Vec<String>,
    pub(super) adjective_carriers: Vec<String>,
    pub(super) verbal: Vec<String>,
    pub(super) verbal_carriers: Vec<String>,
    pub(super) person_noun: Vec<String>,
    pub(super) person_adjective: Vec<String>,
    pub(super) person_verb: Vec<String>,
    pub(super) change: Vec<String>,
    pub(super) change_pair: Vec<String>,
    pub(super) negation: Vec<String>,
    pub(super) contrast: Vec<String>,
    pub(super) persona_carriers: Vec<String>,
    pub(super) group_carriers: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) cores: Vec<String>,
    pub(super) relations: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) facts: Vec<String>,
    pub(super) typed_values: Vec<String>,
}

pub(super) static FRAMES: LazyLock<Frames> = LazyLock::new(|| {
    toml::from_str(include_str!("data/frames.toml")).expect("data/frames.toml parses")
});

/// Wording for instructions that shift nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Zero {
    pub(super) objects: Vec<String>,
    pub(super) edits: Vec<String>,
    pub(super) styles: Vec<String>,
    pub(super) style_degrees: Vec<String>,
    pub(super) languages: Vec<String>,
    pub(super) genres: Vec<String>,
    pub(super) smalltalk: Vec<String>,
    pub(super) looks: Vec<String>,
    pub(super) look_adjectives: Vec<String>,
    pub(super) reader_levels: Vec<String>,
    pub(super) mentions: Vec<String>,
}

pub(super) static ZERO: LazyLock<Zero> = LazyLock::new(|| {
    toml::from_str(include_str!("data/zero.toml")).expect("data/zero.toml parses")
});

/// One element of a list that is never empty.
pub(super) fn pick<'a, T, R: Rng>(items: &'a [T], rng: &mut R) -> &'a T {
    items
        .choose(rng)
        .expect("the committed lists are not empty")
}
