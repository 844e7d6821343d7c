//! Instructions for the translator: plain words in, a value shift out.
//!
//! Each family below composes phrases (`data/phrases.toml`) with frames (`data/frames.toml`), so
//! that the words, the grammar and the strength vary apart from each other and a model must learn
//! all three. The shift names the values spoken of and no others.
//!
//! Strengths: barely 0.2, slightly 0.3, plain 0.6, much 0.9, only or extremely 1.0; the same below
//! zero. Two mentions of one value add up and are cut at ±1.

use std::collections::HashSet;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::ShiftArray;
use super::frame::{Term, adverb, draw_frame, persona_phrase, random_person};
use super::inflect::{Person, base, plural, with_article};
use super::noise;
use super::phrases::{FRAMES, HIGHER, Lexicon, PLAIN, VALUES, ZERO, pick};

/// What sort of instruction an example is, for analysis and for balanced tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstructionKind {
    /// "much more security, a bit less hedonism"
    Direct,
    /// "a cautious parent who cares about tradition"
    Persona,
    /// "she no longer seeks status"
    Change,
    /// "not uncaring", "anything but reckless"
    Negation,
    /// "tradition over novelty"
    Contrast,
    /// "more conservative", "open to change"
    HigherOrder,
    /// "tradition +, stimulation -"
    List,
    /// "fix the commas", "for an engineer": shifts nothing
    Zero,
    /// "fix the commas and make it more caring"
    Mixed,
    /// Written by hand (see [`super::wishes`]); the generator makes none.
    Written,
}

/// The families with their shares in percent.
const SHARES: [(InstructionKind, u32); 9] = [
    (InstructionKind::Direct, 21),
    (InstructionKind::Persona, 24),
    (InstructionKind::Change, 8),
    (InstructionKind::Negation, 9),
    (InstructionKind::Contrast, 8),
    (InstructionKind::HigherOrder, 6),
    (InstructionKind::List, 4),
    (InstructionKind::Zero, 15),
    (InstructionKind::Mixed, 5),
];

/// An instruction and the shift it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct InstructionExample {
    /// The instruction as somebody might type it.
    pub text: String,
    /// The shift, circle order, each in −1..=1; all zero when no value is spoken of.
    pub shift: ShiftArray,
    /// The family that produced it.
    pub kind: InstructionKind,
}

/// `count` distinct instructions, about 15 % of them with a zero shift. Distinct means that no two
/// texts are equal when case is ignored.
///
/// It may return fewer when `count` exceeds what the grammar can say without repeating itself;
/// 200,000 are within reach.
pub fn instructions(seed: u64, count: usize) -> Vec<InstructionExample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut seen = HashSet::new();
    let mut found = Vec::with_capacity(count);
    // A family whose small sub-lists are used up must not make the loop endless.
    for _ in 0..count.saturating_mul(20) {
        if found.len() == count {
            break;
        }
        let kind = SHARES
            .choose_weighted(&mut rng, |(_, share)| *share)
            .expect("the shares are positive")
            .0;
        // A small family repeats itself sooner; trying again keeps the shares as they are.
        for _ in 0..12 {
            let (text, shift) = compose(kind, &mut rng);
            let text = noise::roughen(&text, &mut rng);
            if seen.insert(text.to_lowercase()) {
                let shift = shift.map(|s| s.clamp(-1.0, 1.0));
                found.push(InstructionExample { text, shift, kind });
                break;
            }
        }
    }
    found
}

fn compose<R: Rng>(kind: InstructionKind, rng: &mut R) -> (String, ShiftArray) {
    match kind {
        InstructionKind::Direct => direct(false, rng),
        InstructionKind::Persona => persona(rng),
        InstructionKind::Change => change(rng),
        InstructionKind::Negation => negation(rng),
        InstructionKind::Contrast => contrast(rng),
        InstructionKind::HigherOrder => higher_order(rng),
        InstructionKind::List => list(rng),
        InstructionKind::Zero => (zero(rng), [0.0; 10]),
        InstructionKind::Mixed => mixed(rng),
        InstructionKind::Written => unreachable!("no share of the generator is written"),
    }
}

/// `n` lexicons over different values, embraced ones somewhat more often.
fn draw<R: Rng>(n: usize, rng: &mut R) -> Vec<&'static Lexicon> {
    let order: Vec<usize> = (0..10).collect();
    order
        .choose_multiple(rng, n)
        .map(|value| &VALUES[*value][usize::from(rng.random_bool(0.36))])
        .collect()
}

fn add(total: &mut ShiftArray, shift: &ShiftArray) {
    for (t, s) in total.iter_mut().zip(shift) {
        *t += s;
    }
}

fn sign(shift: &ShiftArray) -> f32 {
    shift
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()))
        .unwrap_or(0.0)
        .signum()
}

/// Joins fragments, with a contrast where the direction turns.
fn join<R: Rng>(parts: &[(String, ShiftArray)], rng: &mut R) -> String {
    let mut text = parts[0].0.clone();
    for (i, pair) in parts.windows(2).enumerate() {
        let turns = sign(&pair[0].1) != sign(&pair[1].1);
        let last = i + 2 == parts.len();
        let joint = if !last {
            *pick(&[", ", ", ", "; ", " and "], rng)
        } else if turns {
            *pick(
                &[
                    ", but ",
                    " but ",
                    ", ",
                    " and ",
                    " while ",
                    ", yet ",
                    " although ",
                ],
                rng,
            )
        } else {
            *pick(
                &[
                    " and ",
                    " and ",
                    ", ",
                    ", and ",
                    " and also ",
                    " plus ",
                    "; ",
                ],
                rng,
            )
        };
        // "although" and "while" need a clause of their own, which a fragment is not.
        let joint = if joint == " while " || joint == " although " {
            ", "
        } else {
            joint
        };
        text.push_str(joint);
        text.push_str(&pair[1].0);
    }
    text
}

fn direct<R: Rng>(higher: bool, rng: &mut R) -> (String, ShiftArray) {
    let n = *[1, 1, 1, 1, 2, 2, 2, 3, 4].choose(rng).expect("not empty");
    let lexicons = if higher {
        vec![pick(&HIGHER, rng)]
    } else {
        draw(n, rng)
    };
    direct_of(&lexicons, rng)
}

fn direct_of<R: Rng>(lexicons: &[&Lexicon], rng: &mut R) -> (String, ShiftArray) {
    let (frames, carriers) = match rng.random_range(0..10) {
        0..4 => (&FRAMES.noun, &FRAMES.noun_carriers),
        4..8 => (&FRAMES.adjective, &FRAMES.adjective_carriers),
        _ => (&FRAMES.verbal, &FRAMES.verbal_carriers),
    };
    let person = Person::new("one", "they");
    let mut total = [0.0; 10];
    let parts: Vec<_> = lexicons
        .iter()
        .take(if std::ptr::eq(frames, &FRAMES.verbal) {
            2
        } else {
            4
        })
        .map(|lexicon| {
            let (text, shifts) = draw_frame(frames, &[Term::new(lexicon)], &person, rng);
            add(&mut total, &shifts);
            (text, shifts)
        })
        .collect();
    let body = join(&parts, rng);
    (pick(carriers, rng).replace("{}", &body), total)
}

fn persona<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    match rng.random_range(0..100) {
        0..48 => {
            let (text, shift) = persona_phrase(&draw(3, rng), rng);
            (
                pick(&FRAMES.persona_carriers, rng).replace("{}", &text),
                shift,
            )
        }
        48..62 => group(rng),
        _ => described(rng),
    }
}

/// "rewrite this for people who …"
fn group<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let n = rng.random_range(1..=2);
    let person = Person::new("people", "they");
    if rng.random_bool(0.35) {
        return crowd(rng);
    }
    let mut total = [0.0; 10];
    let mut clauses = Vec::new();
    for lexicon in draw(n, rng) {
        let (text, shift) = match rng.random_range(0..10) {
            0..5 => {
                let verb = pick(&lexicon.verbs, rng);
                (plural(&verb.text, &person), verb.shift.map(|s| s * PLAIN))
            }
            5..8 => {
                let (adverb, strength) = adverb(rng);
                let adjective = pick(&lexicon.adjectives, rng);
                (
                    format!("are {adverb}{}", person.own(&adjective.text)),
                    adjective.shift.map(|s| s * strength),
                )
            }
            _ => {
                let noun = pick(&lexicon.nouns, rng);
                let (verb, strength) = *pick(
                    &[
                        ("want", PLAIN),
                        ("like", PLAIN),
                        ("look for", PLAIN),
                        ("dislike", -PLAIN),
                        ("have had enough of", -0.7),
                        ("live for", 0.9),
                        ("are tired of", -0.6),
                        ("wish for a bit of", 0.3),
                    ],
                    rng,
                );
                (
                    format!("{verb} {}", noun.text),
                    scaled(&noun.shift, strength),
                )
            }
        };
        add(&mut total, &shift);
        clauses.push(text);
    }
    let text = format!("{} {}", pick(&FRAMES.groups, rng), clauses.join(" and "));
    (
        pick(&FRAMES.group_carriers, rng).replace("{}", &text),
        total,
    )
}

/// "for nurses and volunteers", "as soldiers would"
fn crowd<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let named: Vec<&Lexicon> = VALUES
        .iter()
        .flatten()
        .filter(|l| !l.crowds.is_empty())
        .collect();
    let mut total = [0.0; 10];
    let mut names = Vec::new();
    let n = *pick(&[1, 1, 1, 2], rng);
    for lexicon in named.choose_multiple(rng, n) {
        let phrase = pick(&lexicon.crowds, rng);
        add(&mut total, &phrase.shift.map(|s| s * PLAIN));
        names.push(phrase.text.clone());
    }
    (
        pick(&FRAMES.group_carriers, rng).replace("{}", &names.join(" and ")),
        total,
    )
}

/// Negative strengths keep the main value only: not being a monk says nothing of pleasure.
fn scaled(shift: &ShiftArray, strength: f32) -> ShiftArray {
    super::frame::scaled(shift, strength)
}

/// Sentences about a person: "Maria is thirty-four and works in a bank. She never takes risks."
fn described<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let mut person = random_person(rng);
    let n = *[1, 1, 1, 2, 2, 3].choose(rng).expect("not empty");
    let mut total = [0.0; 10];
    let mut sentences = Vec::new();
    if !person.first_person() && rng.random_bool(0.25) {
        sentences.push(fact(&person, rng));
        person.name = person.subject.to_owned();
    }
    for lexicon in draw(n, rng) {
        let frames = match rng.random_range(0..10) {
            0..3 if lexicon.embraced => &FRAMES.person_noun,
            0..6 => &FRAMES.person_adjective,
            _ => &FRAMES.person_verb,
        };
        let (text, shift) = draw_frame(frames, &[Term::new(lexicon)], &person, rng);
        add(&mut total, &shift);
        sentences.push(text);
        person.name = person.subject.to_owned();
    }
    let joint = if sentences.len() == 2 {
        *pick(&[". ", " and ", ", "], rng)
    } else {
        ". "
    };
    let mut text = sentences.join(joint);
    if rng.random_bool(0.12) {
        text = format!(
            "{}{text}",
            pick(
                &[
                    "rewrite this for my reader: ",
                    "persona: ",
                    "my audience is one person. ",
                    "about the reader: ",
                    "write for this person: "
                ],
                rng
            )
        );
    }
    (text, total)
}

fn fact<R: Rng>(person: &Person, rng: &mut R) -> String {
    let facts: Vec<&String> = FRAMES.facts.choose_multiple(rng, 2).collect();
    let text = if rng.random_bool(0.5) {
        format!("{} {} and {}", person.name, facts[0], facts[1])
    } else {
        format!("{} {}", person.name, facts[0])
    };
    if person.subject == "he" {
        text.replace(" her ", " his ")
    } else {
        text
    }
}

fn change<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let person = random_person(rng);
    if rng.random_bool(0.7) {
        let lexicon = draw(1, rng)[0];
        return draw_frame(&FRAMES.change, &[Term::new(lexicon)], &person, rng);
    }
    // A change of mind often stays within one value: from obeying to rebelling.
    let lexicons = draw(2, rng);
    let mut terms = [Term::new(lexicons[0]), Term::new(lexicons[1])];
    if rng.random_bool(0.35) {
        let value = lexicons[0].members[0];
        terms = [Term::new(&VALUES[value][0]), Term::new(&VALUES[value][1])];
        if rng.random_bool(0.5) {
            terms.swap(0, 1);
        }
    }
    draw_frame(&FRAMES.change_pair, &terms, &person, rng)
}

fn negation<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let person = random_person(rng);
    let lexicons = draw(2, rng);
    let (mut text, mut shift) =
        draw_frame(&FRAMES.negation, &[Term::new(lexicons[0])], &person, rng);
    if rng.random_bool(0.15) {
        let (more, moved) = draw_frame(&FRAMES.negation, &[Term::new(lexicons[1])], &person, rng);
        text = format!(
            "{text}{}{more}",
            pick(&[", ", " and ", "; ", ", but "], rng)
        );
        add(&mut shift, &moved);
    } else if rng.random_bool(0.12) {
        let (more, moved) = direct_of(&lexicons[1..], rng);
        text = format!(
            "{text}{}{more}",
            pick(&[", ", ", ", "; ", ", but ", ". "], rng)
        );
        add(&mut shift, &moved);
    }
    if rng.random_bool(0.2) {
        text = pick(
            &[
                "rewrite it: {}",
                "{}, please",
                "please: {}",
                "make it so: {}",
                "tone: {}",
                "{} if possible",
            ],
            rng,
        )
        .replace("{}", &text);
    }
    (text, shift)
}

fn contrast<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let person = random_person(rng);
    let lexicons = draw(2, rng);
    let (text, shift) = draw_frame(
        &FRAMES.contrast,
        &[Term::new(lexicons[0]), Term::new(lexicons[1])],
        &person,
        rng,
    );
    let text = match rng.random_range(0..10) {
        0 => format!("please: {text}"),
        1 => format!("{text}, please"),
        2 => format!("the rewrite should follow this: {text}"),
        _ => text,
    };
    (text, shift)
}

fn higher_order<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let person = random_person(rng);
    let high = pick(&HIGHER, rng);
    let term = Term::new(high);
    match rng.random_range(0..10) {
        0..5 => direct(true, rng),
        5 => draw_frame(&FRAMES.change, &[term], &person, rng),
        6 => draw_frame(&FRAMES.negation, &[term], &person, rng),
        7 => {
            let (text, shift) = persona_phrase(&[high], rng);
            (
                pick(&FRAMES.persona_carriers, rng).replace("{}", &text),
                shift,
            )
        }
        8 => draw_frame(&FRAMES.person_verb, &[term], &person, rng),
        _ => {
            // Against one of its opposites or any single value outside it.
            let other = draw(10, rng)
                .into_iter()
                .find(|l| !high.members.contains(&l.members[0]))
                .expect("ten values are more than three");
            draw_frame(&FRAMES.contrast, &[term, Term::new(other)], &person, rng)
        }
    }
}

/// Signs and levels that people type beside a value's name.
const MARKS: [(&str, f32); 18] = [
    ("+", 0.6),
    ("++", 0.9),
    ("+++", 1.0),
    ("-", -0.6),
    ("--", -0.9),
    ("---", -1.0),
    ("up", 0.6),
    ("down", -0.6),
    ("(+)", 0.6),
    ("(-)", -0.6),
    ("↑", 0.6),
    ("↓", -0.6),
    ("higher", 0.6),
    ("lower", -0.6),
    ("up a bit", 0.3),
    ("way up", 0.9),
    ("down a little", -0.3),
    ("way down", -0.9),
];
const LEVELS: [(&str, f32); 15] = [
    ("high", 0.7),
    ("low", -0.7),
    ("very high", 0.95),
    ("very low", -0.95),
    ("max", 1.0),
    ("none", -1.0),
    ("more", 0.6),
    ("less", -0.6),
    ("much more", 0.9),
    ("much less", -0.9),
    ("a bit more", 0.3),
    ("a bit less", -0.3),
    ("strong", 0.8),
    ("same", 0.0),
    ("unchanged", 0.0),
];

fn list<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let n = rng.random_range(1..=4);
    let order: Vec<usize> = (0..10).collect();
    let style = rng.random_range(0..5);
    let mut total = [0.0; 10];
    let mut items = Vec::new();
    for value in order.choose_multiple(rng, n) {
        let word = if rng.random_bool(0.55) {
            &FRAMES.typed_values[*value]
        } else {
            &pick(&VALUES[*value][0].nouns, rng).text
        };
        let (mark, strength) = if style == 0 {
            *pick(&LEVELS, rng)
        } else {
            *pick(&MARKS, rng)
        };
        let item = match style {
            0 => format!("{word}: {mark}"),
            1 | 2 => format!("{word} {mark}"),
            3 if mark.starts_with(['+', '-', '↑', '↓']) => format!("{mark}{word}"),
            _ if mark.starts_with(['+', '-']) => format!("{word}{mark}"),
            _ => format!("{word} {mark}"),
        };
        total[*value] += strength;
        items.push(item);
    }
    let joint = *pick(&[", ", ", ", "; ", " / "], rng);
    let prefix = *pick(
        &["", "", "", "", "values: ", "target: ", "set ", "profile: "],
        rng,
    );
    (format!("{prefix}{}", items.join(joint)), total)
}

fn zero<R: Rng>(rng: &mut R) -> String {
    let z = &*ZERO;
    let person = random_person(rng);
    match rng.random_range(0..100) {
        0..22 => edit(rng),
        22..32 => format!("{} and {}", edit(rng), pick(&z.edits, rng)),
        32..46 => {
            let style = style(rng);
            pick(
                &[
                    "make {o} {}",
                    "make {o} {}",
                    "{}",
                    "{}",
                    "can you make {o} {}?",
                    "please make {o} {}",
                    "I want {o} to be {}",
                    "it should be {}",
                    "rewrite {o}, {}",
                    "{} please",
                    "should be {} and {2}",
                    "make {o} {} and {2}",
                ],
                rng,
            )
            .replace("{o}", pick(&z.objects, rng).as_str())
            .replace("{2}", &self::style(rng))
            .replace("{}", &style)
        }
        46..51 => pick(
            &[
                "translate {o} into {}",
                "translate to {}",
                "in {}",
                "say {o} in {}",
                "can you translate {o} to {}?",
                "write {o} in {} please",
                "{} version of {o}",
                "how do you say {o} in {}?",
            ],
            rng,
        )
        .replace("{o}", pick(&z.objects, rng).as_str())
        .replace("{}", pick(&z.languages, rng).as_str()),
        51..58 => pick(
            &[
                "write {o} as {}",
                "turn {o} into {}",
                "as {}",
                "rewrite {o} as {}",
                "make {} of {o}",
                "can this be {}?",
                "format {o} as {}",
            ],
            rng,
        )
        .replace("{o}", pick(&z.objects, rng).as_str())
        .replace("{}", pick(&z.genres, rng).as_str()),
        58..63 => pick(&z.smalltalk, rng).clone(),
        63..82 => pick(&FRAMES.persona_carriers, rng).replace("{}", &plain_person(rng)),
        82..86 => {
            let level = pick(&z.reader_levels, rng);
            format!(
                "{}{level}",
                pick(
                    &[
                        "",
                        "write it ",
                        "rewrite this ",
                        "adapt it ",
                        "make a version "
                    ],
                    rng
                )
            )
        }
        86..90 => fact(&person, rng)
            .replace("I has", "I have")
            .replace("I is", "I am"),
        _ => {
            let lexicon = draw(1, rng)[0];
            pick(&z.mentions, rng)
                .replace("{n}", &pick(&lexicon.nouns, rng).text)
                .replace(
                    "{a}",
                    &base(
                        &pick(&lexicon.adjectives, rng).text,
                        &Person::new("one", "they"),
                    ),
                )
        }
    }
}

fn edit<R: Rng>(rng: &mut R) -> String {
    let edit = pick(&ZERO.edits, rng);
    pick(
        &[
            "{}",
            "{}",
            "{}",
            "please {}",
            "can you {}?",
            "could you {}?",
            "{}, please",
            "I want you to {}",
            "just {}",
            "pls {}",
            "{} if you can",
            "you should {}",
            "would you {}?",
            "in this text, {}",
        ],
        rng,
    )
    .replace("{}", edit)
}

fn style<R: Rng>(rng: &mut R) -> String {
    let style = pick(&ZERO.styles, rng);
    let gradable = style
        .split(' ')
        .next()
        .is_some_and(|w| w == "more" || w == "less" || w.ends_with("er"));
    if gradable {
        format!("{}{style}", pick(&ZERO.style_degrees, rng))
    } else {
        style.clone()
    }
}

/// "a tall engineer with a red car": a person and not a value in sight.
fn plain_person<R: Rng>(rng: &mut R) -> String {
    let core = pick(&FRAMES.cores, rng);
    let mut phrase = if rng.random_bool(0.4) {
        format!("{} {core}", pick(&ZERO.look_adjectives, rng))
    } else {
        core.clone()
    };
    if rng.random_bool(0.6) {
        phrase = format!("{phrase} {}", pick(&ZERO.looks, rng));
    }
    with_article(&phrase)
}

fn mixed<R: Rng>(rng: &mut R) -> (String, ShiftArray) {
    let n = rng.random_range(1..=2);
    let lexicons = draw(n, rng);
    if rng.random_bool(0.25) {
        // "shorter and more caring"
        let person = Person::new("one", "they");
        let (text, shift) = draw_frame(&FRAMES.adjective, &[Term::new(lexicons[0])], &person, rng);
        let (a, b) = if rng.random_bool(0.5) {
            (style(rng), text)
        } else {
            (text, style(rng))
        };
        let body = format!("{a}{}{b}", pick(&[" and ", ", ", " but ", ", but "], rng));
        return (
            pick(&FRAMES.adjective_carriers, rng).replace("{}", &body),
            shift,
        );
    }
    if rng.random_bool(0.3) {
        let (text, shift) = persona_phrase(&lexicons, rng);
        let genre = pick(&ZERO.genres, rng);
        let joined = match rng.random_range(0..4) {
            0 => format!("write it as {genre} for {text}"),
            1 => format!("{} for {text}", pick(&ZERO.edits, rng)),
            2 => format!("{} and adapt it to {text}", pick(&ZERO.edits, rng)),
            _ => format!(
                "translate it into {} for {text}",
                pick(&ZERO.languages, rng)
            ),
        };
        return (joined, shift);
    }
    let (text, shift) = direct_of(&lexicons, rng);
    let edit = edit(rng);
    let joined = match rng.random_range(0..5) {
        0 => format!("{text}. also, {edit}"),
        1 => format!("{edit}. {text}"),
        2 => format!("{edit}, then {text}"),
        3 => format!("{text}, and {edit}"),
        _ => format!("{edit} and {text}"),
    };
    (joined, shift)
}

#[cfg(test)]
mod tests;
