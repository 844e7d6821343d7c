//! The file format and the arithmetic of a *head*: what stands on the shared encoder and turns hidden states into the
//! answers of detector, translator and consistency checker.
//!
//! A model folder holds a PEFT adapter over the trunk (`adapter_config.json`, `adapter_model.safetensors`),
//! `head.safetensors` and `head.json` ([`HeadConfig`]). Training writes it and inference reads it by the same code, so
//! the two cannot drift apart: [`encode_input`] forms the tokens, [`Head::forward`] pools and gives logits,
//! [`Output::calibrate`] and the free functions below turn logits into what callers see. This module knows neither
//! the encoder nor how a head is trained, and it does not cut long texts into windows.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{D, DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use visa_nn::ops;

use crate::error::{AlignError, Result};

/// The file that holds a [`HeadConfig`].
pub const HEAD_JSON: &str = "head.json";
/// The file that holds the weights of a head.
pub const HEAD_WEIGHTS: &str = "head.safetensors";
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
}

/// How token states become one vector a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of all tokens: `H` wide.
    Mean,
    /// The mean of the first segment with its specials, so that a context informs the text and is not itself read: `H`.
    First,
    /// Means a, b of both segments, |a − b| and a·b: `4H` wide. Only for pairs.
    Segments,
    /// The first token, the mean, and the maximum of all tokens: `3H` wide.
    Rich,
}

impl Pooling {
    /// Width of the pooled vector over hidden states of width `hidden`.
    pub fn width(self, hidden: usize) -> usize {
        match self {
            Pooling::Mean | Pooling::First => hidden,
            Pooling::Segments => 4 * hidden,
            Pooling::Rich => 3 * hidden,
        }
    }
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
    /// Detector: the share of folded presence in the profile (see [`profile`]); 0 leaves it to the sign alone.
    #[serde(default)]
    pub presence_share: f32,
    /// Free facts for readers: the recipe, the data, measured figures.
    #[serde(default)]
    pub about: BTreeMap<String, String>,
}

impl HeadConfig {
    fn check(&self) -> std::result::Result<(), String> {
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

/// Tokens of one input, ready for the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Token ids with specials.
    pub ids: Vec<u32>,
    /// 0 for the first segment, 1 for the second.
    pub type_ids: Vec<u32>,
}

/// The specials of a BERT tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Specials {
    /// Id of `[CLS]`.
    pub cls: u32,
    /// Id of `[SEP]`.
    pub sep: u32,
}

impl Specials {
    /// The ids of the uncased BERT vocabulary.
    pub const BERT: Self = Self { cls: 101, sep: 102 };
}

/// Joins token ids (without specials) to `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]` of at most
/// `max_tokens`. A pair that is too long loses from the end of its longer half first, as `longest_first` does elsewhere.
pub fn encode_input(
    specials: Specials,
    first: &[u32],
    second: Option<&[u32]>,
    max_tokens: usize,
) -> Input {
    let room = max_tokens.saturating_sub(if second.is_some() { 3 } else { 2 });
    let full = second.map_or(0, <[u32]>::len);
    let (a, b) = if first.len() + full <= room {
        (first.len(), full)
    } else {
        let half = room / 2;
        match (first.len() > half, full > half) {
            (true, true) => (room - half, half),
            (true, false) => (room - full, full),
            (false, _) => (first.len(), room - first.len()),
        }
    };
    let mut ids = Vec::with_capacity(a + b + 3);
    ids.push(specials.cls);
    ids.extend_from_slice(&first[..a]);
    ids.push(specials.sep);
    let mut type_ids = vec![0; ids.len()];
    if let Some(second) = second {
        ids.extend_from_slice(&second[..b]);
        ids.push(specials.sep);
        type_ids.resize(ids.len(), 1);
    }
    Input { ids, type_ids }
}

/// A head: configuration and weights (`f32`).
///
/// Tensors of output `o`: with `inner > 0` `o.dense.weight [inner, P]`, `o.dense.bias`, `o.out.weight [n, inner]`,
/// `o.out.bias`; else `o.out.weight [n, P]` and `o.out.bias`, `P` being [`Pooling::width`].
#[derive(Clone, Debug)]
pub struct Head {
    /// What the head is.
    pub config: HeadConfig,
    tensors: BTreeMap<String, Tensor>,
}

impl Head {
    /// The tensors that a configuration needs, by name, with shapes, sorted.
    pub fn shapes(config: &HeadConfig) -> BTreeMap<String, Vec<usize>> {
        let pooled = config.pooling.width(config.hidden);
        let mut shapes = BTreeMap::new();
        for o in &config.outputs {
            let mut input = pooled;
            if config.inner > 0 {
                shapes.insert(
                    format!("{}.dense.weight", o.name),
                    vec![config.inner, input],
                );
                shapes.insert(format!("{}.dense.bias", o.name), vec![config.inner]);
                input = config.inner;
            }
            shapes.insert(format!("{}.out.weight", o.name), vec![o.len(), input]);
            shapes.insert(format!("{}.out.bias", o.name), vec![o.len()]);
        }
        shapes
    }

    /// A head from its parts; tensors that track a gradient stay tracked, so training uses this too.
    ///
    /// # Errors
    /// A description of the first thing that does not fit.
    pub fn from_tensors(
        config: HeadConfig,
        tensors: BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, String> {
        config.check()?;
        for (name, shape) in Self::shapes(&config) {
            match tensors.get(&name) {
                None => return Err(format!("tensor {name} is missing")),
                Some(t) if t.dims() != shape => {
                    return Err(format!(
                        "tensor {name} has shape {:?}, expected {shape:?}",
                        t.dims()
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(Self { config, tensors })
    }

    /// Reads `head.json` and `head.safetensors` of a model folder.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] naming the file and what is wrong with it.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        let json = dir.join(HEAD_JSON);
        let text = std::fs::read_to_string(&json).map_err(|e| AlignError::file(&json, e))?;
        let config: HeadConfig =
            serde_json::from_str(&text).map_err(|e| AlignError::file(&json, e))?;
        config.check().map_err(|e| AlignError::file(&json, e))?;
        let path = dir.join(HEAD_WEIGHTS);
        let raw = candle_core::safetensors::load(&path, device)
            .map_err(|e| AlignError::file(&path, e))?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in raw {
            tensors.insert(
                name,
                tensor
                    .to_dtype(DType::F32)
                    .map_err(|e| AlignError::file(&path, e))?,
            );
        }
        Self::from_tensors(config, tensors).map_err(|e| AlignError::file(&path, e))
    }

    /// Writes both files, weights as `dtype`, each through a temporary sibling.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] naming the file that could not be written.
    pub fn save(&self, dir: &Path, dtype: DType) -> Result<()> {
        let path = dir.join(HEAD_WEIGHTS);
        let fail = |e: candle_core::Error| AlignError::file(dir.join(HEAD_WEIGHTS), e);
        let mut map = std::collections::HashMap::new();
        for (name, tensor) in &self.tensors {
            map.insert(name.clone(), tensor.detach().to_dtype(dtype).map_err(fail)?);
        }
        let part = dir.join(format!("{HEAD_WEIGHTS}.part"));
        candle_core::safetensors::save(&map, &part).map_err(fail)?;
        // The library's file is for its owner alone; a model is for everyone who may read the folder.
        let bytes = std::fs::read(&part).map_err(|e| AlignError::file(&part, e))?;
        std::fs::remove_file(&part).map_err(|e| AlignError::file(&part, e))?;
        std::fs::write(&part, bytes).map_err(|e| AlignError::file(&part, e))?;
        replace(&part, &path)?;
        let json = serde_json::to_string_pretty(&self.config)
            .map_err(|e| AlignError::file(dir.join(HEAD_JSON), e))?;
        let part = dir.join(format!("{HEAD_JSON}.part"));
        std::fs::write(&part, json + "\n").map_err(|e| AlignError::file(&part, e))?;
        replace(&part, &dir.join(HEAD_JSON))
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// Index of an output by name.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.config.outputs.iter().find(|o| o.name == name)
    }

    /// Hidden states `[B, S, H]` of a right-padded batch → logits `[B, n]` of each output, in the order of
    /// `config.outputs`, not calibrated. `type_ids [B, S]` as given to the encoder, `lens[b]` the unpadded lengths.
    ///
    /// # Errors
    /// Those of the tensor library.
    pub fn forward(
        &self,
        hidden: &Tensor,
        type_ids: &Tensor,
        lens: &[usize],
    ) -> candle_core::Result<Vec<Tensor>> {
        let pooled = pool(self.config.pooling, hidden, type_ids, lens)?;
        self.logits(&pooled)
    }

    /// Pooled vectors `[B, P]` → logits of each output.
    ///
    /// # Errors
    /// Those of the tensor library.
    pub fn logits(&self, pooled: &Tensor) -> candle_core::Result<Vec<Tensor>> {
        let layer = |x: &Tensor, name: &str| {
            let w = &self.tensors[&format!("{name}.weight")];
            ops::linear(x, w, Some(&self.tensors[&format!("{name}.bias")]))
        };
        (self.config.outputs.iter())
            .map(|o| {
                if self.config.inner == 0 {
                    return layer(pooled, &format!("{}.out", o.name));
                }
                let inner = ops::gelu(&layer(pooled, &format!("{}.dense", o.name))?)?;
                layer(&inner, &format!("{}.out", o.name))
            })
            .collect()
    }
}

/// Pools hidden states `[B, S, H]` to `[B, width]`; see [`Pooling`].
///
/// # Errors
/// Those of the tensor library.
pub fn pool(
    pooling: Pooling,
    hidden: &Tensor,
    type_ids: &Tensor,
    lens: &[usize],
) -> candle_core::Result<Tensor> {
    let (b, s, _) = hidden.dims3()?;
    let mask: Vec<f32> = lens
        .iter()
        .flat_map(|&len| (0..s).map(move |i| if i < len { 1.0 } else { 0.0 }))
        .collect();
    let all = Tensor::from_vec(mask, (b, s), hidden.device())?;
    let second = || (type_ids.to_dtype(DType::F32)? * &all)?.contiguous();
    let first = || &all - second()?;
    match pooling {
        Pooling::Mean => masked_mean(hidden, &all),
        Pooling::First => masked_mean(hidden, &first()?),
        Pooling::Segments => {
            let (x, y) = (
                masked_mean(hidden, &first()?)?,
                masked_mean(hidden, &second()?)?,
            );
            let (apart, product) = ((&x - &y)?.abs()?, (&x * &y)?);
            Tensor::cat(&[&x, &y, &apart, &product], D::Minus1)
        }
        Pooling::Rich => {
            let cls = hidden.narrow(1, 0, 1)?.squeeze(1)?;
            let low = all.affine(1e4, -1e4)?.unsqueeze(2)?;
            let most = hidden.broadcast_add(&low)?.max(1)?;
            Tensor::cat(&[&cls, &masked_mean(hidden, &all)?, &most], D::Minus1)
        }
    }
}

fn masked_mean(hidden: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
    let count = mask.sum_keepdim(1)?.clamp(1f32, f32::MAX)?;
    hidden
        .broadcast_mul(&mask.unsqueeze(2)?)?
        .sum(1)?
        .broadcast_div(&count)
}

/// Profile of a text from calibrated probabilities: `sign` is `[10 × (rejects, silent, embraces)]`, `presence` the 20
/// categories folded to ten. With e and r the chances of embracing and rejecting, v = (1 − share)·(e − r) +
/// share·presence·(e − r)/(e + r): presence adds strength where the sign is unsure that anything is said at all, and
/// never turns the sign around.
pub fn profile(sign: &[f32], presence: &[f32; 20], share: f32) -> [f32; 10] {
    let folded = if share > 0.0 {
        visa_values::fold(presence)
    } else {
        [0.0; 10]
    };
    std::array::from_fn(|v| {
        let (rejects, embraces) = (sign[3 * v], sign[3 * v + 2]);
        let apart = embraces - rejects;
        let side = apart / (embraces + rejects).max(1e-6);
        ((1.0 - share) * apart + share * folded[v] * side).clamp(-1.0, 1.0)
    })
}

/// Shift from calibrated probabilities: the most probable direction of each value times its strength (0…1), and exactly
/// zero where "none" is the most probable. `direction` is `[10 × (down, none, up)]`.
pub fn shift(direction: &[f32], strength: &[f32]) -> [f32; 10] {
    std::array::from_fn(|v| {
        let (down, none, up) = (direction[3 * v], direction[3 * v + 1], direction[3 * v + 2]);
        match () {
            () if none >= down && none >= up => 0.0,
            () if up >= down => strength[v],
            () => -strength[v],
        }
    })
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

fn replace(part: &Path, path: &Path) -> Result<()> {
    let fail = |e| AlignError::file(path, e);
    std::fs::File::open(part)
        .and_then(|f| f.sync_all())
        .map_err(fail)?;
    std::fs::rename(part, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pooling: Pooling, inner: usize) -> HeadConfig {
        HeadConfig {
            format: FORMAT,
            kind: HeadKind::Nli,
            base: "../encoder".into(),
            base_sha256: String::new(),
            hidden: 4,
            pooling,
            inner,
            max_tokens: 16,
            outputs: vec![Output::new(
                "relation",
                &["relation"],
                &["entailment", "neutral", "contradiction"],
            )],
            presence_share: 0.0,
            about: BTreeMap::new(),
        }
    }

    fn head(pooling: Pooling, inner: usize) -> Head {
        let config = config(pooling, inner);
        let mut k = 0f32;
        let tensors = Head::shapes(&config)
            .into_iter()
            .map(|(name, shape)| {
                let n = shape.iter().product();
                let data: Vec<f32> = (0..n)
                    .map(|_| {
                        k += 1.0;
                        (k * 0.7).sin()
                    })
                    .collect();
                (name, Tensor::from_vec(data, shape, &Device::Cpu).unwrap())
            })
            .collect();
        Head::from_tensors(config, tensors).unwrap()
    }

    #[test]
    fn padding_changes_nothing() {
        for pooling in [
            Pooling::Mean,
            Pooling::First,
            Pooling::Segments,
            Pooling::Rich,
        ] {
            let head = head(pooling, 5);
            let row: Vec<f32> = (0..12).map(|i| (i as f32).cos()).collect();
            let short = Tensor::from_vec(row.clone(), (1, 3, 4), &Device::Cpu).unwrap();
            let long =
                Tensor::from_vec([row, vec![9.0; 8]].concat(), (1, 5, 4), &Device::Cpu).unwrap();
            let types = |v: Vec<u32>| {
                let n = v.len();
                Tensor::from_vec(v, (1, n), &Device::Cpu).unwrap()
            };
            let a = head.forward(&short, &types(vec![0, 0, 1]), &[3]).unwrap();
            let b = head
                .forward(&long, &types(vec![0, 0, 1, 0, 0]), &[3])
                .unwrap();
            let (a, b) = (
                a[0].to_vec2::<f32>().unwrap(),
                b[0].to_vec2::<f32>().unwrap(),
            );
            for (x, y) in a[0].iter().zip(&b[0]) {
                assert!((x - y).abs() < 1e-5, "{pooling:?}: {x} {y}");
            }
        }
    }

    #[test]
    fn a_saved_head_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let head = head(Pooling::Mean, 0);
        head.save(dir.path(), DType::F32).unwrap();
        let back = Head::load(dir.path(), &Device::Cpu).unwrap();
        assert_eq!(back.config, head.config);
        for (name, t) in head.tensors() {
            let (a, b) = (
                t.flatten_all().unwrap(),
                back.tensors()[name].flatten_all().unwrap(),
            );
            assert_eq!(a.to_vec1::<f32>().unwrap(), b.to_vec1::<f32>().unwrap());
        }
    }

    #[test]
    fn damaged_configurations_are_refused() {
        let check = |edit: fn(&mut HeadConfig), word: &str| {
            let mut c = config(Pooling::Mean, 0);
            edit(&mut c);
            let error = Head::from_tensors(c, BTreeMap::new()).unwrap_err();
            assert!(error.contains(word), "{error}");
        };
        check(|c| c.format = 9, "format");
        check(|c| c.outputs[0].bias[0] = f32::NAN, "relation");
        check(
            |c| {
                c.outputs[0].scale.pop();
            },
            "relation",
        );
        check(|c| c.kind = HeadKind::Detector, "presence");
        check(|c| c.presence_share = f32::NAN, "presence_share");
        check(|_| (), "missing");
    }

    #[test]
    fn long_pairs_keep_both_halves() {
        let a: Vec<u32> = (1000..1100).collect();
        let check = |n: usize, m: Option<usize>, max: usize, expected: (usize, usize)| {
            let second = m.map(|m| &a[..m]);
            let input = encode_input(Specials::BERT, &a[..n], second, max);
            let ones = input.type_ids.iter().filter(|&&t| t == 1).count();
            assert_eq!((input.ids.len() - ones, ones), expected);
            assert!(input.ids.len() <= max && input.ids.len() == input.type_ids.len());
        };
        check(5, None, 16, (7, 0));
        check(50, None, 16, (16, 0));
        check(5, Some(4), 16, (7, 5));
        check(50, Some(4), 16, (11, 5));
        check(4, Some(50), 16, (6, 10));
        check(50, Some(50), 16, (9, 7));
    }

    #[test]
    fn calibration_puts_the_boundary_at_one_half() {
        let mut o = Output::new("presence", &["a", "b"], &[]);
        o.bias = vec![1.5, 0.0];
        o.scale = vec![2.0, 1.0];
        let p = o.calibrate(&[-1.5, 3.0]);
        assert!((p[0] - 0.5).abs() < 1e-6 && p[1] > 0.9);
    }

    #[test]
    fn presence_adds_strength_and_never_turns_the_sign() {
        let sign = |r: f32, e: f32| [r, 1.0 - r - e, e].repeat(10);
        let check = |r: f32, e: f32, present: f32, share: f32, expected: f32| {
            let v = profile(&sign(r, e), &[present; 20], share)[0];
            assert!((v - expected).abs() < 1e-4, "{v} {expected}");
        };
        check(0.0, 0.4, 0.0, 0.0, 0.4);
        check(0.0, 0.4, 1.0, 0.5, 0.7);
        check(0.02, 0.01, 1.0, 0.5, -0.005 - 0.5 / 3.0);
        check(0.0, 0.0, 1.0, 0.5, 0.0);
    }

    #[test]
    fn a_zero_shift_is_exactly_zero() {
        let direction = [0.2, 0.6, 0.2].repeat(10);
        assert_eq!(shift(&direction, &[0.9; 10]), [0.0; 10]);
        let mut d = direction;
        d[0] = 0.9;
        assert_eq!(shift(&d, &[0.8; 10])[0], -0.8);
    }
}
