//! The judge itself: how well the second detector and checker do what the first ones do, and how far they agree.
//!
//! Signs are measured on traits that the judge never saw, beside the product's detector on the same statements; that one
//! was trained on those traits, so it is at an advantage here. Agreement is the correlation of the two profiles, value by
//! value, on texts that speak values (arguments) and on texts that hardly do (mails, news).

use visa_align::{Checker, Detector, Text, Trunk};
use visa_train::encoder::apart::TRAITS;
use visa_train::encoder::measure::{multilabel, strongest};
use visa_train::encoder::sources;
use visa_values::{NAMES, Profile};
use visa_wire::datasets::{cad_nli, persona};

use super::{Setting, data, rewrite};
use crate::rewriter::measure::correlation;
use crate::{EvalError, Figure, Report};

/// Statements of a trait.
const STATEMENTS: usize = 200;
/// Arguments whose profiles are compared.
const ARGUMENTS: usize = 600;

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let folder = data::folder(setting, "judge", "persona-statements")?;
    let trunk = Trunk::find(&setting.models)?;
    let product = Detector::find(&setting.models, &trunk)?;
    let judge = Detector::judge(&setting.models, &trunk)?;
    let mut figures = signs(setting, &folder, &product, &judge)?;
    let laden = arguments(setting, &product, &judge, &mut figures)?;
    nli(setting, &trunk, &mut figures)?;
    let neutral: Vec<String> = rewrite::own().into_iter().map(|case| case.text).collect();
    for (what, texts) in [("arguments", laden), ("ordinary paragraphs", neutral)] {
        agreement(what, &texts, &product, &judge, &mut figures)?;
    }
    Ok(Report {
        suite: "judge".into(),
        figures,
        remarks: vec![
            "The product's detector, given as baseline of the sign, was trained on these traits; the judge was not.".into(),
        ],
    })
}

fn profiles(detector: &Detector, texts: &[String]) -> Result<Vec<Profile>, EvalError> {
    let texts: Vec<Text> = texts.iter().map(Text::new).collect();
    Ok((detector.detect(&texts)?.into_iter())
        .map(|d| d.profile)
        .collect())
}

fn signs(
    setting: &Setting,
    folder: &std::path::Path,
    product: &Detector,
    judge: &Detector,
) -> Result<Vec<Figure>, EvalError> {
    let (mut hits, mut others) = (Vec::new(), Vec::new());
    for (name, signs) in &TRAITS.hold_out {
        let mut list = data::parsed(&folder.join(format!("{name}.jsonl")), persona::statements)?;
        list.retain(|s| s.confidence > 0.8);
        list.truncate(setting.limit.map_or(STATEMENTS, |n| n.min(STATEMENTS)));
        let texts: Vec<String> = list.iter().map(|s| s.statement.clone()).collect();
        for (detector, hits) in [(judge, &mut hits), (product, &mut others)] {
            for (said, s) in profiles(detector, &texts)?.iter().zip(&list) {
                hits.extend(signs.iter().map(|(value, embraces)| {
                    f64::from(u8::from(
                        (said.get(*value) > 0.0) == (*embraces == s.matches),
                    ))
                }));
            }
        }
    }
    let product = others.iter().sum::<f64>() / others.len().max(1) as f64;
    Ok(vec![
        Figure::mean("sign on traits the judge did not see", &hits, setting.seed)
            .against("the product, which did", product),
    ])
}

fn arguments(
    setting: &Setting,
    product: &Detector,
    judge: &Detector,
    figures: &mut Vec<Figure>,
) -> Result<Vec<String>, EvalError> {
    let folder = data::folder(setting, "judge", "touche23")?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let context = visa_train::RunContext {
        data: folder.parent().unwrap_or(&folder).to_owned(),
        out: std::path::PathBuf::new(),
        stop: &stop,
        progress: false,
    };
    let arguments = sources::arguments(&context, "validation").map_err(|e| EvalError::Data {
        path: folder.clone(),
        problem: e.to_string(),
    })?;
    let arguments = data::limited(arguments, setting.limit);
    let texts: Vec<Text> = (arguments.iter())
        .map(|a| Text {
            text: a.argument.premise.clone(),
            context: Some(a.argument.context()),
        })
        .collect();
    let gold: Vec<Vec<bool>> = arguments.iter().map(|a| a.labels.clone()).collect();
    let of = |detector: &Detector| -> Result<Vec<Vec<bool>>, EvalError> {
        Ok((detector.detect(&texts)?.into_iter())
            .map(|d| d.categories.map(|p| p > 0.5).to_vec())
            .collect())
    };
    let rows: Vec<(Vec<bool>, Vec<bool>)> = of(judge)?.into_iter().zip(gold.clone()).collect();
    let other = multilabel(&of(product)?, &gold).task_f1;
    figures.push(
        Figure::resampled("categories, task formula", &rows, setting.seed, |rows| {
            let (decided, gold): (Vec<_>, Vec<_>) =
                rows.iter().map(|r| (r.0.clone(), r.1.clone())).unzip();
            multilabel(&decided, &gold).task_f1
        })
        .against("the product", other),
    );
    Ok((arguments.into_iter().take(ARGUMENTS))
        .map(|a| a.argument.premise)
        .collect())
}

fn nli(setting: &Setting, trunk: &Trunk, figures: &mut Vec<Figure>) -> Result<(), EvalError> {
    let folder = data::folder(setting, "judge", "counterfactually-augmented-data")?;
    let pairs = data::parsed(&folder.join("NLI/all_combined/test.tsv"), cad_nli::pairs)?;
    let pairs = data::limited(pairs, setting.limit);
    let texts: Vec<(&str, &str)> = pairs
        .iter()
        .map(|p| (p.premise.as_str(), p.hypothesis.as_str()))
        .collect();
    let right = |checker: &Checker| -> Result<Vec<f64>, EvalError> {
        let classes = checker.classes();
        Ok((checker.relations(&texts)?.iter().zip(&pairs))
            .map(|(said, pair)| {
                let wanted = super::nli::name(pair.relation);
                f64::from(u8::from(classes[strongest(said)] == wanted))
            })
            .collect())
    };
    let product = right(&Checker::find(&setting.models, trunk)?)?;
    let product = product.iter().sum::<f64>() / product.len().max(1) as f64;
    let judge = right(&Checker::judge(&setting.models, trunk)?)?;
    figures.push(
        Figure::mean("entailment, three classes", &judge, setting.seed)
            .against("the product", product),
    );
    Ok(())
}

/// One figure a value where it exists, and their mean.
fn agreement(
    what: &str,
    texts: &[String],
    product: &Detector,
    judge: &Detector,
    figures: &mut Vec<Figure>,
) -> Result<(), EvalError> {
    let (first, second) = (profiles(product, texts)?, profiles(judge, texts)?);
    let mut found = Vec::new();
    for (v, value) in NAMES.iter().enumerate() {
        let pairs: Vec<(f64, f64)> = (first.iter().zip(&second))
            .map(|(a, b)| (f64::from(a.as_array()[v]), f64::from(b.as_array()[v])))
            .collect();
        if let Some(r) = correlation(&pairs) {
            found.push((value, r));
        }
    }
    if found.is_empty() {
        return Err(EvalError::Nothing {
            suite: "judge",
            what: "value that varies",
            of: texts.len(),
        });
    }
    let mean = found.iter().map(|(_, r)| r).sum::<f64>() / found.len() as f64;
    figures.push(Figure::single(
        &format!("correlation on {what}, mean"),
        mean,
        texts.len(),
    ));
    figures.extend(found.into_iter().map(|(value, r)| {
        Figure::single(&format!("correlation on {what}, {value}"), r, texts.len())
    }));
    Ok(())
}
