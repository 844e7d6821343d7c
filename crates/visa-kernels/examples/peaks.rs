//! Speed of the kernels against what the processor can do: run it on a calm
//! machine, `cargo run --release -p visa-kernels --example peaks [products|rows]`.
//!
//! The peaks are measured, not looked up: a loop of independent multiply-adds
//! in registers, on all threads. Figures are the best of several runs.

#![allow(unsafe_code, clippy::print_stdout, clippy::needless_range_loop)]

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use visa_kernels::attention::{Saved, Shape, Sight};
use visa_kernels::cross_entropy::Gradients;
use visa_kernels::matmul::{self, Compute, Sizes};
use visa_kernels::{activation, adamw, attention, cross_entropy, embedding, isa, norm, rope};

/// Seconds of the best run.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || begin.elapsed().as_secs_f64() < 0.4 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn random(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed.wrapping_mul(2_654_435_761).max(1);
    (0..n)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 17;
            s ^= s << 5;
            s as f32 / u32::MAX as f32 - 0.5
        })
        .collect()
}

#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::*;

    pub(crate) const ROUNDS: usize = 2_000_000;
    pub(crate) const CHAINS: usize = 12;

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(crate) fn bf16() -> f32 {
        let one = _mm512_set1_epi32(std::hint::black_box(0x3f80_3f80));
        // SAFETY: both are 64 bytes of plain bits.
        let x = unsafe { std::mem::transmute::<__m512i, __m512bh>(one) };
        let mut s = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..ROUNDS {
            for i in 0..CHAINS {
                s[i] = _mm512_dpbf16_ps(s[i], x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
    }

    #[target_feature(enable = "avx512f")]
    pub(crate) fn f32() -> f32 {
        let x = _mm512_set1_ps(std::hint::black_box(0.5));
        let mut s = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for i in 0..CHAINS {
                s[i] = _mm512_fmadd_ps(s[i], x, x);
            }
        }
        s.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
    }
}

/// GFLOP/s on all threads: f32 and bf16.
fn peaks() -> Option<(f64, f64)> {
    #[cfg(target_arch = "x86_64")]
    if isa::has_bf16() {
        let threads = rayon::current_num_threads();
        let run = |f: fn() -> f32| {
            best(|| {
                (0..threads).into_par_iter().for_each(|_| {
                    black_box(f());
                });
            })
        };
        let work = (threads * peak::ROUNDS * peak::CHAINS * 16 * 2) as f64 / 1e9;
        // SAFETY: `has_bf16` says that the instructions exist.
        let f32 = work / run(|| unsafe { peak::f32() });
        let bf16 = 2.0 * work / run(|| unsafe { peak::bf16() });
        return Some((f32, bf16));
    }
    None
}

fn products(peaks: Option<(f64, f64)>) {
    for (name, compute) in [("f32", Compute::F32), ("bf16", Compute::Bf16)] {
        println!(
            "\n{name:>5}  {:>18}  forward  dX  dW, GFLOP/s (share of peak)",
            "m × n × k"
        );
        let peak = peaks.map(|(f, b)| if compute == Compute::F32 { f } else { b });
        for (m, n, k) in [
            (4096, 256, 256),
            (4096, 704, 256),
            (4096, 256, 704),
            (4096, 384, 384),
            (4096, 1536, 384),
            (4096, 384, 1536),
            (4096, 8192, 256),
            (1024, 1536, 384),
            (128, 1536, 384),
        ] {
            let s = Sizes { m, n, k };
            let (x, w, dy) = (random(m * k, 1), random(n * k, 2), random(m * n, 3));
            let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
            let work = 2.0 * (m * n * k) as f64 / 1e9;
            let rates = [
                work / best(|| matmul::forward(&x, &w, None, &mut y, s, compute)),
                work / best(|| matmul::grad_input(&dy, &w, &mut dx, false, s, compute)),
                work / best(|| matmul::grad_weight(&dy, &x, &mut dw, false, s, compute)),
            ];
            print!("       {:>18}", format!("{m} × {n} × {k}"));
            for rate in rates {
                match peak {
                    Some(peak) => print!("  {rate:6.0} ({:2.0} %)", 100.0 * rate / peak),
                    None => print!("  {rate:6.0}"),
                }
            }
            println!();
        }
    }
    println!("\nfew rows: GB/s of weights read");
    for m in [1, 4, 16] {
        let s = Sizes { m, n: 8192, k: 256 };
        let (x, w) = (random(m * s.k, 1), random(s.n * s.k, 2));
        let mut y = vec![0.0; m * s.n];
        let t = best(|| matmul::forward(&x, &w, None, &mut y, s, Compute::F32));
        println!(
            "       {m:>2} × 8192 × 256  {:6.1}",
            w.len() as f64 * 4e-9 / t
        );
    }
}

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
    let t = best(|| rope::rotate(&x, &positions, (4, 64), 1e4, false, &mut y));
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

    for (batch, s, heads, kv_heads, dim, causal) in [
        (16, 256, 4, 2, 64, true),
        (32, 128, 12, 12, 32, false),
        (8, 512, 12, 12, 32, false),
    ] {
        let shape = Shape {
            batch,
            queries: s,
            keys: s,
            heads,
            kv_heads,
            dim,
        };
        let sight = Sight {
            lens: None,
            causal: causal.then_some(0),
        };
        let (q, k, v) = (
            random(shape.q_len(), 1),
            random(shape.kv_len(), 2),
            random(shape.kv_len(), 3),
        );
        let grad = random(shape.q_len(), 4);
        let (mut out, mut lse) = (q.clone(), vec![0.0; shape.lse_len()]);
        let (mut dq, mut dk, mut dv) = (q.clone(), k.clone(), v.clone());
        let work = 4.0 * (batch * heads * s * s * dim) as f64 / if causal { 2e9 } else { 1e9 };
        let t = best(|| attention::forward(&q, &k, &v, &shape, &sight, &mut out, &mut lse));
        print!(
            "  attention {batch} × {s} × {heads}/{kv_heads} × {dim}: {:.2} ms ({:.0} GFLOP/s)",
            t * 1e3,
            work / t
        );
        let saved = Saved {
            q: &q,
            k: &k,
            v: &v,
            out: &out,
            lse: &lse,
            grad: &grad,
        };
        let t = best(|| attention::backward(&saved, &shape, &sight, &mut dq, &mut dk, &mut dv));
        println!(
            ", backward {:.2} ms ({:.0} GFLOP/s)",
            t * 1e3,
            2.5 * work / t
        );
    }

    let s = Sizes { m, n: 8192, k: d };
    let (h, w) = (random(m * d, 1), random(s.n * d, 2));
    let targets: Vec<u32> = (0..m as u32).map(|i| i * 7 % 8192).collect();
    let (mut losses, mut lse, ones) = (vec![0.0; m], vec![0.0; m], vec![1.0; m]);
    let c = Compute::Bf16;
    let t = best(|| cross_entropy::forward(&h, &w, &targets, s, c, &mut losses, &mut lse));
    println!("  head and cross-entropy {:.1} ms", t * 1e3);
    let (mut dh, mut dw) = (h.clone(), w.clone());
    let t = best(|| {
        let to = Gradients {
            dh: Some(&mut dh),
            dw: Some(&mut dw),
        };
        cross_entropy::backward(&h, &w, &targets, &lse, &ones, s, c, to);
    });
    println!("  head and cross-entropy, backward {:.1} ms", t * 1e3);
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
    let peaks = peaks();
    if let Some((f, b)) = peaks {
        println!("peak {f:.0} GFLOP/s in f32, {b:.0} in bf16");
    }
    match std::env::args().nth(1).as_deref() {
        Some("products") => products(peaks),
        Some("rows") => rows(),
        _ => {
            products(peaks);
            rows();
        }
    }
}
