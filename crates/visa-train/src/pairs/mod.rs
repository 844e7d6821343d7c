//! `data pairs`: rewriting data without a parallel corpus, and with the ones there are.
//!
//! "Take the reason out, learn to put it back": people's sentences whose last clause says why are taken apart ([`mine`]);
//! arguments with a claim and a premise are put together ([`argument`]), and premises of one claim exchanged; sentences left
//! as they are teach the empty clause; clauses of our own bring values that mined text seldom speaks, in both directions:
//! put together in numbers ([`crate::generate`]), some as contrasts on one opening, and written for one sentence each, which
//! teaches what fits. Whole texts that people rewrote are kept beside ([`edits`]). Detector and checker say what each pair
//! moves and what it keeps; what keeps too little, or violates a guard, is left out. The result is a file ([`row`]).
//! Nothing is trained here.

pub mod argument;
pub mod edits;
pub mod mine;
pub mod row;
pub mod verdicts;
pub mod written;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use regex::Regex;
use serde::{Deserialize, Serialize};
use visa_align::Text;
use visa_score::guards;
use visa_values::{Profile, Shift, metrics};

use crate::data::Source;
use crate::generate::{ClauseExample, Clauses};
use crate::judges::Judges;
use crate::{Error, Metrics, Result, RunContext};

pub use row::{Kind, Row, Split};

/// Documents between looks at the stop flag.
const BATCH: usize = 4096;

/// A sentence taken apart, and what its clause does.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Where it comes from.
    pub kind: Kind,
    /// What it is about.
    pub topic: String,
    /// Up to two preceding sentences.
    pub context: String,
    /// The sentence without its clause and its final punctuation.
    pub stem: String,
    /// The clause with its leading "," or " "; may be empty.
    pub clause: String,
    /// The clause that it takes the place of, if there is one.
    pub old: Option<String>,
    /// The final punctuation.
    pub terminator: String,
    /// What the clause moves, circle order; `None` where nobody has said so.
    pub shift: Option<[f32; 10]>,
}

impl Pair {
    /// The sentence without the clause.
    pub fn before(&self) -> String {
        let old = self.old.as_deref().unwrap_or_default();
        format!("{}{old}{}", self.stem, self.terminator)
    }

    /// The sentence with the clause.
    pub fn after(&self) -> String {
        format!("{}{}{}", self.stem, self.clause, self.terminator)
    }

    fn row(self) -> Result<Row> {
        let shift = self.shift.map(Shift::new).transpose();
        Ok(Row {
            split: Split::Train,
            source: self.before(),
            target: self.after(),
            shift: shift.map_err(|e| Error::Input(e.to_string()))?,
            kind: self.kind,
            topic: self.topic,
            context: self.context,
            clause: Some(self.clause),
            terminator: self.terminator,
            before: None,
            after: None,
            consistency: None,
            guards: 0,
        })
    }
}

/// What pairs are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairsRecipe {
    /// Start of the random streams.
    pub seed: u64,
    /// Most mined pairs of each source.
    pub mined_per_source: usize,
    /// Sentences that stay as they are.
    pub kept: usize,
    /// Pairs put together by the generator, most of them on stems from the sources.
    pub generated: usize,
    /// Contrasts put together by the generator: a value turned down, and embraced, behind one stem.
    pub contrasts: usize,
    /// Premises exchanged for another of the same claim.
    pub swaps: usize,
    /// Whole texts rewritten by people, of each kind; 0 leaves them out.
    pub edits: usize,
    /// Folders of written clauses ([`written`]).
    pub written: Vec<PathBuf>,
    /// A file of [`verdicts`] on their clauses for speech acts; none if empty.
    pub verdicts: PathBuf,
    /// Factor on a labelled shift: a detector that moves little per clause would else never reach
    /// the strong level.
    pub gain: f32,
    /// Share of the labelled pairs that move no value (by [`visa_align::format::WEAK`]) that is kept:
    /// they teach how clauses are written, and would else crowd out the others.
    pub neutral_share: f64,
    /// Pairs with a mean consistency of no more than this are left out, but for edits that turn a text around.
    pub min_consistency: f32,
    /// Kinds whose pairs are not judged: their shift is known, and their clauses are ours.
    pub unjudged: Vec<Kind>,
    /// Share of the topics that are looked at while learning.
    pub valid_share: f64,
    /// Share of the topics that are kept for the end.
    pub test_share: f64,
    /// Leaves out mined sentences in which this regular expression is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// Running text that is mined.
    pub source: Vec<Source>,
}

impl Default for PairsRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            mined_per_source: 12_000,
            kept: 4000,
            generated: 12_000,
            contrasts: 2000,
            swaps: 4000,
            edits: 4000,
            written: Vec::new(),
            verdicts: PathBuf::new(),
            gain: 1.0,
            neutral_share: 0.3,
            min_consistency: metrics::JOINT_CONSISTENCY,
            unjudged: vec![Kind::Kept, Kind::Generated, Kind::Contrast],
            valid_share: 0.025,
            test_share: 0.05,
            skip: None,
            source: Vec::new(),
        }
    }
}

/// Makes all pairs and writes them to `file`; the resolved recipe stands in `recipe.toml` beside it. Without judges, mined
/// pairs have no shift and nothing is left out for its score. The numbers of pairs of each kind are the answer.
///
/// # Errors
/// What the data, the judges or the file system report; [`Error::InterruptedEarly`] when the stop flag goes up, with nothing
/// written.
pub fn write(
    recipe: &PairsRecipe,
    judges: Option<&Judges<'_>>,
    file: &Path,
    context: &RunContext,
) -> Result<Metrics> {
    let rows = make(recipe, judges, context)?;
    let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
    for row in &rows {
        *metrics.entry(row.kind.name().to_owned()).or_default() += 1.0;
        if row.split != Split::Train {
            *metrics
                .entry(format!("{:?}", row.split).to_lowercase())
                .or_default() += 1.0;
        }
    }
    row::write(file, &rows)?;
    context.save_recipe(recipe)?;
    let mut metrics: Metrics = metrics.into_iter().collect();
    metrics.push(("pairs".into(), rows.len() as f64));
    Ok(metrics)
}

/// All pairs: made, judged, thinned, each once, split by topic.
///
/// # Errors
/// As [`write()`].
pub fn make(
    recipe: &PairsRecipe,
    judges: Option<&Judges<'_>>,
    context: &RunContext,
) -> Result<Vec<Row>> {
    for (name, share) in [
        ("valid_share", recipe.valid_share),
        ("test_share", recipe.test_share),
        ("neutral_share", recipe.neutral_share),
    ] {
        if !(0.0..=1.0).contains(&share) {
            let detail = format!("`{name}` is {share}; give a share from 0 to 1");
            return Err(Error::recipe(Path::new("[pairs]"), detail));
        }
    }
    let mut rows = gather(recipe, context)?;
    for row in &mut rows {
        row.split = Split::of(&row.topic, recipe.valid_share, recipe.test_share);
    }
    if let Some(judges) = judges {
        judge(&mut rows, judges, recipe, context)?;
        let made = rows.len();
        rows.retain(|row| good(row, recipe));
        context.say(&format!("{} of {made} pairs keep the meaning", rows.len()));
        thin(&mut rows, recipe);
    }
    Ok(rows)
}

/// All pairs as they are found.
fn gather(recipe: &PairsRecipe, context: &RunContext) -> Result<Vec<Row>> {
    let skip = recipe.skip.as_deref().map(Regex::new).transpose();
    let skip = skip.map_err(|e| Error::recipe(Path::new("[pairs]"), format!("`skip`: {e}")))?;
    let skipped = |pair: &Pair| skip.as_ref().is_some_and(|skip| skip.is_match(&pair.stem));
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    let mut plain = Vec::new();
    for source in &recipe.source {
        let (mut mined, mut found) = mine_source(source, context)?;
        mined
            .retain(|pair| !skipped(pair) && seen.insert((pair.stem.clone(), pair.clause.clone())));
        mined.shuffle(&mut rng);
        context.say(&format!(
            "{}: {} clauses, {} plain sentences",
            source.name,
            mined.len(),
            found.len()
        ));
        mined.truncate(recipe.mined_per_source);
        pairs.extend(mined);
        found.shuffle(&mut rng);
        found.truncate(2 * recipe.kept.max(recipe.generated) / recipe.source.len().max(1));
        plain.extend(found);
    }
    let arguments = argument::pairs(&context.data)?;
    context.say(&format!("{} claims with a premise", arguments.len()));
    let swaps = argument::swaps(&arguments, recipe.swaps, recipe.seed);
    pairs.extend(
        arguments
            .into_iter()
            .filter(|p| seen.insert((p.stem.clone(), p.clause.clone()))),
    );
    pairs.extend(swaps);
    plain.shuffle(&mut rng);
    pairs.extend(plain.iter().take(recipe.kept).cloned());
    let stems = plain
        .iter()
        .skip(recipe.kept)
        .map(|p| (p.context.clone(), p.before()));
    let generator = Clauses::new(recipe.seed).with_stems(stems);
    let generated = generator.generate(recipe.generated);
    pairs.extend(
        generated
            .into_iter()
            .map(|e| ours(Kind::Generated, e, None)),
    );
    for [minus, plus] in generator.contrasts(recipe.contrasts) {
        // Leading from one to the other moves twice.
        let shift = plus.shift.map(|d| (2.0 * d).clamp(-2.0, 2.0));
        let plus = ClauseExample { shift, ..plus };
        pairs.push(ours(Kind::Contrast, plus, Some(minus.clause)));
    }
    let mut shifts = HashMap::new();
    for folder in &recipe.written {
        let written = written::read(folder)?;
        let clauses = written.acts.iter().flat_map(|act| act.clauses.iter());
        shifts.extend(clauses.map(|(clause, shift)| (clause.clone(), *shift)));
        let written = written.pairs();
        context.say(&format!(
            "{}: {} written clauses",
            folder.display(),
            written.len()
        ));
        pairs.extend(written);
    }
    if !recipe.verdicts.as_os_str().is_empty() {
        let approved = verdicts::approved(&verdicts::read(&recipe.verdicts)?, &shifts);
        context.say(&format!(
            "{} clauses that readers approved of",
            approved.len()
        ));
        pairs.extend(approved);
    }
    let mut rows: Vec<Row> = pairs.into_iter().map(Pair::row).collect::<Result<_>>()?;
    if recipe.edits > 0 {
        let mut edits = edits::rows(&context.data)?;
        edits.shuffle(&mut rng);
        let mut left: BTreeMap<Kind, usize> = BTreeMap::new();
        edits.retain(|row| {
            let taken = left.entry(row.kind).or_default();
            *taken += 1;
            *taken <= recipe.edits
        });
        context.say(&format!("{} whole texts rewritten", edits.len()));
        rows.extend(edits);
    }
    let mut seen = HashSet::new();
    rows.retain(|row| seen.insert((row.source.clone(), row.target.clone())));
    Ok(rows)
}

/// A clause of the generator; its stems are their own topics.
fn ours(kind: Kind, example: ClauseExample, old: Option<String>) -> Pair {
    Pair {
        kind,
        topic: example.stem.clone(),
        context: example.context,
        stem: example.stem,
        clause: example.clause,
        old,
        terminator: example.terminator,
        shift: Some(example.shift),
    }
}

/// Clauses taken out of one source, and sentences that have none.
fn mine_source(source: &Source, context: &RunContext) -> Result<(Vec<Pair>, Vec<Pair>)> {
    let mut documents = Vec::new();
    source.documents(&context.data, &mut |document| {
        documents.push(document);
        if context.stopped() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    let (mut mined, mut plain) = (Vec::new(), Vec::new());
    for (number, batch) in documents.chunks(BATCH).enumerate() {
        let first = number * BATCH;
        context.check("mining text for reasons")?;
        let found: Vec<Vec<Pair>> = batch.par_iter().map(|text| mine::document(text)).collect();
        for (i, mut pair) in found
            .into_iter()
            .enumerate()
            .flat_map(|(i, all)| all.into_iter().map(move |pair| (i, pair)))
        {
            // What stands in one document is about one thing.
            pair.topic = format!("{} {}", source.name, first + i);
            let into = if pair.kind == Kind::Kept {
                &mut plain
            } else {
                &mut mined
            };
            into.push(pair);
        }
    }
    Ok((mined, plain))
}

/// Reads what every pair moves and keeps.
fn judge(
    rows: &mut [Row],
    judges: &Judges<'_>,
    recipe: &PairsRecipe,
    context: &RunContext,
) -> Result<()> {
    let mut wanted: Vec<&mut Row> = rows
        .iter_mut()
        .filter(|row| !recipe.unjudged.contains(&row.kind))
        .collect();
    let total = wanted.len();
    for (i, batch) in wanted.chunks_mut(512).enumerate() {
        context.check("judging pairs")?;
        let texts: Vec<Text> = batch
            .iter()
            .flat_map(|row| [Text::new(&row.source), Text::new(&row.target)])
            .collect();
        let profiles = judges.profiles(&texts)?;
        let pairs: Vec<(&str, &str)> = texts
            .chunks(2)
            .map(|two| (two[0].text.as_str(), two[1].text.as_str()))
            .collect();
        let consistencies = judges.consistency(&pairs)?;
        for ((row, two), consistency) in batch.iter_mut().zip(profiles.chunks(2)).zip(consistencies)
        {
            if row.shift.is_none() {
                let moved = shift(two[0].as_array(), two[1].as_array(), recipe.gain);
                row.shift = Some(Shift::new(moved).map_err(|e| Error::Input(e.to_string()))?);
            }
            row.before = Some(rounded(&two[0])?);
            row.after = Some(rounded(&two[1])?);
            row.consistency = Some(consistency.into());
            row.guards = guards(&row.source, &row.target).len();
        }
        if i % 10 == 9 {
            context.say(&format!("judged {} of {total} pairs", (i + 1) * 512));
        }
    }
    Ok(())
}

/// Four digits: more would say more than the detector knows.
fn rounded(profile: &Profile) -> Result<Profile> {
    Profile::new(profile.as_array().map(|x| (x * 1e4).round() / 1e4))
        .map_err(|e| Error::Input(e.to_string()))
}

/// Whether a judged pair keeps enough. A text turned around, or a rude one, is not to be kept in all it says; the guards of
/// those and of split sentences, which may repeat a name, do not count.
fn good(row: &Row, recipe: &PairsRecipe) -> bool {
    let Some(kept) = row.consistency else {
        return true;
    };
    let mean = f32::midpoint(kept.forward, kept.backward);
    match row.kind {
        Kind::Counterfactual => true,
        Kind::Detoxified | Kind::Split | Kind::Simplified => mean > recipe.min_consistency,
        // The negation guard cannot tell "nobody" in a written clause from a denial.
        Kind::Written => true,
        // Another premise keeps the claim; what it says instead is another matter.
        Kind::Swap => row.guards == 0,
        _ => row.guards == 0 && mean > recipe.min_consistency,
    }
}

/// What moved between two readings. Components under half of the largest are noise more often than
/// not: a clause seldom speaks more than two values.
fn shift(before: &[f32; 10], after: &[f32; 10], gain: f32) -> [f32; 10] {
    let moved: [f32; 10] = std::array::from_fn(|k| gain * (after[k] - before[k]));
    let largest = moved.iter().fold(0f32, |max, d| max.max(d.abs()));
    moved.map(|d| {
        if 2.0 * d.abs() < largest {
            0.0
        } else {
            d.clamp(-2.0, 2.0)
        }
    })
}

/// Keeps a share of the labelled pairs that move nothing.
fn thin(rows: &mut Vec<Row>, recipe: &PairsRecipe) {
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed + 1);
    rows.retain(|row| {
        let labelled = matches!(row.kind, Kind::Mined | Kind::Argument | Kind::Swap);
        let moves = row.shift.as_ref().is_some_and(|s| {
            s.as_array()
                .iter()
                .any(|d| d.abs() >= visa_align::format::WEAK)
        });
        !labelled || moves || rng.random_bool(recipe.neutral_share)
    });
}

#[cfg(test)]
pub(crate) mod tests;
