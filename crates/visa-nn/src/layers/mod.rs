//! What encoder and decoder share: linear modules with an optional low-rank
//! update, and the pair of stores (base weights, adapter) they are built from.

mod slices;

use std::path::Path;

use candle_core::{Device, Tensor, Var};

use crate::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, PREFIX};
use crate::params::StoreType;
use crate::random::Init;
use crate::{Error, Lora, Params, Result, files, ops};

/// `y = x Wᵀ + b`, plus the low-rank update where there is one.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    update: Option<Update>,
}

/// `B A`, scaled: `a [rank, K]`, `b [N, rank]`.
#[derive(Debug, Clone)]
struct Update {
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl Linear {
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = ops::linear(x, &self.weight, self.bias.as_ref())?;
        let Some(update) = &self.update else {
            return Ok(y);
        };
        // Scaling the narrow product costs rank numbers a token, not N.
        let low = (ops::linear(x, &update.a, None)? * update.scale)?;
        Ok((y + ops::linear(&low, &update.b, None)?)?)
    }

    /// The weight with the update added; without one, the weight itself, shared.
    pub(crate) fn merged(&self) -> Result<Tensor> {
        let weight = self.weight.detach();
        let Some(update) = &self.update else {
            return Ok(weight);
        };
        let (a, b) = (update.a.detach(), update.b.detach());
        Ok((weight + (b.matmul(&a)? * update.scale)?)?)
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

/// The weights of a model: a base, and at most one adapter over it.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub(crate) base: Params,
    adapter: Option<(Lora, Params)>,
}

/// A linear module that can be adapted: full name, outputs, inputs.
pub(crate) type Module = (String, usize, usize);

impl Weights {
    pub(crate) fn new(base: Params) -> Self {
        Self {
            base,
            adapter: None,
        }
    }

    /// The linear module of this name, `[out, inputs]`.
    pub(crate) fn linear(
        &self,
        module: &str,
        out: usize,
        inputs: usize,
        bias: bool,
    ) -> Result<Linear> {
        let weight = self
            .base
            .get_shaped(&format!("{module}.weight"), &[out, inputs])?;
        let bias = match bias {
            true => Some(self.base.get_shaped(&format!("{module}.bias"), &[out])?),
            false => None,
        };
        let update = match &self.adapter {
            Some((lora, params)) if lora.applies(module) => Some(Update {
                a: params.get_shaped(&name_a(module), &[lora.rank, inputs])?,
                b: params.get_shaped(&name_b(module), &[out, lora.rank])?,
                scale: lora.scale(),
            }),
            _ => None,
        };
        Ok(Linear {
            weight,
            bias,
            update,
        })
    }

    /// Adds a trainable adapter that changes nothing yet (`B = 0`) and freezes
    /// the base, as PEFT does.
    pub(crate) fn add_adapter(&mut self, lora: &Lora, modules: &[Module], seed: u64) -> Result<()> {
        let targets = self.targets(lora, modules, Path::new(ADAPTER_CONFIG))?;
        let device = self.base.device().clone();
        let mut params = Params::new(ADAPTER_WEIGHTS, &device);
        let mut init = Init::new(seed);
        for (module, out, inputs) in targets {
            // PEFT: Kaiming uniform with a = sqrt(5), that is 1 / sqrt(inputs).
            let limit = 1.0 / (*inputs as f64).sqrt();
            let a = init.uniform(&[lora.rank, *inputs], limit, &device)?;
            let b = Tensor::zeros((*out, lora.rank), candle_core::DType::F32, &device)?;
            params.insert_var(name_a(module), Var::from_tensor(&a)?);
            params.insert_var(name_b(module), Var::from_tensor(&b)?);
        }
        self.base.set_trainable(|_| false)?;
        self.adapter = Some((lora.clone(), params));
        Ok(())
    }

    /// Reads an adapter; frozen until [`Weights::train_adapter`].
    pub(crate) fn load_adapter(
        &mut self,
        dir: &Path,
        modules: &[Module],
        rename: fn(&str) -> String,
    ) -> Result<()> {
        let lora = Lora::load(dir)?;
        let device: Device = self.base.device().clone();
        let params = Params::load_file(&dir.join(ADAPTER_WEIGHTS), &device)?;
        self.set_adapter(lora, params, modules, rename)
    }

    /// Puts an adapter that was read already over the base.
    pub(crate) fn set_adapter(
        &mut self,
        lora: Lora,
        mut params: Params,
        modules: &[Module],
        rename: fn(&str) -> String,
    ) -> Result<()> {
        params.rename(|name| match name.strip_prefix(PREFIX) {
            Some(module) => format!("{PREFIX}{}", rename(module)),
            None => name.to_owned(),
        });
        let path = params.path().to_path_buf();
        let targets = self.targets(&lora, modules, &path)?;
        let mut known = 0;
        for (module, out, inputs) in &targets {
            params.get_shaped(&name_a(module), &[lora.rank, *inputs])?;
            params.get_shaped(&name_b(module), &[*out, lora.rank])?;
            known += 2;
        }
        if params.len() != known {
            let expected: Vec<String> = targets
                .iter()
                .flat_map(|(module, ..)| [name_a(module), name_b(module)])
                .collect();
            let stray = params
                .names()
                .find(|name| !expected.iter().any(|known| known == name))
                .unwrap_or_default()
                .to_owned();
            return Err(Error::adapter(
                &path,
                format!(
                    "tensor `{stray}` belongs to no adapted module of this model; use the adapter's own base model"
                ),
            ));
        }
        self.adapter = Some((lora, params));
        Ok(())
    }

    /// Makes the adapter trainable (again) and freezes the base.
    pub(crate) fn train_adapter(&mut self) -> Result<()> {
        self.base.set_trainable(|_| false)?;
        match &mut self.adapter {
            Some((_, params)) => params.set_trainable(|_| true).map(|_| ()),
            None => Err(Error::Input(
                "there is no adapter to train; add or load one first".to_owned(),
            )),
        }
    }

    fn targets<'m>(
        &self,
        lora: &Lora,
        modules: &'m [Module],
        path: &Path,
    ) -> Result<Vec<&'m Module>> {
        if lora.rank == 0 || lora.targets.is_empty() {
            return Err(Error::adapter(path, "rank and targets must not be empty"));
        }
        for target in &lora.targets {
            let one = Lora::new(lora.rank, lora.alpha, &[target]);
            if !modules.iter().any(|(module, ..)| one.applies(module)) {
                let mut names: Vec<&str> = modules
                    .iter()
                    .filter_map(|(module, ..)| module.rsplit('.').next())
                    .collect();
                names.sort_unstable();
                names.dedup();
                return Err(Error::adapter(
                    path,
                    format!(
                        "target module `{target}` does not exist; the model has {}",
                        names.join(", ")
                    ),
                ));
            }
        }
        Ok(modules
            .iter()
            .filter(|(module, ..)| lora.applies(module))
            .collect())
    }

    /// Adds the update to the weights and drops the adapter. Only the adapted
    /// weights are copied; the others stay shared with the model they came from.
    pub(crate) fn merge(&mut self) -> Result<()> {
        let Some((lora, params)) = self.adapter.take() else {
            return Ok(());
        };
        for name in params.names() {
            let Some(module) = module_of_a(name) else {
                continue;
            };
            let a = params.get(name)?.detach();
            let b = params.get(&name_b(module))?.detach();
            let full = format!("{module}.weight");
            let merged = (self.base.get(&full)?.detach() + (b.matmul(&a)? * lora.scale())?)?;
            self.base.insert(full, &merged)?;
        }
        Ok(())
    }

    /// Drops the adapter without merging it.
    pub(crate) fn drop_adapter(&mut self) {
        self.adapter = None;
    }

    pub(crate) fn lora(&self) -> Option<&Lora> {
        self.adapter.as_ref().map(|(lora, _)| lora)
    }

    pub(crate) fn adapter_params(&self) -> Option<&Params> {
        self.adapter.as_ref().map(|(_, params)| params)
    }

    /// Trainable tensors of base and adapter, in order of name.
    pub(crate) fn vars(&self) -> Vec<(String, Var)> {
        let mut vars = self.base.vars();
        if let Some((_, params)) = &self.adapter {
            vars.extend(params.vars());
        }
        vars.sort_by(|a, b| a.0.cmp(&b.0));
        vars
    }

    pub(crate) fn save_adapter(&self, dir: &Path, dtype: StoreType, task: &str) -> Result<()> {
        let Some((lora, params)) = &self.adapter else {
            return Err(Error::Input(format!(
                "{}: there is no adapter to save; add or load one first",
                dir.display()
            )));
        };
        params.save_file(&dir.join(ADAPTER_WEIGHTS), dtype)?;
        files::write_atomic(&dir.join(ADAPTER_CONFIG), lora.to_json(task).as_bytes())
    }
}

fn name_a(module: &str) -> String {
    format!("{PREFIX}{module}.lora_A.weight")
}

fn name_b(module: &str) -> String {
    format!("{PREFIX}{module}.lora_B.weight")
}

fn module_of_a(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)?.strip_suffix(".lora_A.weight")
}
