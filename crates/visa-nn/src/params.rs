//! Named weights: read from safetensors, some of them trainable, saved whole.
//!
//! Frozen weights are plain tensors, so that no gradient is computed for them;
//! trainable ones are variables that share their storage with every layer that
//! uses them. Always sorted by name, so that sums over parameters and files
//! come out bit for bit the same. Knows nothing of architectures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, files};

/// Types that weights can be stored in; in memory they are always `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreType {
    /// Exact.
    #[default]
    F32,
    /// Half the size, 11 bits of precision; weights beyond ±65504 are refused.
    F16,
    /// Half the size, 8 bits of precision, full range.
    Bf16,
    /// Matrices as bytes with a scale for each row, as `compressed-tensors` lays out its format `int-quantized`; all else
    /// as [`StoreType::Bf16`].
    Int8,
}

/// Weights by name. Cloning shares the storage.
#[derive(Debug, Clone)]
pub struct Params {
    path: PathBuf,
    device: Device,
    tensors: BTreeMap<String, Tensor>,
    vars: BTreeMap<String, Var>,
}

impl Params {
    /// An empty store; `path` is what errors will name.
    pub fn new(path: impl Into<PathBuf>, device: &Device) -> Self {
        Self {
            path: path.into(),
            device: device.clone(),
            tensors: BTreeMap::new(),
            vars: BTreeMap::new(),
        }
    }

    /// Reads `model.safetensors` in `dir`, or the shards that
    /// `model.safetensors.index.json` lists; all frozen.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        let single = dir.join("model.safetensors");
        let index = dir.join("model.safetensors.index.json");
        if single.exists() || !index.exists() {
            return Self::load_file(&single, device);
        }
        let text = files::read_text(&index)?;
        let shards: Option<BTreeSet<String>> = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|json| {
                let map = json.get("weight_map")?.as_object()?;
                map.values()
                    .map(|file| file.as_str().map(str::to_owned))
                    .collect()
            });
        let shards = shards.filter(|shards| !shards.is_empty()).ok_or_else(|| {
            Error::config(
                &index,
                "field `weight_map` is not a map of tensor names to files",
            )
        })?;
        let mut params = Self::new(&index, device);
        for shard in shards {
            // An index names files beside itself; anything else is not read.
            if Path::new(&shard).file_name() != Some(shard.as_ref()) {
                return Err(Error::config(
                    &index,
                    format!("`{shard}` is not a file name; shards must lie beside the index"),
                ));
            }
            let part = Self::load_file(&dir.join(&shard), device)?;
            params.tensors.extend(part.tensors);
        }
        Ok(params)
    }

    /// Reads one safetensors file; all frozen.
    pub fn load_file(path: &Path, device: &Device) -> Result<Self> {
        Self::from_bytes(&files::read(path)?, path, device)
    }

    /// Parses the bytes of a safetensors file; errors name `path`. Matrices of
    /// bytes are read with the scales beside them ([`StoreType::Int8`]); other
    /// integer and boolean tensors (position counters of old checkpoints) are
    /// left out.
    pub fn from_bytes(bytes: &[u8], path: &Path, device: &Device) -> Result<Self> {
        let parsed = SafeTensors::deserialize(bytes).map_err(|error| Error::Weights {
            path: path.to_path_buf(),
            detail: error.to_string(),
        })?;
        let mut params = Self::new(path, device);
        for (name, view) in parsed.iter() {
            if parsed
                .tensor(name.strip_suffix("_scale").unwrap_or_default())
                .is_ok_and(|weight| weight.dtype() == Dtype::I8)
            {
                continue;
            }
            let data = match view.dtype() {
                Dtype::I8 => match parsed.tensor(&format!("{name}_scale")) {
                    Ok(scales) => scaled(&view, &scales).ok_or_else(|| Error::Weights {
                        path: path.to_path_buf(),
                        detail: format!("`{name}_scale` is not one f32, bf16 or f16 number for each row of `{name}`"),
                    })?,
                    Err(_) => continue,
                },
                Dtype::F32 | Dtype::F16 | Dtype::BF16 => floats(&view),
                Dtype::BOOL
                | Dtype::U8
                | Dtype::I16
                | Dtype::U16
                | Dtype::I32
                | Dtype::U32
                | Dtype::I64
                | Dtype::U64 => continue,
                other => {
                    return Err(Error::Dtype {
                        path: path.to_path_buf(),
                        name: name.to_owned(),
                        dtype: format!("{other:?}"),
                    });
                }
            };
            if !finite(&data) {
                let at = data.iter().position(|x| !x.is_finite()).unwrap_or_default();
                return Err(Error::Weights {
                    path: path.to_path_buf(),
                    detail: format!("tensor `{name}` is not finite at element {at}"),
                });
            }
            let tensor = Tensor::from_vec(data, view.shape(), device)?;
            params.tensors.insert(name.to_owned(), tensor);
        }
        Ok(params)
    }

    /// What errors name: the file the weights came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Number of weights in all tensors.
    pub fn elements(&self) -> usize {
        self.tensors.values().map(Tensor::elem_count).sum()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Names and tensors in order; trainable tensors are tracked.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// Whether a tensor of this name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor of this name; an error names it and the file.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
        })
    }

    /// The tensor of this name, which must have this shape. Shares storage.
    pub fn get_shaped(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.get(name)?;
        if tensor.dims() != shape {
            return Err(Error::Shape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                got: tensor.dims().to_vec(),
            });
        }
        Ok(tensor.clone())
    }

    /// Adds or replaces a frozen tensor, stored as contiguous `f32`.
    pub fn insert(&mut self, name: impl Into<String>, tensor: &Tensor) -> Result<()> {
        let name = name.into();
        let tensor = tensor.detach().to_dtype(DType::F32)?.contiguous()?;
        self.vars.remove(&name);
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// Adds or replaces a trainable tensor; the layers share its storage.
    pub fn insert_var(&mut self, name: impl Into<String>, var: Var) {
        let name = name.into();
        self.tensors.insert(name.clone(), var.as_tensor().clone());
        self.vars.insert(name, var);
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.vars.remove(name);
        self.tensors.remove(name)
    }

    /// Renames every tensor; `rename` must not send two names to one.
    pub fn rename(&mut self, rename: impl Fn(&str) -> String) {
        let renamed = |name: String| rename(&name);
        self.tensors = std::mem::take(&mut self.tensors)
            .into_iter()
            .map(|(name, tensor)| (renamed(name), tensor))
            .collect();
        self.vars = std::mem::take(&mut self.vars)
            .into_iter()
            .map(|(name, var)| (rename(&name), var))
            .collect();
    }

    /// Makes exactly the tensors that `select` names trainable and freezes the
    /// others. Layers built before keep the old tensors: rebuild them.
    pub fn set_trainable(&mut self, select: impl Fn(&str) -> bool) -> Result<usize> {
        for (name, tensor) in &mut self.tensors {
            match (select(name), self.vars.contains_key(name)) {
                (true, false) => {
                    let var = Var::from_tensor(tensor)?;
                    *tensor = var.as_tensor().clone();
                    self.vars.insert(name.clone(), var);
                }
                (false, true) => {
                    // A copy, so that a variable still held elsewhere cannot
                    // change a weight that is now frozen.
                    *tensor = tensor.detach().copy()?;
                    self.vars.remove(name);
                }
                _ => {}
            }
        }
        Ok(self.vars.len())
    }

    /// The trainable tensors, in order of name.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.vars
            .iter()
            .map(|(name, var)| (name.clone(), var.clone()))
            .collect()
    }

    /// The bytes of a safetensors file with all tensors.
    pub fn to_bytes(&self, dtype: StoreType) -> Result<Vec<u8>> {
        let mut stored = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            let unfit = || {
                Error::Input(format!(
                    "{}: tensor `{name}` holds a number that {dtype:?} cannot; save it as f32, or find what made it grow",
                    self.path.display()
                ))
            };
            if dtype == StoreType::Int8
                && let &[rows, width] = tensor.dims()
            {
                let (bytes, scales) = by_rows(&values, width).ok_or_else(unfit)?;
                stored.push((name.clone(), Dtype::I8, vec![rows, width], bytes));
                stored.push((format!("{name}_scale"), Dtype::F32, vec![rows, 1], scales));
                continue;
            }
            let stored_as = match dtype {
                StoreType::F32 => Dtype::F32,
                StoreType::F16 => Dtype::F16,
                StoreType::Bf16 | StoreType::Int8 => Dtype::BF16,
            };
            let bytes = encode(&values, stored_as).ok_or_else(unfit)?;
            stored.push((name.clone(), stored_as, tensor.dims().to_vec(), bytes));
        }
        let failed = |error: safetensors::SafeTensorError| Error::Weights {
            path: self.path.clone(),
            detail: error.to_string(),
        };
        let views = stored
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                let view = TensorView::new(*dtype, shape.clone(), bytes)?;
                Ok((name.as_str(), view))
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(failed)?;
        // transformers refuses files that do not name their framework.
        let note = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize(views, Some(note)).map_err(failed)
    }

    /// Writes `model.safetensors` in `dir`, complete or not at all.
    pub fn save(&self, dir: &Path, dtype: StoreType) -> Result<()> {
        self.save_file(&dir.join("model.safetensors"), dtype)
    }

    /// Writes one safetensors file, complete or not at all.
    pub fn save_file(&self, path: &Path, dtype: StoreType) -> Result<()> {
        files::write_atomic(path, &self.to_bytes(dtype)?)
    }
}

/// The numbers of a tensor of floats.
fn floats(view: &TensorView<'_>) -> Vec<f32> {
    match view.dtype() {
        Dtype::F16 => {
            let half: Vec<f16> = pairs(view.data()).map(f16::from_le_bytes).collect();
            half.to_f32_vec()
        }
        Dtype::BF16 => {
            let half: Vec<bf16> = pairs(view.data()).map(bf16::from_le_bytes).collect();
            half.to_f32_vec()
        }
        _ => f32_values(view.data()),
    }
}

/// A matrix of bytes, each row times its scale; `None` where the scales are none.
fn scaled(view: &TensorView<'_>, scales: &TensorView<'_>) -> Option<Vec<f32>> {
    let &[rows, width] = view.shape() else {
        return None;
    };
    let float = matches!(scales.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16);
    if !float || scales.shape().iter().product::<usize>() != rows || width == 0 {
        return None;
    }
    let rows = view.data().chunks_exact(width).zip(floats(scales));
    let row = |(row, scale): (&[u8], f32)| {
        let row = row
            .iter()
            .map(move |&byte| f32::from(byte.cast_signed()) * scale);
        row.collect::<Vec<_>>()
    };
    Some(rows.flat_map(row).collect())
}

/// Rows as bytes, and what to multiply each by; `None` where a number is not finite.
fn by_rows(values: &[f32], width: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.chunks_exact(width.max(1)) {
        let most = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
        bytes.extend(
            row.iter()
                .map(|x| ((x / scale).round() as i8).cast_unsigned()),
        );
        scales.extend(scale.to_le_bytes());
    }
    finite(values).then_some((bytes, scales))
}

fn f32_values(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    bytes.as_chunks::<2>().0.iter().copied()
}

/// Whether all numbers are finite. Without an early exit, so that it runs at the
/// speed of memory: loading is part of every start.
pub(crate) fn finite(values: &[f32]) -> bool {
    const INFINITE: u32 = 0x7f80_0000;
    values
        .iter()
        .fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff))
        < INFINITE
}

/// `None` where a number does not fit the type, or is not finite to begin with.
fn encode(values: &[f32], dtype: Dtype) -> Option<Vec<u8>> {
    let finite = match dtype {
        Dtype::F16 => values.iter().all(|&x| f16::from_f32(x).is_finite()),
        Dtype::BF16 => values.iter().all(|&x| bf16::from_f32(x).is_finite()),
        _ => finite(values),
    };
    finite.then(|| match dtype {
        Dtype::F16 => values
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .iter()
            .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    })
}
