//! Small recipes for every model, runs of them, and what they leave behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixture;
use crate::run::{Run, command, finish};

pub(crate) const TOKENIZER: &str = r#"
vocab = 340
megabytes = 0.02
[[source]]
name = "plain"
path = "text/wikipedia.txt.zst"
"#;

pub(crate) fn lm(tokenizer: &Path, steps: u64, log_every: u64) -> String {
    format!(
        r#"
seed = 3
tokenizer = {tokenizer:?}
batch = 2
valid_sequences = 2
prompts = ["They sold"]
[model]
hidden = 16
layers = 1
heads = 2
kv_heads = 1
feed_forward = 32
context = 100
[trainer]
steps = {steps}
checkpoint_every = 1000
eval_every = {steps}
log_every = {log_every}
schedule.warmup = 2
[[source]]
name = "plain"
path = "text/wikipedia.txt.zst"
"#
    )
}

/// A recipe of rewriting pairs.
pub(crate) const PAIRS: &str = r#"
mined_per_source = 100
kept = 20
generated = 160
contrasts = 20
neutral_share = 1.0
min_consistency = 0.0
valid_share = 0.2
[[source]]
name = "plain"
path = "text/modern.txt.zst"
"#;

/// Makes pairs of the data in `dir`, and says which file they are in.
pub(crate) fn pairs(dir: &Path) -> PathBuf {
    let recipe = dir.join("pairs.toml");
    std::fs::write(&recipe, PAIRS).expect("written");
    let file = dir.join("pairs/pairs.jsonl");
    let mut command = command(&["data", "pairs", "--quiet", "--unlabelled", "--recipe"]);
    command
        .arg(&recipe)
        .arg("--data")
        .arg(dir)
        .arg("--out")
        .arg(&file);
    finish(command, b"").objects();
    file
}

pub(crate) fn sft(lm: &Path, pairs: &Path, steps: u64, log_every: u64) -> String {
    format!(
        r#"
seed = 3
lm = {lm:?}
pairs = {pairs:?}
batch = 4
max_tokens = 200
valid_examples = 4
[trainer]
steps = {steps}
checkpoint_every = 1000
eval_every = {steps}
log_every = {log_every}
schedule.warmup = 2
"#
    )
}

/// What GRPO and preferences share; `own` are the lines in front of the tables.
fn reinforced(policy: &Path, pairs: &Path, own: &str, steps: u64, tables: &str) -> String {
    format!(
        r#"
seed = 3
policy = {policy:?}
pairs = {pairs:?}
valid_prompts = 2
{own}
[reward]
gate = 0.0
[trainer]
steps = {steps}
checkpoint_every = 1000
eval_every = {steps}
log_every = 1
schedule.warmup = 2
{tables}
"#
    )
}

pub(crate) fn grpo(policy: &Path, pairs: &Path, steps: u64) -> String {
    let tables = "[grpo]\ngroup = 4\n[grpo.advantage]\naggregation = \"normalise-then-sum\"";
    reinforced(policy, pairs, "prompts = 3", steps, tables)
}

pub(crate) fn prefs(policy: &Path, pairs: &Path, loss: &str, steps: u64) -> String {
    // A random decoder seldom ends a clause by itself, and cut ones are not chosen.
    let own = "sentences = 192\ncandidates = 8\nmargin = 0.0\nbatch = 2";
    let tables = format!("[objective]\n{loss}");
    reinforced(policy, pairs, own, steps, &tables)
}

pub(crate) fn detector() -> String {
    let own = "[detector]\nfolds = 2\nhold_out = 0.25\nphrases = 20\nclauses = 20\nwritten = 0.01\nplain = 10";
    encoder(&trunk(), "mean", 32, own)
}

pub(crate) fn nli() -> String {
    let own = "[nli]\ngenerated = 60\ngenerated_rate = 1.0";
    encoder(&trunk(), "segments", 8, own)
}

pub(crate) fn translator(trunk: &Path, instructions: usize) -> String {
    let own = format!("[translator]\ninstructions = {instructions}\nhold_out = 40\nwritten = 0");
    encoder(trunk, "mean", 8, &own)
}

/// The tiny encoder that tests do not damage.
pub(crate) fn trunk() -> PathBuf {
    fixture::models().join("encoder")
}

/// A recipe over a trunk; `own` are the lines of the task.
fn encoder(trunk: &Path, pooling: &str, batch: usize, own: &str) -> String {
    format!(
        r#"
seed = 3
encoder = {trunk:?}
[adapter]
rank = 2
alpha = 4.0
[head]
pooling = "{pooling}"
max_tokens = 48
[optimisation]
epochs = 2
batch = {batch}
lr = 5e-3
head_lr = 2e-2
{own}
"#
    )
}

/// The command that trains the recipe on the data in `dir`, into the folder `out` there.
pub(crate) fn prepare(kind: &str, dir: &Path, recipe: &str, out: &str) -> Command {
    let file = dir.join(format!("{out}.toml"));
    std::fs::write(&file, recipe).expect("written");
    let mut command = command(&["train", kind, "--quiet", "--recipe"]);
    command
        .arg(&file)
        .arg("--data")
        .arg(dir)
        .arg("--out")
        .arg(dir.join(out));
    command
}

pub(crate) fn train(kind: &str, dir: &Path, recipe: &str, out: &str) -> Run {
    finish(prepare(kind, dir, recipe, out), b"")
}

/// The lines of one kind in a metrics file.
pub(crate) fn lines(file: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a metrics file");
    (text.lines())
        .map(|line| serde_json::from_str::<Value>(line).expect("whole lines"))
        .filter(|line| line["kind"] == kind)
        .collect()
}
