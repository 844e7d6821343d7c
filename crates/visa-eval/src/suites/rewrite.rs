//! The whole loop on ordinary paragraphs: how many rewrites are accepted, and how good the accepted ones are.
//!
//! The committed paragraphs (mails, advice, reviews, news) are joined by news and film reviews of the data folder when it
//! is there. Each is paired with a persona in turn, whose shift is brought to length [`LENGTH`]; pairs whose target lies nearer than [`RADICAL`] are passed over, so
//! that a copy never counts as success.

use serde::{Deserialize, Serialize};
use visa_align::rewrite::{Cancel, Goal, Loop, OutcomeKind, RewriteOptions, RewriteRequest};
use visa_align::{Checker, Detector, EmbeddedBackend, Text, Translator, Trunk};
use visa_score::sentences;
use visa_values::{Shift, Target, metrics};

use super::{Setting, data};
use crate::{EvalError, Figure, Report};

/// The least |Δv| of a case.
const RADICAL: f32 = 0.8;
/// The length that every wished shift is brought to; what the clip at ±1 then takes away may leave less.
const LENGTH: f32 = 1.0;
/// Cases of a full run.
const CASES: usize = 200;

const PARAGRAPHS: &str = include_str!("../../data/paragraphs.jsonl");
const PERSONAS: &str = include_str!("../../data/personas.txt");

/// A paragraph and whose values it is to speak.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RewriteCase {
    /// Where it is from, and its number.
    pub id: String,
    /// mail, advice, review or news.
    pub genre: String,
    /// The paragraph.
    pub text: String,
    /// The persona.
    #[serde(default)]
    pub persona: String,
}

pub(super) fn run(setting: &Setting) -> Result<Report, EvalError> {
    let trunk = Trunk::find(&setting.models)?;
    let detector = Detector::find(&setting.models, &trunk)?;
    let translator = Translator::find(&setting.models, &trunk)?;
    let checker = Checker::find(&setting.models, &trunk)?;
    let mut backend = EmbeddedBackend::find(&setting.models, &trunk, &detector)?;
    let mut outcomes = Vec::new();
    let mut near = 0;
    let mut judged = Vec::new();
    for case in cases(setting)? {
        if outcomes.len() >= setting.limit.unwrap_or(CASES) {
            break;
        }
        let text = Text {
            text: case.text.clone(),
            context: None,
        };
        let before = detector.detect(&[text])?.remove(0).profile;
        let shift = lengthened(&translator.translate(&case.persona)?.shift, LENGTH)?;
        let target = Target::from_shift(&before, &shift);
        if metrics::l2(before.as_array(), target.profile().as_array()) < RADICAL {
            near += 1;
            continue;
        }
        let request = RewriteRequest {
            text: case.text.clone(),
            query: None,
            goal: Goal::Target(target),
        };
        let options = RewriteOptions {
            seed: setting.seed,
            ..RewriteOptions::default()
        };
        let mut engine = Loop {
            values: &detector,
            checker: &checker,
            translator: None,
            backend: &mut backend,
            options,
        };
        let outcome = engine.rewrite(&request, &Cancel::default(), &mut |_| {})?;
        judged.push(serde_json::json!({"id": case.id, "genre": case.genre, "persona": case.persona, "outcome": outcome}));
        outcomes.push(outcome);
    }
    data::examples(setting, "rewrite", judged.into_iter())?;
    let accepted: Vec<_> = outcomes
        .iter()
        .filter(|o| o.outcome == OutcomeKind::Rewritten)
        .collect();
    let share: Vec<f64> = outcomes
        .iter()
        .map(|o| f64::from(u8::from(o.outcome == OutcomeKind::Rewritten)))
        .collect();
    if accepted.is_empty() {
        return Err(EvalError::Nothing {
            suite: "rewrite",
            what: "accepted rewrite",
            of: outcomes.len(),
        });
    }
    let of_accepted = |name: &str, pick: &dyn Fn(&visa_score::Score) -> f32| {
        let items: Vec<f64> = accepted.iter().map(|o| f64::from(pick(&o.score))).collect();
        Figure::mean(name, &items, setting.seed)
    };
    let joint: Vec<f64> = outcomes
        .iter()
        .map(|o| {
            f64::from(u8::from(
                o.score.value.l2 < 0.8 && o.score.consistency.mean() > 0.3,
            ))
        })
        .collect();
    Ok(Report {
        suite: "rewrite".into(),
        figures: vec![
            Figure::mean("accepted", &share, setting.seed).against("copy", 0.0),
            Figure::mean("JSR, kept originals counted", &joint, setting.seed).against("copy", 0.0),
            of_accepted("progress of accepted", &|s| s.value.progress).against("copy", 0.0),
            of_accepted("movement cosine of accepted", &|s| s.value.movement).against("copy", 0.0),
            of_accepted("L2 of accepted", &|s| s.value.l2),
            of_accepted("consistency of accepted", &|s| s.consistency.mean()).against("copy", 1.0),
        ],
        remarks: vec![format!(
            "{near} cases with a target nearer than {RADICAL} were passed over. Values and consistency are read by the models the loop itself uses, not by an independent judge."
        )],
    })
}

/// The same direction at another length, since a persona in plain words is often a lighter wish. A shift of one value
/// stays within what a shift can be.
pub(crate) fn lengthened(shift: &Shift, length: f32) -> Result<Shift, EvalError> {
    let norm = shift.norm();
    if norm == 0.0 {
        return Ok(shift.clone());
    }
    Ok(Shift::new(
        shift
            .as_array()
            .map(|d| (d * length / norm).clamp(-2.0, 2.0)),
    )?)
}

/// The committed paragraphs.
pub(crate) fn own() -> Vec<RewriteCase> {
    PARAGRAPHS
        .lines()
        .map(|line| serde_json::from_str(line).expect("the committed paragraphs are valid"))
        .collect()
}

/// The committed personas.
pub(crate) fn personas() -> Vec<&'static str> {
    PERSONAS.lines().collect()
}

/// Paragraphs of the film reviews in the data folder's test file.
pub(crate) fn film_reviews(folder: &std::path::Path) -> Result<Vec<RewriteCase>, EvalError> {
    data::parsed(
        &folder.join("counterfactually-augmented-data/sentiment/orig/test.tsv"),
        |text| Ok::<_, EvalError>(reviews(text)),
    )
}

/// The cases in a fixed order: ours first, then news and reviews of the data folder in turn.
///
/// # Errors
/// A data folder that is given but cannot be read.
pub fn cases(setting: &Setting) -> Result<Vec<RewriteCase>, EvalError> {
    let mut cases = own();
    if let Some(folder) = &setting.data {
        let news = news(&folder.join("onestopenglish/Texts-SeparatedByReadingLevel/Ele-Txt"))?;
        let reviews = film_reviews(folder)?;
        for (news, review) in news.into_iter().zip(reviews) {
            cases.push(news);
            cases.push(review);
        }
    }
    let personas = personas();
    for (i, case) in cases.iter_mut().enumerate() {
        case.persona = personas[i % personas.len()].to_owned();
    }
    Ok(cases)
}

fn news(folder: &std::path::Path) -> Result<Vec<RewriteCase>, EvalError> {
    let read = |source| EvalError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .map_err(read)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    // Other files lie there too, such as what a desktop leaves behind.
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = data::parsed(&path, |text| Ok::<_, EvalError>(text.to_owned()))?;
        if let Some(text) = text.lines().skip(1).find_map(paragraph) {
            cases.push(RewriteCase {
                id: format!("news-{}", cases.len() + 1),
                genre: "news".into(),
                text,
                persona: String::new(),
            });
        }
    }
    Ok(cases)
}

fn reviews(table: &str) -> Vec<RewriteCase> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(1).and_then(paragraph))
        .enumerate()
        .map(|(i, text)| RewriteCase {
            id: format!("film-{}", i + 1),
            genre: "review".into(),
            text,
            persona: String::new(),
        })
        .collect()
}

/// Whole sentences from the start of `text`, 35 to 90 words, if there are such.
pub(crate) fn paragraph(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('"').trim();
    let mut end = 0;
    for range in sentences(text) {
        if text[..range.end].split_whitespace().count() > 90 {
            break;
        }
        end = range.end;
    }
    let text = text[..end].trim();
    (text.split_whitespace().count() >= 35 && !text.contains("<br")).then(|| text.to_owned())
}
