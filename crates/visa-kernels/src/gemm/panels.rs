//! A packed right factor: blocks in depth, in each block panel after panel.
//!
//! Blocking after BLIS: a panel of one block stays in the first cache while the
//! tiles of a task's left rows pass by.

use rayon::prelude::*;

use super::View;
use super::method::{Kind, Method};
use crate::buffer::Shared;
use crate::element::Element;

/// How a right factor of some size is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    kind: Kind,
    rows: usize,
    depth: usize,
    wide: usize,
    /// Depth of all blocks but the last.
    block: usize,
    grain: usize,
    /// Numbers in a word.
    each: usize,
}

/// Even blocks of about equal size: a last block of a few would waste the tile's set-up.
fn block_size(depth: usize, most: usize, grain: usize) -> usize {
    depth
        .div_ceil(depth.div_ceil(most).max(1))
        .next_multiple_of(grain)
        .max(grain)
}

impl Layout {
    /// For `rows × depth` numbers, read by `kind`.
    pub(crate) fn new(kind: Kind, rows: usize, depth: usize) -> Self {
        with_method!(kind, M => Self {
            kind,
            rows,
            depth,
            wide: M::WIDE,
            block: block_size(depth, M::BLOCK, M::GRAIN),
            grain: M::GRAIN,
            each: M::RIGHT,
        })
    }

    /// For a factor that is kept as bf16.
    pub(crate) fn pairs(rows: usize, depth: usize) -> Self {
        Self::new(Kind::pairs(32), rows, depth)
    }

    /// The same numbers in the same places, read by what multiplies now.
    pub(crate) fn current(self) -> Self {
        Self {
            kind: Kind::pairs(self.grain),
            ..self
        }
    }

    /// Words that the packed factor takes.
    pub(crate) fn words(&self) -> usize {
        let whole = self.depth / self.block * self.block;
        let last = (self.depth - whole).next_multiple_of(self.grain);
        self.rows.next_multiple_of(self.wide) * (whole + last) / self.each
    }

    /// Where panel `p` of the block from `k0` on begins.
    fn at(&self, p: usize, k0: usize) -> usize {
        let depth = self.block.min(self.depth - k0);
        let steps = depth.next_multiple_of(self.grain) / self.each;
        k0 / self.each * self.rows.next_multiple_of(self.wide) + p * steps * self.wide
    }

    /// Packs `view` into `words`.
    pub(crate) fn pack<T: Element>(&self, view: &View<'_, T>, words: &mut [u32]) {
        assert_eq!(view.rows, self.rows);
        self.pack_rows(view, 0, words);
    }

    /// Packs `view` as the rows from `first` on, which begin a panel.
    pub(crate) fn pack_rows<T: Element>(
        &self,
        view: &View<'_, T>,
        first: usize,
        words: &mut [u32],
    ) {
        let panels = view.rows.div_ceil(self.wide);
        let from = first / self.wide;
        assert!(first.is_multiple_of(self.wide) && first + view.rows <= self.rows);
        let last = first + view.rows == self.rows;
        assert!(last || view.rows.is_multiple_of(self.wide), "whole panels");
        if view.rows * view.depth < 1 << 16 {
            return self.pack_panels(view, from, panels, words);
        }
        // Where rows are contiguous, panels side by side read whole pages of them.
        let group = 384 / self.wide;
        let blocks = self.depth.div_ceil(self.block);
        let out = self.room(view, words);
        (0..blocks * panels.div_ceil(group))
            .into_par_iter()
            .for_each(|task| {
                let p0 = task / blocks * group;
                let count = group.min(panels - p0);
                // SAFETY: each task writes its own panels of its own block.
                unsafe { self.pack_part(view, task % blocks, (p0, from), count, out) };
            });
    }

    /// The same on this thread alone.
    pub(crate) fn pack_here<T: Element>(&self, view: &View<'_, T>, words: &mut [u32]) {
        assert_eq!(view.rows, self.rows);
        self.pack_panels(view, 0, self.rows.div_ceil(self.wide), words);
    }

    fn pack_panels<T: Element>(
        &self,
        view: &View<'_, T>,
        from: usize,
        panels: usize,
        words: &mut [u32],
    ) {
        let out = self.room(view, words);
        for block in 0..self.depth.div_ceil(self.block) {
            // SAFETY: nobody else writes the panels.
            unsafe { self.pack_part(view, block, (0, from), panels, out) };
        }
    }

    fn room<T>(&self, view: &View<'_, T>, words: &mut [u32]) -> Shared<u32> {
        assert!(view.depth == self.depth);
        assert!(words.len() >= self.words());
        Shared::new(words)
    }

    /// Packs `count` panels of a block, from panel `p0` of the view on, `from` panels later.
    ///
    /// # Safety
    /// `out` has room for the layout; nobody else uses those panels.
    unsafe fn pack_part<T: Element>(
        &self,
        view: &View<'_, T>,
        block: usize,
        (p0, from): (usize, usize),
        count: usize,
        out: Shared<u32>,
    ) {
        let k0 = block * self.block;
        let depth = self.block.min(self.depth - k0);
        // SAFETY: the layout's kind is one that this processor has; the panels
        // lie inside `out`.
        unsafe {
            let to = out.get().add(self.at(from + p0, k0));
            with_method!(self.kind, M => {
                M::pack_right(view, p0 * M::WIDE, count, k0, depth, to);
            });
        }
    }

    /// The factor packed in `words`.
    pub(crate) fn over(self, words: &[u32]) -> Panels<'_> {
        assert!(words.len() >= self.words());
        assert!(words.as_ptr().cast::<u8>().align_offset(64) == 0);
        Panels {
            layout: self,
            words,
        }
    }
}

/// A packed right factor.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    layout: Layout,
    words: &'a [u32],
}

impl Panels<'_> {
    pub(super) fn kind(&self) -> Kind {
        self.layout.kind
    }

    pub(crate) fn rows(&self) -> usize {
        self.layout.rows
    }

    pub(crate) fn depth(&self) -> usize {
        self.layout.depth
    }

    /// Depth of all blocks but the last.
    pub(super) fn block(&self) -> usize {
        self.layout.block
    }

    /// Panel `p` of the block from `k0` on.
    pub(super) fn panel(&self, p: usize, k0: usize) -> *const u32 {
        self.words[self.layout.at(p, k0)..].as_ptr()
    }
}
