//! The sense reader: does a clause belong behind a sentence, as what was written for it does?
//!
//! A small decoder writes good grammar and little sense, and a likelihood of its own cannot see that. A discriminator over the
//! shared encoder can: it learns to tell the clause that was written for a sentence from what the rewriter itself puts there,
//! and from what was written for another sentence. Its logit estimates log p(written) − log p(drawn), by which samples of a language model are
//! ranked as by an energy (noise-contrastive estimation; Deng et al. 2020, arXiv 2004.11714). What a verdict says of clauses that the
//! rewriter had chosen counts more, since that is where it is asked.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use visa_align::embedded::{AFTER_LIMIT, ClauseRequest, Writer, fits};
use visa_align::format;
use visa_align::head::{HeadKind, Output};
use visa_align::shield::{Editable, MAX_CLAUSE, editable};
use visa_nn::sample::SampleOptions;
use visa_nn::{Encoding, WeightType};

use super::{Example, Fitted, Model, Recipe, Target, Trained, fit, measure};
use crate::pairs::row::in_context;
use crate::pairs::{Pair, PairsRecipe, Split, written};
use crate::{Error, Metrics, Result, RunContext};

/// Clauses drawn together.
const TOGETHER: usize = 512;

/// A sentence that bears a clause, with the one that was written for it.
struct Place {
    text: String,
    edit: Editable,
    clause: String,
    wish: [f32; 10],
    split: Split,
    portable: bool,
}

/// Where a case comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Written,
    Drawn,
    Swapped,
    Labelled,
}

/// What may stand behind a sentence, and how likely it belongs there.
#[derive(Clone)]
struct Case {
    before: String,
    clause: String,
    sense: f32,
    origin: Origin,
}

/// Verdicts on clauses behind one sentence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdicts {
    /// The text before the clauses.
    before: String,
    #[serde(default)]
    good: Vec<String>,
    /// Harmless, with little to do with the sentence.
    #[serde(default)]
    weak: Vec<String>,
    #[serde(default)]
    bad: Vec<String>,
}

/// What the reader is to say of a weak clause.
const WEAK: f32 = 0.3;

/// Share of the labelled cases that is held out.
const HELD: f64 = 0.1;

/// Trains and measures on held-out sentences.
///
/// # Errors
/// A folder without clauses, a rewriter that cannot be loaded, and whatever stops training.
pub fn train(recipe: &Recipe, context: &RunContext) -> Result<(Fitted, Metrics)> {
    context.save_recipe(recipe)?;
    let task = &recipe.sense;
    let mut pairs = written::pairs(&task.written)?;
    let mut portable = Vec::new();
    if !task.portable.as_os_str().is_empty() {
        portable = written::pairs(&task.portable)?;
        // The one folder may lie in the other.
        let sentences: HashSet<&str> = portable.iter().map(|p| p.topic.as_str()).collect();
        pairs.retain(|p| !sentences.contains(p.topic.as_str()));
    }
    let mut places = places(&pairs, false);
    places.extend(self::places(&portable, true));
    let drawn = drawn(recipe, &places, context)?;
    let (mut cases, mut held) = cases(recipe, &places, &drawn);
    if !task.labelled.as_os_str().is_empty() {
        for case in labelled(&task.labelled)? {
            // All that was read behind one sentence is learnt, or all is held out.
            match Split::of(&case.before, HELD, 0.0) {
                Split::Train => cases.push(case),
                _ => held.push(case),
            }
        }
    }
    context.say(&format!(
        "{} sentences with a clause, {} cases, {} held out",
        places.len(),
        cases.len(),
        held.len()
    ));
    let model = Model::new(
        recipe,
        HeadKind::Sense,
        vec![Output::new("sense", &["sense"], &[])],
    )?;
    let tokens = model.encode(&texts(&cases))?;
    let examples: Vec<Example> = (tokens.into_iter().zip(&cases))
        .map(|(tokens, case)| Example {
            tokens,
            other: None,
            targets: vec![Target {
                value: vec![case.sense],
                weight: vec![match case.origin {
                    Origin::Labelled => task.labelled_weight,
                    _ => 1.0,
                }],
            }],
            rate: match case.origin {
                Origin::Written => task.written_rate,
                Origin::Swapped => task.swapped_rate,
                Origin::Drawn | Origin::Labelled => 1.0,
            },
        })
        .collect();
    let held_tokens = model.encode(&texts(&held))?;
    let judge = |model: &Model| {
        let metrics = measured(&held, &scores(model, &held_tokens)?);
        Ok(fit::Verdict {
            score: metrics.first().map_or(0.0, |m| m.1),
            metrics,
            config: model.head.config.clone(),
        })
    };
    let fitted = fit(&model, recipe, context, &examples, &[1.0], &judge)?;
    let best = Trained::load(&fitted.model, &recipe.encoder)?;
    let logits = best.logits(&held_tokens)?.swap_remove(0);
    let report = measured(&held, &logits.iter().map(|z| z[0]).collect::<Vec<_>>());
    Ok((fitted, report))
}

fn places(pairs: &[Pair], portable: bool) -> Vec<Place> {
    let shares = PairsRecipe::default();
    let of = |pair: &Pair| {
        let text = in_context(&pair.context, &pair.before());
        let start = text.len() - pair.before().len();
        let edit = editable(&text)
            .into_iter()
            .find(|edit| edit.start == start && edit.end == text.len())?;
        let wish = pair.shift.filter(|s| s.iter().any(|d| *d != 0.0))?;
        fits(&edit, &pair.clause).then(|| Place {
            text,
            edit,
            clause: pair.clause.clone(),
            wish,
            split: Split::of(&pair.topic, shares.valid_share, shares.test_share),
            portable,
        })
    };
    pairs.iter().filter_map(of).collect()
}

/// For some places, by their number, what the rewriter writes there for the same wish.
fn drawn(recipe: &Recipe, places: &[Place], context: &RunContext) -> Result<Vec<(usize, String)>> {
    let task = &recipe.sense;
    let failed = |e: visa_align::AlignError| Error::Input(e.to_string());
    let writer = Writer::load(&task.rewriter, WeightType::native()).map_err(failed)?;
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(recipe.seed));
    order.truncate(task.drawn);
    let options = SampleOptions {
        temperature: task.temperature,
        seed: recipe.seed,
        max_tokens: MAX_CLAUSE + AFTER_LIMIT,
        ..SampleOptions::default()
    };
    let mut found = Vec::with_capacity(order.len());
    for (part, numbers) in order.chunks(TOGETHER).enumerate() {
        if context.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::InterruptedEarly {
                doing: "drawing clauses",
            });
        }
        let (mut owners, mut requests) = (Vec::new(), Vec::new());
        for &number in numbers {
            let place = &places[number];
            let asked = writer
                .asker()
                .ask(&place.text, &place.edit, &place.wish, MAX_CLAUSE);
            if let Some(asked) = asked.map_err(failed)? {
                requests.push(ClauseRequest {
                    asked,
                    punctuation: place.text[place.edit.clause..place.edit.end].to_owned(),
                    // Nobody reads what is drawn here for sense.
                    before: "".into(),
                    options: options.clone(),
                    stream: (part * TOGETHER + requests.len()) as u64,
                });
                owners.push(number);
            }
        }
        let clauses = writer.write(&requests.iter().collect::<Vec<_>>());
        for (number, clause) in owners.into_iter().zip(clauses.map_err(failed)?) {
            let place = &places[number];
            let fresh = |c: &String| fits(&place.edit, c) && *c != place.clause;
            found.extend(clause.map(|c| c.text).filter(fresh).map(|c| (number, c)));
        }
    }
    Ok(found)
}

/// The cases to learn from, and those of held-out topics: what was written, what was drawn, and what was written for another
/// sentence and the same values.
fn cases(recipe: &Recipe, places: &[Place], drawn: &[(usize, String)]) -> (Vec<Case>, Vec<Case>) {
    let task = &recipe.sense;
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x5E45E);
    let mut alike: HashMap<[i8; 10], Vec<usize>> = HashMap::new();
    for (i, place) in places.iter().enumerate() {
        alike.entry(format::ways(&place.wish)).or_default().push(i);
    }
    let portable: Vec<usize> = (0..places.len()).filter(|&i| places[i].portable).collect();
    let (mut train, mut held) = (Vec::new(), Vec::new());
    let mut add = |at: usize, clause: &str, sense: f32, origin: Origin| {
        let place = &places[at];
        let case = Case {
            before: place.text[..place.edit.stem].to_owned(),
            clause: clause.to_owned(),
            sense,
            origin,
        };
        match place.split {
            Split::Train => train.push(case),
            // What makes sense in many places is no measure.
            _ if !place.portable => held.push(case),
            _ => {}
        }
    };
    for (i, place) in places.iter().enumerate() {
        add(i, &place.clause, 1.0, Origin::Written);
        // A portable clause may stand behind most sentences of its kind; without this the reader would learn to refuse
        // whatever can stand in several places.
        if place.portable {
            let other = portable[rng.random_range(0..portable.len())];
            if places[other].edit.bears_reasons == place.edit.bears_reasons {
                add(other, &place.clause, task.elsewhere, Origin::Written);
            }
        }
        let others = &alike[&format::ways(&place.wish)];
        let other = &places[others[rng.random_range(0..others.len())]];
        if !other.portable && other.text != place.text && fits(&place.edit, &other.clause) {
            add(i, &other.clause, 0.0, Origin::Swapped);
        }
    }
    for (at, clause) in drawn {
        add(*at, clause, 0.0, Origin::Drawn);
    }
    (train, held)
}

/// The cases of a file of verdicts.
fn labelled(path: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut cases = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let read: Verdicts = serde_json::from_str(line)
            .map_err(|e| Error::data(path, format!("line {}: {e}", number + 1)))?;
        for (clauses, sense) in [(read.good, 1.0), (read.weak, WEAK), (read.bad, 0.0)] {
            cases.extend(clauses.into_iter().map(|clause| Case {
                before: read.before.clone(),
                clause,
                sense,
                origin: Origin::Labelled,
            }));
        }
    }
    Ok(cases)
}

fn texts(cases: &[Case]) -> Vec<(&str, Option<&str>)> {
    (cases.iter())
        .map(|c| (c.before.as_str(), Some(c.clause.as_str())))
        .collect()
}

fn scores(model: &Model, tokens: &[Encoding]) -> Result<Vec<f32>> {
    let logits = model.predict(&tokens.iter().collect::<Vec<_>>())?;
    Ok(logits[0].iter().map(|z| z[0]).collect())
}

/// Of the labelled cases one in so many, those with the highest logits, are what use would choose.
const CHOSEN: usize = 20;

/// How often what belongs has the higher logit, of all pairs with what does not: what was called good or not, then what was
/// written and what was drawn or belongs to another sentence. What there is none of is not measured.
fn measured(cases: &[Case], logits: &[f32]) -> Metrics {
    let of = |origin: Origin, good: bool| -> Vec<f32> {
        (cases.iter().zip(logits))
            .filter(|(case, _)| case.origin == origin && (case.sense > 0.5) == good)
            .map(|(_, z)| *z)
            .collect()
    };
    let written = of(Origin::Written, true);
    let pairs = [
        (
            "labelled",
            of(Origin::Labelled, true),
            of(Origin::Labelled, false),
        ),
        ("drawn", written.clone(), of(Origin::Drawn, false)),
        ("swapped", written, of(Origin::Swapped, false)),
    ];
    let mut metrics = Metrics::new();
    for (name, high, low) in pairs {
        if !high.is_empty() && !low.is_empty() {
            metrics.push((format!("auc/{name}"), measure::auc(&high, &low)));
            metrics.push((format!("n/{name}"), (high.len() + low.len()) as f64));
        }
    }
    let mut read: Vec<(f32, bool)> = (cases.iter().zip(logits))
        .filter(|(case, _)| case.origin == Origin::Labelled)
        .map(|(case, z)| (*z, case.sense > 0.5))
        .collect();
    read.sort_by(|a, b| b.0.total_cmp(&a.0));
    let chosen = &read[..read.len() / CHOSEN];
    if let Some((least, _)) = chosen.last() {
        let good = |cases: &[(f32, bool)]| measure::share(cases.iter().map(|c| c.1)).0;
        metrics.push(("good/of_all".into(), good(&read)));
        metrics.push(("good/of_highest_twentieth".into(), good(chosen)));
        metrics.push(("logit/of_highest_twentieth".into(), f64::from(*least)));
    }
    metrics
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::atomic::AtomicBool;

    use visa_align::embedded::Phrasebook;
    use visa_align::{Sense, Sensible, Trunk};

    use super::*;
    use crate::encoder::tests;

    const PHRASES: [&str; 4] = [
        "++se so that all are safe",
        "++be , which is kind to us",
        "--se so that none is safe",
        "--be , which is of no use",
    ];

    /// Twenty paragraphs of two sentences with a clause each, which the same words follow.
    fn clauses(word: &str) -> String {
        let mut text = String::new();
        for i in 0..20 {
            let phrase = PHRASES[i % 4];
            let _ = write!(
                text,
                "P\nS You should keep the {word} {i} here.\n{phrase} in {word}\nS You must take it home then.\n{phrase} then\n"
            );
        }
        text
    }

    #[test]
    fn a_reader_is_trained_from_what_was_written_drawn_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        tests::trunk(&at("encoder"));
        visa_align::testing::rewriter(&at("rewriter"));
        let book = Phrasebook::parse(&PHRASES.join("\n")).unwrap();
        book.save(&at("rewriter")).unwrap();
        std::fs::create_dir_all(at("written/portable")).unwrap();
        std::fs::write(at("written/a.txt"), clauses("door")).unwrap();
        std::fs::write(at("written/portable/b.txt"), clauses("cup")).unwrap();
        let labelled: String = (0..60)
            .map(|i| {
                format!(
                    "{{\"before\":\"Keep it {i}\",\"good\":[\" so that all is good\"],\"bad\":[\" so to bad\"]}}\n"
                )
            })
            .collect();
        std::fs::write(at("labelled.jsonl"), labelled).unwrap();
        let mut recipe = tests::recipe(dir.path());
        recipe.head.pooling = visa_align::head::Pooling::Segments;
        recipe.sense = super::super::recipe::SenseTask {
            written: at("written"),
            portable: at("written/portable"),
            labelled: at("labelled.jsonl"),
            rewriter: at("rewriter"),
            drawn: 60,
            written_rate: 1.0,
            ..recipe.sense
        };
        let stop = AtomicBool::new(false);
        let context = RunContext {
            data: dir.path().into(),
            out: at("run"),
            stop: &stop,
            progress: false,
        };
        let (fitted, report) = train(&recipe, &context).unwrap();
        let number = |name: &str| report.iter().find(|(n, _)| n == name).map(|m| m.1);
        assert!(
            number("n/labelled").is_some_and(|n| (2.0..30.0).contains(&n)),
            "{report:?}"
        );
        assert!(number("auc/labelled").is_some_and(|x| (0.0..=1.0).contains(&x)));

        let trunk = Trunk::load(&at("encoder"), WeightType::F32).unwrap();
        let sense = Sense::load(&fitted.model, &trunk).unwrap();
        let long = "You should keep the door. ".repeat(20);
        let read = sense
            .sense(&[("Keep it", " so that all is good"), (&long, " then")])
            .unwrap();
        assert!(read.iter().all(|x| x.is_finite()) && read[0] != read[1]);

        std::fs::write(at("labelled.jsonl"), "{\"good\":[]}").unwrap();
        let error = train(&recipe, &context).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
