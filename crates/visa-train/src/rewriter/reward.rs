//! What a clause is worth: the composite reward of the rewriter.
//!
//! Every number comes from the [`Score`] of the rewritten text, which detector and checker give in one batch each:
//!
//! ```text
//! value         (1 + cos(v′, target)) / 2, if the mean consistency is above the gate, else 0
//! consistency   (forward + backward) / 2
//! movement      (1 + cos(v′ − v, wish)) / 2      progress   (1 + progress) / 2      both gated as the value is
//! fluency       min(0, mean log-probability − floor), at least −2
//! sense         log-odds that the clause belongs behind its sentence, of which 4 are 1, −1 to 1
//! length        min(0, most − ratio) or min(0, ratio − least) of the bytes
//! ```
//!
//! A clause that use would throw away before any model reads it (a limit cut it off, it does not join its sentence, a
//! guard is violated, nothing changes) has 0 in the terms of the first two lines: a copy must not live on its perfect
//! consistency. What a model cannot judge is an error of its group.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use visa_align::Text;
use visa_align::embedded::{Asker, fits};
use visa_score::{Score, Weights, guards, score};
use visa_values::{Target, metrics};

use super::language::Language;
use super::prompts::Item;
use crate::grpo::{Completion, Judged, Reward, Rollout};
use crate::judges::Judges;
use crate::objective::advantage::Term;
use crate::trainer::Metrics;
use crate::{Error, Result};

/// Weights of the terms, and where their limits are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardRecipe {
    /// Weight of the cosine with the target.
    pub value: f64,
    /// Weight of the consistency.
    pub consistency: f64,
    /// Weight of the direction of the movement.
    pub movement: f64,
    /// Weight of the share of the way that was covered.
    pub progress: f64,
    /// Weight of what reads worse than the floor.
    pub fluency: f64,
    /// Weight of belonging to the sentence.
    pub sense: f64,
    /// Weight of being too short or too long.
    pub length: f64,
    /// The value terms count only if the mean consistency is above this.
    pub gate: f32,
    /// Mean log-probability, nats a token, from which on a clause reads well enough.
    pub floor: f64,
    /// Bytes of the rewritten text for each of the original's, at least and at most.
    pub ratio: [f64; 2],
}

impl Default for RewardRecipe {
    fn default() -> Self {
        Self {
            value: 1.0,
            consistency: 1.0,
            movement: 0.5,
            progress: 0.5,
            fluency: 0.5,
            sense: 0.5,
            length: 0.5,
            gate: metrics::JOINT_CONSISTENCY,
            floor: -3.0,
            ratio: [0.4, 2.0],
        }
    }
}

impl RewardRecipe {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// With a message that names the setting.
    pub fn check(&self) -> Result<()> {
        for (name, weight) in self.weights() {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(Error::Input(format!(
                    "the weight {name} of the reward is {weight}; give a number of at least 0"
                )));
            }
        }
        if self.weights().iter().all(|(_, weight)| *weight == 0.0) {
            return Err(Error::Input(
                "all weights of the reward are 0; give at least one".into(),
            ));
        }
        if !(0.0..=1.0).contains(&self.gate) || !self.floor.is_finite() {
            return Err(Error::Input(format!(
                "gate is {} and floor is {}; give a gate from 0 to 1 and a finite floor",
                self.gate, self.floor
            )));
        }
        let [least, most] = self.ratio;
        if !(least >= 0.0 && least < most && most.is_finite()) {
            return Err(Error::Input(format!(
                "ratio is {least} to {most}; give two numbers, the smaller first"
            )));
        }
        Ok(())
    }

    fn weights(&self) -> [(&'static str, f64); 7] {
        [
            ("value", self.value),
            ("consistency", self.consistency),
            ("movement", self.movement),
            ("progress", self.progress),
            ("fluency", self.fluency),
            ("sense", self.sense),
            ("length", self.length),
        ]
    }

    /// Whether a language model must read the clauses.
    pub fn reads(&self) -> bool {
        self.fluency > 0.0
    }
}

/// How one clause reads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Mean log-probability under the language model, nats a token; zero where none was asked.
    pub fluency: f64,
    /// Log-odds that it belongs where it stands; zero where nobody was asked.
    pub sense: f64,
}

/// A clause, where its text stands among those to be read or why it is thrown away, and how long its text is.
type Draft = (String, std::result::Result<usize, &'static str>, f64);

/// What is known of one completion.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What it wrote.
    pub clause: String,
    /// The score of the text with it; or why use would throw it away.
    pub score: std::result::Result<Score, &'static str>,
    /// How it reads.
    pub reading: Reading,
    /// Bytes of the text with it for each of the original's.
    pub ratio: f64,
}

impl Verdict {
    /// The terms of the reward in the order of the recipe's weights, before their weights.
    pub fn terms(&self, recipe: &RewardRecipe) -> [f64; 7] {
        let (mut value, mut consistency, mut movement, mut progress) = (0.0, 0.0, 0.0, 0.0);
        if let Ok(score) = &self.score {
            let weights = Weights {
                gate: recipe.gate,
                ..Weights::default()
            };
            value = f64::from(score.value_term(&weights));
            consistency = f64::from(score.consistency_term());
            if score.consistency.mean() > recipe.gate {
                movement = f64::midpoint(1.0, f64::from(score.value.movement));
                progress = f64::midpoint(1.0, f64::from(score.value.progress.clamp(-1.0, 1.0)));
            }
        }
        let [least, most] = recipe.ratio;
        [
            value,
            consistency,
            movement,
            progress,
            (self.reading.fluency - recipe.floor).clamp(-2.0, 0.0),
            (self.reading.sense / 4.0).clamp(-1.0, 1.0),
            (most - self.ratio).min(self.ratio - least).min(0.0),
        ]
    }

    /// The weighted sum of the terms.
    pub fn total(&self, recipe: &RewardRecipe) -> f64 {
        let terms = self.terms(recipe);
        recipe
            .weights()
            .iter()
            .zip(terms)
            .map(|((_, w), x)| w * x)
            .sum()
    }
}

/// The composite reward.
pub struct ClauseReward<'a> {
    judges: Judges<'a>,
    asker: &'a Asker,
    language: Option<Language<'a>>,
    recipe: RewardRecipe,
    items: Vec<Item>,
    verdicts: Vec<Vec<Verdict>>,
}

impl<'a> ClauseReward<'a> {
    /// A reward by these judges, but for sense, which the asker's own reader tells: it knows the book that is asked from. `language` is
    /// needed where the recipe weighs what it reads.
    ///
    /// # Errors
    /// Settings out of range, a missing model.
    pub fn new(
        judges: Judges<'a>,
        asker: &'a Asker,
        language: Option<Language<'a>>,
        recipe: &RewardRecipe,
    ) -> Result<Self> {
        recipe.check()?;
        if recipe.reads() && language.is_none() {
            return Err(Error::Input(
                "fluency has a weight, but there is no model that reads; give one or set it to 0"
                    .into(),
            ));
        }
        Ok(Self {
            judges: Judges {
                sense: asker.sense(),
                ..judges
            },
            asker,
            language: language.filter(|_| recipe.reads()),
            recipe: recipe.clone(),
            items: Vec::new(),
            verdicts: Vec::new(),
        })
    }

    /// What the next rollouts answer, one item a rollout.
    pub fn expect(&mut self, items: Vec<Item>) {
        self.items = items;
        self.verdicts.clear();
    }

    /// The items that were asked, and what is known of their completions, group by group; none of a group that could not be
    /// judged.
    pub fn verdicts(&self) -> impl Iterator<Item = (&Item, &[Verdict])> {
        self.items
            .iter()
            .zip(self.verdicts.iter().map(Vec::as_slice))
    }

    /// Judges groups; an error is about all of them.
    fn judge(&self, items: &[Item], rollouts: &[Rollout<'_>]) -> Result<Vec<Vec<Verdict>>> {
        let fluencies = match &self.language {
            Some(language) => language.read(items, rollouts)?,
            None => (rollouts.iter())
                .map(|r| vec![0.0; r.completions.len()])
                .collect(),
        };
        let mut texts = Texts::default();
        let mut drafts = Vec::with_capacity(items.len());
        for (item, rollout) in items.iter().zip(rollouts) {
            let before = texts.add(&item.text);
            let mut group = Vec::with_capacity(rollout.completions.len());
            for completion in rollout.completions {
                let clause = item.clause(&completion.generated.ids, self.asker)?;
                let after = item.text_with(&clause);
                let ratio = after.len() as f64 / item.text.len().max(1) as f64;
                let place = match thrown_away(item, completion, &clause) {
                    Some(why) => Err(why),
                    None => Ok(texts.pair(before, &after)),
                };
                group.push((clause, place, ratio));
            }
            drafts.push(group);
        }
        let profiles = self.judges.profiles(&texts.list)?;
        let pairs: Vec<(&str, &str)> = (texts.pairs.iter())
            .map(|&(a, b)| (texts.list[a].text.as_str(), texts.list[b].text.as_str()))
            .collect();
        let consistencies = self.judges.consistency(&pairs)?;
        let weights = Weights {
            gate: self.recipe.gate,
            ..Weights::default()
        };
        let judged = |item: &Item, place: usize| -> Result<Score> {
            let (before, after) = texts.pairs[place];
            let target = Target::from_shift(&profiles[before], &item.wish);
            let found = score(
                &profiles[before],
                &profiles[after],
                &target,
                consistencies[place],
                Vec::new(),
                &weights,
            );
            found.map_err(|e| Error::Input(e.to_string()))
        };
        let mut all = Vec::with_capacity(items.len());
        let mut senses = self.senses(items, &drafts)?.into_iter();
        for ((item, group), fluencies) in items.iter().zip(drafts).zip(fluencies) {
            let mut verdicts = Vec::with_capacity(group.len());
            for ((clause, place, ratio), fluency) in group.into_iter().zip(fluencies) {
                let reading = Reading {
                    fluency,
                    sense: senses.next().map_or(0.0, f64::from),
                };
                verdicts.push(Verdict {
                    clause,
                    score: match place {
                        Ok(place) => Ok(judged(item, place)?),
                        Err(why) => Err(why),
                    },
                    reading,
                    ratio,
                });
            }
            all.push(verdicts);
        }
        Ok(all)
    }

    /// The sense of every clause, group after group; nothing if it has no weight.
    fn senses(&self, items: &[Item], drafts: &[Vec<Draft>]) -> Result<Vec<f32>> {
        if self.recipe.sense == 0.0 {
            return Ok(Vec::new());
        }
        let pairs: Vec<(&str, &str)> = (items.iter().zip(drafts))
            .flat_map(|(item, group)| {
                let before = &item.text[..item.edit.stem];
                group
                    .iter()
                    .map(move |(clause, ..)| (before, clause.as_str()))
            })
            .collect();
        self.judges.sense(&pairs)
    }

    fn terms(&self, verdicts: &[Verdict]) -> Vec<Term> {
        let rows: Vec<[f64; 7]> = verdicts.iter().map(|v| v.terms(&self.recipe)).collect();
        (self.recipe.weights().into_iter().enumerate())
            .filter(|(_, (_, weight))| *weight > 0.0)
            .map(|(i, (name, weight))| Term {
                name: name.into(),
                weight,
                values: rows.iter().map(|row| row[i]).collect(),
            })
            .collect()
    }

    /// Means over the last completions, for the log: what the metrics of rewriting are, beside the reward.
    pub fn metrics(&self) -> Metrics {
        let all: Vec<&Verdict> = self.verdicts.iter().flatten().collect();
        let scores: Vec<&Score> = all.iter().filter_map(|v| v.score.as_ref().ok()).collect();
        if all.is_empty() {
            return Metrics::new();
        }
        let of_all = |x: f64| x / all.len() as f64;
        let mut found = vec![("completions/usable".to_owned(), of_all(scores.len() as f64))];
        for why in [CUT, JOINT, GUARD, COPY] {
            let count = all
                .iter()
                .filter(|v| v.score.as_ref().err() == Some(&why))
                .count();
            found.push((format!("completions/{why}"), of_all(count as f64)));
        }
        let distinct: usize = (self.verdicts.iter())
            .map(|group| {
                let clauses: std::collections::HashSet<&str> =
                    group.iter().map(|v| v.clause.as_str()).collect();
                clauses.len()
            })
            .sum();
        found.push(("completions/distinct".into(), of_all(distinct as f64)));
        let sum = |f: fn(&Reading) -> f64| all.iter().map(|v| f(&v.reading)).sum();
        if self.language.is_some() {
            found.push(("completions/logprob".into(), of_all(sum(|r| r.fluency))));
        }
        if self.recipe.sense > 0.0 {
            found.push(("completions/sense".into(), of_all(sum(|r| r.sense))));
        }
        if !scores.is_empty() {
            let mean = |f: &dyn Fn(&Score) -> f32| {
                scores.iter().map(|s| f64::from(f(s))).sum::<f64>() / scores.len() as f64
            };
            let joint = |s: &Score| metrics::joint_success(s.value.l2, s.consistency.mean());
            for (name, x) in [
                ("score/consistency", mean(&|s| s.consistency.mean())),
                ("score/forward", mean(&|s| s.consistency.forward)),
                ("score/backward", mean(&|s| s.consistency.backward)),
                ("score/cosine", mean(&|s| s.value.cosine)),
                ("score/l2", mean(&|s| s.value.l2)),
                ("score/progress", mean(&|s| s.value.progress)),
                ("score/movement", mean(&|s| s.value.movement)),
                ("score/jsr", mean(&|s| f32::from(u8::from(joint(s))))),
            ] {
                found.push((name.into(), x));
            }
        }
        found
    }

    /// The last completions for people to read: the best and the worst of the first `groups` groups.
    pub fn samples(&self, groups: usize) -> String {
        let mut text = String::new();
        for (item, verdicts) in self.verdicts().filter(|(_, v)| !v.is_empty()).take(groups) {
            let mut ranked: Vec<&Verdict> = verdicts.iter().collect();
            ranked.sort_by(|a, b| b.total(&self.recipe).total_cmp(&a.total(&self.recipe)));
            let stem = &item.text[item.edit.start..item.edit.stem];
            let wish: Vec<String> = (item.wish.iter())
                .filter(|(_, d)| *d != 0.0)
                .map(|(value, d)| format!("{value}={d:+.1}"))
                .collect();
            let _ = writeln!(text, "{stem}   [{}]", wish.join(" "));
            for verdict in [ranked.first(), ranked.last()].into_iter().flatten() {
                let what = match &verdict.score {
                    Ok(score) => format!(
                        "consistency {:.2}, movement {:+.2}, progress {:+.2}",
                        score.consistency.mean(),
                        score.value.movement,
                        score.value.progress
                    ),
                    Err(why) => (*why).to_owned(),
                };
                let _ = writeln!(
                    text,
                    "  {:+.2} |{}   ({what}, reads {:.1})",
                    verdict.total(&self.recipe),
                    verdict.clause,
                    verdict.reading.fluency
                );
            }
        }
        text
    }
}

impl Reward for ClauseReward<'_> {
    fn score(&mut self, rollouts: &[Rollout<'_>]) -> Result<Vec<Judged>> {
        if self.items.len() != rollouts.len() {
            return Err(Error::Input(format!(
                "{} rollouts answer {} items; expect one item a rollout",
                rollouts.len(),
                self.items.len()
            )));
        }
        let groups: Vec<std::result::Result<Vec<Verdict>, String>> = match self
            .judge(&self.items, rollouts)
        {
            Ok(all) => all.into_iter().map(Ok).collect(),
            // One text that a judge cannot read must not cost the others their turn.
            Err(_) => (self.items.iter().zip(rollouts))
                .map(|(item, rollout)| {
                    let one = self.judge(std::slice::from_ref(item), std::slice::from_ref(rollout));
                    one.map(|mut group| group.remove(0))
                        .map_err(|e| e.to_string())
                })
                .collect(),
        };
        let judged = groups
            .iter()
            .map(|group| match group {
                Ok(verdicts) => Ok(self.terms(verdicts)),
                Err(why) => Err(why.clone()),
            })
            .collect();
        self.verdicts = groups.into_iter().map(Result::unwrap_or_default).collect();
        Ok(judged)
    }
}

const CUT: &str = "cut_off";
const JOINT: &str = "no_joint";
const GUARD: &str = "guarded";
const COPY: &str = "copy";

/// Why use would throw a clause away before any model reads it.
fn thrown_away(item: &Item, completion: &Completion, clause: &str) -> Option<&'static str> {
    if completion.cut_off {
        return Some(CUT);
    }
    let after = item.sentence_with(clause);
    if after == item.sentence() {
        Some(COPY)
    } else if !fits(&item.edit, clause) {
        Some(JOINT)
    } else if !guards(item.sentence(), &after).is_empty() {
        Some(GUARD)
    } else {
        None
    }
}

/// Texts and pairs of them, each once: completions of a group are often alike.
#[derive(Default)]
struct Texts {
    list: Vec<Text>,
    places: HashMap<String, usize>,
    pairs: Vec<(usize, usize)>,
    pair_places: HashMap<(usize, usize), usize>,
}

impl Texts {
    fn add(&mut self, text: &str) -> usize {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        self.list.push(Text::new(text));
        self.places.insert(text.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn pair(&mut self, before: usize, after: &str) -> usize {
        let pair = (before, self.add(after));
        *self.pair_places.entry(pair).or_insert_with(|| {
            self.pairs.push(pair);
            self.pairs.len() - 1
        })
    }
}

#[cfg(test)]
#[path = "reward_tests.rs"]
mod tests;
