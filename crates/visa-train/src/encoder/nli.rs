//! The consistency checker: does the second text follow from the first, conflict with it, or neither?
//!
//! Trained on the counterfactually augmented pairs and on generated ones (splits, paraphrases, changed numbers, names,
//! negations, roles; dropped and invented clauses). The development file decides stopping; the test file is read for
//! the report alone.

use visa_align::head::{HeadKind, Output};
use visa_nn::Encoding;
use visa_wire::datasets::{cad_nli, wiki_split};

use super::fit::Verdict;
use super::recipe::Sources;
use super::soup::soup;
use super::{Example, Fitted, Model, Recipe, Target, apart, fit, measure, sources};
use crate::generate::{NliExample, NliLabel, nli};
use crate::{Metrics, Result, RunContext};

/// Classes of the relation output.
pub const CLASSES: [&str; 3] = ["entailment", "neutral", "contradiction"];

const FOLDER: &str = "counterfactually-augmented-data/NLI/all_combined";
const TEXTS: [&str; 2] = ["text/wikipedia.txt.zst", "text/modern.txt.zst"];
const SPLITS: &str = "wiki-split/tune.tsv";

/// Trains, averages the models of all folds into `context.out/model`, and measures that on the test file.
///
/// # Errors
/// Missing or malformed data, and whatever stops training.
pub fn train(recipe: &Recipe, context: &RunContext) -> Result<(Fitted, Metrics)> {
    context.save_recipe(recipe)?;
    let folds = recipe.nli.folds;
    let (mut parts, mut score, mut held) = (Vec::new(), 0.0, Vec::new());
    for fold in 0..folds {
        let (fitted, held_made) = train_fold(recipe, context, fold)?;
        score += fitted.score / folds as f64;
        parts.push(fitted.model);
        held = held_made;
    }
    let model = context.out.join("model");
    let config = super::Trained::load(&parts[0], &recipe.encoder)?
        .config()
        .clone();
    let rank = Some(recipe.nli.rank).filter(|rank| *rank > 0);
    soup(&parts, &config, &model, rank)?;
    let mut report = evaluate(&model, recipe, context)?;
    report.extend(by_kind(&model, recipe, &held)?);
    Ok((Fitted { model, score }, report))
}

/// One model, and the generated pairs that it did not see.
fn train_fold(
    recipe: &Recipe,
    context: &RunContext,
    fold: usize,
) -> Result<(Fitted, Vec<NliExample>)> {
    let outputs = vec![Output::new("relation", &["relation"], &CLASSES)];
    // One start for all, so that their weights can be averaged; other pairs in another order for each.
    let model = Model::new(recipe, HeadKind::Nli, outputs)?;
    let recipe = &Recipe {
        seed: recipe.seed + fold as u64,
        ..recipe.clone()
    };
    let task = &recipe.nli;
    let mut texts: Vec<(String, Option<String>)> = Vec::new();
    let mut targets = Vec::new();
    for pair in pairs(context, "train")? {
        targets.push((class(pair.relation), 1.0, 1.0));
        texts.push((pair.premise, Some(pair.hypothesis)));
    }
    let human = texts.len();
    if task.sources == Sources::Judge {
        for (premise, hypothesis, class) in apart::pairs(recipe, context)? {
            targets.push((class, task.generated_weight, task.generated_rate));
            texts.push((premise, Some(hypothesis)));
        }
    }
    let mut held_made = generated(recipe, context)?;
    let made = held_made.split_off(held_made.len() / 12);
    for pair in &made {
        targets.push((
            generated_class(pair.label),
            task.generated_weight,
            task.generated_rate,
        ));
        texts.push((pair.premise.clone(), Some(pair.hypothesis.clone())));
    }
    context.say(&format!(
        "model {fold}: {human} human pairs, {} others, {} generated, {} held out",
        texts.len() - human - made.len(),
        made.len(),
        held_made.len()
    ));
    let examples: Vec<Example> = (model.encode(&texts)?.into_iter().zip(&targets))
        .map(|(tokens, &(class, weight, rate))| Example {
            tokens,
            other: None,
            targets: vec![Target {
                value: vec![class as f32],
                weight: vec![weight],
            }],
            rate,
        })
        .collect();
    let dev = pairs(context, "dev")?;
    let dev_tokens = encode(&model, &dev)?;
    let dev_gold: Vec<usize> = dev.iter().map(|p| class(p.relation)).collect();
    let made_tokens = model.encode(&both(&held_made))?;
    let made_gold: Vec<usize> = held_made.iter().map(|p| generated_class(p.label)).collect();
    let judge = |model: &Model| {
        let human = accuracy(model, &dev_tokens, &dev_gold)?;
        let made = if made_gold.is_empty() {
            0.0
        } else {
            accuracy(model, &made_tokens, &made_gold)?
        };
        Ok(Verdict {
            score: human + 0.2 * made,
            metrics: vec![
                ("dev".to_owned(), human),
                ("held_generated".to_owned(), made),
            ],
            config: model.head.config.clone(),
        })
    };
    let fitted = fit(
        &model,
        recipe,
        &fit::fold(context, fold),
        &examples,
        &[1.0],
        &judge,
    )?;
    Ok((fitted, held_made))
}

fn both(pairs: &[NliExample]) -> Vec<(&str, Option<&str>)> {
    pairs
        .iter()
        .map(|p| (p.premise.as_str(), Some(p.hypothesis.as_str())))
        .collect()
}

fn by_kind(model: &std::path::Path, recipe: &Recipe, held: &[NliExample]) -> Result<Metrics> {
    let said = super::Trained::load(model, &recipe.encoder)?.predict(&both(held))?;
    let mut kinds: std::collections::BTreeMap<&str, Vec<bool>> = std::collections::BTreeMap::new();
    for (pair, p) in held.iter().zip(&said[0]) {
        kinds
            .entry(pair.kind)
            .or_default()
            .push(measure::strongest(p) == generated_class(pair.label));
    }
    let mut report = Metrics::new();
    for (kind, hits) in kinds {
        let (share, n) = measure::share(hits);
        report.push((format!("generated/{kind}/n"), n as f64));
        report.push((format!("generated/{kind}"), share));
    }
    Ok(report)
}

/// Accuracy of a trained checker on the test file, with the share of the commonest class as baseline.
///
/// # Errors
/// Missing or malformed data, a model that cannot be loaded.
pub fn evaluate(dir: &std::path::Path, recipe: &Recipe, context: &RunContext) -> Result<Metrics> {
    let trained = super::Trained::load(dir, &recipe.encoder)?;
    let test = pairs(context, "test")?;
    let texts: Vec<(&str, Option<&str>)> = test
        .iter()
        .map(|p| (p.premise.as_str(), Some(p.hypothesis.as_str())))
        .collect();
    let said = trained.predict(&texts)?;
    let gold: Vec<usize> = test.iter().map(|p| class(p.relation)).collect();
    let (share, n) = measure::share(
        said[0]
            .iter()
            .zip(&gold)
            .map(|(p, &g)| measure::strongest(p) == g),
    );
    let commonest = (0..3)
        .map(|c| gold.iter().filter(|&&g| g == c).count())
        .max()
        .unwrap_or(0);
    Ok(vec![
        ("test/accuracy".into(), share),
        (
            "test/baseline_commonest".into(),
            commonest as f64 / n.max(1) as f64,
        ),
        ("test/n".into(), n as f64),
    ])
}

fn pairs(context: &RunContext, split: &str) -> Result<Vec<cad_nli::Pair>> {
    let file = format!("{FOLDER}/{split}.tsv");
    sources::parsed(
        context,
        &file,
        cad_nli::pairs(&sources::read(context, &file)?),
    )
}

fn generated(recipe: &Recipe, context: &RunContext) -> Result<Vec<NliExample>> {
    let count = recipe.nli.generated;
    if count == 0 || recipe.nli.sources == Sources::Judge {
        return Ok(Vec::new());
    }
    let splits = sources::parsed(
        context,
        SPLITS,
        wiki_split::splits(&sources::read(context, SPLITS)?),
    )?;
    let splits = splits
        .into_iter()
        .map(|(whole, halves)| (whole, halves.join(" ")));
    let mut texts = Vec::new();
    for file in TEXTS {
        texts.extend(sources::paragraphs(context, file, count / 2)?);
    }
    Ok(nli(recipe.seed, count, texts, splits))
}

fn class(relation: cad_nli::Relation) -> usize {
    match relation {
        cad_nli::Relation::Entailment => 0,
        cad_nli::Relation::Neutral => 1,
        cad_nli::Relation::Contradiction => 2,
    }
}

fn generated_class(label: NliLabel) -> usize {
    match label {
        NliLabel::Entailment => 0,
        NliLabel::Neutral => 1,
        NliLabel::Contradiction => 2,
    }
}

fn encode(model: &Model, pairs: &[cad_nli::Pair]) -> Result<Vec<Encoding>> {
    let texts: Vec<(&str, Option<&str>)> = pairs
        .iter()
        .map(|p| (p.premise.as_str(), Some(p.hypothesis.as_str())))
        .collect();
    model.encode(&texts)
}

fn accuracy(model: &Model, tokens: &[Encoding], gold: &[usize]) -> Result<f64> {
    let logits = model.predict(&tokens.iter().collect::<Vec<_>>())?;
    Ok(measure::share(
        logits[0]
            .iter()
            .zip(gold)
            .map(|(z, &g)| measure::strongest(z) == g),
    )
    .0)
}
