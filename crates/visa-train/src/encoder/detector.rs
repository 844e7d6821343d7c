//! The detector: presence of 20 categories and the sign of ten values, trained together in one adapter.
//!
//! Presence comes from the arguments of `touche23`, sign from the signed sources. Conclusions held out of the training
//! file decide stopping and thresholds; the validation file, the held-out traits and the PVQ-40 are read for the report
//! alone.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_align::head::{HeadKind, Output, profile};
use visa_nn::Encoding;
use visa_values::{Category, NAMES};

use super::fit::Verdict;
use super::recipe::Sources;
use super::signed::{self, CLASSES, Signed, TRAITS};
use super::soup::soup;
use super::sources::{self, Labelled};
use super::{
    Example, Fitted, Model, Recipe, Target, Trained, apart, calibrate, fit, measure, written,
};
use crate::{Metrics, Result, RunContext};

/// Files of running text that fill the made examples.
const FILLER: &str = "text/wikipedia.txt.zst";

/// Trains one model a fold, averages them into `context.out/model`, and measures that on the test sources.
///
/// # Errors
/// Missing or malformed data, and whatever stops training.
pub fn train(recipe: &Recipe, context: &RunContext) -> Result<(Fitted, Metrics)> {
    context.save_recipe(recipe)?;
    let folds = recipe.detector.folds;
    let mut parts = Vec::with_capacity(folds);
    let mut outside = Outside::default();
    let mut score = 0.0;
    for fold in 0..folds {
        let fitted = train_fold(recipe, context, fold, &mut outside)?;
        score += fitted.score / folds as f64;
        parts.push(fitted.model);
    }
    // The thresholds come from every fold's held-out arguments, each read by the model that did not see them.
    let thresholds = calibrate::thresholds(&outside.logits, &outside.gold);
    let model = context.out.join("model");
    let mut config = Trained::load(&parts[0], &recipe.encoder)?.config().clone();
    config.outputs[0].bias = thresholds.iter().map(|t| -t).collect();
    config.presence_share = recipe.detector.presence_share;
    for (v, by) in calibrate::sign_offsets(&outside.signs)
        .into_iter()
        .enumerate()
    {
        config.outputs[1].bias[3 * v] = -by / 2.0;
        config.outputs[1].bias[3 * v + 2] = by / 2.0;
    }
    soup(&parts, &config, &model, None)?;
    let decided = calibrate::decide(&outside.logits, &thresholds);
    let mut report = vec![(
        "outside/task_f1".to_owned(),
        measure::multilabel(&decided, &outside.gold).task_f1,
    )];
    report.extend(evaluate(&model, recipe, context)?);
    Ok((Fitted { model, score }, report))
}

/// Logits and gold labels of held-out arguments, with and without context, and signs of held-out signed texts.
#[derive(Default)]
struct Outside {
    logits: Vec<Vec<f32>>,
    gold: Vec<Vec<bool>>,
    signs: Vec<calibrate::SignCase>,
}

fn train_fold(
    recipe: &Recipe,
    context: &RunContext,
    fold: usize,
    outside: &mut Outside,
) -> Result<Fitted> {
    // One start for all folds, so that their weights can be averaged; another order of the data for each.
    let model = Model::new(recipe, HeadKind::Detector, outputs())?;
    let recipe = &Recipe {
        seed: recipe.seed + fold as u64,
        ..recipe.clone()
    };
    let context = &fit::fold(context, fold);
    let data = Data::load(recipe, context, fold)?;
    let held = encode(&model, &data.held, true)?;
    let held_alone = encode(&model, &data.held, false)?;
    let fitted = run_fold(recipe, context, fold, &model, &data, [&held, &held_alone])?;
    let best = Trained::load(&fitted.model, &recipe.encoder)?;
    for tokens in [&held, &held_alone] {
        outside.logits.extend(best.logits(tokens)?.swap_remove(0));
        outside.gold.extend(labels(&data.held));
    }
    let held_signed = model.encode(&signed_texts(&data.held_signed))?;
    outside.signs.extend(sign_cases(
        &data.held_signed,
        &best.logits(&held_signed)?[1],
    ));
    Ok(fitted)
}

fn run_fold(
    recipe: &Recipe,
    context: &RunContext,
    fold: usize,
    model: &Model,
    data: &Data,
    held: [&Vec<Encoding>; 2],
) -> Result<Fitted> {
    if recipe.detector.describe {
        describe(model, &sources::descriptions(context)?)?;
    }
    let examples = data.examples(model, recipe)?;
    context.say(&format!(
        "fold {fold}: {} arguments, {} held out; {} signed texts",
        data.training.len(),
        data.held.len(),
        data.signed.len()
    ));
    let held_signed: Vec<Encoding> = model.encode(&signed_texts(&data.held_signed))?;
    let judge = |model: &Model| judge(model, recipe, data, held, &held_signed);
    let weights = [1.0, f64::from(recipe.detector.sign_weight)];
    fit(model, recipe, context, &examples, &weights, &judge)
}

fn outputs() -> Vec<Output> {
    let categories: Vec<&str> = Category::ALL.iter().map(|c| c.name()).collect();
    vec![
        Output::new("presence", &categories, &[]),
        Output::new("sign", &NAMES, &CLASSES),
    ]
}

struct Data {
    training: Vec<Labelled>,
    held: Vec<Labelled>,
    signed: Vec<Signed>,
    /// One in twelve signed texts, for the metrics of the sign while training.
    held_signed: Vec<Signed>,
}

impl Data {
    fn load(recipe: &Recipe, context: &RunContext, fold: usize) -> Result<Self> {
        let task = &recipe.detector;
        let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
        let all = sources::arguments(context, "training")?;
        let mut conclusions: Vec<String> =
            all.iter().map(|a| a.argument.conclusion.clone()).collect();
        conclusions.sort();
        conclusions.dedup();
        // The folds cut one common order, so they never hold out the same conclusion.
        // The judge cuts another order, so that it is stopped by other conclusions.
        let order = match task.sources {
            Sources::Product => 0x0F01D,
            Sources::Judge => 0x0F01D + 1,
        };
        conclusions.shuffle(&mut ChaCha8Rng::seed_from_u64(order));
        let held_count = ((conclusions.len() as f64 * task.hold_out).ceil() as usize).max(1);
        let held_conclusions: std::collections::HashSet<&String> = conclusions
            .iter()
            .skip(fold * held_count)
            .take(held_count)
            .collect();
        let (held, training): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|a| held_conclusions.contains(&a.argument.conclusion));
        let mut signed = match task.sources {
            Sources::Product => product(recipe, context)?,
            Sources::Judge => apart::signed(recipe, context)?,
        };
        for additions in &task.additions {
            signed.extend(written::additions(additions)?);
        }
        // People often leave the last full stop off.
        for s in &mut signed {
            if s.text.ends_with('.') && rng.random_bool(task.drop_stop) {
                s.text.pop();
            }
        }
        let mut held_signed = Vec::new();
        signed.retain(|s| {
            let hold = rng.random_bool(1.0 / 12.0);
            if hold && s.rate > 0.0 {
                held_signed.push(s.clone());
            }
            !hold
        });
        held_signed.truncate(2000);
        Ok(Self {
            training,
            held,
            signed,
            held_signed,
        })
    }

    fn examples(&self, model: &Model, recipe: &Recipe) -> Result<Vec<Example>> {
        let task = &recipe.detector;
        let paired = encode(model, &self.training, true)?;
        let single = encode(model, &self.training, false)?;
        let mut examples = Vec::new();
        for ((argument, tokens), other) in self.training.iter().zip(paired).zip(single) {
            let presence: Vec<f32> = (argument.labels.iter())
                .map(|&l| f32::from(u8::from(l)) * (1.0 - task.smoothing) + 0.1 * task.smoothing)
                .collect();
            examples.push(Example {
                tokens,
                other: Some((other, task.drop_context)),
                targets: vec![
                    Target::known(presence),
                    argument_sign(&argument.labels, task.argument_sign),
                ],
                rate: 1.0,
            });
        }
        for (signed, tokens) in (self.signed.iter()).zip(model.encode(&signed_texts(&self.signed))?)
        {
            let targets = vec![Target::unknown(20), signed.target.clone()];
            examples.push(Example {
                tokens,
                other: None,
                targets,
                rate: signed.rate,
            });
        }
        Ok(examples)
    }
}

/// Signed texts of the product's detector.
fn product(recipe: &Recipe, context: &RunContext) -> Result<Vec<Signed>> {
    let task = &recipe.detector;
    let mut signed = Vec::new();
    let statements = sources::statements(context, TRAITS.train.keys().map(String::as_str))?;
    for (name, list) in &statements {
        signed.extend(signed::personas(
            &TRAITS.train[name],
            list,
            task.persona_rate,
        ));
    }
    let matching = &TRAITS.matching_only;
    let statements = sources::statements(context, matching.keys().map(String::as_str))?;
    for (name, mut list) in statements {
        list.retain(|s| s.matches);
        signed.extend(signed::personas(&matching[&name], &list, task.persona_rate));
    }
    signed.extend(written::texts(task.written));
    let (items, definitions) = sources::inventories(context)?;
    signed.extend(signed::inventory(&items, &definitions));
    let filler = sources::sentences(context, FILLER, 2000.max(2 * task.plain))?;
    signed.extend(filler.iter().rev().take(task.plain).map(|text| Signed {
        text: text.clone(),
        context: None,
        target: signed::target(&[], true, 0.0, 0.5),
        rate: 1.0,
    }));
    signed.extend(signed::plain());
    // Three epochs' worth, so that an epoch seldom sees the sentence of the one before.
    signed.extend(signed::made(
        recipe.seed,
        3 * task.phrases,
        &filler[..1000.min(filler.len())],
        1.0 / 3.0,
    ));
    signed.extend(signed::clauses(recipe.seed, 3 * task.clauses, 1.0 / 3.0));
    Ok(signed)
}

/// A value whose category an argument resorts to is embraced; one without is silent, with half the weight.
fn argument_sign(labels: &[bool], weight: f32) -> Target {
    let mut target = Target {
        value: vec![1.0; 10],
        weight: vec![0.5 * weight; 10],
    };
    for (category, &present) in Category::ALL.iter().zip(labels) {
        if present {
            for (value, share) in category.values() {
                let v = value.index();
                target.value[v] = 2.0;
                target.weight[v] = target.weight[v].max(weight * share);
            }
        }
    }
    target
}

fn signed_texts(signed: &[Signed]) -> Vec<(&str, Option<&str>)> {
    (signed.iter())
        .map(|s| (s.text.as_str(), s.context.as_deref()))
        .collect()
}

fn alone<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<(&'t str, Option<&'t str>)> {
    texts.map(|t| (t, None)).collect()
}

fn encode(model: &Model, arguments: &[Labelled], context: bool) -> Result<Vec<Encoding>> {
    let texts: Vec<(String, Option<String>)> = (arguments.iter())
        .map(|a| {
            (
                a.argument.premise.clone(),
                context.then(|| a.argument.context()),
            )
        })
        .collect();
    model.encode(&texts)
}

/// Starts the presence head at the categories' descriptions: each row is its description's mean state, centred over
/// the categories and scaled to the length of the random row that it replaces.
fn describe(model: &Model, descriptions: &[String]) -> Result<()> {
    let Some(weight) = model.head_var("presence.out.weight") else {
        return Ok(());
    };
    let (rows, width) = weight.dims2()?;
    if width != model.encoder.config().hidden_size || rows != descriptions.len() {
        return Ok(());
    }
    let tokens = model.encode(&alone(descriptions.iter().map(String::as_str)))?;
    let tokens: Vec<&Encoding> = tokens.iter().collect();
    let batch = visa_nn::Batch::new(&tokens, model.pad(), model.encoder.device())?;
    let states = visa_nn::mean_pool(&model.encoder.forward(&batch)?.detach(), &batch.lens)?;
    let centred = states.broadcast_sub(&states.mean_keepdim(0)?)?;
    let length = centred.sqr()?.sum_keepdim(1)?.sqrt()?;
    // The random rows are uniform in ±2/√width, so their length is 2/√3.
    weight.set(&(centred.broadcast_div(&length)? * (2.0 / 3f64.sqrt()))?)?;
    Ok(())
}

fn labels(arguments: &[Labelled]) -> Vec<Vec<bool>> {
    arguments.iter().map(|a| a.labels.clone()).collect()
}

fn judge(
    model: &Model,
    recipe: &Recipe,
    data: &Data,
    held: [&Vec<Encoding>; 2],
    held_signed: &[Encoding],
) -> Result<Verdict> {
    let paired = model.predict(&held[0].iter().collect::<Vec<_>>())?;
    let single = model.predict(&held[1].iter().collect::<Vec<_>>())?;
    let gold = labels(&data.held);
    // Users give texts with and without a context, so the thresholds serve both.
    let both: Vec<Vec<f32>> = paired[0].iter().chain(&single[0]).cloned().collect();
    let both_gold: Vec<Vec<bool>> = gold.iter().chain(&gold).cloned().collect();
    let thresholds = calibrate::thresholds(&both, &both_gold);
    let on =
        |logits: &[Vec<f32>]| measure::multilabel(&calibrate::decide(logits, &thresholds), &gold);
    let (with, without) = (on(&paired[0]), on(&single[0]));
    let sign = model.predict(&held_signed.iter().collect::<Vec<_>>())?;
    let cases = sign_cases(&data.held_signed, &sign[1]);
    let right = measure::share(
        cases
            .iter()
            .map(|(_, odds, embraces)| (*odds > 0.0) == *embraces),
    )
    .0;
    let mut config = model.head.config.clone();
    config.presence_share = recipe.detector.presence_share;
    config.outputs[0].bias = thresholds.iter().map(|t| -t).collect();
    let metrics = vec![
        ("held_f1".to_owned(), with.task_f1),
        ("held_mean_f1".to_owned(), with.mean_f1),
        ("held_alone_f1".to_owned(), without.task_f1),
        ("held_sign".to_owned(), right),
    ];
    let score = 0.75 * with.task_f1 + 0.25 * without.task_f1 + 0.1 * right;
    Ok(Verdict {
        score,
        metrics,
        config,
    })
}

/// The cases of signed texts that name a value's sign.
fn sign_cases(signed: &[Signed], logits: &[Vec<f32>]) -> Vec<calibrate::SignCase> {
    (signed.iter().zip(logits))
        .flat_map(|(s, z)| {
            let named = (0..10).filter(|&v| s.target.weight[v] >= 0.2 && s.target.value[v] != 1.0);
            named.map(move |v| (v, z[3 * v + 2] - z[3 * v], s.target.value[v] > 1.0))
        })
        .collect()
}

/// Loads a trained detector and measures it on sources that training never saw: `touche23` validation (and Zhihu), the
/// held-out traits, the PVQ-40. `n` stands beside each figure.
///
/// # Errors
/// Missing or malformed data, a model that cannot be loaded.
pub fn evaluate(dir: &std::path::Path, recipe: &Recipe, context: &RunContext) -> Result<Metrics> {
    let model = Trained::load(dir, &recipe.encoder)?;
    let mut report = Metrics::new();
    for split in ["validation", "validation-zhihu"] {
        let arguments = sources::arguments(context, split)?;
        let gold = labels(&arguments);
        for (name, with_context) in [("context", true), ("alone", false)] {
            let texts: Vec<(String, Option<String>)> = (arguments.iter())
                .map(|a| {
                    (
                        a.argument.premise.clone(),
                        with_context.then(|| a.argument.context()),
                    )
                })
                .collect();
            let said = model.predict(&texts)?;
            let decided: Vec<Vec<bool>> = said[0]
                .iter()
                .map(|p| p.iter().map(|&p| p > 0.5).collect())
                .collect();
            let m = measure::multilabel(&decided, &gold);
            report.push((format!("{split}/{name}/task_f1"), m.task_f1));
            report.push((format!("{split}/{name}/mean_f1"), m.mean_f1));
        }
        let all = vec![vec![true; 20]; gold.len()];
        report.push((
            format!("{split}/baseline_all/task_f1"),
            measure::multilabel(&all, &gold).task_f1,
        ));
        report.push((format!("{split}/n"), gold.len() as f64));
    }
    let share = model.config().presence_share;
    let profiles = |texts: &[&str]| -> Result<Vec<[f32; 10]>> {
        let texts: Vec<(&str, Option<&str>)> = alone(texts.iter().copied());
        let said = model.predict(&texts)?;
        Ok((said[0].iter().zip(&said[1]))
            .map(|(presence, sign)| {
                profile(
                    sign,
                    presence.as_slice().try_into().expect("twenty categories"),
                    share,
                )
            })
            .collect())
    };
    let hold_out = match recipe.detector.sources {
        Sources::Product => &TRAITS.hold_out,
        Sources::Judge => &apart::TRAITS.hold_out,
    };
    let statements = sources::statements(context, hold_out.keys().map(String::as_str))?;
    let (mut hits, mut total, mut traits) = (0.0, 0usize, Vec::new());
    for (name, list) in &statements {
        let signs = &hold_out[name];
        let texts: Vec<&str> = list.iter().map(|s| s.statement.as_str()).collect();
        let pairs = profiles(&texts)?;
        let right = pairs.iter().zip(list).flat_map(|(v, s)| {
            signs
                .iter()
                .map(move |(value, embraces)| (v[value.index()] > 0.0) == (*embraces == s.matches))
        });
        let (share, n) = measure::share(right);
        hits += share * n as f64;
        total += n;
        traits.push((format!("traits/{name}"), share));
    }
    report.push(("traits/sign".into(), hits / total.max(1) as f64));
    report.push(("traits/n".into(), total as f64));
    report.extend(traits);
    let (items, _) = sources::inventories(context)?;
    let pvq: Vec<_> = items
        .iter()
        .filter(|i| i.questionnaire == signed::TEST_QUESTIONNAIRE)
        .collect();
    let texts: Vec<&str> = pvq.iter().map(|i| i.item.as_str()).collect();
    let (right, n) = measure::share(profiles(&texts)?.iter().zip(&pvq).map(|(v, item)| {
        let strongest = NAMES[measure::strongest(v)];
        strongest == item.value.to_lowercase().replace(' ', "-")
    }));
    report.push(("pvq40/strongest".into(), right));
    report.push(("pvq40/n".into(), n as f64));
    Ok(report)
}
