//! Clauses → candidates: which edits go together.

use std::collections::{BTreeMap, HashSet};

/// A clause for a place, with what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) place: usize,
    pub(super) clause: String,
    /// Movement along the gap less leakage, with fluency.
    pub(super) worth: f32,
    /// Movement along the gap.
    pub(super) along: f32,
}

/// Most edits of one candidate: the farther the target the more, but never most of the text.
pub(super) fn most_edits(gap: &[f32; 10], sentences: usize) -> usize {
    let size = gap.iter().map(|g| g * g).sum::<f32>().sqrt();
    let wanted = match size {
        s if s < 0.5 => 1,
        s if s < 1.0 => 2,
        s if s < 1.6 => 3,
        _ => 4,
    };
    wanted.min(sentences.div_ceil(2)).max(1)
}

/// What may be left of the gap when enough was edited.
const LEFT: f32 = 0.3;

/// Fewest edits that should bridge the gap by what each moves alone: a reader stops at the worst clause, so there are no more
/// than it takes.
pub(super) fn fewest_edits(choices: &[Choice], gap: &[f32; 10]) -> usize {
    let mut best: BTreeMap<usize, f32> = BTreeMap::new();
    for choice in choices {
        let along = best.entry(choice.place).or_default();
        *along = along.max(choice.along);
    }
    let mut best: Vec<f32> = best.into_values().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let mut left = gap.iter().map(|g| g * g).sum::<f32>().sqrt() - LEFT;
    let needed = best.iter().position(|along| {
        left -= along;
        left <= 0.0
    });
    needed.map_or(best.len(), |i| i + 1).max(1)
}

/// Up to `n` distinct sets of choices, at most one a place and `most` in all, the most promising first: first the best
/// of each size, then with one member after the other replaced by its runner-up.
pub(super) fn combine(choices: &[Choice], most: usize, n: usize) -> Vec<Vec<&Choice>> {
    let mut ranked: Vec<&Choice> = choices.iter().filter(|c| c.along > 0.0).collect();
    if ranked.is_empty() {
        // Nothing moves the right way by itself; the loop may still see what it is offered.
        ranked = choices.iter().collect();
    }
    ranked.sort_by(|a, b| b.worth.total_cmp(&a.worth));
    let mut places: Vec<Vec<&Choice>> = Vec::new();
    for choice in ranked {
        match places.iter_mut().find(|p| p[0].place == choice.place) {
            Some(place) => place.push(choice),
            None => places.push(vec![choice]),
        }
    }
    let deepest = places.iter().map(Vec::len).max().unwrap_or(0);
    let most = most.min(places.len());
    let mut sets = Vec::new();
    let mut seen: HashSet<Vec<(usize, &str)>> = HashSet::new();
    for depth in 0..deepest {
        for size in (1..=most).rev() {
            // With depth 0 there is nothing to vary.
            for varied in 0..if depth == 0 { 1 } else { size } {
                let set = pick(&places, size, varied, depth);
                let mut key: Vec<(usize, &str)> =
                    set.iter().map(|c| (c.place, c.clause.as_str())).collect();
                key.sort_unstable();
                if !set.is_empty() && seen.insert(key) {
                    sets.push(set);
                }
                if sets.len() >= n {
                    return sets;
                }
            }
        }
    }
    sets
}

/// The best of the first `size` places, the `varied`-th by its choice number `depth`. The same words do not come twice
/// in one text.
fn pick<'c>(
    places: &[Vec<&'c Choice>],
    size: usize,
    varied: usize,
    depth: usize,
) -> Vec<&'c Choice> {
    let mut set: Vec<&Choice> = Vec::new();
    for (i, place) in places.iter().enumerate() {
        if set.len() == size {
            break;
        }
        let skip = if i == varied { depth } else { 0 };
        let fresh =
            |c: &&&Choice| c.clause.is_empty() || !set.iter().any(|s| alike(&s.clause, &c.clause));
        if let Some(choice) = place.iter().skip(skip).find(fresh) {
            set.push(choice);
        }
    }
    set
}

/// Whether two clauses share most of their words.
fn alike(a: &str, b: &str) -> bool {
    let words = |t: &str| -> HashSet<String> {
        t.split(|c: char| !c.is_alphanumeric())
            .filter(|w| w.len() > 3)
            .map(str::to_lowercase)
            .collect()
    };
    let (a, b) = (words(a), words(b));
    let shared = a.intersection(&b).count();
    shared > 0 && 2 * shared >= a.len().min(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(place: usize, clause: &str, worth: f32) -> Choice {
        Choice {
            place,
            clause: clause.into(),
            worth,
            along: worth,
        }
    }

    #[test]
    fn no_more_is_edited_than_bridges_the_gap() {
        let check = |gap: f32, expected: usize| {
            let choices = [
                choice(0, " alpha", 0.5),
                choice(0, " bravo", 0.2),
                choice(1, " charlie", 0.4),
                choice(2, " delta", -0.1),
            ];
            let mut all = [0.0; 10];
            all[3] = gap;
            assert_eq!(fewest_edits(&choices, &all), expected, "{gap}");
        };
        check(0.1, 1);
        check(0.8, 1);
        check(-1.1, 2);
        check(2.0, 3);
    }

    #[test]
    fn the_best_of_each_size_comes_first() {
        let choices = [
            choice(0, " alpha one", 0.5),
            choice(1, " bravo two", 0.9),
            choice(0, " charlie", 0.2),
            choice(2, " delta", -0.1),
        ];
        let sets = combine(&choices, 2, 10);
        let texts: Vec<Vec<&str>> = sets
            .iter()
            .map(|s| s.iter().map(|c| c.clause.as_str()).collect())
            .collect();
        assert_eq!(
            texts,
            [
                vec![" bravo two", " alpha one"],
                vec![" bravo two"],
                vec![" alpha one"],
                vec![" bravo two", " charlie"]
            ]
        );
        assert_eq!(combine(&choices, 2, 1).len(), 1);
    }

    #[test]
    fn the_same_words_do_not_come_twice() {
        let choices = [
            choice(0, ", because children matter", 0.9),
            choice(1, " because children matter", 0.8),
            choice(1, " for fun", 0.1),
        ];
        let sets = combine(&choices, 2, 1);
        assert_eq!(sets[0][1].clause, " for fun");
    }

    #[test]
    fn when_nothing_moves_the_right_way_something_is_offered() {
        let choices = [choice(0, " a", -0.5), choice(1, " b", -0.2)];
        assert_eq!(combine(&choices, 1, 1)[0][0].clause, " b");
        assert!(combine(&[], 3, 5).is_empty());
    }

    #[test]
    fn far_targets_allow_more_edits_but_half_the_text_stays() {
        let check = |size: f32, sentences: usize, expected: usize| {
            let mut gap = [0.0; 10];
            gap[0] = size;
            assert_eq!(most_edits(&gap, sentences), expected, "{size} {sentences}");
        };
        check(0.3, 10, 1);
        check(0.8, 10, 2);
        check(2.0, 10, 4);
        check(2.0, 3, 2);
        check(2.0, 1, 1);
    }
}
