//! One training run of a [`Model`] on [`Example`]s: the task that the shared loop trains.
//!
//! The loss of a batch is the weighted sum of its outputs' losses. Beside the weights runs their exponential average;
//! evaluations see the average, and the best evaluation's model is kept in the run's folder as `model/`, complete with
//! the calibration that the evaluation chose. What "best" means is the caller's [`Judge`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Tensor, Var};
use serde_json::json;
use visa_align::head::HeadConfig;

use super::batch::{self, Chosen};
use super::loss::output_loss;
use super::{Example, Model, Recipe};
use crate::optim::AdamWConfig;
use crate::schedule::{Schedule, Shape};
use crate::trainer::{self, load_weights};
use crate::{Error, Loss, Metrics, Result, RunContext, Task, TrainerConfig, checkpoint};

/// What an evaluation on held-out training data found.
pub struct Verdict {
    /// Higher is better; decides which model is kept.
    pub score: f64,
    /// Numbers for the metrics file.
    pub metrics: Metrics,
    /// The head's configuration with the calibration chosen here.
    pub config: HeadConfig,
}

/// Judges a model on held-out training data.
pub type Judge<'a> = dyn Fn(&Model) -> Result<Verdict> + 'a;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The folder of the best model.
    pub model: PathBuf,
    /// The best score.
    pub score: f64,
}

/// What a finished run leaves behind, so that one of several models of a recipe is not trained again when the others are.
const FITTED: &str = "fitted.json";

/// The context of one of several models: the same, in its own folder.
pub fn fold<'a>(context: &RunContext<'a>, fold: usize) -> RunContext<'a> {
    RunContext {
        data: context.data.clone(),
        out: context.out.join(format!("fold-{fold}")),
        stop: context.stop,
        progress: context.progress,
    }
}

fn finished(out: &Path) -> Result<Option<Fitted>> {
    let path = out.join(FITTED);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let json = serde_json::from_str::<serde_json::Value>(&text).ok();
    let score = json
        .and_then(|json| json["score"].as_f64())
        .ok_or_else(|| {
            Error::checkpoint(
                &path,
                "no score in it; remove the file to train this model again",
            )
        })?;
    let model = out.join("model");
    Ok(Some(Fitted { model, score }))
}

/// Trains and keeps the best model in `context.out/model`; a run that has finished there is not repeated. `weights` are those of the outputs' losses.
///
/// # Errors
/// Those of [`trainer::run`]; also when no evaluation took place.
pub fn fit(
    model: &Model,
    recipe: &Recipe,
    context: &RunContext,
    examples: &[Example],
    weights: &[f64],
    judge: &Judge<'_>,
) -> Result<Fitted> {
    if let Some(fitted) = finished(&context.out)? {
        return Ok(fitted);
    }
    let o = &recipe.optimisation;
    visa_nn::ops::set_precision(if o.bf16 {
        visa_nn::ops::Precision::Bf16
    } else {
        visa_nn::ops::Precision::F32
    });
    let batches: Vec<Chosen> = (0..o.epochs)
        .flat_map(|e| batch::epoch(examples, o.batch, recipe.seed, e))
        .collect();
    let steps = batches.len() as u64;
    if steps == 0 {
        return Err(Error::Input("there is nothing to train on".into()));
    }
    let config = TrainerConfig {
        steps,
        accumulate: 1,
        checkpoint_every: steps.div_ceil(o.epochs as u64),
        keep: 1,
        eval_every: steps.div_ceil(o.epochs as u64),
        log_every: 25,
        optimizer: AdamWConfig {
            beta2: 0.999,
            weight_decay: o.weight_decay,
            clip: o.clip,
            ..AdamWConfig::default()
        },
        schedule: Schedule {
            shape: Shape::Linear,
            lr: o.lr,
            warmup: ((steps as f64 * o.warmup) as u64).max(1),
            floor: o.floor,
            ..Schedule::default()
        },
    };
    let vars = model.vars();
    let average = (o.average > 0.0).then(|| copies(&vars)).transpose()?;
    let mut run = Run {
        model,
        vars,
        average,
        decay: o.average,
        head_scale: o.head_lr / o.lr,
        examples,
        batches,
        weights,
        judge,
        out: context.out.clone(),
        best: f64::NEG_INFINITY,
    };
    trainer::run(&mut run, &config, context)?;
    run.settle()?;
    if run.best == f64::NEG_INFINITY {
        return Err(Error::Input(
            "no evaluation took place; give at least one epoch".into(),
        ));
    }
    let json = json!({ "score": run.best }).to_string();
    checkpoint::write_atomically(&context.out.join(FITTED), json.as_bytes())?;
    Ok(Fitted {
        model: run.model_dir(),
        score: run.best,
    })
}

struct Run<'a> {
    model: &'a Model,
    vars: Vec<(String, Var)>,
    /// The averaged weights, in the order of `vars`.
    average: Option<Vec<Vec<f32>>>,
    decay: f64,
    head_scale: f64,
    examples: &'a [Example],
    batches: Vec<Chosen>,
    weights: &'a [f64],
    judge: &'a Judge<'a>,
    out: PathBuf,
    best: f64,
}

fn copies(vars: &[(String, Var)]) -> Result<Vec<Vec<f32>>> {
    vars.iter()
        .map(|(_, var)| Ok(var.flatten_all()?.to_vec1::<f32>()?))
        .collect()
}

impl Run<'_> {
    fn model_dir(&self) -> PathBuf {
        self.out.join("model")
    }

    /// Moves the average toward the present weights. Young averages forget faster, so that they do not hold on to the
    /// first weights: the decay is at most (1 + t) / (10 + t).
    fn follow(&mut self, step: u64) -> Result<()> {
        let Some(average) = &mut self.average else {
            return Ok(());
        };
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64)) as f32;
        for (mean, (_, var)) in average.iter_mut().zip(&self.vars) {
            let now = var.flatten_all()?.to_vec1::<f32>()?;
            for (m, x) in mean.iter_mut().zip(now) {
                *m += (1.0 - decay) * (x - *m);
            }
        }
        Ok(())
    }

    fn set(&self, values: &[Vec<f32>]) -> Result<()> {
        for ((_, var), values) in self.vars.iter().zip(values) {
            var.set(&Tensor::from_slice(values, var.shape(), var.device())?)?;
        }
        Ok(())
    }

    /// Leaves the average in the model.
    fn settle(&self) -> Result<()> {
        self.average
            .as_ref()
            .map_or(Ok(()), |average| self.set(average))
    }

    fn average_file(&self) -> PathBuf {
        self.out.join("average.safetensors")
    }
}

impl Task for Run<'_> {
    fn vars(&self) -> Vec<(String, Var)> {
        self.vars.clone()
    }

    fn lr_scale(&self, name: &str) -> f64 {
        if Model::is_head(name) {
            self.head_scale
        } else {
            1.0
        }
    }

    fn loss(&mut self, step: u64, _steps: u64, _micro: usize) -> Result<Loss> {
        self.follow(step)?;
        let chosen = &self.batches[step as usize];
        let config = &self.model.head.config;
        let device = self.model.encoder.device();
        let (batch, targets) =
            batch::tensors(self.examples, chosen, config, self.model.pad(), device)?;
        let logits = self.model.logits(&batch)?;
        let mut total: Option<Tensor> = None;
        let mut metrics = Metrics::new();
        for (((output, logits), target), weight) in config
            .outputs
            .iter()
            .zip(&logits)
            .zip(&targets)
            .zip(self.weights)
        {
            if let Some(loss) = output_loss(output, logits, target)? {
                metrics.push((output.name.clone(), f64::from(loss.to_scalar::<f32>()?)));
                let loss = (loss * *weight)?;
                total = Some(match total {
                    Some(sum) => (sum + loss)?,
                    None => loss,
                });
            }
        }
        let loss = total.ok_or_else(|| Error::Input("a batch has no target at all".into()))?;
        Ok(Loss {
            loss,
            weight: chosen.len() as f64,
            items: batch.lens.iter().sum(),
            metrics,
        })
    }

    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        self.follow(step)?;
        let now = copies(&self.vars)?;
        self.settle()?;
        let verdict = (self.judge)(self.model)?;
        if verdict.score > self.best {
            self.best = verdict.score;
            self.model.save(&self.model_dir(), &verdict.config)?;
        }
        self.set(&now)?;
        Ok(verdict.metrics)
    }

    fn state(&self) -> Result<serde_json::Value> {
        // The average is as large as the weights, so it lies in its own file, named by its hash.
        let mut hash = String::new();
        if let Some(average) = &self.average {
            let mut tensors = BTreeMap::new();
            for ((name, var), values) in self.vars.iter().zip(average) {
                tensors.insert(
                    name.clone(),
                    Tensor::from_slice(values, var.shape(), var.device())?,
                );
            }
            let bytes =
                safetensors::serialize(&tensors, None).map_err(|e| Error::Input(e.to_string()))?;
            checkpoint::write_atomically(&self.average_file(), &bytes)?;
            hash = checkpoint::sha256(&bytes);
        }
        let best = self.best.is_finite().then_some(self.best);
        Ok(json!({ "best": best, "average_sha256": hash }))
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.best = state["best"].as_f64().unwrap_or(f64::NEG_INFINITY);
        let Some(average) = &mut self.average else {
            return Ok(());
        };
        let path = self.out.join("average.safetensors");
        let wanted = state["average_sha256"].as_str().unwrap_or_default();
        *average = read_average(&path, wanted, &self.vars)?;
        Ok(())
    }
}

fn read_average(path: &Path, wanted: &str, vars: &[(String, Var)]) -> Result<Vec<Vec<f32>>> {
    let damaged = |detail: String| {
        Error::checkpoint(
            path,
            format!("{detail}; remove the run's folder and start again"),
        )
    };
    let bytes = std::fs::read(path).map_err(|e| damaged(e.to_string()))?;
    if checkpoint::sha256(&bytes) != wanted {
        return Err(damaged(
            "the average does not belong to the checkpoint".into(),
        ));
    }
    let tensors: BTreeMap<String, Tensor> =
        candle_core::safetensors::load_buffer(&bytes, &candle_core::Device::Cpu)?
            .into_iter()
            .collect();
    let spare: Vec<(String, Var)> = (vars.iter())
        .map(|(name, var)| {
            Ok((
                name.clone(),
                Var::from_tensor(&var.as_tensor().detach().copy()?)?,
            ))
        })
        .collect::<Result<_>>()?;
    load_weights(
        spare.iter().map(|(name, var)| (name.as_str(), var)),
        &tensors,
    )
    .map_err(damaged)?;
    copies(&spare)
}
