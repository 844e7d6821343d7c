//! Text → values: a profile, twenty categories, and on demand the stretches that speak them.
//!
//! A text within the model's length is read as one. A longer one is cut into windows of whole sentences, and the
//! windows are brought together so that a value spoken in one place is neither lost in the rest nor counted by length
//! alone:
//!
//! * presence of a category: (max + token-weighted mean) / 2 over the windows;
//! * a value of the profile: Σ wᵢ|vᵢ|vᵢ / Σ wᵢ|vᵢ|, wᵢ the window's share of tokens: windows that are silent about
//!   a value (v near 0) hardly dilute those that speak it, and windows that disagree cancel.
//!
//! Spans are found by occlusion: each clause is cut out of its window, and what the profile loses is what the clause
//! spoke. A clause counts for a value only if, read alone, it leans the same way; otherwise cutting out a clause about
//! something else would count as evidence because the rest gains weight.

use std::path::Path;

use serde::{Deserialize, Serialize};
use visa_values::{Profile, Value};

use crate::backend::Values;
use crate::error::Result;
use crate::head::{Input, encode_input, profile};
use crate::models::{Models, Part};
use crate::rewrite::check_text;
use crate::trunk::{HeadModel, Trunk};
use crate::windows::{Window, clauses, windows};

/// A text, with what it answers or argues about when that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
    /// What it answers or argues about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

impl Text {
    /// A text without context.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            context: None,
        }
    }
}

/// A stretch of the text that speaks a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// The value.
    pub value: Value,
    /// How far the profile moves without the stretch, signed like the profile.
    pub weight: f32,
}

/// What a text speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Ten values, −1…1: embraces minus rejects.
    pub profile: Profile,
    /// Twenty calibrated presence probabilities; 0.5 is the decision boundary.
    pub categories: [f32; 20],
    /// Stretches that speak a value, strongest first; empty unless asked for.
    pub spans: Vec<Span>,
}

/// How to detect.
#[derive(Clone, Debug, Default)]
pub struct DetectOptions {
    /// Find spans too: two more short passes for each clause.
    pub spans: bool,
}

/// Longest window in tokens, whatever the model could read: beyond it, one vector holds too much.
const WINDOW: usize = 200;
/// Spans weaker than this are noise of the calibration.
const SPAN_WEIGHT: f32 = 0.05;
/// Beyond this many clauses a text's spans are read clause by clause alone, which costs one short pass instead of two
/// with one of them long.
const OCCLUDED: usize = 400;

/// The value detector.
#[derive(Debug)]
pub struct Detector {
    model: HeadModel,
    presence: usize,
    sign: usize,
}

impl Detector {
    /// Loads `dir` (adapter and head) over the trunk that the head names, by default `../encoder`.
    ///
    /// # Errors
    /// [`crate::AlignError::ModelFile`] or [`crate::AlignError::Load`], naming the file.
    pub fn load(dir: &Path) -> Result<Self> {
        Self::over(dir, None)
    }

    /// Loads the detector among `models` over a trunk that is shared.
    ///
    /// # Errors
    /// As [`Models::dir`] and [`Self::load`].
    pub fn find(models: &Models, trunk: &Trunk) -> Result<Self> {
        Self::over(&models.dir(Part::Detector)?, Some(trunk))
    }

    /// Loads the judge's detector among `models`: a second opinion, trained apart, for evaluation.
    ///
    /// # Errors
    /// As [`Models::dir`] and [`Self::load`].
    pub fn judge(models: &Models, trunk: &Trunk) -> Result<Self> {
        Self::over(&models.dir(Part::JudgeDetector)?, Some(trunk))
    }

    fn over(dir: &Path, trunk: Option<&Trunk>) -> Result<Self> {
        let model = HeadModel::load(dir, Part::Detector, trunk)?;
        Ok(Self {
            presence: model.place("presence")?,
            sign: model.place("sign")?,
            model,
        })
    }

    /// One detection a text, in order, without spans.
    ///
    /// # Errors
    /// [`crate::AlignError::Empty`], [`crate::AlignError::TooLong`], [`crate::AlignError::NotFinite`], or a failure of the model's code.
    pub fn detect(&self, texts: &[Text]) -> Result<Vec<Detection>> {
        self.detect_with(texts, &DetectOptions::default())
    }

    /// As [`Self::detect`], with options.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn detect_with(&self, texts: &[Text], options: &DetectOptions) -> Result<Vec<Detection>> {
        for text in texts {
            check_text("text", &text.text)?;
        }
        let contexts = self.contexts(texts)?;
        let cuts = self.cuts(texts, &contexts)?;
        let inputs: Vec<Input> = cuts
            .iter()
            .zip(&contexts)
            .flat_map(|(cut, context)| cut.iter().map(|w| self.input(&w.ids, context.as_deref())))
            .collect();
        let mut readings = self.read(&inputs)?.into_iter();
        let mut detections = Vec::with_capacity(texts.len());
        for ((text, cut), context) in texts.iter().zip(&cuts).zip(&contexts) {
            let parts: Vec<Reading> = readings.by_ref().take(cut.len()).collect();
            let weights: Vec<f32> = cut.iter().map(|w| w.ids.len().max(1) as f32).collect();
            let spans = if options.spans {
                self.spans(&text.text, cut, &parts, context.as_deref())?
            } else {
                Vec::new()
            };
            let whole = Reading::together(&parts, &weights);
            detections.push(Detection {
                profile: Profile::new(whole.profile)?,
                categories: whole.presence,
                spans,
            });
        }
        Ok(detections)
    }

    /// Tokens of the contexts, cut to a third of what the model reads, so that most of it stays the text's.
    fn contexts(&self, texts: &[Text]) -> Result<Vec<Option<Vec<u32>>>> {
        let given: Vec<&str> = texts
            .iter()
            .map(|t| t.context.as_deref().unwrap_or(""))
            .collect();
        if given.iter().all(|c| c.is_empty()) {
            return Ok(vec![None; texts.len()]);
        }
        let most = self.model.head().config.max_tokens / 3;
        let tokens = self.model.tokens(&given)?;
        Ok(tokens
            .into_iter()
            .map(|mut ids| {
                ids.truncate(most);
                Some(ids).filter(|ids| !ids.is_empty())
            })
            .collect())
    }

    fn cuts(&self, texts: &[Text], contexts: &[Option<Vec<u32>>]) -> Result<Vec<Vec<Window>>> {
        let whole: Vec<&str> = texts.iter().map(|t| t.text.as_str()).collect();
        let limits: Vec<usize> = contexts.iter().map(|c| self.room(c.as_deref())).collect();
        // Nearly all texts fit one window, so all are tokenised at once and only the others are looked at again.
        let short: Vec<&str> = whole
            .iter()
            .zip(&limits)
            .map(|(t, l)| if t.len() <= l * 16 { *t } else { "" })
            .collect();
        let tokens = self.model.tokens(&short)?;
        whole
            .iter()
            .zip(limits)
            .zip(short.iter().zip(tokens))
            .map(|((text, limit), (short, ids))| {
                if !short.is_empty() && ids.len() <= limit {
                    Ok(vec![Window {
                        range: 0..text.len(),
                        ids,
                    }])
                } else {
                    windows(&self.model, text, limit)
                }
            })
            .collect()
    }

    /// Tokens of text beside a context.
    fn room(&self, context: Option<&[u32]>) -> usize {
        let most = self.model.head().config.max_tokens;
        let beside = context.map_or(2, |c| c.len() + 3);
        most.saturating_sub(beside).clamp(1, WINDOW)
    }

    fn input(&self, ids: &[u32], context: Option<&[u32]>) -> Input {
        encode_input(
            self.model.specials(),
            ids,
            context,
            self.model.head().config.max_tokens,
        )
    }

    fn read(&self, inputs: &[Input]) -> Result<Vec<Reading>> {
        let share = self.model.head().config.presence_share;
        let answers = self.model.run(inputs)?;
        Ok(answers
            .iter()
            .map(|answer| {
                let presence: [f32; 20] = std::array::from_fn(|i| answer[self.presence][i]);
                Reading {
                    presence,
                    profile: profile(&answer[self.sign], &presence, share),
                }
            })
            .collect())
    }

    fn spans(
        &self,
        text: &str,
        cut: &[Window],
        readings: &[Reading],
        context: Option<&[u32]>,
    ) -> Result<Vec<Span>> {
        let all = clauses(text);
        let occlude = all.len() <= OCCLUDED;
        let mut pieces = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for (window, reading) in cut.iter().zip(readings) {
            let inside: Vec<_> = all
                .iter()
                .filter(|c| c.start >= window.range.start && c.end <= window.range.end)
                .cloned()
                .collect();
            let alone = inside.len() <= 1;
            for clause in inside {
                texts.push(text[clause.clone()].to_string());
                if occlude && !alone {
                    let before = text[window.range.start..clause.start].trim_end();
                    texts.push(format!(
                        "{before} {}",
                        text[clause.end..window.range.end].trim_start()
                    ));
                }
                pieces.push((clause, reading, alone));
            }
        }
        let inputs: Vec<Input> = self
            .model
            .tokens(&texts)?
            .iter()
            .map(|ids| self.input(ids, context))
            .collect();
        let mut read = self.read(&inputs)?.into_iter();
        let mut spans = Vec::new();
        for (clause, whole, alone) in pieces {
            let Some(own) = read.next() else { break };
            let without = if occlude && !alone { read.next() } else { None };
            for value in Value::ALL {
                let v = value.index();
                let weight = match &without {
                    Some(without) => whole.profile[v] - without.profile[v],
                    // Without its only clause a window is silent.
                    None if alone => whole.profile[v],
                    None => own.profile[v],
                };
                if weight.abs() >= SPAN_WEIGHT && weight * own.profile[v] > 0.0 {
                    spans.push(Span {
                        start: clause.start,
                        end: clause.end,
                        value,
                        weight,
                    });
                }
            }
        }
        spans.sort_by(|a, b| {
            b.weight
                .abs()
                .total_cmp(&a.weight.abs())
                .then(a.start.cmp(&b.start))
        });
        Ok(spans)
    }
}

impl Values for Detector {
    fn profiles(&self, texts: &[Text]) -> Result<Vec<Profile>> {
        Ok(self.detect(texts)?.into_iter().map(|d| d.profile).collect())
    }
}

/// What the model says of one window.
#[derive(Clone, Debug)]
struct Reading {
    presence: [f32; 20],
    profile: [f32; 10],
}

impl Reading {
    /// Windows of one text brought together, as the module says.
    fn together(parts: &[Reading], weights: &[f32]) -> Reading {
        if let [one] = parts {
            return one.clone();
        }
        let total: f32 = weights.iter().sum();
        Reading {
            presence: std::array::from_fn(|c| {
                let most = parts.iter().map(|p| p.presence[c]).fold(0.0, f32::max);
                let mean: f32 = parts
                    .iter()
                    .zip(weights)
                    .map(|(p, w)| w * p.presence[c])
                    .sum::<f32>()
                    / total;
                (most + mean) / 2.0
            }),
            profile: std::array::from_fn(|v| {
                let of = parts
                    .iter()
                    .zip(weights)
                    .map(|(p, w)| (p.profile[v], w * p.profile[v].abs()));
                strength_mean(of)
            }),
        }
    }
}

/// Σ w·x / Σ w over (x, w), 0 when nothing has weight; within ±1 when every x is.
pub(crate) fn strength_mean(items: impl Iterator<Item = (f32, f32)>) -> f32 {
    let (sum, weight) = items.fold((0.0, 0.0), |(sum, weight), (x, w)| {
        (sum + w * x, weight + w)
    });
    if weight > 0.0 {
        (sum / weight).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_are_silent_do_not_dilute() {
        let reading = |v: f32, p: f32| Reading {
            presence: [p; 20],
            profile: [v; 10],
        };
        let check = |values: &[f32], expected: f32| {
            let parts: Vec<_> = values.iter().map(|&v| reading(v, 0.5)).collect();
            let found = Reading::together(&parts, &vec![1.0; values.len()]).profile[0];
            assert!((found - expected).abs() < 1e-6, "{values:?}: {found}");
        };
        check(&[0.8], 0.8);
        check(&[0.8, 0.0, 0.0, 0.0], 0.8);
        check(&[0.8, -0.8], 0.0);
        check(&[0.0, 0.0], 0.0);
        check(&[1.0, 0.5], (1.0 + 0.25) / 1.5);
        let mixed = Reading::together(&[reading(0.0, 0.9), reading(0.0, 0.1)], &[1.0, 3.0]);
        assert!((mixed.presence[0] - (0.9 + 0.3) / 2.0).abs() < 1e-6);
    }
}
