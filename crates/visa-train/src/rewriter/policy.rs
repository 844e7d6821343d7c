//! The model that learns: a rewriter's folder, trained whole or by an adapter, and what it becomes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use visa_align::Sensible;
use visa_align::embedded::{Asker, Phrasebook};
use visa_nn::{Decoder, Lora, StoreType, Tokenizer};

use crate::lm::save_model;
use crate::{Error, Result};

/// An adapter in the place of the whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterRecipe {
    /// Rank of the updates.
    pub rank: usize,
    /// Their scale is `alpha / rank`.
    pub alpha: f64,
    /// Last parts of the names of the adapted modules; `all-linear` takes all.
    pub targets: Vec<String>,
}

impl Default for AdapterRecipe {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            targets: vec!["all-linear".into()],
        }
    }
}

/// Loads the policy of a folder twice: the one that learns, whole or under a fresh adapter, and the frozen one that it is held to. What
/// its sentences do is read by `sense`, if anything.
///
/// # Errors
/// A folder without a rewriter; an adapter that fits no module.
pub fn load(
    dir: &Path,
    adapter: Option<&AdapterRecipe>,
    sense: Option<&Arc<dyn Sensible>>,
    seed: u64,
) -> Result<(Decoder, Decoder, Asker)> {
    let tokenizer = Tokenizer::load(dir)?;
    let mut decoder = Decoder::load(dir, &Device::Cpu)?;
    let frozen = Decoder::load(dir, &Device::Cpu)?;
    let asker = Asker::new(tokenizer, decoder.config())
        .and_then(|asker| Ok(asker.with_book(Phrasebook::find(dir)?)))
        .map(|asker| asker.with_sense(sense.cloned()))
        .map_err(|e| Error::Input(e.to_string()))?;
    decoder = match adapter {
        Some(adapter) => {
            let targets: Vec<&str> = adapter.targets.iter().map(String::as_str).collect();
            decoder.with_lora(&Lora::new(adapter.rank, adapter.alpha, &targets), seed)?
        }
        None => {
            decoder.set_trainable(|_| true)?;
            decoder
        }
    };
    Ok((decoder, frozen, asker))
}

/// Writes the trained policy as a rewriter's folder `model` into the run's folder, and an adapter beside it.
///
/// # Errors
/// What the file system reports.
pub fn save(decoder: &Decoder, asker: &Asker, out: &Path, store: StoreType) -> Result<PathBuf> {
    let dir = out.join("model");
    let whole = if decoder.adapter().is_some() {
        let adapter = out.join("adapter");
        std::fs::create_dir_all(&adapter).map_err(Error::io(&adapter))?;
        decoder.save_adapter(&adapter, StoreType::F32)?;
        decoder.clone().merged()?
    } else {
        decoder.clone()
    };
    save_model(&whole, asker.tokenizer(), &dir, store)?;
    if let Some(book) = asker.book() {
        book.save(&dir).map_err(Error::io(&dir))?;
    }
    Ok(dir)
}
