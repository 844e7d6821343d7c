//! Keys and values of the tokens that an engine has seen.
//!
//! A row is a sequence. Each layer of a row owns the keys and values of its
//! tokens, in order; rows that continue one prompt share those of the prompt,
//! which are computed once and never copied. Numbers are stored as the engine
//! computes: `f32` with weights of `f32`, otherwise bf16.

use std::sync::Arc;

use half::bf16;
use rayon::prelude::*;
use visa_kernels::Element;
use visa_kernels::attention::Prefix;
use visa_kernels::matmul::Compute;

use super::Feed;
use super::attend::view;
use crate::{DecoderConfig, Error, Result};

/// Keys and values of one layer, `[tokens, Hkv · D]` each; keys are rotated.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept<T> {
    pub(super) keys: Vec<T>,
    pub(super) values: Vec<T>,
}

/// Keys and values of all layers.
#[derive(Debug, Clone)]
pub(super) struct Stretch<T> {
    pub(super) layers: Vec<Kept<T>>,
    pub(super) len: usize,
}

/// Keys and values of all layers that several rows continue, packed.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layers: Vec<Prefix>,
    len: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Row<T> {
    /// What comes first, and is shared.
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) own: Stretch<T>,
}

impl<T> Row<T> {
    fn len(&self) -> usize {
        self.own.len + self.shared.as_ref().map_or(0, |shared| shared.len)
    }
}

/// Activations of a step, kept for the next one; the stream that layers add to
/// is `f32` in any case.
#[derive(Debug, Default)]
pub(super) struct Work<T> {
    pub(super) x: Vec<f32>,
    pub(super) normed: Vec<T>,
    pub(super) wide: Vec<T>,
    pub(super) q: Vec<T>,
    pub(super) keys: Vec<T>,
    pub(super) values: Vec<T>,
    pub(super) attended: Vec<T>,
    pub(super) inner: Vec<T>,
}

/// The sequences that an [`Engine`](super::Engine) works on; made by
/// [`Engine::cache`](super::Engine::cache).
#[derive(Debug)]
pub struct KvCache(pub(super) Stored);

/// The rows by what their numbers are stored as.
#[derive(Debug)]
pub(super) enum Stored {
    F32(Rows<f32>),
    Bf16(Rows<bf16>),
}

/// Runs an expression on the rows, however they are stored.
macro_rules! rows {
    ($cache:expr, $rows:ident => $body:expr) => {
        match $cache {
            Stored::F32($rows) => $body,
            Stored::Bf16($rows) => $body,
        }
    };
}

impl KvCache {
    pub(super) fn f32(config: &DecoderConfig) -> Self {
        Self(Stored::F32(Rows::new(config, Compute::F32)))
    }

    pub(super) fn bf16(config: &DecoderConfig) -> Self {
        Self(Stored::Bf16(Rows::new(config, Compute::Bf16)))
    }

    /// Adds an empty row and says which one it is.
    pub fn add(&mut self) -> usize {
        rows!(&mut self.0, rows => rows.add())
    }

    /// Adds a row that has seen what `row` has; both share it from now on.
    pub fn fork(&mut self, row: usize) -> Result<usize> {
        rows!(&mut self.0, rows => rows.fork(row))
    }

    /// Drops a row; its number may be given to another.
    pub fn remove(&mut self, row: usize) {
        rows!(&mut self.0, rows => rows.remove(row));
    }

    /// Tokens that a row has seen; `None` if there is no such row.
    pub fn len(&self, row: usize) -> Option<usize> {
        rows!(&self.0, rows => rows.len(row))
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        rows!(&self.0, rows => rows.rows.iter().all(Option::is_none))
    }
}

#[derive(Debug)]
pub(super) struct Rows<T> {
    rows: Vec<Option<Row<T>>>,
    config: DecoderConfig,
    compute: Compute,
    width: usize,
    pub(super) work: Work<T>,
}

impl<T: Element> Rows<T> {
    fn new(config: &DecoderConfig, compute: Compute) -> Self {
        Self {
            rows: Vec::new(),
            config: config.clone(),
            compute,
            width: config.num_key_value_heads * config.head_dim,
            work: Work::default(),
        }
    }

    fn add(&mut self) -> usize {
        let own = self.stretch();
        self.place(Row { shared: None, own })
    }

    fn stretch(&self) -> Stretch<T> {
        Stretch {
            layers: vec![Kept::default(); self.config.num_hidden_layers],
            len: 0,
        }
    }

    fn place(&mut self, row: Row<T>) -> usize {
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

    fn fork(&mut self, row: usize) -> Result<usize> {
        let empty = self.stretch();
        let (config, compute) = (&self.config, self.compute);
        let Some(Some(source)) = self.rows.get_mut(row) else {
            return Err(Error::Input(format!(
                "row {row} is not in the cache; add it first"
            )));
        };
        if source.shared.is_none() {
            let own = std::mem::replace(&mut source.own, empty);
            let pack = |kept: &Kept<T>| {
                let cache = view(config, kept, own.len);
                Prefix::new(&cache, config.num_key_value_heads, config.head_dim, compute)
            };
            source.shared = Some(Arc::new(Shared {
                layers: own.layers.par_iter().map(pack).collect(),
                len: own.len,
            }));
        }
        // A row that was forked before and went on: its own tokens are copied.
        let copy = source.clone();
        Ok(self.place(copy))
    }

    fn remove(&mut self, row: usize) {
        if let Some(row) = self.rows.get_mut(row) {
            *row = None;
        }
    }

    pub(super) fn len(&self, row: usize) -> Option<usize> {
        self.rows.get(row)?.as_ref().map(Row::len)
    }

    /// The row of a feed, which the step has checked.
    pub(super) fn row(&self, row: usize) -> &Row<T> {
        self.rows[row].as_ref().expect("the step checked its rows")
    }

    /// Appends keys and values of one layer, those of all feeds in order.
    pub(super) fn append(&mut self, layer: usize, feeds: &[Feed<'_>], k: &[T], v: &[T]) {
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
