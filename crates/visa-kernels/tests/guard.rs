//! No kernel touches memory beside its slices: every buffer here ends at, or
//! begins behind, a page that may not be touched.

#![cfg(unix)]
#![allow(unsafe_code)]

mod common;

use common::each_isa;
use visa_kernels::attention::{self, Batch, Cache, Prefix, Row, Saved, Shape, Sight};
use visa_kernels::int8::{Activations, Int8Matrix};
use visa_kernels::log_probability::{self, Gradients, Outputs, Upstream, Weight};
use visa_kernels::matmul::{self, Compute, Sizes, Start};
use visa_kernels::packed::{PackedMatrix, Uses};
use visa_kernels::{Element, activation, adamw, bf16, norm, rope};

/// Numbers between two pages that may not be touched.
struct Guarded<T> {
    base: *mut u8,
    bytes: usize,
    at: *mut T,
    n: usize,
}

impl<T: Element> Guarded<T> {
    /// `n` numbers, the last of them before the second page, or the first of
    /// them behind the first page.
    fn new(n: usize, at_end: bool) -> Self {
        // SAFETY: new anonymous memory; only its middle is made accessible.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let middle = (n * size_of::<T>()).next_multiple_of(page);
            let bytes = middle + 2 * page;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let base = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let base: *mut u8 = base.cast();
            let usable = base.add(page);
            if middle > 0 {
                let all = libc::PROT_READ | libc::PROT_WRITE;
                assert_eq!(libc::mprotect(usable.cast(), middle, all), 0);
            }
            let at = if at_end {
                usable.add(middle - n * size_of::<T>())
            } else {
                usable
            };
            Self {
                base,
                bytes,
                at: at.cast(),
                n,
            }
        }
    }

    fn filled(n: usize, at_end: bool) -> Self {
        let mut x = Self::new(n, at_end);
        for (i, x) in x.get().iter_mut().enumerate() {
            *x = T::from_f32((i * 37 % 101) as f32 / 50.0 - 1.0);
        }
        x
    }

    fn get(&mut self) -> &mut [T] {
        // SAFETY: `n` numbers fit between the pages, and any bits are numbers.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.n) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

fn products<T: Element>(s: Sizes, end: bool) {
    let Sizes { m, n, k } = s;
    let (mut x, mut w) = (
        Guarded::<T>::filled(m * k, end),
        Guarded::<T>::filled(n * k, end),
    );
    let (mut dy, mut bias) = (
        Guarded::<T>::filled(m * n, end),
        Guarded::<f32>::filled(n, end),
    );
    let (mut y, mut dx) = (Guarded::<T>::new(m * n, end), Guarded::<T>::new(m * k, end));
    let mut dw = Guarded::<f32>::new(n * k, end);
    let (x, w, dy, bias) = (x.get(), w.get(), dy.get(), &*bias.get());
    for compute in [Compute::F32, Compute::Bf16] {
        matmul::forward(x, w, Start::Bias(bias), y.get(), s, compute);
        matmul::grad_input(dy, w, dx.get(), true, s, compute);
        matmul::grad_weight(dy, x, dw.get(), true, s, compute);
    }
    let packed = PackedMatrix::new(w, n, k, Uses::ForwardAndGradient);
    packed.forward(x, Start::Bias(bias), y.get());
    packed.grad_input(dy, dx.get(), false);
    let bytes = Int8Matrix::new(w, n, k);
    for activations in [Activations::Bytes, Activations::Words] {
        bytes.forward(x, Start::Bias(bias), y.get(), activations);
    }
}

fn head(s: Sizes, end: bool) {
    let Sizes { m, n, k } = s;
    let (mut h, mut w) = (
        Guarded::<f32>::filled(m * k, end),
        Guarded::<f32>::filled(n * k, end),
    );
    let (mut log_p, mut lse) = (Guarded::<f32>::new(m, end), Guarded::<f32>::new(m, end));
    let (mut dh, mut dw) = (
        Guarded::<f32>::new(m * k, end),
        Guarded::<f32>::new(n * k, end),
    );
    let tokens: Vec<u32> = (0..m).map(|i| (i % n) as u32).collect();
    let weight = Weight::Plain(w.get());
    for compute in [Compute::F32, Compute::Bf16] {
        let to = Outputs {
            log_p: log_p.get(),
            lse: lse.get(),
            entropy: None,
        };
        log_probability::forward(h.get(), weight, &tokens, s, compute, to);
        let upstream = Upstream {
            log_p: log_p.get(),
            entropy: None,
        };
        let to = Gradients {
            dh: Some(dh.get()),
            dw: Some(dw.get()),
        };
        let (h, lse) = (h.get(), lse.get());
        log_probability::backward(h, weight, &tokens, lse, upstream, s, compute, to);
    }
}

fn attend<T: Element>(queries: usize, keys: usize, dim: usize, end: bool) {
    let shape = Shape {
        batch: 1,
        queries,
        keys,
        heads: 2,
        kv_heads: 1,
        dim,
    };
    let of = |n| Guarded::<T>::filled(n, end);
    let (mut q, mut grad) = (of(shape.q_len()), of(shape.q_len()));
    let (mut k, mut v) = (of(shape.kv_len()), of(shape.kv_len()));
    let mut out = of(shape.q_len());
    let mut lse = Guarded::<f32>::filled(shape.lse_len(), end);
    let (mut dq, mut dk, mut dv) = (of(shape.q_len()), of(shape.kv_len()), of(shape.kv_len()));
    let sight = Sight {
        lens: None,
        causal: Some(keys - queries),
    };
    let (q, k, v) = (q.get(), k.get(), v.get());
    for compute in [Compute::F32, Compute::Bf16] {
        attention::forward(q, k, v, &shape, &sight, compute, out.get(), lse.get());
        let saved = Saved {
            q,
            k,
            v,
            out: out.get(),
            lse: lse.get(),
            grad: grad.get(),
        };
        attention::backward(
            &saved,
            &shape,
            &sight,
            compute,
            dq.get(),
            dk.get(),
            dv.get(),
        );
    }
    let mut qkv = of(3 * keys * dim);
    let mut one = of(keys * dim);
    attention::bidirectional(qkv.get(), &[keys], (1, dim), Compute::Bf16, one.get());
    let (mut kc, mut vc) = (
        Guarded::<T>::filled(shape.kv_len(), end),
        Guarded::<T>::filled(shape.kv_len(), end),
    );
    let cache = Cache {
        k: kc.get(),
        v: vc.get(),
        len: keys,
        position: dim,
        head: dim,
    };
    let prefix = Prefix::new(&cache, 1, dim, Compute::Bf16);
    let batch = Batch {
        prefixes: &[&prefix],
        rows: &[Row {
            prefix: Some(0),
            own: cache,
            count: queries,
        }],
        queries,
        heads: 2,
        kv_heads: 1,
        dim,
    };
    attention::decode(q, &batch, out.get());
}

fn rows(m: usize, d: usize, end: bool) {
    let f32s = |n| Guarded::<f32>::filled(n, end);
    let (mut x, mut dy, mut w, mut b) = (f32s(m * d), f32s(m * d), f32s(d), f32s(d));
    let (mut y, mut z, mut dw, mut db) = (f32s(m * d), f32s(m * d), f32s(d), f32s(d));
    let (x, dy, w) = (x.get(), dy.get(), w.get());
    norm::rms_forward(x, w, 1e-5, y.get());
    norm::rms_backward(x, w, 1e-5, dy, y.get(), Some(dw.get()));
    norm::layer_forward(x, Some(dy), w, b.get(), 1e-5, y.get());
    let parts = Some((dw.get(), db.get()));
    norm::layer_backward(x, Some(dy), w, 1e-5, dy, y.get(), parts);
    activation::gelu_forward(x, y.get());
    activation::gelu_backward(x, dy, y.get());
    activation::swiglu_forward(x, dy, y.get());
    activation::swiglu_backward(x, dy, dy, y.get(), z.get());
    activation::add(x, dy, y.get());
    activation::column_sums(x, dw.get());
    if d.is_multiple_of(2) {
        let positions: Vec<u32> = (0..m as u32).collect();
        rope::rotate(y.get(), &positions, (1, d), 1e4, false);
    }
    let s = adamw::Step {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-3,
        weight_decay: 0.2,
        step: 3,
        grad_scale: 0.5,
    };
    let mut v = f32s(m * d);
    adamw::step(y.get(), x, z.get(), v.get(), &s);
    adamw::sum_squares(x);
}

#[test]
fn nothing_beside_the_slices_is_touched() {
    each_isa(|_| {
        for end in [true, false] {
            for (m, n, k) in [
                (1, 1, 1),
                (1, 37, 33),
                (5, 70, 65),
                (19, 31, 47),
                (40, 65, 130),
                (130, 33, 17),
                (25, 16, 401),
            ] {
                let s = Sizes { m, n, k };
                products::<f32>(s, end);
                products::<bf16>(s, end);
                head(s, end);
            }
            for (queries, keys, dim) in [(1, 1, 1), (1, 37, 32), (7, 19, 9), (50, 60, 33)] {
                attend::<f32>(queries, keys, dim, end);
                attend::<bf16>(queries, keys, dim, end);
            }
            for (m, d) in [(1, 1), (3, 18), (2, 35), (7, 64)] {
                rows(m, d, end);
            }
        }
    });
}
