//! Weights packed once, as bf16, for any number of products.
//!
//! Packing a weight for one call of [`crate::matmul`] costs about as much as
//! multiplying it with a dozen rows. A weight that is frozen, or that many calls
//! read between two updates, is packed here once and takes two bytes a number,
//! or four if its gradient's product is wanted too. The sums are `f32`.
//!
//! Where the processor multiplies bf16, `x` is rounded to bf16 as well, as under
//! [`crate::matmul::Compute::Bf16`]; elsewhere only the weight is rounded. A few
//! rows (decoding) run at the speed of memory.

use std::fmt;

use crate::buffer::Scratch;
use crate::element::Element;
use crate::gemm::{self, Layout, View};
use crate::matmul::Start;

/// Rows that are packed together.
pub const PANEL: usize = 32;

/// Which products a [`PackedMatrix`] is packed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    /// `y = x · wᵀ`
    Forward,
    /// And `dx = dy · w`; twice the memory.
    ForwardAndGradient,
}

/// A weight `w [n, k]`, rounded to bf16 and packed.
pub struct PackedMatrix {
    n: usize,
    k: usize,
    forward: Part,
    gradient: Option<Part>,
}

struct Part {
    layout: Layout,
    words: Scratch,
}

impl Part {
    fn new(rows: usize, depth: usize) -> Self {
        Self {
            layout: Layout::pairs(rows, depth),
            words: Scratch::default(),
        }
    }

    fn pack<T: Element>(&mut self, view: &View<'_, T>) {
        let words = self.words.u32s(self.layout.words());
        self.layout.pack(view, words);
    }

    fn right(&self) -> gemm::Panels<'_> {
        let words = self.words.whole(self.layout.words());
        self.layout.current().over(words)
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedMatrix [{}, {}]", self.n, self.k)
    }
}

impl PackedMatrix {
    /// Packs `w [n, k]`.
    pub fn new<T: Element>(w: &[T], n: usize, k: usize, uses: Uses) -> Self {
        let mut packed = Self {
            n,
            k,
            forward: Part::new(n, k),
            gradient: (uses == Uses::ForwardAndGradient).then(|| Part::new(k, n)),
        };
        packed.repack(w);
        packed
    }

    /// Puts another weight of the same shape in its place, without allocation.
    pub fn repack<T: Element>(&mut self, w: &[T]) {
        self.forward.pack(&View::rows(w, self.n, self.k));
        if let Some(gradient) = &mut self.gradient {
            gradient.pack(&View::columns(w, self.n, self.k));
        }
    }

    /// An empty weight whose rows are to come by [`PackedMatrix::repack_rows`].
    pub fn zeros(n: usize, k: usize) -> Self {
        let mut forward = Part::new(n, k);
        // New scratch is zero.
        forward.words.u32s(forward.layout.words());
        Self {
            n,
            k,
            forward,
            gradient: None,
        }
    }

    /// Puts other rows in the place of those from `first` on, without copies of
    /// the rest. `first` and, but for the last rows, their number are multiples of
    /// [`PANEL`].
    ///
    /// # Panics
    /// If they are not, or if the weight was packed for its gradient too.
    pub fn repack_rows<T: Element>(&mut self, w: &[T], first: usize) {
        assert!(self.gradient.is_none(), "rows of a gradient are no panels");
        let view = View::rows(w, w.len() / self.k.max(1), self.k);
        let words = self.forward.words.u32s(self.forward.layout.words());
        self.forward.layout.pack_rows(&view, first, words);
    }

    /// Outputs: rows of the weight.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs: columns of the weight.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes that the packed numbers take.
    pub fn bytes(&self) -> usize {
        let words = |part: &Part| part.layout.words() * 4;
        words(&self.forward) + self.gradient.as_ref().map_or(0, words)
    }

    /// Whether [`PackedMatrix::grad_input`] can be called.
    pub fn has_gradient(&self) -> bool {
        self.gradient.is_some()
    }

    /// `y [m, n] = start + x [m, k] · wᵀ`; `m` is read off `x`.
    pub fn forward<X: Element, Y: Element>(&self, x: &[X], start: Start<'_>, y: &mut [Y]) {
        let m = rows(x.len(), self.k, y.len(), self.n);
        gemm::product(View::rows(x, m, self.k), self.forward.right(), start, y);
    }

    /// `dx [m, k] = dy [m, n] · w`, or added to `dx` if `add`.
    ///
    /// # Panics
    /// If the weight was packed for [`Uses::Forward`] alone.
    pub fn grad_input<D: Element, X: Element>(&self, dy: &[D], dx: &mut [X], add: bool) {
        let part = self
            .gradient
            .as_ref()
            .expect("the weight was packed for forward alone; use Uses::ForwardAndGradient");
        let m = rows(dy.len(), self.n, dx.len(), self.k);
        let start = if add { Start::Add } else { Start::Zero };
        gemm::product(View::rows(dy, m, self.n), part.right(), start, dx);
    }

    /// The packed weight as the right factor of a product over `k`.
    pub(crate) fn right(&self) -> gemm::Panels<'_> {
        self.forward.right()
    }

    /// And of one over `n`.
    pub(crate) fn right_back(&self) -> Option<gemm::Panels<'_>> {
        self.gradient.as_ref().map(Part::right)
    }
}

/// Rows of the left factor, by its length or, if it has no columns, by the result's.
fn rows(from: usize, width: usize, to: usize, out_width: usize) -> usize {
    from.checked_div(width)
        .unwrap_or_else(|| to / out_width.max(1))
}
