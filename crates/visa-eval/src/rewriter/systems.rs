//! The systems that are compared, and where their rewrites are kept.
//!
//! A system turns a paragraph and a wished shift into one text, or leaves the paragraph as it is. Each answer is written
//! to a file of its system at once, so that an interrupted evaluation goes on where it stopped; a file made by another
//! model or another seed is not mixed in but made anew.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use visa_align::embedded::{PHRASES, Writer};
use visa_align::rewrite::{Cancel, Goal, Loop, RewriteOptions, RewriteRequest};
use visa_align::{
    Backend, EmbeddedBackend, EmbeddedOptions, EndpointBackend, EndpointOptions, Models, Part,
    Prompt, Proposal, Sense, Text, Trunk,
};
use visa_score::{Original, score};
use visa_train::checkpoint::{sha256, sha256_file, write_atomically};
use visa_values::{Profile, Target};

use super::items::Item;
use super::lexicon;
use super::reader::Reader;
use crate::EvalError;

/// What a system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The original.
    Copy,
    /// A fixed clause for each wished value.
    Lexicon,
    /// One sample of a rewriter, as it comes; of the default rewriter without a folder.
    Policy(Option<PathBuf>),
    /// The same without the shield and the guards: whatever the model writes.
    Unshielded(Option<PathBuf>),
    /// The best of N samples a sentence, by the score; whatever that score is.
    BestOf(usize, Option<PathBuf>),
    /// The whole loop: rounds, acceptance, the original when nothing is accepted.
    Loop(Option<PathBuf>),
    /// One answer of the configured endpoint.
    Endpoint(Prompt),
}

/// A system and what it is called in the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The name: of a column, and of a file.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

impl System {
    /// What is compared when nothing is named.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        ["copy", "lexicon", "policy", "best-of-8", "loop"]
            .iter()
            .map(|kind| kind.parse().expect("the defaults parse"))
            .collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, kind: &str, dir: &Option<PathBuf>| match dir {
            Some(dir) => write!(f, "{kind}:{}", dir.display()),
            None => write!(f, "{kind}"),
        };
        match self {
            Self::Copy => write!(f, "copy"),
            Self::Lexicon => write!(f, "lexicon"),
            Self::Policy(dir) => with(f, "policy", dir),
            Self::Unshielded(dir) => with(f, "unshielded", dir),
            Self::BestOf(n, dir) => with(f, &format!("best-of-{n}"), dir),
            Self::Loop(dir) => with(f, "loop", dir),
            Self::Endpoint(prompt) => write!(f, "endpoint:{}", prompt_name(*prompt)),
        }
    }
}

fn prompt_name(prompt: Prompt) -> &'static str {
    match prompt {
        Prompt::Simple => "simple",
        Prompt::Rules => "rules",
        Prompt::Think => "think",
    }
}

impl FromStr for System {
    type Err = String;

    /// `NAME=KIND`, or `KIND` alone, which is its own name.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = text.split_once('=').unwrap_or((text, text));
        let kind = kind.parse()?;
        let name: String = (name.chars())
            .map(|c| {
                if c.is_alphanumeric() || ".-_+".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        if name.trim_matches(['-', '.']).is_empty() {
            return Err(format!(
                "{text:?} has no name; write NAME=KIND, as in sft=runs/sft/model"
            ));
        }
        Ok(Self { name, kind })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, dir) = match text.split_once(':') {
            Some((word, dir)) => (word, Some(dir)),
            None => (text, None),
        };
        let folder = dir.map(PathBuf::from);
        if let Some(n) = word.strip_prefix("best-of-") {
            return match n.parse() {
                Ok(n) if (1..=256).contains(&n) => Ok(Self::BestOf(n, folder)),
                _ => Err(format!("{word:?} is no best-of-N; N is 1 to 256")),
            };
        }
        match (word, dir) {
            ("copy", None) => Ok(Self::Copy),
            ("lexicon", None) => Ok(Self::Lexicon),
            ("policy", _) => Ok(Self::Policy(folder)),
            ("unshielded", _) => Ok(Self::Unshielded(folder)),
            ("loop", _) => Ok(Self::Loop(folder)),
            ("endpoint", Some("simple")) => Ok(Self::Endpoint(Prompt::Simple)),
            ("endpoint", Some("rules")) => Ok(Self::Endpoint(Prompt::Rules)),
            ("endpoint", Some("think")) => Ok(Self::Endpoint(Prompt::Think)),
            _ if Path::new(text).is_dir() => Ok(Self::Policy(Some(text.into()))),
            _ => Err(format!(
                "{text:?} is neither a folder nor one of copy, lexicon, policy, unshielded, best-of-N, loop (each of the last four with :DIR for another rewriter), endpoint:simple, endpoint:rules, endpoint:think"
            )),
        }
    }
}

/// What systems are made of.
pub(super) struct Workshop<'a> {
    pub models: &'a Models,
    pub trunk: &'a Trunk,
    /// The product's models: what a rewriter may consult.
    pub reward: Reader<'a>,
    pub endpoint: Option<&'a EndpointOptions>,
    pub seed: u64,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Header {
    system: String,
    made_by: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    key: String,
    id: String,
    text: String,
}

impl Workshop<'_> {
    /// The rewrites of all items, from the file or made now; `said` hears how many of how many are there.
    pub(super) fn rewrites(
        &self,
        system: &System,
        items: &[Item],
        before: &[Profile],
        folder: &Path,
        said: &dyn Fn(usize, usize),
    ) -> Result<Vec<String>, EvalError> {
        let path = folder.join(format!("{}.jsonl", system.name));
        let header = Header {
            system: system.kind.to_string(),
            made_by: self.fingerprint(&system.kind)?,
        };
        let mut stored = stored(&path, &header)?;
        let write = |source| EvalError::Write {
            path: path.clone(),
            source,
        };
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(write)?;
        // A system is only made when something is missing, so that a finished one costs no loading.
        let mut maker: Option<Maker<'_>> = None;
        let mut texts = Vec::with_capacity(items.len());
        for (i, (item, before)) in items.iter().zip(before).enumerate() {
            said(i, items.len());
            let key = item.key();
            let text = match stored.remove(&key) {
                Some(text) => text,
                None => {
                    if maker.is_none() {
                        maker = Some(self.maker(&system.kind)?);
                    }
                    let maker = maker.as_mut().expect("made above");
                    let seed = self.seed.wrapping_add(i as u64);
                    let text = maker.rewrite(item, before, &self.reward, seed)?;
                    let line = Stored {
                        key,
                        id: item.id.clone(),
                        text: text.clone(),
                    };
                    let line = serde_json::to_string(&line).expect("strings serialise") + "\n";
                    file.write_all(line.as_bytes()).map_err(write)?;
                    text
                }
            };
            texts.push(text);
        }
        Ok(texts)
    }

    fn maker(&self, kind: &Kind) -> Result<Maker<'_>, EvalError> {
        let embedded = |dir: &Option<PathBuf>| -> Result<EmbeddedBackend<'_>, EvalError> {
            let writer = match dir {
                Some(dir) => {
                    let sense = Sense::find(self.models, self.trunk)?;
                    Writer::load(dir, self.models.weights(), Some(sense))?
                }
                None => Writer::find(self.models, self.trunk)?,
            };
            Ok(EmbeddedBackend::by(writer, self.reward.values))
        };
        Ok(match kind {
            Kind::Copy => Maker::Copy,
            Kind::Lexicon => Maker::Lexicon,
            Kind::Policy(dir) | Kind::Unshielded(dir) => {
                let mut backend = embedded(dir)?;
                // One clause for each of two sentences: nothing to choose among.
                backend.options = EmbeddedOptions {
                    sentences: 2,
                    clauses: 1,
                    sense: f32::NEG_INFINITY,
                    shielded: matches!(kind, Kind::Policy(_)),
                    ..backend.options
                };
                Maker::One(Box::new(backend))
            }
            Kind::BestOf(n, dir) => {
                let mut backend = embedded(dir)?;
                backend.options.clauses = *n;
                backend.options.read = *n;
                Maker::Best(*n, Box::new(backend))
            }
            Kind::Loop(dir) => Maker::Loop(Box::new(embedded(dir)?)),
            Kind::Endpoint(prompt) => {
                let options = self.endpoint.ok_or(EvalError::NoEndpoint)?;
                let options = EndpointOptions {
                    prompt: *prompt,
                    ..options.clone()
                };
                let backend =
                    EndpointBackend::new(options).map_err(visa_align::AlignError::from)?;
                Maker::One(Box::new(backend))
            }
        })
    }

    /// What decides the texts of a system, as a hash: weights, endpoint, seed.
    fn fingerprint(&self, kind: &Kind) -> Result<String, EvalError> {
        let file = |path: &Path| {
            sha256_file(path).map_err(|e| EvalError::Data {
                path: path.to_owned(),
                problem: e.to_string(),
            })
        };
        let made_by = match kind {
            Kind::Copy => String::new(),
            Kind::Lexicon => lexicon::TABLE.to_owned(),
            Kind::Policy(dir) | Kind::Unshielded(dir) | Kind::BestOf(_, dir) | Kind::Loop(dir) => {
                let dir = match dir {
                    Some(dir) => dir.clone(),
                    None => self.models.dir(Part::Rewriter)?,
                };
                let mut made_by = file(&dir.join("model.safetensors"))?;
                if dir.join(PHRASES).exists() {
                    made_by += &file(&dir.join(PHRASES))?;
                }
                for part in [Part::Detector, Part::Sense] {
                    made_by += &file(&self.models.dir(part)?.join("adapter_model.safetensors"))?;
                }
                made_by
            }
            Kind::Endpoint(_) => {
                let options = self.endpoint.ok_or(EvalError::NoEndpoint)?;
                format!("{} {} {}", options.url, options.model, options.temperature)
            }
        };
        Ok(sha256(format!("{kind} {} {made_by}", self.seed).as_bytes())[..16].to_owned())
    }
}

/// The stored rewrites by key. A file of another system is emptied, a line broken by an interruption dropped.
fn stored(path: &Path, header: &Header) -> Result<HashMap<String, String>, EvalError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(EvalError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut lines = whole.lines();
    let same = (lines.next())
        .and_then(|line| serde_json::from_str::<Header>(line).ok())
        .is_some_and(|found| found == *header);
    if !same {
        let line = serde_json::to_string(header).expect("strings serialise") + "\n";
        rewritten(path, line.as_bytes())?;
        return Ok(HashMap::new());
    }
    if whole.len() < text.len() {
        rewritten(path, whole.as_bytes())?;
    }
    lines
        .map(|line| {
            let stored: Stored = serde_json::from_str(line).map_err(|e| EvalError::Data {
                path: path.to_owned(),
                problem: format!("{e}; remove the file to make its rewrites again"),
            })?;
            Ok((stored.key, stored.text))
        })
        .collect()
}

fn rewritten(path: &Path, bytes: &[u8]) -> Result<(), EvalError> {
    write_atomically(path, bytes).map_err(|e| EvalError::Data {
        path: path.to_owned(),
        problem: e.to_string(),
    })
}

/// Makes the rewrites of one system.
enum Maker<'a> {
    Copy,
    Lexicon,
    One(Box<dyn Backend + 'a>),
    Best(usize, Box<dyn Backend + 'a>),
    Loop(Box<dyn Backend + 'a>),
}

impl Maker<'_> {
    fn rewrite(
        &mut self,
        item: &Item,
        before: &Profile,
        reward: &Reader<'_>,
        seed: u64,
    ) -> Result<String, EvalError> {
        let target = Target::from_shift(before, &item.shift);
        match self {
            Self::Copy => Ok(item.text.clone()),
            Self::Lexicon => Ok(lexicon::insert(&item.text, &item.shift)),
            Self::One(backend) => {
                let found = propose(backend.as_mut(), item, before, &target, 1, seed)?;
                Ok(found
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| item.text.clone()))
            }
            Self::Best(n, backend) => {
                let found = propose(backend.as_mut(), item, before, &target, *n, seed)?;
                best(item, before, &target, found, reward)
            }
            Self::Loop(backend) => {
                let request = RewriteRequest {
                    text: item.text.clone(),
                    query: None,
                    goal: Goal::Target(target),
                };
                let mut engine = Loop {
                    values: reward.values,
                    checker: reward.checker,
                    translator: None,
                    backend: backend.as_mut(),
                    options: RewriteOptions {
                        seed,
                        ..RewriteOptions::default()
                    },
                };
                let outcome = engine.rewrite(&request, &Cancel::default(), &mut |_| {})?;
                Ok(outcome.rewritten)
            }
        }
    }
}

fn propose(
    backend: &mut dyn Backend,
    item: &Item,
    before: &Profile,
    target: &Target,
    n: usize,
    seed: u64,
) -> Result<Vec<String>, EvalError> {
    let gap = std::array::from_fn(|i| target.as_array()[i] - before.as_array()[i]);
    let mut found = backend.propose(&Proposal {
        text: &item.text,
        query: None,
        before,
        target,
        gap,
        best: None,
        round: 0,
        n,
        seed,
    })?;
    found.retain(|text| !text.trim().is_empty());
    Ok(found)
}

/// The candidate of the highest total, the original where none is free of violations. Nothing is refused.
fn best(
    item: &Item,
    before: &Profile,
    target: &Target,
    found: Vec<String>,
    reward: &Reader<'_>,
) -> Result<String, EvalError> {
    let guarded = Original::new(&item.text);
    let kept: Vec<String> = (found.into_iter())
        .filter(|text| guarded.guards(text).is_empty())
        .collect();
    if kept.is_empty() {
        return Ok(item.text.clone());
    }
    let texts: Vec<Text> = kept.iter().map(Text::new).collect();
    let pairs: Vec<(&str, &str)> = kept
        .iter()
        .map(|t| (item.text.as_str(), t.as_str()))
        .collect();
    let after = reward.values.profiles(&texts)?;
    let same = reward.checker.consistency(&pairs)?;
    let weights = visa_score::Weights::default();
    let mut best: Option<(f32, String)> = None;
    for ((text, after), same) in kept.into_iter().zip(after).zip(same) {
        let total = score(before, &after, target, same, Vec::new(), &weights)
            .map_err(visa_align::AlignError::from)?
            .total;
        // Strictly greater: of equals the first stays.
        if best.as_ref().is_none_or(|(most, _)| total > *most) {
            best = Some((total, text));
        }
    }
    Ok(best.map_or_else(|| item.text.clone(), |(_, text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_read_and_written_alike() {
        let check = |text: &str, name: &str, kind: &str| {
            let system: System = text.parse().unwrap();
            assert_eq!(
                (system.name.as_str(), system.kind.to_string().as_str()),
                (name, kind)
            );
        };
        check("copy", "copy", "copy");
        check("grpo=loop:runs/grpo", "grpo", "loop:runs/grpo");
        check("free=unshielded:runs/free", "free", "unshielded:runs/free");
        check("best-of-4", "best-of-4", "best-of-4");
        check("best 4=best-of-4:m", "best-4", "best-of-4:m");
        check("gpt=endpoint:think", "gpt", "endpoint:think");
        let here = env!("CARGO_MANIFEST_DIR");
        check(&format!("sft={here}"), "sft", &format!("policy:{here}"));
        for wrong in [
            "",
            "=copy",
            "best-of-0",
            "best-of-x",
            "endpoint:loud",
            "copy:here",
            "../=",
        ] {
            assert!(wrong.parse::<System>().is_err(), "{wrong:?}");
        }
        assert_eq!(System::defaults()[0].kind, Kind::Copy);
    }

    #[test]
    fn a_broken_line_is_dropped_and_another_system_s_file_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let header = |made_by: &str| Header {
            system: "policy".into(),
            made_by: made_by.into(),
        };
        assert!(stored(&path, &header("a")).unwrap().is_empty());
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"key\":\"k\",\"id\":\"i\",\"text\":\"t\"}\n{\"key\":\"l\",\"te");
        std::fs::write(&path, &text).unwrap();
        let found = stored(&path, &header("a")).unwrap();
        assert_eq!((found.len(), found["k"].as_str()), (1, "t"));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
        assert!(stored(&path, &header("b")).unwrap().is_empty());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
