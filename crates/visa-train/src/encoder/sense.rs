//! The sense reader: does a clause belong behind a sentence, as what a person wrote for it does?
//!
//! A small decoder writes good grammar and little sense, and a likelihood of its own cannot see that. A discriminator over the
//! shared encoder can: it learns to tell the clause that was written for a sentence from what the rewriter itself puts there,
//! and from what was written for another sentence. Its logit estimates log p(written) − log p(drawn), by which samples of a language model are
//! ranked as by an energy (noise-contrastive estimation; Deng et al. 2020, arXiv 2004.11714).

use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_align::embedded::{AFTER_LIMIT, Asker, fits};
use visa_align::head::{HeadKind, Output};
use visa_align::shield::{Editable, MAX_CLAUSE, editable};
use visa_nn::sample::{Constraint, Finish, Generator, Request, SampleOptions};
use visa_nn::{Encoding, Engine, WeightType};

use super::fit::Verdict;
use super::{Example, Fitted, Model, Recipe, Target, Trained, fit, measure};
use crate::pairs::row::in_context;
use crate::pairs::{Pair, PairsRecipe, Split, written};
use crate::rewriter::policy;
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

/// What may stand behind a sentence, and whether somebody wrote it there.
#[derive(Clone)]
struct Case {
    before: String,
    clause: String,
    written: f32,
    rate: f64,
}

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
    let (cases, held) = cases(recipe, &places, &drawn);
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
            targets: vec![Target::known(vec![case.written])],
            rate: case.rate,
        })
        .collect();
    let held_tokens = model.encode(&texts(&held))?;
    let judge = |model: &Model| {
        let metrics = measured(&held, &scores(model, &held_tokens)?);
        Ok(Verdict {
            score: metrics[0].1,
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
fn drawn(
    recipe: &Recipe,
    places: &[Place],
    context: &RunContext,
) -> Result<Vec<(usize, String)>> {
    let task = &recipe.sense;
    let (decoder, asker) = policy::load(&task.rewriter, None, recipe.seed)?;
    let engine = Engine::new(&decoder, WeightType::native())?;
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
        let clauses = draw(&engine, &asker, places, numbers, &options, part)?;
        for (&number, clause) in numbers.iter().zip(clauses) {
            let place = &places[number];
            found.extend(
                clause
                    .filter(|c| fits(&place.edit, c) && *c != place.clause)
                    .map(|c| (number, c)),
            );
        }
    }
    Ok(found)
}

fn draw(
    engine: &Engine,
    asker: &Asker,
    places: &[Place],
    numbers: &[usize],
    options: &SampleOptions,
    part: usize,
) -> Result<Vec<Option<String>>> {
    let failed = |e: visa_align::AlignError| Error::Input(e.to_string());
    let mut asked = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let place = &places[number];
        let one = asker.ask(&place.text, &place.edit, &place.wish, MAX_CLAUSE);
        asked.push(one.map_err(failed)?);
    }
    let mut shields: Vec<_> = asked.iter().flatten().map(|a| a.shield.clone()).collect();
    let mut constraints: Vec<Box<dyn Constraint + '_>> = (shields.iter_mut())
        .map(|shield| Box::new(shield) as Box<dyn Constraint + '_>)
        .collect();
    let requests: Vec<Request<'_>> = (asked.iter().flatten().enumerate())
        .map(|(i, one)| Request {
            prompt: &one.prompt,
            options,
            stream: (part * TOGETHER + i) as u64,
        })
        .collect();
    let mut written = Generator::over(engine)
        .requests(&requests, &mut constraints)?
        .into_iter();
    let read = |one: &Option<visa_align::embedded::Asked>| {
        let Some(one) = one else { return Ok(None) };
        let Some(out) = written.next().filter(|o| o.finish == Finish::Constraint) else {
            return Ok(None);
        };
        asker.clause(&out.ids, one.terminator).map(Some).map_err(failed)
    };
    asked.iter().map(read).collect()
}

/// The cases to learn from, and those of held-out topics: what was written, what was drawn, and what was written for another
/// sentence and the same values.
fn cases(recipe: &Recipe, places: &[Place], drawn: &[(usize, String)]) -> (Vec<Case>, Vec<Case>) {
    let task = &recipe.sense;
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x5E45E);
    let mut alike: HashMap<[i8; 10], Vec<usize>> = HashMap::new();
    for (i, place) in places.iter().enumerate() {
        alike.entry(place.wish.map(|d| d.signum() as i8 * i8::from(d != 0.0))).or_default().push(i);
    }
    let portable: Vec<usize> = (0..places.len()).filter(|&i| places[i].portable).collect();
    let (mut train, mut held) = (Vec::new(), Vec::new());
    let mut add = |at: usize, clause: &str, written: f32, rate: f64| {
        let place = &places[at];
        let case = Case {
            before: place.text[..place.edit.stem].to_owned(),
            clause: clause.to_owned(),
            written,
            rate,
        };
        match place.split {
            Split::Train => train.push(case),
            // What makes sense in many places is no measure.
            _ if rate > 0.0 && !place.portable => held.push(case),
            _ => {}
        }
    };
    for (i, place) in places.iter().enumerate() {
        add(i, &place.clause, 1.0, task.written_rate);
        // A portable clause may stand behind most sentences of its kind; without this the reader would learn to refuse
        // whatever can stand in several places.
        if place.portable {
            let other = portable[rng.random_range(0..portable.len())];
            if places[other].edit.bears_reasons == place.edit.bears_reasons {
                add(other, &place.clause, task.elsewhere, task.written_rate);
            }
        }
        let others = &alike[&place.wish.map(|d| d.signum() as i8 * i8::from(d != 0.0))];
        let other = &places[others[rng.random_range(0..others.len())]];
        if !other.portable && other.text != place.text && fits(&place.edit, &other.clause) {
            add(i, &other.clause, 0.0, task.swapped_rate);
        }
    }
    for (at, clause) in drawn {
        add(*at, clause, 0.0, 1.0);
    }
    (train, held)
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

/// How often what was written has the higher logit, of all pairs with what was not; drawn and swapped together.
fn measured(cases: &[Case], logits: &[f32]) -> Metrics {
    let of = |rate: Option<bool>| -> Vec<f32> {
        (cases.iter().zip(logits))
            .filter(|(case, _)| match rate {
                None => case.written >= 0.5,
                Some(drawn) => case.written < 0.5 && (case.rate == 1.0) == drawn,
            })
            .map(|(_, z)| *z)
            .collect()
    };
    let (written, drawn, swapped) = (of(None), of(Some(true)), of(Some(false)));
    vec![
        ("auc/drawn".into(), measure::auc(&written, &drawn)),
        ("auc/swapped".into(), measure::auc(&written, &swapped)),
        ("n/written".into(), written.len() as f64),
        ("n/drawn".into(), drawn.len() as f64),
        ("n/swapped".into(), swapped.len() as f64),
    ]
}
