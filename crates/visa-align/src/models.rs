//! Where the embedded models are found, and whether their files are whole.
//!
//! A *models folder* holds one folder a part: `encoder/` (the shared trunk), `detector/`, `translator/`, `nli/`,
//! `sense/` (adapter and head over the trunk) and `rewriter/` (a small decoder). This module finds such a folder, or a single
//! part, and checks sizes and headers without reading the weights. It does not load a model.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use visa_nn::WeightType;

use crate::error::{AlignError, Result};

/// One of the models that make up the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The sentence encoder that detector, translator and consistency checker share.
    Encoder,
    /// Text → profile, as an adapter and a head over the encoder.
    Detector,
    /// Instruction → shift, likewise.
    Translator,
    /// Consistency of two texts, likewise.
    Nli,
    /// Whether a clause belongs behind a sentence, likewise.
    Sense,
    /// The decoder that proposes rewrites.
    Rewriter,
    /// A second detector, asked by evaluation alone.
    #[serde(rename = "judge-detector")]
    JudgeDetector,
    /// A second consistency checker, asked by evaluation alone.
    #[serde(rename = "judge-checker")]
    JudgeChecker,
}

impl Part {
    /// The judge's parts: evaluation asks them, and nothing else needs them.
    pub const JUDGE: [Part; 2] = [Part::JudgeDetector, Part::JudgeChecker];

    /// All parts that the program works with, the trunk first.
    pub const ALL: [Part; 6] = [
        Part::Encoder,
        Part::Detector,
        Part::Translator,
        Part::Nli,
        Part::Sense,
        Part::Rewriter,
    ];

    /// The folder's name inside a models folder.
    pub fn folder(self) -> &'static str {
        match self {
            Part::Encoder => "encoder",
            Part::Detector => "detector",
            Part::Translator => "translator",
            Part::Nli => "nli",
            Part::Sense => "sense",
            Part::Rewriter => "rewriter",
            Part::JudgeDetector => "judge-detector",
            Part::JudgeChecker => "judge-checker",
        }
    }

    /// The files without which the part cannot be loaded.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Part::Encoder | Part::Rewriter => {
                &["config.json", "tokenizer.json", "model.safetensors"]
            }
            Part::Detector
            | Part::Translator
            | Part::Nli
            | Part::Sense
            | Part::JudgeDetector
            | Part::JudgeChecker => &[
                "adapter_config.json",
                "adapter_model.safetensors",
                "head.json",
                "head.safetensors",
            ],
        }
    }
}

/// A place where models may lie.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// Why this place is looked at, such as `VISA_MODELS`.
    pub reason: &'static str,
    /// The folder.
    pub path: PathBuf,
}

/// The state of one part, for `visa doctor`.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    /// The part.
    pub part: Part,
    /// Where it was found.
    pub path: Option<PathBuf>,
    /// Bytes of its files.
    pub bytes: u64,
    /// What is wrong with it; `None` when whole.
    pub problem: Option<String>,
}

/// The models that one run uses.
#[derive(Clone, Debug)]
pub struct Models {
    places: Vec<Place>,
    /// A single part given explicitly, used before the places.
    single: Option<(Part, PathBuf)>,
    weights: WeightType,
}

impl Models {
    /// Decides where to look. `explicit` is `--model`: a models folder, the folder of one part (told by its files), or
    /// a hub id `owner/name`, which is downloaded once into the hub's cache.
    ///
    /// # Errors
    /// [`AlignError::ModelFile`] when `explicit` names nothing usable, [`AlignError::Hub`] when a download fails.
    pub fn find(explicit: Option<&str>) -> Result<Self> {
        let Some(explicit) = explicit else {
            return Ok(Self {
                places: default_places(),
                single: None,
                weights: WeightType::native(),
            });
        };
        let path = Path::new(explicit);
        if path.exists() {
            Self::at(path)
        } else if is_hub_id(explicit) {
            Self::at(&download(explicit)?)
        } else {
            Err(AlignError::file(
                path,
                "no such folder, and not a hub id of the form owner/name",
            ))
        }
    }

    /// Uses exactly this folder: a models folder, or one part, whose siblings and the default places serve the others.
    pub fn at(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(AlignError::file(
                path,
                "not a folder; --model wants the folder that holds the model's files",
            ));
        }
        if let Some(part) = part_of(path)? {
            let mut places = Vec::new();
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                places.push(Place {
                    reason: "beside --model",
                    path: parent.to_path_buf(),
                });
            }
            places.extend(default_places());
            return Ok(Self {
                places,
                single: Some((part, path.to_path_buf())),
                weights: WeightType::native(),
            });
        }
        if Part::ALL.iter().any(|p| path.join(p.folder()).is_dir()) {
            return Ok(Self {
                places: vec![Place {
                    reason: "--model",
                    path: path.to_path_buf(),
                }],
                single: None,
                weights: WeightType::native(),
            });
        }
        Err(AlignError::file(
            path,
            "holds neither config.json, nor head.json, nor a folder named encoder, detector, translator, nli, sense or rewriter",
        ))
    }

    /// Has weights held, and products computed, in another way than [`WeightType::native`].
    #[must_use]
    pub fn with_weights(self, weights: WeightType) -> Self {
        Self { weights, ..self }
    }

    /// How models hold their weights.
    pub fn weights(&self) -> WeightType {
        self.weights
    }

    /// The places looked at, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The folder of a part, with its files checked.
    ///
    /// # Errors
    /// [`AlignError::ModelNotFound`] naming every place looked at, [`AlignError::ModelFile`] for a damaged file.
    pub fn dir(&self, part: Part) -> Result<PathBuf> {
        let dir = self.locate(part).ok_or_else(|| AlignError::ModelNotFound {
            part: part.folder(),
            looked: self.looked(part),
        })?;
        check_files(&dir, part.files())?;
        Ok(dir)
    }

    /// Whether there is a folder of this part; its files are not looked at.
    pub fn holds(&self, part: Part) -> bool {
        self.locate(part).is_some()
    }

    /// The state of every part, found or not.
    pub fn report(&self) -> Vec<PartReport> {
        Part::ALL
            .into_iter()
            .map(|part| {
                let path = self.locate(part);
                let bytes = path.as_deref().map_or(0, folder_bytes);
                let problem = match &path {
                    None => Some(format!("not found in {} places", self.places.len())),
                    Some(dir) => check_files(dir, part.files()).err().map(|e| e.to_string()),
                };
                PartReport {
                    part,
                    path,
                    bytes,
                    problem,
                }
            })
            .collect()
    }

    fn locate(&self, part: Part) -> Option<PathBuf> {
        if let Some((single, path)) = &self.single
            && *single == part
        {
            return Some(path.clone());
        }
        self.places
            .iter()
            .map(|place| place.path.join(part.folder()))
            .find(|dir| dir.is_dir())
    }

    fn looked(&self, part: Part) -> String {
        self.places
            .iter()
            .map(|p| format!("  {} ({})", p.path.join(part.folder()).display(), p.reason))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Places looked at when nothing is said, most specific first.
fn default_places() -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(path) = std::env::var_os("VISA_MODELS").filter(|v| !v.is_empty()) {
        places.push(Place {
            reason: "VISA_MODELS",
            path: path.into(),
        });
    }
    if let Some(bin) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        places.push(Place {
            reason: "next to the program",
            path: bin.join("models"),
        });
        places.push(Place {
            reason: "the installation's shared data",
            path: bin.join("../share/visa/models"),
        });
    }
    places.push(Place {
        reason: "the checkout this program was built from",
        path: checkout().join("models"),
    });
    if let Some(data) = user_data_dir() {
        places.push(Place {
            reason: "the user's data",
            path: data.join("visa/models"),
        });
    }
    places
}

/// Two folders up from this crate, without the dots, since people read the path.
fn checkout() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path.pop();
    path
}

/// Where programs keep a user's data on this system.
pub fn user_data_dir() -> Option<PathBuf> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if cfg!(windows) {
        var("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        var("HOME").map(|h| h.join("Library/Application Support"))
    } else {
        var("XDG_DATA_HOME").or_else(|| var("HOME").map(|h| h.join(".local/share")))
    }
}

/// Which part a folder is, told by its files; `None` when it is no part.
fn part_of(dir: &Path) -> Result<Option<Part>> {
    let read = |name: &str| -> Result<Option<serde_json::Value>> {
        let path = dir.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|e| AlignError::file(&path, e))?;
        serde_json::from_str(&text).map(Some).map_err(|e| {
            AlignError::file(
                &path,
                format!("not valid JSON: {e}; the file is damaged, fetch the model again"),
            )
        })
    };
    if let Some(head) = read("head.json")? {
        let kind = head
            .get("kind")
            .and_then(|k| k.as_str())
            .unwrap_or_default();
        return match kind {
            "detector" => Ok(Some(Part::Detector)),
            "translator" => Ok(Some(Part::Translator)),
            "nli" => Ok(Some(Part::Nli)),
            "sense" => Ok(Some(Part::Sense)),
            other => Err(AlignError::file(
                dir.join("head.json"),
                format!("kind is {other:?}, expected detector, translator, nli or sense"),
            )),
        };
    }
    let Some(config) = read("config.json")? else {
        return Ok(None);
    };
    match config.get("model_type").and_then(|k| k.as_str()) {
        Some("bert") => Ok(Some(Part::Encoder)),
        Some("llama") => Ok(Some(Part::Rewriter)),
        other => Err(AlignError::file(
            dir.join("config.json"),
            format!("model_type is {other:?}, expected bert (encoder) or llama (rewriter)"),
        )),
    }
}

fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|m| m.len())
        .sum()
}

/// Checks that the files exist, are not empty, and that safetensors files are as long as their header says.
pub(crate) fn check_files(dir: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let path = dir.join(name);
        let meta = std::fs::metadata(&path).map_err(|e| {
            AlignError::file(
                &path,
                format!("{e}; the model is incomplete, fetch it again"),
            )
        })?;
        if meta.len() == 0 {
            return Err(AlignError::file(
                &path,
                "the file is empty; fetch the model again",
            ));
        }
        if name.ends_with(".safetensors") {
            check_safetensors(&path, meta.len())?;
        }
    }
    Ok(())
}

/// Longest header accepted, as in the safetensors specification.
const MAX_HEADER: u64 = 100_000_000;

fn check_safetensors(path: &Path, size: u64) -> Result<()> {
    let damaged = |why: String| AlignError::file(path, format!("{why}; fetch the model again"));
    let mut file = File::open(path).map_err(|e| AlignError::file(path, e))?;
    let mut length = [0u8; 8];
    file.read_exact(&mut length)
        .map_err(|_| damaged(format!("truncated: {size} bytes are too few for a header")))?;
    let header_len = u64::from_le_bytes(length);
    if header_len > MAX_HEADER || header_len + 8 > size {
        let start = String::from_utf8_lossy(&length).into_owned();
        if start.starts_with("version ") {
            return Err(damaged(
                "a Git LFS pointer stands in place of the weights".into(),
            ));
        }
        return Err(damaged(format!(
            "truncated or no safetensors file: the header claims {header_len} of {size} bytes"
        )));
    }
    let mut header = vec![0u8; header_len as usize];
    file.read_exact(&mut header)
        .map_err(|e| AlignError::file(path, e))?;
    let header: serde_json::Value = serde_json::from_slice(&header)
        .map_err(|e| damaged(format!("its header is not valid JSON ({e})")))?;
    let data_end = header
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, tensor)| tensor.get("data_offsets")?.get(1)?.as_u64())
        .max()
        .unwrap_or(0);
    // Checked: offsets are untrusted.
    let wanted = data_end.checked_add(8 + header_len);
    if wanted != Some(size) {
        return Err(damaged(format!(
            "truncated: the header promises {} bytes and the file has {size}",
            wanted.map_or_else(|| "too many".into(), |w| w.to_string())
        )));
    }
    Ok(())
}

fn is_hub_id(text: &str) -> bool {
    let ok = |s: &str| {
        !s.is_empty()
            && !s.starts_with('.')
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| ok(owner) && ok(name))
}

/// Fetches the files of a models repository that this program uses; answers the folder they lie in.
fn download(id: &str) -> Result<PathBuf> {
    let hub = |e: hf_hub::api::sync::ApiError| AlignError::Hub {
        id: id.into(),
        problem: e.to_string(),
    };
    let repo = hf_hub::api::sync::ApiBuilder::from_env()
        .with_progress(false)
        .build()
        .map_err(hub)?
        .model(id.to_string());
    let known: Vec<&str> = Part::ALL
        .iter()
        .flat_map(|p| p.files())
        .copied()
        .chain(["tokenizer_config.json"])
        .collect();
    let info = repo.info().map_err(hub)?;
    let mut root: Option<PathBuf> = None;
    for sibling in &info.siblings {
        let name = sibling.rfilename.as_str();
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let wanted = known.contains(&file)
            && (folder.is_empty() || Part::ALL.iter().any(|p| p.folder() == folder));
        if !wanted {
            continue;
        }
        let path = repo.get(name).map_err(hub)?;
        let base = if folder.is_empty() {
            path.parent()
        } else {
            path.parent().and_then(Path::parent)
        };
        root = base.map(Path::to_path_buf).or(root);
    }
    root.ok_or_else(|| AlignError::Hub {
        id: id.into(),
        problem: "the repository holds none of the files of a VISA model".into(),
    })
}
