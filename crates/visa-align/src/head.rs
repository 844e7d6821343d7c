//! The file format and the arithmetic of a *head*: what stands on the shared encoder and turns hidden states into the
//! answers of detector, translator and consistency checker.
//!
//! A model folder holds a PEFT adapter over the trunk (`adapter_config.json`, `adapter_model.safetensors`),
//! `head.safetensors` and `head.json` ([`HeadConfig`]). Training writes it and inference reads it by the same code, so
//! the two cannot drift apart: [`encode_input`] forms the tokens, [`Head::forward`] pools and gives logits,
//! [`Output::calibrate`], [`profile`] and [`shift`] turn logits into what callers see. This module knows neither
//! the encoder nor how a head is trained, and it does not cut long texts into windows.

mod config;
mod input;
mod pool;
mod read;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use visa_nn::ops;

use crate::error::{AlignError, Result};

pub use config::{Activation, FORMAT, HeadConfig, HeadKind, Output};
pub use input::{Input, Specials, encode_input};
pub use pool::{Pooling, pool};
pub use read::{profile, shift};

/// The file that holds a [`HeadConfig`].
pub const HEAD_JSON: &str = "head.json";

/// The file that holds the weights of a head.
pub const HEAD_WEIGHTS: &str = "head.safetensors";

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
        let config: HeadConfig = serde_json::from_str(&text).map_err(|e| {
            AlignError::file(
                &json,
                format!("{e}; the file is damaged, fetch the model again"),
            )
        })?;
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
}
