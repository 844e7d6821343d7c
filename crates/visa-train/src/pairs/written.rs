//! Clauses that we wrote by hand, each for its own sentence: `data/written.jsonl`.

use serde::Deserialize;
use visa_values::Shift;

use super::{Kind, Pair};
use crate::committed;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sentence {
    #[serde(default)]
    context: String,
    stem: String,
    terminator: String,
    clauses: Vec<Clause>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clause {
    clause: String,
    values: Shift,
}

/// All of them; clauses of one sentence stand together.
pub(super) fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    let file = include_str!("data/written.jsonl");
    for sentence in committed::lines::<Sentence>("written.jsonl", file) {
        pairs.extend(sentence.clauses.iter().map(|c| Pair {
            kind: Kind::Written,
            topic: sentence.stem.clone(),
            old: None,
            context: sentence.context.clone(),
            stem: sentence.stem.clone(),
            clause: c.clause.clone(),
            terminator: sentence.terminator.clone(),
            shift: Some(*c.values.as_array()),
        }));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use visa_align::format::WEAK;
    use visa_score::guards;

    use super::*;

    #[test]
    fn the_clauses_parse_speak_values_and_pass_the_guards() {
        let pairs = pairs();
        assert!(pairs.len() > 1000, "{}", pairs.len());
        let distinct: HashSet<(&str, &str)> = pairs
            .iter()
            .map(|p| (p.stem.as_str(), p.clause.as_str()))
            .collect();
        assert_eq!(distinct.len(), pairs.len());
        let mut refused = 0;
        for pair in &pairs {
            let shift = pair.shift.unwrap();
            assert!(shift.iter().any(|d| d.abs() >= WEAK), "{pair:?}");
            assert!(pair.clause.starts_with([',', ' ']), "{pair:?}");
            refused += usize::from(!guards(&pair.before(), &pair.after()).is_empty());
        }
        // A few say "nobody" or "never", which the negation guard cannot tell from a denial.
        assert!(20 * refused < pairs.len(), "{refused} of {}", pairs.len());
    }
}
