//! Memory for results and scratch.
//!
//! Large results are not cleared before they are overwritten: clearing costs as
//! much as many of the kernels themselves. Scratch is kept per thread, so that
//! the pages of a packing buffer are faulted in once.

use std::cell::RefCell;

use crate::element::Element;

/// A vector of `n` numbers filled by `fill`, which must write every element and
/// read none before.
pub fn new_vec<T: Element>(n: usize, fill: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut v: Vec<T> = Vec::with_capacity(n);
    // SAFETY: the capacity is n, any bits are a valid number, and the one caller's
    // duty, to write before reading, is kept by every kernel of this crate.
    #[allow(clippy::uninit_vec)]
    unsafe {
        v.set_len(n);
    }
    fill(&mut v);
    v
}

/// Aligned words that only ever grow.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Line>);

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

impl Scratch {
    /// A pointer to at least `words` aligned words of any content.
    fn words(&mut self, words: usize) -> *mut u32 {
        let lines = words.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; 16]));
        }
        self.0.as_mut_ptr().cast()
    }

    /// At least `words` words of any content.
    pub(crate) fn u32s(&mut self, words: usize) -> &mut [u32] {
        let p = self.words(words);
        // SAFETY: `words` made the lines long enough, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(p, words) }
    }

    /// At least `n` numbers of any content.
    pub(crate) fn numbers<T: Element>(&mut self, n: usize) -> &mut [T] {
        let p = self.words((n * size_of::<T>()).div_ceil(4));
        // SAFETY: as above; any bits are a valid number of either kind.
        unsafe { std::slice::from_raw_parts_mut(p.cast(), n) }
    }

    /// The first `words` words, which a call of [`Scratch::u32s`] made room for.
    pub(crate) fn whole(&self, words: usize) -> &[u32] {
        assert!(words <= self.0.len() * 16);
        // SAFETY: that many words exist.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), words) }
    }

    /// At least `words` floats of any content.
    pub(crate) fn f32s(&mut self, words: usize) -> &mut [f32] {
        let p = self.words(words);
        // SAFETY: as above; any bits are a valid f32.
        unsafe { std::slice::from_raw_parts_mut(p.cast(), words) }
    }
}

thread_local! {
    static POOL: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// Lends a scratch of this thread to `f`. Calls may nest: rayon may run another
/// task on this thread while `f` waits, which then gets a scratch of its own.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = POOL
        .with(|pool| pool.borrow_mut().pop())
        .unwrap_or_default();
    let result = f(&mut scratch);
    POOL.with(|pool| pool.borrow_mut().push(scratch));
    result
}

/// A pointer that tasks may share because they write disjoint parts behind it.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// SAFETY: each use says which disjoint part a task writes.
unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The pointer itself. A method, so that closures capture the wrapper.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}
