//! Peak memory of a training step, in a process of its own, so that nothing else counts.

use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use visa_nn::ops::{Precision, set_precision};

use super::measure::Case;
use super::models::Training;
use super::sizes::Size;

/// The flag of the child; hidden, as nobody else has a use for it.
pub(super) const CHILD: &str = "peak-memory-of-training";

/// Steps of the child: the second one is the first to run with the optimiser's state.
const STEPS: usize = 3;

/// Whether the system tells the largest memory of a process.
pub(super) fn is_told() -> bool {
    peak_bytes().is_ok()
}

pub(super) fn cases(size: Size, threads: usize) -> Vec<Case> {
    vec![Case::value("train_peak_mb", "MB", move || {
        child(size, threads)
    })]
}

/// Starts the child and reads its answer, in MB of a million bytes.
fn child(size: Size, threads: usize) -> Result<f64> {
    let program = std::env::current_exe().context("the path of this program")?;
    let size = size.to_possible_value().context("a size has a name")?;
    let mut child = Command::new(program)
        .args(["bench", &format!("--{CHILD}"), "--size", size.get_name()])
        .args(["--threads", &threads.to_string(), "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the process whose memory is to be measured")?;
    // Kept open until the child is done: where it closes, the child knows that nobody waits any more.
    let waiting = child.stdin.take();
    let mut answer = String::new();
    child
        .stdout
        .take()
        .context("the child's output")?
        .read_to_string(&mut answer)?;
    let status = child.wait()?;
    drop(waiting);
    ensure!(
        status.success(),
        "the process that trains for train_peak_mb ended with {status}"
    );
    Ok(answer.trim().parse::<f64>().context("the child's answer")? / 1e6)
}

/// What the child does: a few steps, and the largest memory it ever had, in bytes.
pub(super) fn run_child(size: Size) -> Result<String> {
    std::thread::spawn(|| {
        // Whatever ends the parent closes our input, and then this work is for nobody.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(i32::from(crate::exit::INTERRUPTED));
    });
    set_precision(Precision::Bf16);
    let sizes = size.sizes();
    let mut training = Training::new(&sizes.decoder, sizes.train)?;
    for _ in 0..STEPS {
        training.step()?;
    }
    Ok(format!("{}\n", peak_bytes()?))
}

/// The most memory that this process held at once, as Linux counts it.
fn peak_bytes() -> Result<u64> {
    let path = "/proc/self/status";
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{path}: only Linux tells the largest memory of a process"))?;
    let Some(kilobytes) = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"))
    else {
        bail!("{path} has no line VmHWM in kB");
    };
    Ok(kilobytes.trim().parse::<u64>()? << 10)
}
