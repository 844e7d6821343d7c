//! Each kernel alone, on the sizes of the models: its rate, and its share of what the machine could do.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use visa_kernels::attention::{Saved, Shape, Sight};
use visa_kernels::cross_entropy::Gradients;
use visa_kernels::matmul::{self, Compute, Start};
use visa_kernels::{Element, activation, adamw, attention, bf16, cross_entropy, norm, rope};

use super::measure::{Case, seconds_each};
use super::peaks::Peak;
use super::sizes::Sizes;

/// Arrays that several cases work on, one after the other.
type Shared<T> = Rc<RefCell<T>>;

pub(super) fn cases(sizes: &Sizes) -> Result<Vec<Case>> {
    let (d, wide) = (sizes.decoder.hidden_size, sizes.decoder.intermediate_size);
    let encoder_wide = sizes.encoder.intermediate_size;
    let mut cases = Vec::new();
    // Inputs and outputs of the layers of decoder and encoder.
    for (k, n) in [
        (d, d),
        (d, wide),
        (wide, d),
        (d, encoder_wide),
        (encoder_wide, d),
    ] {
        products(&mut cases, sizes.rows, k, n);
    }
    head(&mut cases, sizes);
    attentions(&mut cases, sizes);
    streams(&mut cases, sizes);
    Ok(cases)
}

/// Numbers between 0 and 1 that are not all alike.
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 7919 % 1021) as f32 / 1021.0)
        .collect()
}

const PRECISIONS: [(&str, Compute, Peak); 2] = [
    ("f32", Compute::F32, Peak::F32),
    ("bf16", Compute::Bf16, Peak::Bf16),
];

/// A case in GFLOP/s.
fn arithmetic(name: String, flops: f64, peak: Peak, mut call: impl FnMut() + 'static) -> Case {
    let run = move || Ok(seconds_each(&mut call));
    Case::rate(name, "GFLOP/s", flops / 1e9, run).work(flops, peak)
}

/// The three products of a linear layer from `k` to `n`.
fn products(cases: &mut Vec<Case>, m: usize, k: usize, n: usize) {
    struct Arrays {
        x: Vec<f32>,
        w: Vec<f32>,
        y: Vec<f32>,
        dx: Vec<f32>,
        dw: Vec<f32>,
    }
    let s = matmul::Sizes { m, n, k };
    let flops = 2.0 * (m * n * k) as f64;
    let arrays: Shared<Arrays> = Rc::new(RefCell::new(Arrays {
        x: numbers(m * k),
        w: numbers(n * k),
        y: numbers(m * n),
        dx: vec![0.0; m * k],
        dw: vec![0.0; n * k],
    }));
    for (precision, c, peak) in PRECISIONS {
        let mut case = |which: &str, call: fn(&mut Arrays, matmul::Sizes, Compute)| {
            let name = format!("kernel_linear_{which}_{k}x{n}_{precision}_gflops");
            let arrays = arrays.clone();
            let call = move || call(&mut arrays.borrow_mut(), s, c);
            cases.push(arithmetic(name, flops, peak, call));
        };
        case("forward", |a, s, c| {
            matmul::forward(&a.x, &a.w, Start::Zero, &mut a.y, s, c);
        });
        case("grad_input", |a, s, c| {
            matmul::grad_input(&a.y, &a.w, &mut a.dx, false, s, c);
        });
        case("grad_weight", |a, s, c| {
            matmul::grad_weight(&a.y, &a.x, &mut a.dw, false, s, c);
        });
    }
}

/// The head with its cross-entropy, whose logits are never whole.
fn head(cases: &mut Vec<Case>, sizes: &Sizes) {
    struct Arrays {
        h: Vec<f32>,
        w: Vec<f32>,
        targets: Vec<u32>,
        losses: Vec<f32>,
        lse: Vec<f32>,
        ones: Vec<f32>,
        dh: Vec<f32>,
        dw: Vec<f32>,
    }
    let (m, n, k) = (
        sizes.rows,
        sizes.decoder.vocab_size,
        sizes.decoder.hidden_size,
    );
    let s = matmul::Sizes { m, n, k };
    let flops = 2.0 * (m * n * k) as f64;
    let arrays = Rc::new(RefCell::new(Arrays {
        h: numbers(m * k),
        w: numbers(n * k),
        targets: (0..m).map(|i| (i * 7 % n) as u32).collect(),
        losses: vec![0.0; m],
        lse: vec![0.0; m],
        ones: vec![1.0; m],
        dh: vec![0.0; m * k],
        dw: vec![0.0; n * k],
    }));
    for (precision, c, peak) in PRECISIONS {
        let a = arrays.clone();
        let name = format!("kernel_head_forward_{k}x{n}_{precision}_gflops");
        cases.push(arithmetic(name, flops, peak, move || {
            let a = &mut *a.borrow_mut();
            cross_entropy::forward(&a.h, &a.w, &a.targets, s, c, &mut a.losses, &mut a.lse);
        }));
        let a = arrays.clone();
        let name = format!("kernel_head_backward_{k}x{n}_{precision}_gflops");
        // The logits again, and the two gradients.
        cases.push(arithmetic(name, 3.0 * flops, peak, move || {
            let a = &mut *a.borrow_mut();
            let to = Gradients {
                dh: Some(&mut a.dh),
                dw: Some(&mut a.dw),
            };
            cross_entropy::backward(&a.h, &a.w, &a.targets, &a.lse, &a.ones, s, c, to);
        }));
    }
}

/// Arrays of an attention, stored as `T`.
struct Attention<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    grad: Vec<T>,
    out: Vec<T>,
    lse: Vec<f32>,
    dq: Vec<T>,
    dk: Vec<T>,
    dv: Vec<T>,
}

fn attentions(cases: &mut Vec<Case>, sizes: &Sizes) {
    let (decoder, encoder) = (&sizes.decoder, &sizes.encoder);
    for (kind, context, heads, dim, causal) in [
        (
            "causal",
            sizes.train.1,
            decoder.num_attention_heads,
            decoder.head_dim,
            Some(0),
        ),
        (
            "bidirectional",
            sizes.train.1 / 2,
            encoder.num_attention_heads,
            encoder.head_dim(),
            None,
        ),
    ] {
        let shape = Shape {
            batch: sizes.rows / context,
            queries: context,
            keys: context,
            heads,
            kv_heads: heads,
            dim,
        };
        attention::<f32>(cases, kind, shape, causal, PRECISIONS[0]);
        attention::<bf16>(cases, kind, shape, causal, PRECISIONS[1]);
    }
}

fn attention<T: Element>(
    cases: &mut Vec<Case>,
    kind: &str,
    shape: Shape,
    causal: Option<usize>,
    (precision, compute, peak): (&str, Compute, Peak),
) {
    let Shape {
        batch,
        queries,
        heads,
        dim,
        ..
    } = shape;
    let sight = Sight { lens: None, causal };
    let pairs = batch * heads * queries * queries;
    let flops = 4.0 * (pairs * dim) as f64 / if causal.is_some() { 2.0 } else { 1.0 };
    let stored = |n| -> Vec<T> { numbers(n).into_iter().map(T::from_f32).collect() };
    let (q, kv) = (shape.q_len(), shape.kv_len());
    let arrays = Rc::new(RefCell::new(Attention {
        q: stored(q),
        k: stored(kv),
        v: stored(kv),
        grad: stored(q),
        out: stored(q),
        lse: vec![0.0; shape.lse_len()],
        dq: stored(q),
        dk: stored(kv),
        dv: stored(kv),
    }));
    let a = arrays.clone();
    let of = |pass: &str| {
        format!("kernel_attention_{kind}_{pass}_{queries}x{heads}x{dim}_{precision}_gflops")
    };
    cases.push(arithmetic(of("forward"), flops, peak, move || {
        let a = &mut *a.borrow_mut();
        let (out, lse) = (&mut a.out, &mut a.lse);
        attention::forward(&a.q, &a.k, &a.v, &shape, &sight, compute, out, lse);
    }));
    // The scores again, and the gradients of weights, queries, keys and values.
    cases.push(arithmetic(of("backward"), 2.5 * flops, peak, move || {
        let a = &mut *arrays.borrow_mut();
        let saved = Saved {
            q: &a.q,
            k: &a.k,
            v: &a.v,
            out: &a.out,
            lse: &a.lse,
            grad: &a.grad,
        };
        let (dq, dk, dv) = (&mut a.dq, &mut a.dk, &mut a.dv);
        attention::backward(&saved, &shape, &sight, compute, dq, dk, dv);
    }));
}

/// Five arrays that are larger than a cache.
struct Arrays {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    d: Vec<f32>,
    e: Vec<f32>,
    row: Vec<f32>,
    row_grad: Vec<f32>,
    positions: Vec<u32>,
}

/// Kernels that wait for memory: their share is that of the reading rate, with writes counted like reads.
fn streams(cases: &mut Vec<Case>, sizes: &Sizes) {
    let config = &sizes.decoder;
    let (d, heads, dim) = (
        config.hidden_size,
        config.num_attention_heads,
        config.head_dim,
    );
    // Whole rows.
    let n = sizes.numbers / d * d;
    let length = sizes.train.1;
    let arrays: Shared<Arrays> = Rc::new(RefCell::new(Arrays {
        a: numbers(n),
        b: numbers(n),
        c: numbers(n),
        d: vec![0.0; n],
        e: vec![0.0; n],
        row: vec![1.0; d],
        row_grad: vec![0.0; d],
        positions: (0..n / d).map(|i| (i % length) as u32).collect(),
    }));
    let mut case = |name: &str, touched: usize, call: Box<dyn Fn(&mut Arrays)>| {
        let bytes = (touched * 4 * n) as f64;
        let arrays = arrays.clone();
        let run = move || Ok(seconds_each(|| call(&mut arrays.borrow_mut())));
        let name = format!("kernel_{name}_gb_per_s");
        cases.push(Case::rate(name, "GB/s", bytes / 1e9, run).work(bytes, Peak::Memory));
    };
    let eps = 1e-5;
    case(
        "rms_norm_forward",
        2,
        Box::new(move |x| norm::rms_forward(&x.a, &x.row, eps, &mut x.d)),
    );
    case(
        "rms_norm_backward",
        3,
        Box::new(move |x| {
            norm::rms_backward(&x.a, &x.row, eps, &x.b, &mut x.d, Some(&mut x.row_grad));
        }),
    );
    case(
        "layer_norm_forward",
        3,
        Box::new(move |x| norm::layer_forward(&x.a, Some(&x.b), &x.row, &x.row, eps, &mut x.d)),
    );
    case(
        "rope_forward",
        2,
        Box::new(move |x| rope::rotate(&mut x.d, &x.positions, (heads, dim), 1e4, false)),
    );
    case(
        "swiglu_forward",
        3,
        Box::new(|x| activation::swiglu_forward(&x.a, &x.b, &mut x.d)),
    );
    case(
        "swiglu_backward",
        5,
        Box::new(|x| activation::swiglu_backward(&x.a, &x.b, &x.c, &mut x.d, &mut x.e)),
    );
    case(
        "gelu_forward",
        2,
        Box::new(|x| activation::gelu_forward(&x.a, &mut x.d)),
    );
    let step = adamw::Step {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 3,
        grad_scale: 1.0,
    };
    case(
        "adamw_step",
        7,
        Box::new(move |x| adamw::step(&mut x.c, &x.a, &mut x.d, &mut x.e, &step)),
    );
}
