//! Checkpoints that are complete or absent.
//!
//! A checkpoint is a folder `step-00001000` with `weights.safetensors`, `optimizer.safetensors`,
//! `state.json` and a `manifest.json` that has the size and SHA-256 of each. It is written into a
//! sibling temporary folder, every file is synced, the folder is renamed, and its parent is
//! synced. Reading checks the manifest first: a damaged checkpoint is an error that names the file,
//! never a silent start from zero.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";

/// All that a run needs to go on.
pub struct Checkpoint {
    /// Steps done.
    pub step: u64,
    /// Trainable tensors by name, `f32`.
    pub weights: BTreeMap<String, Tensor>,
    /// The optimiser's moments by name.
    pub optimizer: BTreeMap<String, Tensor>,
    /// Updates the optimiser has done.
    pub optimizer_steps: u64,
    /// What the task wants to remember: data position, generator state, best result.
    pub task: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    optimizer_steps: u64,
    task: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// The lower-case hexadecimal SHA-256 of a file, read in pieces.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The lower-case hexadecimal SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file so that it is either wholly there or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = std::ffi::OsString::from(".tmp-");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    write_synced(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(Error::io(path))?;
    sync_parent(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io(path))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = File::open(parent).map_err(Error::io(parent))?;
    folder.sync_all().map_err(Error::io(parent))
}

fn serialize(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    safetensors::serialize(tensors, None)
        .map_err(|e| Error::Input(format!("tensors cannot be serialised: {e}")))
}

/// Writes `checkpoint` under `dir` and removes all but the newest `keep` of its kind.
pub fn save(dir: &Path, checkpoint: &Checkpoint, keep: usize) -> Result<PathBuf> {
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let target = dir.join(format!("step-{:08}", checkpoint.step));
    let temporary = dir.join(format!(".tmp-step-{:08}", checkpoint.step));
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(Error::io(&temporary))?;
    }
    fs::create_dir(&temporary).map_err(Error::io(&temporary))?;
    let state = State {
        step: checkpoint.step,
        optimizer_steps: checkpoint.optimizer_steps,
        task: checkpoint.task.clone(),
    };
    let mut files = BTreeMap::new();
    for (name, bytes) in [
        (WEIGHTS, serialize(&checkpoint.weights)?),
        (OPTIMIZER, serialize(&checkpoint.optimizer)?),
        (STATE, to_json(&state)),
    ] {
        write_synced(&temporary.join(name), &bytes)?;
        let entry = Entry {
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
        };
        files.insert(name.to_owned(), entry);
    }
    write_synced(&temporary.join(MANIFEST), &to_json(&Manifest { files }))?;
    sync_parent(&temporary.join(MANIFEST))?;
    if target.exists() {
        // Only a run that was sent back to an earlier step writes the same step twice.
        fs::remove_dir_all(&target).map_err(Error::io(&target))?;
    }
    fs::rename(&temporary, &target).map_err(Error::io(&target))?;
    sync_parent(&target)?;
    let mut all = list(dir)?;
    while all.len() > keep.max(1) {
        let (_, oldest) = all.remove(0);
        fs::remove_dir_all(&oldest).map_err(Error::io(&oldest))?;
    }
    Ok(target)
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain data serialises");
    bytes.push(b'\n');
    bytes
}

/// The checkpoints under `dir`, oldest first.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(Error::io(dir)(e)),
    };
    for entry in entries {
        let path = entry.map_err(Error::io(dir))?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if let Some(step) = name.strip_prefix("step-").and_then(|n| n.parse().ok()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The newest checkpoint under `dir`, if there is one.
pub fn latest(dir: &Path) -> Result<Option<Checkpoint>> {
    match list(dir)?.pop() {
        Some((_, path)) => load(&path).map(Some),
        None => Ok(None),
    }
}

/// Reads and verifies one checkpoint folder.
pub fn load(path: &Path) -> Result<Checkpoint> {
    let manifest: Manifest = parse(path, MANIFEST, &read(path, MANIFEST)?)?;
    let verified = |name: &str| {
        let bytes = read(path, name)?;
        let entry = manifest
            .files
            .get(name)
            .ok_or_else(|| damaged(path, format!("the manifest does not list {name}")))?;
        if entry.bytes != bytes.len() as u64 {
            return Err(damaged(
                path,
                format!(
                    "{name} has {} bytes, the manifest says {}",
                    bytes.len(),
                    entry.bytes
                ),
            ));
        }
        if entry.sha256 != sha256(&bytes) {
            return Err(damaged(path, format!("{name} does not match its SHA-256")));
        }
        Ok(bytes)
    };
    let tensors = |name: &str| -> Result<BTreeMap<String, Tensor>> {
        let tensors = candle_core::safetensors::load_buffer(&verified(name)?, &Device::Cpu)
            .map_err(|e| damaged(path, format!("{name}: {e}")))?;
        Ok(tensors.into_iter().collect())
    };
    let state: State = parse(path, STATE, &verified(STATE)?)?;
    Ok(Checkpoint {
        step: state.step,
        weights: tensors(WEIGHTS)?,
        optimizer: tensors(OPTIMIZER)?,
        optimizer_steps: state.optimizer_steps,
        task: state.task,
    })
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>> {
    fs::read(dir.join(name)).map_err(|e| damaged(dir, format!("{name}: {e}")))
}

fn parse<T: serde::de::DeserializeOwned>(dir: &Path, name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| damaged(dir, format!("{name}: {e}")))
}

fn damaged(path: &Path, detail: String) -> Error {
    Error::checkpoint(
        path,
        format!("{detail}; remove this folder to go on from the checkpoint before it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(step: u64) -> Checkpoint {
        let tensor = |x: f32| Tensor::from_slice(&[x, -0.5], 2, &Device::Cpu).unwrap();
        Checkpoint {
            step,
            weights: [("w".to_owned(), tensor(step as f32))].into(),
            optimizer: [
                ("m.w".to_owned(), tensor(0.25)),
                ("v.w".to_owned(), tensor(0.5)),
            ]
            .into(),
            optimizer_steps: step,
            task: serde_json::json!({"position": [1, 2]}),
        }
    }

    #[test]
    fn the_newest_comes_back_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        assert!(latest(&dir.path().join("none")).unwrap().is_none());
        for step in [5, 10, 100] {
            save(dir.path(), &example(step), 2).unwrap();
        }
        let steps: Vec<u64> = list(dir.path())
            .unwrap()
            .into_iter()
            .map(|(s, _)| s)
            .collect();
        assert_eq!(steps, [10, 100]);
        let newest = latest(dir.path()).unwrap().unwrap();
        assert_eq!(newest.step, 100);
        assert_eq!(newest.task, example(1).task);
        assert_eq!(newest.weights["w"].to_vec1::<f32>().unwrap(), [100.0, -0.5]);
        assert_eq!(newest.optimizer.len(), 2);
    }

    fn check_damage(damage: impl Fn(&Path), expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = save(dir.path(), &example(7), 1).unwrap();
        damage(&path);
        let message = latest(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains("step-00000007") && message.contains("remove"),
            "{message}"
        );
    }

    #[test]
    fn damage_is_named() {
        let cut = |name: &'static str| {
            move |dir: &Path| {
                let bytes = fs::read(dir.join(name)).unwrap();
                fs::write(dir.join(name), &bytes[..bytes.len() / 2]).unwrap();
            }
        };
        check_damage(cut(WEIGHTS), "weights.safetensors has");
        check_damage(cut(OPTIMIZER), "optimizer.safetensors has");
        check_damage(cut(MANIFEST), "manifest.json");
        check_damage(
            |dir| fs::remove_file(dir.join(STATE)).unwrap(),
            "state.json",
        );
        let flip = |dir: &Path| {
            let mut bytes = fs::read(dir.join(WEIGHTS)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(dir.join(WEIGHTS), bytes).unwrap();
        };
        check_damage(flip, "does not match its SHA-256");
    }

    #[test]
    fn an_unfinished_folder_is_not_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".tmp-step-00000009")).unwrap();
        assert!(latest(dir.path()).unwrap().is_none());
    }
}
