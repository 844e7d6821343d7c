//! The training loop that every model here shares: losses in, an updated model, checkpoints and
//! metrics out. It knows nothing of what is trained; a [`Task`] does, or a [`Stepper`] where an update
//! is more than the gradient of a loss.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use serde::{Deserialize, Serialize};
use visa_kernels::adamw;

use crate::checkpoint::{self, Checkpoint};
use crate::optim::{AdamW, AdamWConfig};
use crate::runlog::{RunContext, RunLog};
use crate::schedule::Schedule;
use crate::{Error, Result};

/// Steps within which every trainable tensor must have received a gradient.
const GRADIENT_PATIENCE: u64 = 100;

/// Names and numbers for the metrics file.
pub type Metrics = Vec<(String, f64)>;

/// The settings of the loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerConfig {
    /// Updates in the whole run.
    pub steps: u64,
    /// Micro-batches whose gradients are added up for one update.
    pub accumulate: usize,
    /// Steps between checkpoints; the last step and an interruption write one as well.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// Steps between evaluations; the last step has one as well. 0 turns them off.
    pub eval_every: u64,
    /// Steps between lines of the metrics file.
    pub log_every: u64,
    /// The optimiser.
    pub optimizer: AdamWConfig,
    /// The learning rate.
    pub schedule: Schedule,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            accumulate: 1,
            checkpoint_every: 200,
            keep: 2,
            eval_every: 200,
            log_every: 20,
            optimizer: AdamWConfig::default(),
            schedule: Schedule::default(),
        }
    }
}

/// The loss of one micro-batch.
pub struct Loss {
    /// A scalar to be minimised; a mean over the micro-batch.
    pub loss: Tensor,
    /// What the mean stands for when micro-batches are added up: tokens or examples. Gradients are
    /// averaged with these weights.
    pub weight: f64,
    /// Tokens or examples, for the throughput shown.
    pub items: usize,
    /// Further numbers to be averaged into the log.
    pub metrics: Metrics,
}

/// Something that can be trained.
///
/// All randomness must come from the step, the micro-batch, or state that [`Task::state`] saves;
/// then a resumed run ends with the same bytes as one that was never interrupted.
pub trait Task {
    /// The trainable tensors by name: `f32`, on the CPU.
    fn vars(&self) -> Vec<(String, Var)>;

    /// A factor on the learning rate of one tensor.
    fn lr_scale(&self, _name: &str) -> f64 {
        1.0
    }

    /// The loss of micro-batch `micro` (from 0) of step `step` (from 0) of `steps`.
    fn loss(&mut self, step: u64, steps: u64, micro: usize) -> Result<Loss>;

    /// Numbers on held-out data after `step` updates.
    fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
        Ok(Vec::new())
    }

    /// Data position, generator state, best result so far.
    fn state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    /// Puts back what [`Task::state`] gave.
    fn restore(&mut self, _state: &serde_json::Value) -> Result<()> {
        Ok(())
    }
}

/// How many examples were drawn, as a task that draws them in a fixed order leaves it in [`Task::state`].
pub(crate) fn data_position(state: &serde_json::Value) -> Result<u64> {
    let missing = || Error::Input("the checkpoint has no data position".into());
    state.as_u64().ok_or_else(missing)
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Updates done, over all resumptions.
    pub steps: u64,
    /// The last evaluation.
    pub evaluation: Metrics,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
}

/// Where the checkpoints of a run are.
pub fn checkpoint_dir(context: &RunContext) -> PathBuf {
    context.out.join("checkpoints")
}

/// What takes the steps of a run: the loop asks it for steps and numbers, and saves what it holds.
pub trait Stepper {
    /// The optimiser with the trainable tensors.
    fn adam(&mut self) -> &mut AdamW;

    /// Step `step` (from 0) of `steps`, at the learning rate `lr`.
    fn step(&mut self, step: u64, steps: u64, lr: f64) -> Result<()>;

    /// Numbers since they were last asked for.
    fn metrics(&mut self, lr: f64) -> Metrics;

    /// Numbers on held-out data after `step` updates.
    fn evaluate(&mut self, step: u64) -> Result<Metrics>;

    /// What a checkpoint holds beside weights and optimiser.
    fn state(&self) -> Result<serde_json::Value>;

    /// Goes on from a checkpoint of `step` steps, whose weights and moments are in place already.
    fn resume(&mut self, step: u64, state: &serde_json::Value) -> Result<()>;
}

/// Trains `task` from the newest checkpoint in the run's folder, or from its present weights, up to
/// `config.steps`.
///
/// # Errors
/// [`Error::Interrupted`] after a checkpoint when the stop flag goes up; [`Error::NotFinite`] and
/// [`Error::NoGradient`] when training cannot go on; otherwise what files or the task report.
pub fn run(task: &mut dyn Task, config: &TrainerConfig, context: &RunContext) -> Result<Summary> {
    let adam = AdamW::new(task.vars(), config.optimizer.clone(), |name| {
        task.lr_scale(name)
    })?;
    let tensors = adam.vars().len();
    let mut descent = Descent {
        seen: vec![false; tensors],
        task,
        adam,
        accumulate: config.accumulate.max(1),
        window: Window::default(),
    };
    drive(&mut descent, config, context)
}

/// As [`run`], for what takes its own steps.
///
/// # Errors
/// As [`run`].
pub fn drive(
    stepper: &mut dyn Stepper,
    config: &TrainerConfig,
    context: &RunContext,
) -> Result<Summary> {
    let dir = checkpoint_dir(context);
    let mut step = 0;
    if let Some(found) = checkpoint::latest(&dir)? {
        restore(stepper, &found, &dir)?;
        step = found.step;
        context.say(&format!("resuming at step {step} of {}", config.steps));
    }
    let mut log = RunLog::open(context, step, config.steps)?;
    let mut evaluation = Vec::new();
    let mut saved = None;
    while step < config.steps {
        if context.stopped() {
            let path = save(stepper, step, &dir, config.keep)?;
            return Err(Error::Interrupted { step, path });
        }
        let lr = config.schedule.at(step, config.steps);
        stepper.step(step, config.steps, lr)?;
        step += 1;
        log.tick(step);
        let last = step == config.steps;
        if step.is_multiple_of(config.log_every.max(1)) || last {
            log.write("train", step, &stepper.metrics(lr))?;
        }
        if config.eval_every > 0 && (step.is_multiple_of(config.eval_every) || last) {
            evaluation = stepper.evaluate(step)?;
            log.write("eval", step, &evaluation)?;
        }
        if step.is_multiple_of(config.checkpoint_every.max(1)) || last {
            saved = Some(save(stepper, step, &dir, config.keep)?);
        }
    }
    let checkpoint = match saved {
        Some(path) => path,
        None => dir.join(format!("step-{step:08}")),
    };
    Ok(Summary {
        steps: step,
        evaluation,
        checkpoint,
    })
}

/// Gradient descent on the losses of a task.
struct Descent<'a> {
    task: &'a mut dyn Task,
    adam: AdamW,
    accumulate: usize,
    /// Which tensors have had a gradient.
    seen: Vec<bool>,
    window: Window,
}

impl Stepper for Descent<'_> {
    fn adam(&mut self) -> &mut AdamW {
        &mut self.adam
    }

    fn step(&mut self, step: u64, steps: u64, lr: f64) -> Result<()> {
        self.update(step, steps, lr)?;
        if step + 1 == GRADIENT_PATIENCE
            && let Some(i) = self.seen.iter().position(|seen| !seen)
        {
            let name = self.adam.vars().nth(i).expect("in range").0.to_owned();
            return Err(Error::NoGradient {
                name,
                steps: step + 1,
            });
        }
        Ok(())
    }

    fn metrics(&mut self, lr: f64) -> Metrics {
        self.window.take(lr)
    }

    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        self.task.evaluate(step)
    }

    fn state(&self) -> Result<serde_json::Value> {
        self.task.state()
    }

    fn resume(&mut self, step: u64, state: &serde_json::Value) -> Result<()> {
        // Tensors that had a gradient before are not asked again.
        self.seen.fill(step >= GRADIENT_PATIENCE);
        self.task.restore(state)
    }
}

impl Descent<'_> {
    fn update(&mut self, step: u64, steps: u64, lr: f64) -> Result<()> {
        let mut sums: Vec<Option<Tensor>> = vec![None; self.seen.len()];
        let micros = self.accumulate;
        let mut total = 0.0;
        for micro in 0..micros {
            let start = Instant::now();
            let part = self.task.loss(step, steps, micro)?;
            let value = f64::from(part.loss.to_scalar::<f32>()?);
            if !value.is_finite() {
                return Err(Error::NotFinite {
                    step,
                    what: "loss",
                    value,
                });
            }
            self.window.add(&part, value);
            let forward = Instant::now();
            let mut grads = part.loss.backward()?;
            for (i, (_, var)) in self.adam.vars().enumerate() {
                let Some(grad) = grads.remove(var) else {
                    continue;
                };
                self.seen[i] = true;
                match &sums[i] {
                    _ if micros == 1 => sums[i] = Some(grad),
                    Some(sum) => {
                        sum.inplace_op2(&grad.contiguous()?, &Accumulate(part.weight))?;
                    }
                    None => {
                        let sum = grad.zeros_like()?;
                        sum.inplace_op2(&grad.contiguous()?, &Accumulate(part.weight))?;
                        sums[i] = Some(sum);
                    }
                }
            }
            total += part.weight;
            self.window.forward += (forward - start).as_secs_f64();
            self.window.backward += forward.elapsed().as_secs_f64();
        }
        let start = Instant::now();
        let factor = if micros > 1 { 1.0 / total } else { 1.0 };
        let norm = self.adam.step(&sums, factor, lr)?;
        if !norm.is_finite() {
            return Err(Error::NotFinite {
                step,
                what: "gradient norm",
                value: norm,
            });
        }
        self.window.norm += norm;
        self.window.steps += 1.0;
        self.window.update += start.elapsed().as_secs_f64();
        Ok(())
    }
}

/// `sum ← sum + factor · gradient`, in the memory of the sum.
struct Accumulate(f64);

impl InplaceOp2 for Accumulate {
    fn name(&self) -> &'static str {
        "accumulate"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        sum_layout: &Layout,
        gradient: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(sum), CpuStorage::F32(gradient)) = (sum, gradient) else {
            candle_core::bail!("gradients are accumulated as f32");
        };
        let (Some((s0, s1)), Some((g0, g1))) =
            (sum_layout.contiguous_offsets(), layout.contiguous_offsets())
        else {
            candle_core::bail!("gradients are accumulated in contiguous tensors");
        };
        adamw::accumulate(&mut sum[s0..s1], &gradient[g0..g1], self.0 as f32);
        Ok(())
    }
}

fn save(
    stepper: &mut dyn Stepper,
    step: u64,
    dir: &std::path::Path,
    keep: usize,
) -> Result<PathBuf> {
    let task = stepper.state()?;
    let adam = stepper.adam();
    let weights = adam
        .vars()
        .map(|(name, var)| (name.to_owned(), var.as_detached_tensor()));
    let checkpoint = Checkpoint {
        step,
        weights: weights.collect(),
        optimizer: adam.state()?,
        optimizer_steps: adam.steps(),
        task,
    };
    checkpoint::save(dir, &checkpoint, keep)
}

fn restore(stepper: &mut dyn Stepper, found: &Checkpoint, dir: &std::path::Path) -> Result<()> {
    let misfit = |detail: String| {
        Error::checkpoint(
            dir,
            format!("{detail}; use another --out folder for another model"),
        )
    };
    let adam = stepper.adam();
    load_weights(adam.vars(), &found.weights).map_err(misfit)?;
    adam.restore(found.optimizer_steps, &found.optimizer)
        .map_err(misfit)?;
    stepper.resume(found.step, &found.task)
}

/// Copies `weights` into the trainable tensors; says which one is missing or of another shape.
pub fn load_weights<'a>(
    vars: impl Iterator<Item = (&'a str, &'a Var)>,
    weights: &std::collections::BTreeMap<String, Tensor>,
) -> Result<(), String> {
    for (name, var) in vars {
        let tensor = weights
            .get(name)
            .ok_or(format!("tensor `{name}` is missing"))?;
        if tensor.shape() != var.shape() {
            return Err(format!(
                "tensor `{name}` has shape {:?}, expected {:?}",
                tensor.dims(),
                var.dims()
            ));
        }
        var.set(tensor)
            .map_err(|e| format!("tensor `{name}`: {e}"))?;
    }
    Ok(())
}

/// Averages since the last line of the log.
#[derive(Default)]
struct Window {
    loss: f64,
    weight: f64,
    items: f64,
    metrics: Vec<(String, f64, f64)>,
    norm: f64,
    steps: f64,
    forward: f64,
    backward: f64,
    update: f64,
}

impl Window {
    fn add(&mut self, part: &Loss, value: f64) {
        self.loss += value * part.weight;
        self.weight += part.weight;
        self.items += part.items as f64;
        for (name, value) in &part.metrics {
            match self.metrics.iter_mut().find(|(n, ..)| n == name) {
                Some((_, sum, n)) => {
                    *sum += value;
                    *n += 1.0;
                }
                None => self.metrics.push((name.clone(), *value, 1.0)),
            }
        }
    }

    fn take(&mut self, lr: f64) -> Metrics {
        let w = std::mem::take(self);
        let seconds = w.forward + w.backward + w.update;
        let mut line = vec![
            ("loss".to_owned(), w.loss / w.weight.max(f64::MIN_POSITIVE)),
            ("lr".to_owned(), lr),
            ("grad_norm".to_owned(), w.norm / w.steps.max(1.0)),
            ("items_per_s".to_owned(), w.items / seconds.max(1e-9)),
            ("forward_s".to_owned(), w.forward / w.steps.max(1.0)),
            ("backward_s".to_owned(), w.backward / w.steps.max(1.0)),
            ("update_s".to_owned(), w.update / w.steps.max(1.0)),
        ];
        line.extend(w.metrics.into_iter().map(|(name, sum, n)| (name, sum / n)));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use candle_core::{DType, Device};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// y = x · w + b on numbers drawn by a generator whose position is saved.
    struct Line<'a> {
        weight: Var,
        bias: Var,
        drawn: u64,
        stop_at: Option<(u64, &'a AtomicBool)>,
    }

    impl<'a> Line<'a> {
        fn new(stop_at: Option<(u64, &'a AtomicBool)>) -> Self {
            Self {
                weight: Var::zeros((1, 3), DType::F32, &Device::Cpu).unwrap(),
                bias: Var::zeros(1, DType::F32, &Device::Cpu).unwrap(),
                drawn: 0,
                stop_at,
            }
        }

        fn bits(&self) -> Vec<u32> {
            let values = self.weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values
                .iter()
                .chain(&self.bias.to_vec1::<f32>().unwrap())
                .map(|x| x.to_bits())
                .collect()
        }
    }

    impl Task for Line<'_> {
        fn vars(&self) -> Vec<(String, Var)> {
            vec![
                ("w".into(), self.weight.clone()),
                ("b".into(), self.bias.clone()),
            ]
        }

        fn loss(&mut self, step: u64, _steps: u64, _micro: usize) -> Result<Loss> {
            let mut rng = ChaCha8Rng::seed_from_u64(self.drawn);
            self.drawn += 1;
            let x: Vec<f32> = (0..12).map(|_| rng.random_range(-1.0..1.0)).collect();
            let y: Vec<f32> = x.chunks(3).map(|x| x[0] - 2.0 * x[1] + 0.5).collect();
            let x = Tensor::from_vec(x, (4, 3), &Device::Cpu)?;
            let y = Tensor::from_vec(y, 4, &Device::Cpu)?;
            let out = x
                .matmul(&self.weight.t()?)?
                .squeeze(1)?
                .broadcast_add(&self.bias)?;
            if let Some((at, flag)) = self.stop_at
                && step == at
            {
                flag.store(true, Ordering::Relaxed);
            }
            let loss = (out - y)?.sqr()?.mean_all()?;
            Ok(Loss {
                loss,
                weight: 4.0,
                items: 4,
                metrics: Vec::new(),
            })
        }

        fn evaluate(&mut self, _step: u64) -> Result<Metrics> {
            Ok(vec![("drawn".into(), self.drawn as f64)])
        }

        fn state(&self) -> Result<serde_json::Value> {
            Ok(self.drawn.into())
        }

        fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
            self.drawn = state.as_u64().expect("a number was saved");
            Ok(())
        }
    }

    fn config() -> TrainerConfig {
        TrainerConfig {
            steps: 300,
            accumulate: 2,
            checkpoint_every: 50,
            schedule: Schedule {
                lr: 0.05,
                warmup: 5,
                ..Schedule::default()
            },
            ..TrainerConfig::default()
        }
    }

    fn context<'a>(out: &std::path::Path, stop: &'a AtomicBool) -> RunContext<'a> {
        RunContext {
            data: out.into(),
            out: out.into(),
            stop,
            progress: false,
        }
    }

    #[test]
    fn an_interrupted_run_resumes_to_the_same_bytes() {
        let (whole_dir, parts_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stop = AtomicBool::new(false);
        let mut whole = Line::new(None);
        let summary = run(&mut whole, &config(), &context(whole_dir.path(), &stop)).unwrap();
        assert_eq!(summary.steps, 300);
        assert_eq!(summary.evaluation, [("drawn".to_owned(), 600.0)]);
        let learned = whole
            .weight
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(
            (learned[0] - 1.0).abs() < 0.1 && (learned[1] + 2.0).abs() < 0.2,
            "{learned:?}"
        );

        let context = context(parts_dir.path(), &stop);
        let mut first = Line::new(Some((70, &stop)));
        let error = run(&mut first, &config(), &context).unwrap_err();
        assert!(
            matches!(error, Error::Interrupted { step: 71, .. }),
            "{error}"
        );
        stop.store(false, Ordering::Relaxed);
        let mut second = Line::new(None);
        run(&mut second, &config(), &context).unwrap();
        assert_eq!(second.bits(), whole.bits());
        let name = "checkpoints/step-00000300/weights.safetensors";
        assert_eq!(
            std::fs::read(whole_dir.path().join(name)).unwrap(),
            std::fs::read(parts_dir.path().join(name)).unwrap()
        );
    }

    #[test]
    fn a_finished_run_has_nothing_left_to_do() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let mut line = Line::new(None);
        run(&mut line, &config(), &context(dir.path(), &stop)).unwrap();
        let mut again = Line::new(None);
        run(&mut again, &config(), &context(dir.path(), &stop)).unwrap();
        assert_eq!(again.bits(), line.bits());
    }

    /// A task with a tensor that the loss does not use.
    struct Idle<'a>(Line<'a>, Var);

    impl Task for Idle<'_> {
        fn vars(&self) -> Vec<(String, Var)> {
            let mut vars = self.0.vars();
            vars.push(("idle".into(), self.1.clone()));
            vars
        }

        fn loss(&mut self, step: u64, steps: u64, micro: usize) -> Result<Loss> {
            self.0.loss(step, steps, micro)
        }
    }

    #[test]
    fn a_tensor_without_gradient_is_an_error() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let idle = Var::zeros(2, DType::F32, &Device::Cpu).unwrap();
        let error = run(
            &mut Idle(Line::new(None), idle),
            &config(),
            &context(dir.path(), &stop),
        );
        assert!(matches!(&error, Err(Error::NoGradient { name, .. }) if name == "idle"));
    }

    #[test]
    fn a_loss_that_is_not_finite_stops_the_run() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let mut line = Line::new(None);
        line.bias = Var::from_slice(&[f32::NAN], 1, &Device::Cpu).unwrap();
        let error = run(&mut line, &config(), &context(dir.path(), &stop));
        assert!(matches!(
            error,
            Err(Error::NotFinite {
                step: 0,
                what: "loss",
                ..
            })
        ));
    }
}
