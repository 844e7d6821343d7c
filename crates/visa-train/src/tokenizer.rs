//! The tokenizer of the rewriter: a byte-level BPE trained on a sample of the language model's text,
//! with the special tokens of [`visa_align::format`] first.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use visa_align::format;
use visa_nn::Tokenizer;

use crate::data::Source;
use crate::{Error, Result, RunContext};

/// What a tokenizer is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// Entries, special tokens and the 256 bytes included.
    pub vocab: usize,
    /// Megabytes of text in all, shared out among the sources by their weights.
    pub megabytes: f64,
    /// Where the text comes from.
    pub source: Vec<Source>,
}

impl Default for TokenizerRecipe {
    fn default() -> Self {
        Self {
            vocab: 8192,
            megabytes: 24.0,
            source: Vec::new(),
        }
    }
}

/// Trains a tokenizer and writes `tokenizer.json` and `tokenizer_config.json` into the run's
/// folder. One that is there already is kept: everything trained later depends on its ids.
pub fn train(recipe: &TokenizerRecipe, context: &RunContext) -> Result<PathBuf> {
    let path = context.out.join("tokenizer.json");
    if path.exists() {
        context.say(&format!("{} exists and is kept", path.display()));
        return Ok(path);
    }
    context.save_recipe(recipe)?;
    let weights: f64 = recipe.source.iter().map(|source| source.weight).sum();
    let mut texts = Vec::new();
    for source in &recipe.source {
        context.check("reading text for the tokenizer")?;
        let mut left = (recipe.megabytes * 1e6 * source.weight / weights) as usize;
        source.documents(&context.data, &mut |document| {
            left = left.saturating_sub(document.len());
            texts.push(document);
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
    }
    if texts.is_empty() {
        return Err(Error::Input(
            "no text to train a tokenizer on; add a [[source]]".into(),
        ));
    }
    let specials = format::specials();
    let specials: Vec<&str> = specials.iter().map(String::as_str).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    context.say(&format!(
        "training {} entries on {:.1} MB",
        recipe.vocab,
        bytes as f64 / 1e6
    ));
    let tokenizer = Tokenizer::train_bpe(texts.iter(), recipe.vocab, &specials)?;
    save(&tokenizer, &context.out)?;
    Ok(path)
}

/// Writes the tokenizer as `transformers` reads it.
pub fn save(tokenizer: &Tokenizer, dir: &Path) -> Result<()> {
    tokenizer.save(dir)?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": format::BEGIN,
        "eos_token": format::END,
        "pad_token": format::PAD,
        "clean_up_tokenization_spaces": false,
    });
    let text = format!("{config:#}\n");
    crate::checkpoint::write_atomically(&dir.join("tokenizer_config.json"), text.as_bytes())
}
