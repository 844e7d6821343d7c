//! "Take the reason out, learn to put it back": examples for the rewriter without a parallel corpus.
//!
//! People's sentences whose last clause says why are taken apart ([`mine`]); arguments with a claim
//! and a premise are put together ([`argument`]); sentences left as they are teach the empty clause;
//! clauses of our own bring values that mined text seldom speaks, in both directions: put together
//! in numbers ([`crate::generate`]), and written for one sentence each, which teaches what fits. What shift a mined clause causes is said by a labeller that the caller passes, the
//! detector as a rule. Nothing is trained here.

pub mod argument;
pub mod mine;
mod written;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{sha256, write_atomically};
use crate::data::Source;
use crate::generate::Clauses;
use crate::{Error, Result, RunContext};

/// Documents between looks at the stop flag.
const BATCH: usize = 4096;

/// Where a pair comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A sentence of running text.
    Mined,
    /// A claim and a premise.
    Argument,
    /// A sentence that stays as it is.
    Kept,
    /// Put together by our generator.
    Generated,
    /// Written by us, for its sentence.
    Written,
}

/// A sentence taken apart, and what its clause does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Where it comes from.
    pub origin: Origin,
    /// Up to two preceding sentences.
    pub context: String,
    /// The sentence without its clause and its final punctuation.
    pub stem: String,
    /// The clause with its leading "," or " "; may be empty.
    pub clause: String,
    /// The final punctuation.
    pub terminator: String,
    /// What the clause moves, circle order; `None` where nobody has said so.
    pub shift: Option<[f32; 10]>,
}

impl Pair {
    /// The sentence without the clause.
    pub fn before(&self) -> String {
        format!("{}{}", self.stem, self.terminator)
    }

    /// The sentence with the clause.
    pub fn after(&self) -> String {
        format!("{}{}{}", self.stem, self.clause, self.terminator)
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
    /// How often each written pair comes in a pass.
    pub written: usize,
    /// Factor on a labelled shift: a detector that moves little per clause would else never reach
    /// the strong level.
    pub gain: f32,
    /// Share of the labelled pairs that move no value (by [`visa_align::format::WEAK`]) that is kept:
    /// they teach how clauses are written, and would else crowd out the others.
    pub neutral_share: f64,
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
            written: 3,
            gain: 1.0,
            neutral_share: 0.3,
            skip: None,
            source: Vec::new(),
        }
    }
}

/// What values texts speak: ten numbers each, circle order.
pub type Values<'a> = dyn Fn(&[String]) -> Result<Vec<[f32; 10]>> + 'a;

/// Says what shift a clause causes: the values with it less the values without.
pub struct Labeller<'a> {
    /// What the labels depend on, such as the detector's folder; part of the cache's key.
    pub name: String,
    /// The values of texts.
    pub values: Box<Values<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: String,
    pairs: usize,
}

/// All pairs, from the run's `pairs.jsonl` where that is still true. Without a labeller, mined
/// pairs have no shift.
pub fn load_or_make(
    recipe: &PairsRecipe,
    labeller: Option<&Labeller>,
    context: &RunContext,
) -> Result<Vec<Pair>> {
    let path = context.out.join("pairs.jsonl");
    let name = labeller.map_or("none", |labeller| &labeller.name);
    let recipe_json = serde_json::to_string(recipe).expect("plain data serialises");
    let key = sha256(format!("{recipe_json}\n{name}").as_bytes());
    if let Some(pairs) = read(&path, &key)? {
        context.say(&format!("{} pairs from {}", pairs.len(), path.display()));
        return Ok(pairs);
    }
    let mut pairs = make(recipe, context)?;
    if let Some(labeller) = labeller {
        label(&mut pairs, labeller, recipe.gain, context)?;
        thin(&mut pairs, recipe);
    }
    fs::create_dir_all(&context.out).map_err(Error::io(&context.out))?;
    let header = Header {
        key,
        pairs: pairs.len(),
    };
    let mut text = serde_json::to_string(&header).expect("plain data serialises");
    for pair in &pairs {
        text.push('\n');
        text.push_str(&serde_json::to_string(pair).expect("plain data serialises"));
    }
    text.push('\n');
    write_atomically(&path, text.as_bytes())?;
    Ok(pairs)
}

/// `None` when the file is absent or was made otherwise; an error when it is damaged.
fn read(path: &PathBuf, key: &str) -> Result<Option<Vec<Pair>>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path)(e)),
    };
    let bad = |line: usize, detail: String| {
        Error::data(
            path,
            format!("line {line}: {detail}; remove the file to make it again"),
        )
    };
    let mut lines = BufReader::new(file).lines().enumerate();
    let Some((_, first)) = lines.next() else {
        return Ok(None);
    };
    let first = first.map_err(Error::io(path))?;
    let header: Header = serde_json::from_str(&first).map_err(|e| bad(1, e.to_string()))?;
    if header.key != key {
        return Ok(None);
    }
    let mut pairs = Vec::with_capacity(header.pairs);
    for (i, line) in lines {
        let line = line.map_err(Error::io(path))?;
        pairs.push(serde_json::from_str(&line).map_err(|e| bad(i + 1, e.to_string()))?);
    }
    if pairs.len() != header.pairs {
        let detail = format!("{} pairs where {} were written", pairs.len(), header.pairs);
        return Err(bad(pairs.len() + 1, detail));
    }
    Ok(Some(pairs))
}

fn make(recipe: &PairsRecipe, context: &RunContext) -> Result<Vec<Pair>> {
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
    pairs.extend(
        arguments
            .into_iter()
            .filter(|p| seen.insert((p.stem.clone(), p.clause.clone()))),
    );
    plain.shuffle(&mut rng);
    pairs.extend(plain.iter().take(recipe.kept).cloned());
    let stems = plain
        .iter()
        .skip(recipe.kept)
        .map(|p| (p.context.clone(), p.before()));
    let generated = Clauses::new(recipe.seed)
        .with_stems(stems)
        .generate(recipe.generated);
    pairs.extend(generated.into_iter().map(|example| Pair {
        origin: Origin::Generated,
        context: example.context,
        stem: example.stem,
        clause: example.clause,
        terminator: example.terminator,
        shift: Some(example.shift),
    }));
    if recipe.written > 0 {
        pairs.extend(written::pairs());
    }
    Ok(pairs)
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
    for batch in documents.chunks(BATCH) {
        context.check("mining text for reasons")?;
        let found: Vec<Vec<Pair>> = batch.par_iter().map(|text| mine::document(text)).collect();
        for pair in found.into_iter().flatten() {
            let into = if pair.origin == Origin::Kept {
                &mut plain
            } else {
                &mut mined
            };
            into.push(pair);
        }
    }
    Ok((mined, plain))
}

/// Gives every mined and argued pair the shift that the labeller sees.
fn label(pairs: &mut [Pair], labeller: &Labeller, gain: f32, context: &RunContext) -> Result<()> {
    let mut wanted: Vec<&mut Pair> = pairs.iter_mut().filter(|p| p.shift.is_none()).collect();
    let total = wanted.len();
    for (i, batch) in wanted.chunks_mut(512).enumerate() {
        context.check("labelling clauses")?;
        let texts: Vec<String> = batch
            .iter()
            .flat_map(|pair| [pair.before(), pair.after()])
            .collect();
        let values = (labeller.values)(&texts)?;
        if values.len() != texts.len() {
            return Err(Error::Input(format!(
                "the labeller answered {} of {} texts; it must answer every one",
                values.len(),
                texts.len()
            )));
        }
        for (pair, values) in batch.iter_mut().zip(values.chunks(2)) {
            pair.shift = Some(shift(&values[0], &values[1], gain));
        }
        if i % 10 == 9 {
            context.say(&format!("labelled {} of {total} clauses", (i + 1) * 512));
        }
    }
    Ok(())
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
fn thin(pairs: &mut Vec<Pair>, recipe: &PairsRecipe) {
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed + 1);
    pairs.retain(|pair| {
        let labelled = matches!(pair.origin, Origin::Mined | Origin::Argument);
        let moves = pair
            .shift
            .is_some_and(|s| s.iter().any(|d| d.abs() >= visa_align::format::WEAK));
        !labelled || moves || rng.random_bool(recipe.neutral_share.clamp(0.0, 1.0))
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    pub(crate) fn recipe() -> PairsRecipe {
        PairsRecipe {
            generated: 20,
            written: 0,
            kept: 1,
            source: vec![Source {
                name: "a".into(),
                kind: crate::data::Kind::Text,
                path: "a.zst".into(),
                weight: 1.0,
                every: 1,
                skip: None,
            }],
            ..PairsRecipe::default()
        }
    }

    pub(crate) fn data(dir: &std::path::Path) {
        let text = "The town built a fence around the pond because it keeps children safe. \
                    They painted it green last summer. It was finished in a week.";
        fs::write(
            dir.join("a.zst"),
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        )
        .unwrap();
        for (name, text) in [
            (
                "touche23/arguments-training.tsv",
                "Argument ID\tConclusion\tStance\tPremise\n",
            ),
            ("kpa/arguments_train.csv", "arg_id,argument,topic,stance\n"),
            ("perspectrum/perspectrum_with_answers_v1.0.json", "[]"),
            ("perspectrum/perspective_pool_v1.0.json", "[]"),
            ("perspectrum/dataset_split_v1.0.json", "{}"),
        ] {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), text).unwrap();
        }
    }

    #[test]
    fn small_movements_beside_a_large_one_are_noise() {
        let mut after = [0.0; 10];
        (after[2], after[3], after[4]) = (0.6, -0.31, 0.29);
        let shift = shift(&[0.0; 10], &after, 1.0);
        assert_eq!((shift[2], shift[3], shift[4]), (0.6, -0.31, 0.0));
    }

    #[test]
    fn pairs_are_mined_labelled_and_cached() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        data(dir.path());
        let context = RunContext {
            data: dir.path().into(),
            out: dir.path().join("run"),
            stop: &stop,
            progress: false,
        };
        // A "detector" that sees security in the word "safe".
        let values = |texts: &[String]| {
            let see = |text: &String| {
                let mut values = [0.0; 10];
                values[5] = if text.contains("safe") { 0.4 } else { 0.1 };
                values
            };
            Ok(texts.iter().map(see).collect())
        };
        let labeller = Labeller {
            name: "safe".into(),
            values: Box::new(values),
        };
        let pairs = load_or_make(&recipe(), Some(&labeller), &context).unwrap();
        let mined = pairs.iter().find(|p| p.origin == Origin::Mined).unwrap();
        assert_eq!(mined.stem, "The town built a fence around the pond");
        assert_eq!(mined.clause, " because it keeps children safe");
        let shift = mined.shift.unwrap();
        assert!(
            (shift[5] - 0.3).abs() < 1e-6 && shift[0] == 0.0,
            "{shift:?}"
        );
        assert!(
            pairs
                .iter()
                .any(|p| p.origin == Origin::Kept && p.clause.is_empty())
        );
        assert!(
            pairs
                .iter()
                .filter(|p| p.origin == Origin::Generated)
                .count()
                >= 15
        );

        let broken = Labeller {
            name: "safe".into(),
            values: Box::new(|_| panic!("not asked again")),
        };
        assert_eq!(
            load_or_make(&recipe(), Some(&broken), &context).unwrap(),
            pairs
        );

        let path = context.out.join("pairs.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        let message = load_or_make(&recipe(), Some(&broken), &context)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("pairs.jsonl") && message.contains("line"),
            "{message}"
        );
    }
}
