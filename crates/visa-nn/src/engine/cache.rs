//! Keys and values of the tokens that an engine has seen.
//!
//! A row is a sequence. Each layer of a row owns the keys and values of its
//! tokens, in order; rows that continue one prompt share those of the prompt,
//! which are computed once and never copied.

use std::sync::Arc;

use super::Feed;
use crate::{DecoderConfig, Error, Result};

/// Keys and values of one layer, `[tokens, Hkv · D]` each; keys are rotated.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

/// Keys and values of all layers.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretch {
    pub(super) layers: Vec<Kept>,
    pub(super) len: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What comes first, and is shared.
    pub(super) shared: Option<Arc<Stretch>>,
    pub(super) own: Stretch,
}

impl Row {
    fn len(&self) -> usize {
        self.own.len + self.shared.as_ref().map_or(0, |shared| shared.len)
    }
}

/// Activations of a step, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) x: Vec<f32>,
    pub(super) normed: Vec<f32>,
    pub(super) wide: Vec<f32>,
    pub(super) q: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) attended: Vec<f32>,
    pub(super) inner: Vec<f32>,
}

/// The sequences that an [`Engine`](super::Engine) works on.
#[derive(Debug)]
pub struct KvCache {
    rows: Vec<Option<Row>>,
    layers: usize,
    width: usize,
    pub(super) work: Work,
}

impl KvCache {
    /// An empty cache for engines of this shape.
    pub fn new(config: &DecoderConfig) -> Self {
        Self {
            rows: Vec::new(),
            layers: config.num_hidden_layers,
            width: config.num_key_value_heads * config.head_dim,
            work: Work::default(),
        }
    }

    /// Adds an empty row and says which one it is.
    pub fn add(&mut self) -> usize {
        let own = self.stretch();
        self.place(Row { shared: None, own })
    }

    fn stretch(&self) -> Stretch {
        Stretch {
            layers: vec![Kept::default(); self.layers],
            len: 0,
        }
    }

    fn place(&mut self, row: Row) -> usize {
        match self.rows.iter().position(Option::is_none) {
            Some(free) => {
                self.rows[free] = Some(row);
                free
            }
            None => {
                self.rows.push(Some(row));
                self.rows.len() - 1
            }
        }
    }

    /// Adds a row that has seen what `row` has; both share it from now on.
    pub fn fork(&mut self, row: usize) -> Result<usize> {
        let empty = self.stretch();
        let Some(Some(source)) = self.rows.get_mut(row) else {
            return Err(Error::Input(format!(
                "row {row} is not in the cache; add it first"
            )));
        };
        if source.shared.is_none() {
            source.shared = Some(Arc::new(std::mem::replace(&mut source.own, empty)));
        }
        // A row that was forked before and went on: its own tokens are copied.
        let copy = source.clone();
        Ok(self.place(copy))
    }

    /// Drops a row; its number may be given to another.
    pub fn remove(&mut self, row: usize) {
        if let Some(row) = self.rows.get_mut(row) {
            *row = None;
        }
    }

    /// Tokens that a row has seen; `None` if there is no such row.
    pub fn len(&self, row: usize) -> Option<usize> {
        self.rows.get(row)?.as_ref().map(Row::len)
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Option::is_none)
    }

    /// The row of a feed, which the step has checked.
    pub(super) fn row(&self, row: usize) -> &Row {
        self.rows[row].as_ref().expect("the step checked its rows")
    }

    /// Appends keys and values of one layer, those of all feeds in order.
    pub(super) fn append(&mut self, layer: usize, feeds: &[Feed<'_>], k: &[f32], v: &[f32]) {
        let mut at = 0;
        for (row, tokens) in feeds {
            let end = at + tokens.len() * self.width;
            let row = self.rows[*row].as_mut().expect("the step checked its rows");
            let kept = &mut row.own.layers[layer];
            // A step that failed half way may have left some.
            kept.keys.truncate(row.own.len * self.width);
            kept.values.truncate(row.own.len * self.width);
            kept.keys.extend_from_slice(&k[at..end]);
            kept.values.extend_from_slice(&v[at..end]);
            at = end;
        }
    }

    /// Counts the tokens that every layer has appended.
    pub(super) fn advance(&mut self, feeds: &[Feed<'_>]) {
        for (row, tokens) in feeds {
            if let Some(row) = &mut self.rows[*row] {
                row.own.len += tokens.len();
            }
        }
    }
}
