//! Documents as token files: `<name>.u16` for training and `<name>.valid.u16` held out, little
//! endian, each document between the begin and end tokens. Made once, in parallel, and remade when
//! the source, its files or the tokenizer change.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use visa_nn::Tokenizer;

use super::Source;
use crate::checkpoint::{sha256, sha256_file, write_atomically};
use crate::{Error, Result, RunContext};

/// The token that begins a document.
pub const BEGIN: &str = "<|begin|>";
/// The token that ends a document.
pub const END: &str = "<|end|>";

/// One document in so many is held out.
const HELD_OUT: usize = 100;
/// Documents encoded between looks at the stop flag.
const BATCH: usize = 8192;

/// The tokens of one source.
pub struct TokenCache {
    /// The source's name.
    pub name: String,
    /// Share of the mix.
    pub weight: f64,
    /// Tokens to train on.
    pub train: Vec<u16>,
    /// Tokens held out.
    pub valid: Vec<u16>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Manifest {
    /// Everything that the tokens depend on.
    key: String,
    train: Entry,
    valid: Entry,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Entry {
    tokens: usize,
    sha256: String,
}

/// The tokens of `source`, from the run's cache where that is still true.
pub fn cache(source: &Source, tokenizer: &Tokenizer, context: &RunContext) -> Result<TokenCache> {
    let dir = context.out.join("tokens");
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    let mut key = String::new();
    for file in source.files(&context.data)? {
        key.push_str(&sha256_file(&file)?);
    }
    // The weight does not change the tokens.
    let bare = Source {
        weight: 1.0,
        ..source.clone()
    };
    key.push_str(&serde_json::to_string(&bare).expect("plain data serialises"));
    key.push_str(&tokenizer.to_json()?);
    let key = sha256(key.as_bytes());

    let manifest_path = dir.join(format!("{}.json", source.name));
    let paths = [
        dir.join(format!("{}.u16", source.name)),
        dir.join(format!("{}.valid.u16", source.name)),
    ];
    let found = fs::read(&manifest_path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok())
        .filter(|manifest| manifest.key == key);
    if let Some(manifest) = found
        && let (Some(train), Some(valid)) = (
            read(&paths[0], &manifest.train),
            read(&paths[1], &manifest.valid),
        )
    {
        return Ok(TokenCache {
            name: source.name.clone(),
            weight: source.weight,
            train,
            valid,
        });
    }

    context.say(&format!("tokenising {}", source.name));
    let (train, valid) = tokenize(source, tokenizer, context)?;
    let manifest = Manifest {
        key,
        train: write(&paths[0], &train)?,
        valid: write(&paths[1], &valid)?,
    };
    let json = serde_json::to_vec_pretty(&manifest).expect("plain data serialises");
    write_atomically(&manifest_path, &json)?;
    Ok(TokenCache {
        name: source.name.clone(),
        weight: source.weight,
        train,
        valid,
    })
}

fn tokenize(
    source: &Source,
    tokenizer: &Tokenizer,
    context: &RunContext,
) -> Result<(Vec<u16>, Vec<u16>)> {
    let mut documents = Vec::new();
    source.documents(&context.data, &mut |document| {
        documents.push(document);
        if context.stopped() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if tokenizer.vocab_size() > 1 << 16 {
        return Err(Error::Input(format!(
            "a vocabulary of {} does not fit the 16 bits of the token cache; use at most 65536",
            tokenizer.vocab_size()
        )));
    }
    let (begin, end) = (
        tokenizer.require(BEGIN)? as u16,
        tokenizer.require(END)? as u16,
    );
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for (batch, documents) in documents.chunks(BATCH).enumerate() {
        context.check("tokenising text")?;
        let encoded = documents.par_iter().map(|document| {
            let ids = tokenizer.encode_plain(document)?.ids;
            Ok(ids.into_iter().map(|id| id as u16).collect())
        });
        let encoded: Vec<Vec<u16>> = encoded.collect::<Result<_>>()?;
        for (i, ids) in encoded.into_iter().enumerate() {
            let held = (batch * BATCH + i) % HELD_OUT == HELD_OUT / 2;
            let into = if held { &mut valid } else { &mut train };
            into.push(begin);
            into.extend(ids);
            into.push(end);
        }
    }
    Ok((train, valid))
}

fn write(path: &Path, tokens: &[u16]) -> Result<Entry> {
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|token| token.to_le_bytes())
        .collect();
    write_atomically(path, &bytes)?;
    Ok(Entry {
        tokens: tokens.len(),
        sha256: sha256(&bytes),
    })
}

/// The tokens of a file that is what its manifest says.
fn read(path: &Path, entry: &Entry) -> Option<Vec<u16>> {
    let bytes = fs::read(path).ok()?;
    if bytes.len() != entry.tokens * 2 || sha256(&bytes) != entry.sha256 {
        return None;
    }
    let (words, _) = bytes.as_chunks::<2>();
    Some(words.iter().map(|word| u16::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let texts = ["the cat sat on the mat", "the dog sat on the log"];
        Tokenizer::train_bpe(texts.iter(), 300, &[BEGIN, END]).unwrap()
    }

    #[test]
    fn tokens_are_cached_and_remade_when_damaged() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let context = RunContext {
            data: dir.path().into(),
            out: dir.path().join("run"),
            stop: &stop,
            progress: false,
        };
        let text: String = (0..200).map(|i| format!("the cat sat {i}\n\n")).collect();
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        fs::write(dir.path().join("a.zst"), packed).unwrap();
        let source = Source {
            name: "a".into(),
            kind: super::super::Kind::Text,
            path: "a.zst".into(),
            weight: 2.0,
            every: 1,
            skip: None,
        };
        let tokenizer = tokenizer();
        let made = cache(&source, &tokenizer, &context).unwrap();
        let ends = |tokens: &[u16]| tokens.iter().filter(|&&t| t == 1).count();
        assert_eq!((ends(&made.train), ends(&made.valid)), (198, 2));
        let first: Vec<u32> = made
            .train
            .iter()
            .take_while(|&&t| t != 1)
            .map(|&t| t.into())
            .collect();
        assert_eq!(tokenizer.decode(&first).unwrap(), "the cat sat 0");

        let path = context.out.join("tokens/a.u16");
        let again = cache(&source, &tokenizer, &context).unwrap();
        assert_eq!(again.train, made.train);
        fs::write(&path, [0u8; 10]).unwrap();
        assert_eq!(
            cache(&source, &tokenizer, &context).unwrap().train,
            made.train
        );
        assert!(fs::metadata(&path).unwrap().len() > 10);
    }
}
