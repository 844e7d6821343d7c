//! Text to token ids and back, from a Hugging Face `tokenizer.json`.
//!
//! Encodings keep byte offsets into the text. Text of a user can be encoded so
//! that nothing in it is taken for a special token. Also trains a byte-level
//! BPE. Padding and truncation in the file are ignored: they belong to the
//! caller.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerImpl, TruncationParams, TruncationStrategy,
};

use crate::{Error, Result, files};

/// One encoded text or pair of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment of each token (0, or 1 for the second text of a pair).
    pub type_ids: Vec<u32>,
    /// Bytes of the text that each token stands for, start and end; of the
    /// first or second text as [`Encoding::sources`] says; `(0, 0)` for tokens
    /// that the tokenizer added.
    pub offsets: Vec<(usize, usize)>,
    /// Which text each token comes from (0 or 1); `None` for added tokens.
    pub sources: Vec<Option<usize>>,
}

impl Encoding {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl From<&tokenizers::Encoding> for Encoding {
    fn from(from: &tokenizers::Encoding) -> Self {
        Self {
            ids: from.get_ids().to_vec(),
            type_ids: from.get_type_ids().to_vec(),
            offsets: from.get_offsets().to_vec(),
            sources: from.get_sequence_ids(),
        }
    }
}

/// A tokenizer, and the path its errors name.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    /// The same with special tokens taken as plain text; made when first used.
    plain: OnceLock<tokenizers::Tokenizer>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        Self::from_bytes(&files::read(&path)?, &path)
    }

    /// Parses the bytes of a `tokenizer.json`; errors name `path`.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| {
            let detail =
                format!("not a tokenizer.json: {e}; the file is damaged, fetch the model again");
            Error::tokenizer(path, detail)
        })?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| Error::tokenizer(path, e))?;
        Ok(Self {
            path: path.to_path_buf(),
            inner,
            plain: OnceLock::new(),
        })
    }

    /// Trains a byte-level BPE: every text can be encoded, and decodes to
    /// itself. The special tokens get the first ids, in order, then come the
    /// 256 bytes. The same texts give the same tokenizer.
    pub fn train_bpe<S: AsRef<str> + Send>(
        texts: impl Iterator<Item = S> + Send,
        vocab_size: usize,
        specials: &[&str],
    ) -> Result<Self> {
        let path = Path::new("trained tokenizer");
        let failed = |e: tokenizers::Error| Error::tokenizer(path, e);
        if vocab_size < 256 + specials.len() {
            return Err(Error::Input(format!(
                "a byte-level vocabulary needs at least {} entries (256 bytes and the special tokens), got {vocab_size}",
                256 + specials.len()
            )));
        }
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(
                specials
                    .iter()
                    .map(|&token| AddedToken::from(token, true))
                    .collect(),
            )
            .build();
        let mut model: TokenizerImpl<
            BPE,
            NormalizerWrapper,
            PreTokenizerWrapper,
            PostProcessorWrapper,
            DecoderWrapper,
        > = TokenizerImpl::new(BPE::default());
        // No space is put before the text, so that pieces encoded one by one
        // join to the text they came from.
        let bytes = ByteLevel::new(false, true, true);
        model
            .with_pre_tokenizer(Some(bytes))
            .with_decoder(Some(bytes));
        model.train(&mut trainer, texts).map_err(failed)?;
        let json = model.to_string(false).map_err(failed)?;
        Self::from_bytes(json.as_bytes(), path)
    }

    /// Writes `tokenizer.json` in `dir`, complete or not at all.
    pub fn save(&self, dir: &Path) -> Result<()> {
        files::write_atomic(&dir.join("tokenizer.json"), self.to_json()?.as_bytes())
    }

    /// The text of the `tokenizer.json`.
    pub fn to_json(&self) -> Result<String> {
        self.inner
            .to_string(true)
            .map_err(|e| Error::tokenizer(&self.path, e))
    }

    /// What errors name: the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts every encoding (added tokens included) to `max_len` tokens from the
    /// right, the longer text of a pair first; `None` never cuts.
    pub fn set_max_len(&mut self, max_len: Option<usize>) -> Result<()> {
        let truncation = max_len.map(|max_length| TruncationParams {
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        });
        self.inner
            .with_truncation(truncation)
            .map_err(|e| Error::tokenizer(&self.path, e))?;
        self.plain = OnceLock::new();
        Ok(())
    }

    /// Encodes with the tokens that the tokenizer adds (`[CLS]`, `[SEP]`,
    /// beginning of text); special tokens written in the text count as such.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        self.encode_with(&self.inner, text, true)
    }

    /// Encodes without adding anything; special tokens written in the text
    /// count as such.
    pub fn encode_bare(&self, text: &str) -> Result<Encoding> {
        self.encode_with(&self.inner, text, false)
    }

    /// Encodes without adding anything, and with special tokens written in the
    /// text taken as plain text: for what a user wrote.
    pub fn encode_plain(&self, text: &str) -> Result<Encoding> {
        self.encode_with(self.plain(), text, false)
    }

    fn plain(&self) -> &tokenizers::Tokenizer {
        self.plain.get_or_init(|| {
            let mut plain = self.inner.clone();
            plain.set_encode_special_tokens(true);
            plain
        })
    }

    fn encode_with(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        add: bool,
    ) -> Result<Encoding> {
        tokenizer
            .encode(text, add)
            .map(|encoding| Encoding::from(&encoding))
            .map_err(|e| Error::tokenizer(&self.path, e))
    }

    /// Encodes a pair with the tokens that the tokenizer adds. Special tokens
    /// written in either text count as plain text.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoding> {
        self.plain()
            .encode((first, second), true)
            .map(|encoding| Encoding::from(&encoding))
            .map_err(|e| Error::tokenizer(&self.path, e))
    }

    /// Encodes many texts in parallel as [`Tokenizer::encode`], but with special
    /// tokens written in the texts taken as plain text.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Encoding>> {
        self.batch(texts.to_vec())
    }

    /// Encodes many pairs in parallel as [`Tokenizer::encode_pair`].
    pub fn encode_pair_batch(&self, pairs: &[(&str, &str)]) -> Result<Vec<Encoding>> {
        self.batch(pairs.to_vec())
    }

    fn batch<'t, E>(&self, inputs: Vec<E>) -> Result<Vec<Encoding>>
    where
        E: Into<tokenizers::EncodeInput<'t>> + Send,
    {
        self.plain()
            .encode_batch(inputs, true)
            .map(|encodings| encodings.iter().map(Encoding::from).collect())
            .map_err(|e| Error::tokenizer(&self.path, e))
    }

    /// The text of the ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.decode_with(ids, true)
    }

    /// The text of the ids, special tokens included.
    pub fn decode_all(&self, ids: &[u32]) -> Result<String> {
        self.decode_with(ids, false)
    }

    fn decode_with(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|e| Error::tokenizer(&self.path, e))
    }

    /// Id of a token, spelled as in the file.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Id of a token that must exist.
    pub fn require(&self, token: &str) -> Result<u32> {
        self.token_to_id(token).ok_or_else(|| {
            Error::tokenizer(
                &self.path,
                format!("token {token:?} is missing; use the tokenizer.json that was saved with the model"),
            )
        })
    }

    /// The token of an id, spelled as in the file.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether the id is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.id_to_token(id)
            .is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }

    /// Number of ids: one more than the highest, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.highest().map_or(0, |(_, id)| id as usize + 1)
    }

    fn highest(&self) -> Option<(String, u32)> {
        self.inner
            .get_vocab(true)
            .into_iter()
            .max_by_key(|(_, id)| *id)
    }

    /// Refuses a model whose embedding has fewer rows than this tokenizer has
    /// ids.
    pub fn check_fits(&self, rows: usize) -> Result<()> {
        match self.highest() {
            Some((token, id)) if id as usize >= rows => Err(Error::Vocabulary {
                path: self.path.clone(),
                token,
                id,
                rows,
            }),
            Some(_) => Ok(()),
            None => Err(Error::tokenizer(&self.path, "the vocabulary is empty")),
        }
    }
}
