//! The consistency checker: does the second text follow from the first, conflict with it, or neither?
//!
//! Trained on the counterfactually augmented pairs and on generated ones (splits, paraphrases, changed numbers, names,
//! negations, roles; dropped and invented clauses). The development file decides stopping; the test file is read for
//! the report alone.

use visa_align::head::{HeadKind, Output};
use visa_nn::Encoding;
use visa_wire::datasets::{cad_nli, wiki_split};

use super::fit::Verdict;
use super::{Example, Fitted, Model, Recipe, Target, fit, measure, sources};
use crate::generate::{NliExample, NliLabel, nli};
use crate::{Metrics, Result, RunContext};

/// Classes of the relation output.
pub const CLASSES: [&str; 3] = ["entailment", "neutral", "contradiction"];

const FOLDER: &str = "counterfactually-augmented-data/NLI/all_combined";
const TEXTS: [&str; 2] = ["text/wikipedia.txt.zst", "text/modern.txt.zst"];
const SPLITS: &str = "wiki-split/tune.tsv";

/// Trains, keeps the best model in `context.out/model`, and measures it on the test file.
///
/// # Errors
/// Missing or malformed data, and whatever stops training.
pub fn train(recipe: &Recipe, context: &RunContext) -> Result<(Fitted, Metrics)> {
    context.save_recipe(recipe)?;
    let task = &recipe.nli;
    let model = Model::new(
        recipe,
        HeadKind::Nli,
        vec![Output::new("relation", &["relation"], &CLASSES)],
    )?;
    let mut texts: Vec<(String, Option<String>)> = Vec::new();
    let mut targets = Vec::new();
    for pair in pairs(context, "train")? {
        targets.push((class(pair.relation), 1.0, 1.0));
        texts.push((pair.premise, Some(pair.hypothesis)));
    }
    let human = texts.len();
    let made = generated(recipe, context)?;
    let held_made = made.len() / 12;
    let (held_made, made) = made.split_at(held_made);
    for pair in made {
        targets.push((
            generated_class(pair.label),
            task.generated_weight,
            task.generated_rate,
        ));
        texts.push((pair.premise.clone(), Some(pair.hypothesis.clone())));
    }
    context.say(&format!(
        "{human} human pairs, {} generated, {} of them held out",
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
    let made_texts: Vec<(&str, Option<&str>)> = held_made
        .iter()
        .map(|p| (p.premise.as_str(), Some(p.hypothesis.as_str())))
        .collect();
    let made_tokens = model.encode(&made_texts)?;
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
    let fitted = fit(&model, recipe, context, &examples, &[1.0], &judge)?;
    let mut report = evaluate(&fitted.model, recipe, context)?;
    let trained = super::Trained::load(&fitted.model, &recipe.encoder)?;
    let said = trained.predict(&made_texts)?;
    let mut kinds: std::collections::BTreeMap<&str, Vec<bool>> = std::collections::BTreeMap::new();
    for (pair, p) in held_made.iter().zip(&said[0]) {
        kinds
            .entry(pair.kind)
            .or_default()
            .push(measure::strongest(p) == generated_class(pair.label));
    }
    for (kind, hits) in kinds {
        let (share, n) = measure::share(hits);
        report.push((format!("generated/{kind}/n"), n as f64));
        report.push((format!("generated/{kind}"), share));
    }
    Ok((fitted, report))
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
    if count == 0 {
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
