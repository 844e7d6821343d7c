//! The judge's own sources: what the second detector and the second consistency checker learn from instead.
//!
//! A judge is worth something only where it can disagree with the models that a rewriter was optimised against. So it
//! reads no text that rewriter or detector are taught with (no phrase lists, no generated or written clause, no written
//! statement): what was written for it stands in a folder of its own. And it reads as little as possible of what detector and
//! checker read: the persona traits that the detector is tested
//! on, traits that it leaves out, scenarios of ETHICS, rules of Social-Chemistry-101; key points and human splits for the
//! checker. Half of the shared persona traits and the human inference pairs are read by both, because there are no others.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_values::Value;
use visa_wire::datasets::social_chemistry::Foundation;
use visa_wire::datasets::{ethics, kpa, social_chemistry, wiki_split};

use super::signed::{self, Signed, Signs, Traits};
use super::{Recipe, sources};
use crate::{Result, RunContext};

/// `data/judge_traits.toml`: what the judge trains on, and its own held-out traits.
pub static TRAITS: LazyLock<Traits> =
    LazyLock::new(|| Traits::parse(include_str!("data/judge_traits.toml")));

/// `data/judge_virtues.toml`: a virtue or vice → what the one who shows it holds.
static VIRTUES: LazyLock<BTreeMap<String, Signs>> =
    LazyLock::new(|| signed::signs_of(include_str!("data/judge_virtues.toml")));

const VIRTUE_FILE: &str = "ethics/virtue/virtue_train.csv";
const RULES_FILE: &str = "contrastive-moral-stories/operator_mappings/obligatory_sc101.csv";
const PROSE: &str = "text/modern.txt.zst";
const SPLIT_FILES: [&str; 2] = ["wiki-split/validation.tsv", "wiki-split/test.tsv"];

/// Weight of a rule's foundation: five foundations say roughly which of ten values is meant.
const RULE: f32 = 0.5;
/// Rules an epoch, of eight thousand that mostly speak of care.
const RULES: f64 = 1500.0;
/// Weight of silence on the values that a source does not name.
const UNNAMED: f32 = 0.15;

/// Signed texts of the judge's detector.
///
/// # Errors
/// A file that is missing or malformed.
pub fn signed(recipe: &Recipe, context: &RunContext) -> Result<Vec<Signed>> {
    let task = &recipe.detector;
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0xA9A27);
    let mut statements = Vec::new();
    for (name, list) in sources::statements(context, TRAITS.train.keys().map(String::as_str))? {
        statements.extend(signed::personas(
            &TRAITS.train[&name],
            &list,
            task.persona_rate,
        ));
    }
    let matching = &TRAITS.matching_only;
    for (name, mut list) in sources::statements(context, matching.keys().map(String::as_str))? {
        list.retain(|s| s.matches);
        statements.extend(signed::personas(&matching[&name], &list, task.persona_rate));
    }
    statements.extend(virtues(context)?);
    let filler = filler(context)?;
    let mut all = among(&statements, &filler, &mut rng);
    all.extend(statements);
    all.extend(rules(context)?);
    all.extend(silent(&filler, task.plain, &mut rng));
    Ok(all)
}

/// Scenarios whose trait is in the table, without the trait's name.
fn virtues(context: &RunContext) -> Result<Vec<Signed>> {
    let scenarios = ethics::virtue(&sources::read(context, VIRTUE_FILE)?);
    let scenarios = sources::parsed(context, VIRTUE_FILE, scenarios)?;
    Ok((scenarios.into_iter())
        .filter(|s| s.label)
        .filter_map(|s| {
            let signs = VIRTUES.get(&s.second?.to_lowercase())?;
            Some(Signed {
                text: s.text,
                context: None,
                target: signed::target(signs, true, 0.7, UNNAMED),
                rate: 1.0,
            })
        })
        .collect())
}

/// Rules of thumb embrace the values behind their foundations; rarer foundations are drawn more often.
fn rules(context: &RunContext) -> Result<Vec<Signed>> {
    let rules = social_chemistry::rules(&sources::read(context, RULES_FILE)?);
    let rules = sources::parsed(context, RULES_FILE, rules)?;
    let value = |foundation: &Foundation| match foundation {
        Foundation::Care | Foundation::Loyalty => Value::Benevolence,
        Foundation::Fairness => Value::Universalism,
        Foundation::Authority => Value::Conformity,
        Foundation::Sanctity => Value::Tradition,
    };
    let weighed: Vec<(f64, Signed)> = (rules.into_iter())
        .filter(|rule| !rule.foundations.is_empty())
        .map(|rule| {
            let mut signs: Signs = (rule.foundations.iter())
                .map(|f| (value(f), true))
                .collect();
            signs.dedup();
            let rare = (signs.iter()).any(|(v, _)| *v != Value::Benevolence);
            let signed = Signed {
                text: rule.text,
                context: None,
                target: signed::target(&signs, true, RULE, UNNAMED),
                rate: 0.0,
            };
            (if rare { 4.0 } else { 1.0 }, signed)
        })
        .collect();
    let total: f64 = weighed.iter().map(|(weight, _)| weight).sum();
    Ok((weighed.into_iter())
        .map(|(weight, signed)| Signed {
            rate: (RULES * weight / total).min(1.0),
            ..signed
        })
        .collect())
}

/// Sentences that speak of other things: human halves of encyclopaedia sentences, and modern prose.
fn filler(context: &RunContext) -> Result<Vec<String>> {
    let mut filler: Vec<String> = (splits(context)?.into_iter())
        .flat_map(|(_, halves)| halves)
        .filter(|half| (30..=160).contains(&half.len()))
        .take(4000)
        .collect();
    filler.extend(sources::sentences(context, PROSE, 4000)?);
    Ok(filler)
}

fn splits(context: &RunContext) -> Result<Vec<(String, Vec<String>)>> {
    let mut all = Vec::new();
    for file in SPLIT_FILES {
        all.extend(sources::parsed(
            context,
            file,
            wiki_split::splits(&sources::read(context, file)?),
        )?);
    }
    Ok(all)
}

/// A signed text among sentences that say nothing, as values stand in mails and news; every other one is joined by a
/// second signed text. What a text that is silent about a value says counts more here, since most of it is filler.
fn among(signed: &[Signed], filler: &[String], rng: &mut ChaCha8Rng) -> Vec<Signed> {
    let count = signed.len() / 2;
    let rate = signed.first().map_or(1.0, |s| s.rate);
    (0..count)
        .filter_map(|i| {
            let one = signed.choose(rng)?;
            let mut parts = vec![one.text.clone()];
            let mut target = one.target.clone();
            if i % 4 == 0 {
                let other = signed.choose(rng)?;
                for v in 0..10 {
                    let (a, b) = (target.value[v], other.target.value[v]);
                    match (a == 1.0, b == 1.0) {
                        (true, false) => {
                            target.value[v] = b;
                            target.weight[v] = other.target.weight[v];
                        }
                        (false, false) if a != b => target.weight[v] = 0.0,
                        _ => {}
                    }
                }
                parts.push(other.text.clone());
            }
            for _ in 0..rng.random_range(1..=3) {
                let at = rng.random_range(0..=parts.len());
                parts.insert(at, filler.choose(rng)?.clone());
            }
            Some(Signed {
                text: parts.join(" "),
                context: None,
                target,
                rate,
            })
        })
        .collect()
}

fn silent(filler: &[String], count: usize, rng: &mut ChaCha8Rng) -> Vec<Signed> {
    (0..3 * count)
        .map(|_| {
            let n = rng.random_range(1..=4);
            let text: Vec<&str> = filler.choose_multiple(rng, n).map(String::as_str).collect();
            Signed {
                text: text.join(" "),
                context: None,
                target: signed::target(&[], true, 0.0, 0.5),
                rate: 1.0 / 3.0,
            }
        })
        .collect()
}

/// A pair for the judge's checker: premise, hypothesis, class (0 follows, 1 neither, 2 conflicts).
pub type Pair = (String, String, usize);

/// Pairs beside the human inference pairs: key points (what an argument makes follows, what it does not make is
/// neither), and human splits (a half follows from the whole; the whole, or the other half, does not follow from a half).
///
/// # Errors
/// A file that is missing or malformed.
pub fn pairs(recipe: &Recipe, context: &RunContext) -> Result<Vec<Pair>> {
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x9A125);
    let mut pairs = key_points(context, &mut rng)?;
    for (whole, halves) in splits(context)? {
        let [first, second] = halves.as_slice() else {
            continue;
        };
        let joined = halves.join(" ");
        let half = if rng.random_bool(0.5) { first } else { second };
        pairs.push(match rng.random_range(0..7) {
            0 => (whole, half.clone(), 0),
            1 => (joined, half.clone(), 0),
            2 => (whole, joined, 0),
            3 => (joined, whole, 0),
            4 => (half.clone(), whole, 1),
            5 => (half.clone(), joined, 1),
            _ => (first.clone(), second.clone(), 1),
        });
    }
    pairs.shuffle(&mut rng);
    Ok(pairs)
}

/// As many judgements "makes the point" as "does not", of the training and the development files.
fn key_points(context: &RunContext, rng: &mut ChaCha8Rng) -> Result<Vec<Pair>> {
    let mut found: [Vec<Pair>; 2] = Default::default();
    for split in ["train", "dev"] {
        let table = |name: &str| format!("kpa/{name}_{split}.csv");
        let [arguments, points] = [
            (table("arguments"), kpa::arguments as fn(&str) -> _),
            (table("key_points"), kpa::key_points),
        ]
        .map(|(file, parse)| {
            sources::parsed(context, &file, parse(&sources::read(context, &file)?))
        });
        let texts: BTreeMap<String, String> = (arguments?.into_iter().chain(points?))
            .map(|claim| (claim.id, claim.text))
            .collect();
        let file = table("labels");
        for m in sources::parsed(
            context,
            &file,
            kpa::matches(&sources::read(context, &file)?),
        )? {
            if let (Some(argument), Some(point)) = (texts.get(&m.argument), texts.get(&m.key_point))
            {
                found[usize::from(!m.matches)].push((
                    argument.clone(),
                    point.clone(),
                    usize::from(!m.matches),
                ));
            }
        }
    }
    let [mut makes, mut makes_not] = found;
    let count = makes.len().min(makes_not.len());
    for list in [&mut makes, &mut makes_not] {
        list.shuffle(rng);
        list.truncate(count);
    }
    makes.append(&mut makes_not);
    Ok(makes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(text: &str, signs: &[(Value, bool)]) -> Signed {
        Signed {
            text: text.into(),
            context: None,
            target: signed::target(signs, true, 1.0, UNNAMED),
            rate: 1.0,
        }
    }

    #[test]
    fn the_tables_parse_and_keep_the_judge_s_test_apart() {
        let traits = &*TRAITS;
        for held in traits.hold_out.keys() {
            assert!(
                !traits.train.contains_key(held) && !traits.matching_only.contains_key(held),
                "{held}"
            );
        }
        let covered = |map: &BTreeMap<String, Signs>| {
            let values: std::collections::BTreeSet<usize> =
                map.values().flatten().map(|(v, _)| v.index()).collect();
            values.len()
        };
        assert_eq!(
            (covered(&traits.train), covered(&traits.hold_out)),
            (10, 10)
        );
        assert!(VIRTUES.len() > 50);
    }

    #[test]
    fn every_trait_that_the_detector_is_tested_on_is_the_judge_s_to_learn() {
        for name in signed::TRAITS.hold_out.keys() {
            assert!(
                TRAITS.train.contains_key(name) || TRAITS.matching_only.contains_key(name),
                "{name}"
            );
        }
    }

    #[test]
    fn texts_among_filler_keep_their_signs() {
        let filler = vec!["It rained.".to_owned(), "The bus came.".to_owned()];
        let power = sign("I want to lead.", &[(Value::Power, true)]);
        let against = sign("I never lead.", &[(Value::Power, false)]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let v = Value::Power.index();
        for mixed in among(&vec![power.clone(); 40], &filler, &mut rng) {
            assert!(mixed.text.contains("I want to lead.") && mixed.text.len() > 20);
            assert_eq!((mixed.target.value[v], mixed.target.weight[v]), (2.0, 1.0));
        }
        let mixture: Vec<Signed> = (0..80)
            .map(|i| {
                if i % 2 == 0 {
                    power.clone()
                } else {
                    against.clone()
                }
            })
            .collect();
        let torn = among(&mixture, &filler, &mut rng);
        let unknown = torn.iter().filter(|s| s.target.weight[v] == 0.0).count();
        assert!(unknown > 0 && unknown < torn.len() / 3, "{unknown}");
    }
}
