//! The sense reader: what does a sentence do, and does a clause belong behind it, as what was written for it does?
//!
//! A small decoder writes good grammar and little sense, and a likelihood of its own cannot see that. A discriminator over the
//! shared encoder can, by which samples of a language model are ranked as by an energy (Deng et al. 2020, arXiv 2004.11714). It
//! learns to tell the clause that was written for a sentence from what was written for another one, and for another speech act. What a
//! verdict says of clauses that the rewriter had chosen counts more, since that is where it is asked.

use std::collections::{HashMap, HashSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use visa_align::acts::{self, Acts};
use visa_align::embedded::fits;
use visa_align::format;
use visa_align::head::HeadKind;
use visa_align::sense::{self, NO_ACT};
use visa_align::shield::{Edit, Editable, editable};

use super::{Example, Fitted, Model, Recipe, Target, Trained, fit, measure};
use crate::data::json_lines;
use crate::pairs::row::in_context;
use crate::pairs::verdicts::Verdicts;
use crate::pairs::written::{Act, Written};
use crate::pairs::{Pair, Split, verdicts, written};
use crate::{Metrics, Result, RunContext};

/// Where a case comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Written,
    Swapped,
    Act,
    /// A verdict on a phrase of the book.
    Labelled,
    /// A verdict on another clause.
    Other,
    Performed,
}

/// What may stand behind a sentence, and how likely it belongs there.
#[derive(Clone)]
struct Case {
    /// What it is held out by.
    topic: String,
    before: String,
    /// Empty where only the act is asked.
    clause: String,
    sense: f32,
    /// The class of the act, where that is asked.
    act: usize,
    origin: Origin,
}

/// What the reader is to say of a weak clause.
const WEAK: f32 = 0.2;

/// Share of the labelled cases that is held out.
const HELD: f64 = 0.1;

/// Trains and measures on held-out sentences.
///
/// # Errors
/// A folder without clauses, verdicts that cannot be read, and whatever stops training.
pub fn train(recipe: &Recipe, context: &RunContext) -> Result<(Fitted, Metrics)> {
    context.save_recipe(recipe)?;
    let task = &recipe.sense;
    let Written { paragraphs, acts } = written::read(&task.written)?;
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x5E45E);
    let mut cases = of_paragraphs(&paragraphs, &mut rng);
    cases.extend(of_acts(&acts, task.elsewhere, &mut rng));
    cases.extend(performed(&acts));
    if !task.acts.as_os_str().is_empty() {
        let told = json_lines(&task.acts, |line: Performed| performing_all(&line))?;
        cases.extend(told.into_iter().flatten());
    }
    if !task.labelled.as_os_str().is_empty() {
        let told = verdicts::read(&task.labelled)?;
        let book = if task.book.as_os_str().is_empty() {
            None
        } else {
            let acts = written::read(&task.book)?.acts;
            let clauses = acts.into_iter().flat_map(|act| act.clauses);
            Some(clauses.map(|(clause, _)| clause).collect())
        };
        let told = told.into_iter();
        cases.extend(told.flat_map(|read| labelled(read, book.as_ref())));
    }
    // All that stands behind one sentence is learnt, or all is held out.
    let (cases, held): (Vec<Case>, Vec<Case>) =
        (cases.into_iter()).partition(|case| Split::of(&case.topic, HELD, 0.0) == Split::Train);
    context.say(&format!("{} cases, {} held out", cases.len(), held.len()));
    let model = Model::new(recipe, HeadKind::Sense, sense::outputs())?;
    let tokens = model.encode(&texts(&cases))?;
    let examples: Vec<Example> = (tokens.into_iter().zip(&cases))
        .map(|(tokens, case)| Example {
            tokens,
            other: None,
            targets: vec![
                target(
                    case.sense,
                    match case.origin {
                        Origin::Performed => 0.0,
                        Origin::Labelled | Origin::Other => task.labelled_weight,
                        _ => 1.0,
                    },
                ),
                target(
                    case.act as f32,
                    f32::from(u8::from(case.origin == Origin::Performed)),
                ),
            ],
            rate: match case.origin {
                Origin::Written => task.written_rate,
                Origin::Swapped => task.swapped_rate,
                Origin::Act => task.act_rate,
                Origin::Other => task.other_rate,
                Origin::Labelled | Origin::Performed => 1.0,
            },
        })
        .collect();
    let held_tokens = model.encode(&texts(&held))?;
    let judge = |model: &Model| {
        let metrics = measured(
            &held,
            &model.predict(&held_tokens.iter().collect::<Vec<_>>())?,
        );
        Ok(fit::Verdict {
            score: metrics.first().map_or(0.0, |m| m.1),
            metrics,
            config: model.head.config.clone(),
        })
    };
    let fitted = fit(
        &model,
        recipe,
        context,
        &examples,
        &[1.0, task.act_weight],
        &judge,
    )?;
    let best = Trained::load(&fitted.model, &recipe.encoder)?;
    let report = measured(&held, &best.logits(&held_tokens)?);
    Ok((fitted, report))
}

fn target(value: f32, weight: f32) -> Target {
    Target {
        value: vec![value],
        weight: vec![weight],
    }
}

/// The place that a written clause has in its text, if the shield lets a clause stand there.
fn place(pair: &Pair) -> Option<(String, Editable)> {
    let text = in_context(&pair.context, &pair.before());
    let start = text.len() - pair.before().len();
    let edit = editable(&text)
        .into_iter()
        .find(|edit| edit.start == start && edit.end == text.len())?;
    Some((text, edit))
}

/// What was written behind each sentence, and what was written for another sentence and the same values.
fn of_paragraphs(pairs: &[Pair], rng: &mut ChaCha8Rng) -> Vec<Case> {
    let mut places = Vec::new();
    let mut alike: HashMap<[i8; 10], Vec<usize>> = HashMap::new();
    for pair in pairs {
        let Some(wish) = pair.shift.filter(|s| s.iter().any(|d| *d != 0.0)) else {
            continue;
        };
        if let Some((text, edit)) = place(pair).filter(|(_, edit)| fits(edit, &pair.clause)) {
            alike
                .entry(format::ways(&wish))
                .or_default()
                .push(places.len());
            places.push((text, edit, pair, format::ways(&wish)));
        }
    }
    let mut cases = Vec::new();
    for (text, edit, pair, ways) in &places {
        let mut add = |clause: &str, sense: f32, origin: Origin| {
            cases.push(Case {
                topic: pair.topic.clone(),
                before: text[..edit.stem].to_owned(),
                clause: clause.to_owned(),
                sense,
                act: 0,
                origin,
            });
        };
        add(&pair.clause, 1.0, Origin::Written);
        let others = &alike[ways];
        let (other, _, swapped, _) = &places[others[rng.random_range(0..others.len())]];
        if other != text && fits(edit, &swapped.clause) {
            add(&swapped.clause, 0.0, Origin::Swapped);
        }
    }
    cases
}

/// Sentences that each clause of an act is shown behind: some of its act, where it belongs, and as many of others, where it seldom does.
const SHOWN: usize = 4;

fn of_acts(acts: &[Act], elsewhere: f32, rng: &mut ChaCha8Rng) -> Vec<Case> {
    let places: Vec<Vec<(&str, Editable)>> = (acts.iter())
        .map(|act| {
            let sentences = act.sentences.iter();
            let editable = |s: &str| {
                editable(s)
                    .into_iter()
                    .find(|e| e.start == 0 && e.end == s.len())
            };
            sentences
                .filter_map(|s| Some((s.as_str(), editable(s)?)))
                .collect()
        })
        .collect();
    let mut cases = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        for (clause, _) in &act.clauses {
            for nth in 0..2 * SHOWN {
                let own = nth < SHOWN;
                let which = if own {
                    at
                } else {
                    rng.random_range(0..acts.len())
                };
                let sentences = &places[which];
                // Acts may be named for several kinds of sentences: what both name is no other.
                let shared = !(acts[which].acts & act.acts).is_empty();
                if sentences.is_empty() || own != shared {
                    continue;
                }
                let (sentence, edit) = &sentences[rng.random_range(0..sentences.len())];
                if edit.edit == Edit::Extend && fits(edit, clause) {
                    cases.push(Case {
                        topic: (*sentence).to_owned(),
                        before: sentence[..edit.stem].to_owned(),
                        clause: clause.clone(),
                        sense: if own { 1.0 } else { elsewhere },
                        act: 0,
                        origin: Origin::Act,
                    });
                }
            }
        }
    }
    cases
}

/// The cases of a line of verdicts; all clauses are phrases where there is no book.
fn labelled(read: Verdicts, book: Option<&HashSet<String>>) -> Vec<Case> {
    let case = |clause: String, sense: f32| Case {
        topic: read.before.clone(),
        before: read.before.clone(),
        origin: if book.is_none_or(|book| book.contains(&clause)) {
            Origin::Labelled
        } else {
            Origin::Other
        },
        clause,
        sense,
        act: 0,
    };
    let clauses = [(read.good, 1.0), (read.weak, WEAK), (read.bad, 0.0)];
    (clauses.into_iter())
        .flat_map(|(clauses, sense)| clauses.into_iter().map(move |clause| (clause, sense)))
        .map(|(clause, sense)| case(clause, sense))
        .collect()
}

/// What a sentence does: a line of the file of acts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Performed {
    /// The text up to the end of the sentence's stem.
    before: String,
    /// Names of acts joined by `+`, or [`NO_ACT`].
    act: String,
}

/// The cases of a line of acts.
fn performing_all(read: &Performed) -> std::result::Result<Vec<Case>, String> {
    let case = |act| performing(&read.before, act);
    if read.act == NO_ACT {
        return Ok(vec![case(acts::NAMES.len())]);
    }
    let acts = Acts::parse(&read.act).ok_or_else(|| format!("{:?} names no acts", read.act))?;
    Ok(acts.indices().map(case).collect())
}

/// The sentences of what was written for one act.
fn performed(acts: &[Act]) -> Vec<Case> {
    let mut cases = Vec::new();
    for act in acts {
        let mut indices = act.acts.indices();
        if let (Some(index), None) = (indices.next(), indices.next()) {
            let stem = |s: &String| s.trim_end_matches(['.', '!']).to_owned();
            cases.extend(act.sentences.iter().map(|s| performing(&stem(s), index)));
        }
    }
    cases
}

fn performing(before: &str, act: usize) -> Case {
    Case {
        topic: before.to_owned(),
        before: before.to_owned(),
        clause: String::new(),
        sense: 0.0,
        act,
        origin: Origin::Performed,
    }
}

fn texts(cases: &[Case]) -> Vec<(&str, Option<&str>)> {
    (cases.iter())
        .map(|c| {
            let clause = (c.origin != Origin::Performed).then_some(c.clause.as_str());
            (c.before.as_str(), clause)
        })
        .collect()
}

/// Of the labelled cases one in so many, those with the highest logits, are what use would choose.
const CHOSEN: usize = 20;

/// How often what belongs has the higher logit, of all pairs with what does not: what was called good or not, what was written for
/// the sentence or for another, and for its act or for another. What there is none of is not measured.
fn measured(cases: &[Case], logits: &[Vec<Vec<f32>>]) -> Metrics {
    let (acts, logits) = (
        &logits[1],
        logits[0].iter().map(|z| z[0]).collect::<Vec<_>>(),
    );
    let of = |origin: Origin, good: bool| -> Vec<f32> {
        (cases.iter().zip(&logits))
            .filter(|(case, _)| case.origin == origin && (case.sense > 0.5) == good)
            .map(|(_, z)| *z)
            .collect()
    };
    let pairs = [
        ("labelled", Origin::Labelled, Origin::Labelled),
        ("other", Origin::Other, Origin::Other),
        ("act", Origin::Act, Origin::Act),
        ("swapped", Origin::Written, Origin::Swapped),
    ]
    .map(|(name, high, low)| (name, of(high, true), of(low, false)));
    let mut metrics = Metrics::new();
    for (name, high, low) in pairs {
        if !high.is_empty() && !low.is_empty() {
            metrics.push((format!("auc/{name}"), measure::auc(&high, &low)));
            metrics.push((format!("n/{name}"), (high.len() + low.len()) as f64));
        }
    }
    let mut read: Vec<(f32, bool)> = (cases.iter().zip(&logits))
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
    let best = |z: &[f32]| (0..z.len()).max_by(|a, b| z[*a].total_cmp(&z[*b]));
    let right: Vec<bool> = (cases.iter().zip(acts))
        .filter(|(case, _)| case.origin == Origin::Performed)
        .map(|(case, z)| best(z) == Some(case.act))
        .collect();
    if !right.is_empty() {
        let n = right.len() as f64;
        metrics.push(("accuracy/performed".into(), measure::share(right).0));
        metrics.push(("n/performed".into(), n));
    }
    metrics
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::atomic::AtomicBool;

    use visa_align::{Sense, Sensible, Trunk};
    use visa_nn::WeightType;

    use super::*;
    use crate::encoder::tests;

    const CLAUSES: [&str; 4] = [
        "++se so that all are safe",
        "++be , which is kind to us",
        "--se so that none is safe",
        "--be , which is of no use",
    ];

    /// Twenty paragraphs of two sentences with a clause each, and two acts.
    fn written() -> String {
        let mut text = String::new();
        for (i, clause) in CLAUSES.iter().cycle().take(20).enumerate() {
            let _ = write!(
                text,
                "P\nS You should keep the door {i} here.\n{clause} in here\nS You must take it home then.\n{clause} then\n"
            );
        }
        for (word, act) in [("cup", "request"), ("box", "plot")] {
            let _ = writeln!(text, "A {act}");
            for i in 0..20 {
                let _ = writeln!(text, "S You should keep the {word} {i} here.");
            }
            for clause in CLAUSES {
                let _ = writeln!(text, "{clause} in the {word}");
            }
        }
        text
    }

    #[test]
    fn a_clause_of_an_act_belongs_behind_its_sentences() {
        let acts = written::parse(&written()).unwrap().acts;
        let cases = of_acts(&acts, 0.2, &mut ChaCha8Rng::seed_from_u64(1));
        for case in &cases {
            let word = |text: &str| ["cup", "box"].map(|w| text.contains(w));
            let own = word(&case.before) == word(&case.clause);
            assert_eq!(
                case.sense,
                if own { 1.0 } else { 0.2 },
                "{} | {}",
                case.before,
                case.clause
            );
        }
        let elsewhere = cases.iter().filter(|c| c.sense < 1.0).count();
        assert!(
            cases.len() - elsewhere == 8 * SHOWN && elsewhere > 4,
            "{elsewhere}"
        );
    }

    #[test]
    fn a_reader_is_trained_from_what_was_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        tests::trunk(&at("encoder"));
        std::fs::create_dir(at("written")).unwrap();
        std::fs::write(at("written/a.txt"), written()).unwrap();
        let labelled: String = (0..60)
            .map(|i| {
                format!(
                    "{{\"before\":\"Keep it {i}\",\"good\":[\" so that all is good\", \" so good\"],\"bad\":[\" so to bad\", \" so bad\"]}}\n"
                )
            })
            .collect();
        std::fs::write(at("labelled.jsonl"), labelled).unwrap();
        std::fs::create_dir(at("book")).unwrap();
        let book = "A request\nS Keep it.\n++be so that all is good\n--be so to bad\n";
        std::fs::write(at("book/a.txt"), book).unwrap();
        let acts = ["request", "plot+past", NO_ACT]
            .map(|act| format!("{{\"before\":\"To {act}\",\"act\":\"{act}\"}}\n"));
        std::fs::write(at("acts.jsonl"), acts.concat()).unwrap();
        let mut recipe = tests::recipe(dir.path());
        recipe.head.pooling = visa_align::head::Pooling::Segments;
        recipe.sense = super::super::recipe::SenseTask {
            written: at("written"),
            labelled: at("labelled.jsonl"),
            book: at("book"),
            acts: at("acts.jsonl"),
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
        assert_eq!(number("n/labelled"), number("n/other"));
        assert!(number("n/performed").is_some_and(|n| n > 1.0), "{report:?}");
        assert!(number("auc/labelled").is_some_and(|x| (0.0..=1.0).contains(&x)));

        let trunk = Trunk::load(&at("encoder"), WeightType::F32).unwrap();
        let sense = Sense::load(&fitted.model, &trunk).unwrap();
        let long = "You should keep the door. ".repeat(20);
        let read = sense
            .sense(&[("Keep it", " so that all is good"), (&long, " then")])
            .unwrap();
        assert!(read.iter().all(|x| x.is_finite()) && read[0] != read[1]);
        assert_eq!(sense.acts(&["Keep it", &long]).unwrap().len(), 2);

        let refused = |file: &str, line: &str, part: &str| {
            let before = std::fs::read_to_string(at(file)).unwrap();
            std::fs::write(at(file), line).unwrap();
            let error = train(&recipe, &context).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            std::fs::write(at(file), before).unwrap();
        };
        refused("labelled.jsonl", "{\"good\":[]}", "line 1: missing field");
        refused(
            "acts.jsonl",
            "{\"before\":\"Go\",\"act\":\"quest\"}",
            "line 1: \"quest\" names no acts",
        );
    }
}
