//! Sentences made whole by rule, where roles, voice and comparison are known.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::NliLabel::Neutral;
use super::edit::Edit;
use super::words::WORDS;
use crate::generate::noise::capitalise;
use crate::generate::phrases::pick;

/// Pairs about two people: what one did to the other, or how they compare.
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
