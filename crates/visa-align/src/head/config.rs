//! What a head is: its kind, its outputs and what `head.json` says of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pooling;

/// The format written by this version.
pub const FORMAT: u32 = 1;

/// Which model a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Outputs `presence` (20 categories, sigmoid) and `sign` (10 values × rejects, silent, embraces).
    Detector,
    /// Outputs `direction` (10 values × down, none, up) and `strength` (10 magnitudes, sigmoid).
    Translator,
    /// Output `relation` (entailment, neutral, contradiction).
    Nli,
    /// Outputs `sense` (one logit): whether the second text belongs behind the first; and `act` (a class): what the first does.
    Sense,
}

/// What a group of logits means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Each logit on its own: probability by the logistic function.
    Sigmoid,
    /// One distribution over `classes` for each label.
    Softmax,
}

/// One output of a head: `labels.len() * max(classes.len(), 1)` logits, classes fastest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// `presence`, `sign`, `direction`, `strength` or `relation`; also the prefix of its tensors.
    pub name: String,
    /// What each logit, or each group of logits, is about.
    pub labels: Vec<String>,
    /// The classes of each group for [`Activation::Softmax`]; empty for [`Activation::Sigmoid`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How the logits are read.
    pub activation: Activation,
    /// Added to each logit before scaling: moves the decision boundary to probability 0.5.
    pub bias: Vec<f32>,
    /// Multiplies each logit after the bias: the inverse temperature.
    pub scale: Vec<f32>,
}

impl Output {
    /// An output that is not calibrated yet: no shift, temperature 1.
    pub fn new(name: &str, labels: &[&str], classes: &[&str]) -> Self {
        let n = labels.len() * classes.len().max(1);
        let own = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect();
        Self {
            name: name.to_owned(),
            labels: own(labels),
            classes: own(classes),
            activation: if classes.is_empty() {
                Activation::Sigmoid
            } else {
                Activation::Softmax
            },
            bias: vec![0.0; n],
            scale: vec![1.0; n],
        }
    }

    /// Number of logits.
    pub fn len(&self) -> usize {
        self.labels.len() * self.classes.len().max(1)
    }

    /// Whether the output has no logit; such a configuration is refused on loading.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Logits of one text → calibrated probabilities, in the same order.
    pub fn calibrate(&self, logits: &[f32]) -> Vec<f32> {
        debug_assert_eq!(logits.len(), self.len());
        let mut p: Vec<f32> = (logits.iter().zip(&self.bias).zip(&self.scale))
            .map(|((l, b), s)| (l + b) * s)
            .collect();
        match self.activation {
            Activation::Sigmoid => p.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
            Activation::Softmax => p.chunks_mut(self.classes.len()).for_each(softmax),
        }
        p
    }
}

fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for v in x.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    x.iter_mut().for_each(|v| *v /= sum);
}

/// What a head is, beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadConfig {
    /// [`FORMAT`].
    pub format: u32,
    /// Which model this is.
    pub kind: HeadKind,
    /// The trunk's folder, relative to this one.
    pub base: String,
    /// SHA-256 of the trunk's `model.safetensors` that the adapter was trained on, in hexadecimal.
    pub base_sha256: String,
    /// Width of the trunk's hidden states.
    pub hidden: usize,
    /// How token states are pooled.
    pub pooling: Pooling,
    /// Width of the inner layer of each output (linear, GELU, linear), or 0 for a single linear layer.
    pub inner: usize,
    /// Longest input in tokens, specials included; longer texts are cut into windows by the caller.
    pub max_tokens: usize,
    /// The outputs.
    pub outputs: Vec<Output>,
    /// Detector: the share of folded presence in the profile (see [`super::profile`]); 0 leaves it to the sign alone.
    #[serde(default)]
    pub presence_share: f32,
    /// Free facts for readers: the recipe, the data, measured figures.
    #[serde(default)]
    pub about: BTreeMap<String, String>,
}

impl HeadConfig {
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.format != FORMAT {
            return Err(format!(
                "format is {}, this version reads {FORMAT}; fetch matching models",
                self.format
            ));
        }
        if self.max_tokens < 8 || self.hidden == 0 || self.outputs.is_empty() {
            return Err("max_tokens, hidden or outputs make no sense; the file is damaged".into());
        }
        if !(0.0..=1.0).contains(&self.presence_share) {
            return Err(format!(
                "presence_share is {}, must be in 0..=1",
                self.presence_share
            ));
        }
        for o in &self.outputs {
            let finite = o.bias.iter().chain(&o.scale).all(|x| x.is_finite());
            let classes_fit = (o.activation == Activation::Softmax) != o.classes.is_empty();
            if o.is_empty()
                || o.bias.len() != o.len()
                || o.scale.len() != o.len()
                || !finite
                || !classes_fit
            {
                return Err(format!(
                    "output {:?} is inconsistent; the file is damaged",
                    o.name
                ));
            }
        }
        let shape = |name: &str| {
            self.outputs
                .iter()
                .find(|o| o.name == name)
                .map(|o| (o.labels.len(), o.classes.len()))
        };
        let wanted: &[(&str, (usize, usize))] = match self.kind {
            HeadKind::Detector => &[("presence", (20, 0)), ("sign", (10, 3))],
            HeadKind::Translator => &[("direction", (10, 3)), ("strength", (10, 0))],
            HeadKind::Nli => &[("relation", (1, 3))],
            HeadKind::Sense => &[("sense", (1, 0))],
        };
        for (name, size) in wanted {
            if shape(name) != Some(*size) {
                return Err(format!(
                    "output {name:?} must have {} labels of {} classes",
                    size.0, size.1
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_puts_the_boundary_at_one_half() {
        let mut o = Output::new("presence", &["a", "b"], &[]);
        o.bias = vec![1.5, 0.0];
        o.scale = vec![2.0, 1.0];
        let p = o.calibrate(&[-1.5, 3.0]);
        assert!((p[0] - 0.5).abs() < 1e-6 && p[1] > 0.9);
    }
}
