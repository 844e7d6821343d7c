//! What a run leaves behind for people: `metrics.jsonl`, TensorBoard's events, the resolved recipe, and progress on
//! standard error (a live view on a terminal, a line now and then elsewhere). It decides nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::events::Events;
use crate::{Error, Result, checkpoint};

/// Where a run reads and writes, and how it is told to stop.
pub struct RunContext<'a> {
    /// The folder of the data sets.
    pub data: PathBuf,
    /// The run's own folder: recipe, metrics, checkpoints, caches.
    pub out: PathBuf,
    /// Raised by the caller, from a signal handler say; the run then writes a checkpoint and
    /// returns [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
    /// Whether progress is shown at all.
    pub progress: bool,
}

impl RunContext<'_> {
    /// Whether the stop flag is up.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// [`Error::InterruptedEarly`] when the stop flag is up.
    pub fn check(&self, doing: &'static str) -> Result<()> {
        if self.stopped() {
            Err(Error::InterruptedEarly { doing })
        } else {
            Ok(())
        }
    }

    /// Creates the run's folder and saves the resolved recipe in it as `recipe.toml`.
    pub fn save_recipe(&self, recipe: &impl Serialize) -> Result<()> {
        fs::create_dir_all(&self.out).map_err(Error::io(&self.out))?;
        let path = self.out.join("recipe.toml");
        let text = toml::to_string(recipe)
            .map_err(|e| Error::recipe(&path, format!("cannot be written as TOML: {e}")))?;
        checkpoint::write_atomically(&path, text.as_bytes())
    }

    /// A line on standard error, unless progress is off.
    pub fn say(&self, line: &str) {
        if self.progress {
            eprintln!("{line}");
        }
    }
}

/// Reads a recipe; an unknown field or a wrong type is an error that names it.
pub fn read_recipe<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    toml::from_str(&text).map_err(|e| Error::recipe(path, e.to_string().trim_end().to_owned()))
}

/// What the live view shows of a step, where it is measured.
const SHOWN: [&str; 14] = [
    "loss",
    "reward",
    "reward_std",
    "rewards/value/mean",
    "rewards/consistency/mean",
    "rewards/accuracies",
    "completions/usable",
    "completions/mean_length",
    "kl",
    "entropy",
    "frac_reward_zero_std",
    "lr",
    "grad_norm",
    "items_per_s",
];
/// Steps of the curve in the live view.
const CURVE: usize = 48;

/// The metrics file, TensorBoard's events and the progress display of one run.
pub struct RunLog {
    path: PathBuf,
    file: File,
    events: Events,
    /// The last rewards, or losses where there is no reward.
    curve: Vec<f64>,
    bar: Option<ProgressBar>,
    lines: bool,
}

impl RunLog {
    /// Opens `metrics.jsonl` in the run's folder. Lines of steps after `step` are dropped: they
    /// belong to a stretch that was not checkpointed and will be trained again.
    pub fn open(context: &RunContext, step: u64, steps: u64) -> Result<Self> {
        fs::create_dir_all(&context.out).map_err(Error::io(&context.out))?;
        let path = context.out.join("metrics.jsonl");
        if path.exists() {
            let old = File::open(&path).map_err(Error::io(&path))?;
            let mut kept = Vec::new();
            for line in BufReader::new(old).lines() {
                let line = line.map_err(Error::io(&path))?;
                let parsed = serde_json::from_str::<serde_json::Value>(&line);
                if parsed.is_ok_and(|json| json["step"].as_u64().is_some_and(|s| s <= step)) {
                    kept.extend_from_slice(line.as_bytes());
                    kept.push(b'\n');
                }
            }
            checkpoint::write_atomically(&path, &kept)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let bar = (context.progress && std::io::stderr().is_terminal()).then(|| {
            let style = "{elapsed_precise} [{bar:30}] {pos}/{len} (eta {eta})\n{msg}";
            let style = ProgressStyle::with_template(style).expect("a valid template");
            let bar = ProgressBar::new(steps).with_style(style.progress_chars("=> "));
            bar.set_position(step);
            bar
        });
        Ok(Self {
            events: Events::begin(&context.out, step)?,
            curve: Vec::new(),
            file: file.map_err(Error::io(&path))?,
            path,
            lines: context.progress && bar.is_none(),
            bar,
        })
    }

    /// Moves the bar to `step`.
    pub fn tick(&self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    /// Appends one object to `metrics.jsonl` (`kind` is "train" or "eval") and shows it.
    pub fn write(&mut self, kind: &str, step: u64, metrics: &[(String, f64)]) -> Result<()> {
        let mut object = serde_json::Map::new();
        object.insert("kind".into(), kind.into());
        object.insert("step".into(), step.into());
        let mut shown = format!("step {step}");
        if kind != "train" {
            shown.push_str(&format!(" {kind}"));
        }
        for (name, value) in metrics {
            object.insert(name.clone(), (*value).into());
            shown.push_str(&format!("  {name} {}", short(*value)));
        }
        writeln!(self.file, "{}", serde_json::Value::Object(object))
            .map_err(Error::io(&self.path))?;
        self.events.scalars(&format!("{kind}/"), step, metrics)?;
        match &self.bar {
            Some(bar) if kind == "train" => {
                let found = ["reward", "loss"].map(|n| metrics.iter().find(|(name, _)| name == n));
                let (name, x) = found
                    .into_iter()
                    .flatten()
                    .next()
                    .map_or(("", 0.0), |(n, x)| (n.as_str(), *x));
                self.curve.push(x);
                if self.curve.len() > CURVE {
                    self.curve.remove(0);
                }
                bar.set_message(format!(
                    "{}\n{name} {}",
                    table(metrics),
                    sparks(&self.curve)
                ));
            }
            Some(bar) => bar.println(shown),
            None if self.lines => eprintln!("{shown}"),
            None => {}
        }
        Ok(())
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// The numbers that are shown, three a line.
fn table(metrics: &[(String, f64)]) -> String {
    let find = |name: &&str| metrics.iter().find(|(n, _)| n == name);
    let shown: Vec<String> = SHOWN
        .iter()
        .filter_map(find)
        .map(|(name, x)| format!("{name:<26} {:>9}", short(*x)))
        .collect();
    let lines: Vec<String> = shown.chunks(3).map(|line| line.join("   ")).collect();
    lines.join("\n")
}

/// A curve in a line of text, between its least and its greatest number.
fn sparks(values: &[f64]) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let place = |x: f64| match most - least {
        span if span > 0.0 => ((x - least) / span * 7.0).round() as usize,
        _ => 0,
    };
    values.iter().map(|x| STEPS[place(*x).min(7)]).collect()
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 0.01 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context<'a>(out: &Path, stop: &'a AtomicBool) -> RunContext<'a> {
        RunContext {
            data: out.into(),
            out: out.into(),
            stop,
            progress: false,
        }
    }

    #[test]
    fn metrics_after_the_checkpoint_are_dropped_on_resume() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = context(dir.path(), &stop);
        let mut log = RunLog::open(&context, 0, 10).unwrap();
        for step in [1, 2, 3] {
            log.write("train", step, &[("loss".into(), 0.5 * step as f64)])
                .unwrap();
        }
        drop(log);
        RunLog::open(&context, 2, 10)
            .unwrap()
            .write("eval", 2, &[])
            .unwrap();
        let text = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
        let expected = "{\"kind\":\"train\",\"step\":1,\"loss\":0.5}\n\
                        {\"kind\":\"train\",\"step\":2,\"loss\":1.0}\n\
                        {\"kind\":\"eval\",\"step\":2}\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_line_is_an_event_too() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let mut log = RunLog::open(&context(dir.path(), &stop), 0, 10).unwrap();
        log.write("train", 1, &[("reward".into(), 0.5)]).unwrap();
        drop(log);
        let files = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path());
        let events: Vec<PathBuf> = files
            .filter(|f| f.to_string_lossy().contains("tfevents"))
            .collect();
        assert_eq!(events.len(), 1);
        let bytes = fs::read(&events[0]).unwrap();
        assert!(bytes.windows(12).any(|w| w == b"train/reward"));
    }

    #[test]
    fn curves_stand_between_their_ends() {
        assert_eq!(sparks(&[0.0, 1.0, 0.5, 2.0]), "▁▅▃█");
        assert_eq!(sparks(&[3.0, 3.0]), "▁▁");
        assert_eq!(sparks(&[]), "");
    }

    #[test]
    fn the_view_shows_what_is_measured() {
        let metrics = [
            ("kl".to_owned(), 0.5),
            ("x".to_owned(), 1.0),
            ("loss".to_owned(), 2.0),
        ];
        let shown = table(&metrics);
        assert_eq!(
            shown.split_whitespace().collect::<Vec<_>>(),
            ["loss", "2.0000", "kl", "0.5000"]
        );
    }

    #[test]
    fn a_recipe_with_an_unknown_field_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.toml");
        fs::write(&path, "lr = 0.1\nwarmpu = 3\n").unwrap();
        let message = read_recipe::<crate::schedule::Schedule>(&path)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("warmpu") && message.contains("r.toml"),
            "{message}"
        );
    }
}
