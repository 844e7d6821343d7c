//! Claims and the premises that support them, joined by "because": the same content with many
//! values. Training parts of the data sets alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use visa_wire::datasets::{DatasetError, kpa, perspectrum, touche};

use super::{Kind, Pair, mine};
use crate::data::sources::sentence;
use crate::{Error, Result};

/// Pairs of a claim and a premise for it.
pub fn pairs(data: &Path) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let path = data.join("touche23/arguments-training.tsv");
    for argument in touche::arguments(&read(&path)?).map_err(bad(&path))? {
        let holds = argument.stance == touche::Stance::InFavorOf;
        pairs.extend(join(&argument.conclusion, holds, &argument.premise));
    }
    let path = data.join("kpa/arguments_train.csv");
    for argument in kpa::arguments(&read(&path)?).map_err(bad(&path))? {
        pairs.extend(join(&argument.topic, argument.supports, &argument.text));
    }
    let path = data.join("perspectrum/dataset_split_v1.0.json");
    let split: BTreeMap<String, String> =
        serde_json::from_str(&read(&path)?).map_err(|e| Error::data(&path, e.to_string()))?;
    let path = data.join("perspectrum/perspective_pool_v1.0.json");
    let pool = perspectrum::perspectives(&read(&path)?).map_err(bad(&path))?;
    let pool: BTreeMap<u64, String> = pool.into_iter().map(|p| (p.id, p.text)).collect();
    let path = data.join("perspectrum/perspectrum_with_answers_v1.0.json");
    for claim in perspectrum::claims(&read(&path)?).map_err(bad(&path))? {
        if split
            .get(&claim.id.to_string())
            .is_none_or(|part| part != "train")
        {
            continue;
        }
        for cluster in &claim.perspectives {
            let holds = cluster.stance == perspectrum::Stance::Support;
            for text in cluster.pids.iter().filter_map(|id| pool.get(id)) {
                pairs.extend(join(&claim.text, holds, text));
            }
        }
    }
    Ok(pairs)
}

/// The same claim with one premise and with another, in both directions: premises stand in random order, and each goes to
/// the next.
pub fn swaps(arguments: &[Pair], count: usize, seed: u64) -> Vec<Pair> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut groups: BTreeMap<(&str, &str), Vec<&Pair>> = BTreeMap::new();
    for pair in arguments {
        let key = (pair.topic.as_str(), pair.stem.as_str());
        groups.entry(key).or_default().push(pair);
    }
    let mut found = Vec::new();
    for group in groups.values_mut().filter(|group| group.len() > 1) {
        group.shuffle(&mut rng);
        for two in group.windows(2) {
            found.push(Pair {
                kind: Kind::Swap,
                old: Some(two[0].clause.clone()),
                ..two[1].clone()
            });
        }
    }
    found.shuffle(&mut rng);
    found.truncate(count);
    found
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(path))
}

fn bad(path: &Path) -> impl Fn(DatasetError) -> Error {
    let path = path.to_path_buf();
    move |e| Error::data(&path, e.to_string())
}

/// The claim, or its negation where that is a matter of one word, and the premise as its reason.
fn join(claim: &str, holds: bool, premise: &str) -> Option<Pair> {
    let topic = claim;
    let claim = sentence(claim);
    let claim = claim.trim_end_matches('.');
    // Titles of debates are set in capitals.
    let capitals = claim
        .split(' ')
        .filter(|word| word.starts_with(char::is_uppercase))
        .count();
    if 2 * capitals > claim.split(' ').count() {
        return None;
    }
    let claim = if holds {
        claim.to_owned()
    } else {
        negate(claim)?
    };
    let premise = sentence(premise);
    if premise.contains(". ") {
        return None;
    }
    // A premise that has a reason of its own gives only that.
    if let Some(cut) = mine::cut(&premise) {
        return Some(pair(cut, topic));
    }
    let lower = lower_first(premise.trim_end_matches('.'))?;
    mine::cut(&format!("{claim} because {lower}.")).map(|cut| pair(cut, topic))
}

fn pair(cut: mine::Cut, topic: &str) -> Pair {
    Pair {
        kind: Kind::Argument,
        topic: topic.to_owned(),
        old: None,
        context: String::new(),
        stem: cut.stem,
        clause: cut.clause,
        terminator: cut.terminator,
        shift: None,
    }
}

fn negate(claim: &str) -> Option<String> {
    let at = claim.find(" should ")? + " should".len();
    (!claim[at..].starts_with(" not ")).then(|| format!("{} not{}", &claim[..at], &claim[at..]))
}

/// The text with a small first letter, unless its first word may be a name.
fn lower_first(text: &str) -> Option<String> {
    let first = text.split_whitespace().next()?;
    if first == "I" || first.starts_with("I'") {
        return Some(text.to_owned());
    }
    // All capitals: an abbreviation.
    if first.chars().count() > 1 && first.chars().all(char::is_uppercase) {
        return None;
    }
    let mut chars = text.chars();
    let head: String = chars.next()?.to_lowercase().collect();
    Some(head + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claim: &str, holds: bool, premise: &str, expected: Option<&str>) {
        assert_eq!(
            join(claim, holds, premise).map(|p| p.after()).as_deref(),
            expected
        );
    }

    #[test]
    fn premises_become_reasons() {
        check(
            "We should ban fast food",
            true,
            "it is bad for the heart",
            Some("We should ban fast food because it is bad for the heart."),
        );
        check(
            "We should ban fast food",
            false,
            "People can decide for themselves.",
            Some("We should not ban fast food because people can decide for themselves."),
        );
        check(
            "Fast food is bad",
            false,
            "People can decide for themselves",
            None,
        );
    }

    #[test]
    fn a_premise_with_its_own_reason_stands_alone() {
        check(
            "We should ban fast food",
            true,
            "Fast food should be banned because it is bad for you",
            Some("Fast food should be banned because it is bad for you."),
        );
    }

    #[test]
    fn premises_of_one_claim_change_places() {
        let arguments: Vec<Pair> = ["it is cheap", "it is fair to all", "it keeps us safe"]
            .iter()
            .flat_map(|premise| join("We should build a bridge", true, premise))
            .chain(join("Fast food is bad", true, "it costs a lot"))
            .collect();
        let swaps = swaps(&arguments, 10, 1);
        assert_eq!(swaps.len(), 2);
        for swap in &swaps {
            assert_eq!(swap.stem, "We should build a bridge");
            assert_ne!(swap.old.as_ref(), Some(&swap.clause));
            assert!(
                swap.before()
                    .starts_with("We should build a bridge because it ")
            );
        }
    }
}
