//! Speed of the kernels against what the processor can do: run it on a calm
//! machine, `cargo run --release -p visa-kernels --example peaks [products|int8|few|attention|heads|rows]`.
//!
//! The peaks are measured, not looked up: a loop of independent multiply-adds
//! in registers, or a sum of more than the caches hold, on all threads. Figures
//! are the best of several runs.

#![allow(unsafe_code, clippy::print_stdout, clippy::needless_range_loop)]

mod heads;
mod measure;
mod products;

use std::hint::black_box;

use measure::{Peak, best, random, rate};
use visa_kernels::{activation, adamw, embedding, isa, norm, rope};

fn line(name: &str, seconds: f64, bytes: usize) {
    println!(
        "  {name:<28} {:8.3} ms  {:6.1} GB/s",
        seconds * 1e3,
        bytes as f64 * 1e-9 / seconds
    );
}

fn rows() {
    println!("\n4,096 tokens");
    let (m, d, f) = (4096, 256, 704);
    let (x, dy, w) = (random(m * d, 1), random(m * d, 2), random(d, 3));
    let (mut y, mut dw, mut db) = (x.clone(), w.clone(), w.clone());
    let size = m * d * 4;
    line(
        "rms norm",
        best(|| norm::rms_forward(&x, &w, 1e-5, &mut y)),
        2 * size,
    );
    let t = best(|| norm::rms_backward(&x, &w, 1e-5, &dy, &mut y, Some(&mut dw)));
    line("rms norm, backward", t, 3 * size);
    line(
        "layer norm",
        best(|| norm::layer_forward(&x, None, &w, &w, 1e-5, &mut y)),
        2 * size,
    );
    let t = best(|| {
        norm::layer_backward(&x, None, &w, 1e-5, &dy, &mut y, Some((&mut dw, &mut db)));
    });
    line("layer norm, backward", t, 3 * size);
    let positions: Vec<u32> = (0..m as u32).map(|i| i % 256).collect();
    let t = best(|| rope::rotate(&mut y, &positions, (4, 64), 1e4, false));
    line("rope", t, 2 * size);
    let (g, u, dy) = (random(m * f, 1), random(m * f, 2), random(m * f, 3));
    let (mut a, mut b) = (g.clone(), g.clone());
    let size = m * f * 4;
    line(
        "swiglu",
        best(|| activation::swiglu_forward(&g, &u, &mut a)),
        3 * size,
    );
    let t = best(|| activation::swiglu_backward(&g, &u, &dy, &mut a, &mut b));
    line("swiglu, backward", t, 5 * size);
    line(
        "gelu",
        best(|| activation::gelu_forward(&g, &mut a)),
        2 * size,
    );
    line(
        "gelu, backward",
        best(|| activation::gelu_backward(&g, &dy, &mut a)),
        3 * size,
    );

    let d = 256;
    let h = random(m * d, 1);
    let targets: Vec<u32> = (0..m as u32).map(|i| i * 7 % 8192).collect();
    let mut dw = random(8192 * d, 2);
    let t = best(|| embedding::backward(&h, d, &targets, &mut dw));
    line("embedding, backward", t, 3 * h.len() * 4);
    let n = 8_000_000;
    let (mut p, g, mut m1, mut v1) = (random(n, 1), random(n, 2), random(n, 3), vec![1.0; n]);
    let step = adamw::Step {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 3,
        grad_scale: 1.0,
    };
    line(
        "adamw, 8 M parameters",
        best(|| adamw::step(&mut p, &g, &mut m1, &mut v1, &step)),
        7 * 4 * n,
    );
    line(
        "sum of squares, 8 M",
        best(|| {
            black_box(adamw::sum_squares(&g));
        }),
        4 * n,
    );
}

fn main() {
    println!(
        "{:?}, bf16 instructions: {}, {} threads",
        isa::isa(),
        isa::has_bf16(),
        rayon::current_num_threads()
    );
    for (name, peak) in [
        ("f32", Peak::F32),
        ("bf16", Peak::Bf16),
        ("int8", Peak::Int8),
        ("memory", Peak::Memory),
    ] {
        let top = (0..20).map(|_| rate(peak)).fold(0.0, f64::max);
        let unit = if name == "memory" { "GB/s" } else { "GFLOP/s" };
        println!("peak {name}: {:.0} {unit}", top / 1e9);
    }
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("products") {
        products::products();
    }
    if wanted("int8") {
        products::int8();
    }
    if wanted("attention") {
        heads::attention();
    }
    if wanted("heads") {
        heads::heads();
    }
    if wanted("few") {
        products::few_rows();
    }
    if wanted("rows") {
        rows();
    }
}
