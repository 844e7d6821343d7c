//! Matrix products.

use half::bf16;
use visa_kernels::int8::{Activations, Int8Matrix};
use visa_kernels::matmul::{self, Compute, Sizes, Start};
use visa_kernels::packed::{PackedMatrix, Uses};

use crate::measure::{Peak, random, share};

const SHAPES: [(usize, usize, usize); 9] = [
    (4096, 256, 256),
    (4096, 704, 256),
    (4096, 256, 704),
    (4096, 384, 384),
    (4096, 1536, 384),
    (4096, 384, 1536),
    (4096, 8192, 256),
    (1024, 1536, 384),
    (128, 1536, 384),
];

fn header(name: &str, columns: &str) {
    println!(
        "\n{name}, GFLOP/s (share of peak)\n  {:>18}  {columns}",
        "m × n × k"
    );
}

fn row(s: Sizes, columns: &[String]) {
    let size = format!("{} × {} × {}", s.m, s.n, s.k);
    println!("  {size:>18}  {}", columns.join("  "));
}

pub(crate) fn products() {
    for (name, compute, peak) in [
        ("f32", Compute::F32, Peak::F32),
        ("bf16 factors, f32 stored", Compute::Bf16, Peak::Bf16),
    ] {
        header(name, "forward         dX              dW");
        for (m, n, k) in SHAPES {
            let s = Sizes { m, n, k };
            let (x, w, dy) = (random(m * k, 1), random(n * k, 2), random(m * n, 3));
            let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
            let work = 2.0 * (m * n * k) as f64;
            row(
                s,
                &[
                    share(peak, work, || {
                        matmul::forward(&x, &w, Start::Zero, &mut y, s, compute);
                    }),
                    share(peak, work, || {
                        matmul::grad_input(&dy, &w, &mut dx, false, s, compute);
                    }),
                    share(peak, work, || {
                        matmul::grad_weight(&dy, &x, &mut dw, false, s, compute);
                    }),
                ],
            );
        }
    }
    header(
        "packed weight, bf16 stored",
        "forward         dX              dW (not packed)",
    );
    for (m, n, k) in SHAPES {
        let s = Sizes { m, n, k };
        let store = |x: Vec<f32>| -> Vec<bf16> { x.into_iter().map(bf16::from_f32).collect() };
        let (x, dy) = (store(random(m * k, 1)), store(random(m * n, 3)));
        let mut dw = random(n * k, 2);
        let packed = PackedMatrix::new(&dw, n, k, Uses::ForwardAndGradient);
        let (mut y, mut dx) = (dy.clone(), x.clone());
        let work = 2.0 * (m * n * k) as f64;
        row(
            s,
            &[
                share(Peak::Bf16, work, || {
                    packed.forward(&x, Start::Zero, &mut y);
                }),
                share(Peak::Bf16, work, || {
                    packed.grad_input(&dy, &mut dx, false);
                }),
                share(Peak::Bf16, work, || {
                    matmul::grad_weight(&dy, &x, &mut dw, false, s, Compute::Bf16);
                }),
            ],
        );
    }
}

/// Weights of one byte a number.
pub(crate) fn int8() {
    header("int8", "bytes           words (of their own peak)");
    for (m, n, k) in SHAPES {
        let x = random(m * k, 1);
        let matrix = Int8Matrix::new(&random(n * k, 2), n, k);
        let mut y = vec![0f32; m * n];
        let work = 2.0 * (m * n * k) as f64;
        let columns = [Activations::Bytes, Activations::Words].map(|activations| {
            share(Peak::Int8, work, || {
                matrix.forward(&x, Start::Zero, &mut y, activations);
            })
        });
        row(Sizes { m, n, k }, &columns);
    }
}

/// Decoding: all weights of a model of 64 MiB in bf16, read one after another.
pub(crate) fn few_rows() {
    let (n, k, layers) = (1536, 384, 56);
    println!("\nfew rows, {layers} weights of {n} × {k}: GB/s of weights read (share of memory)");
    println!(
        "  {:>4}  f32 as it lies  bf16 as it lies bf16 packed     int8 (words)",
        "m"
    );
    let w: Vec<Vec<f32>> = (0..layers).map(|i| random(n * k, i)).collect();
    let h: Vec<Vec<bf16>> = w
        .iter()
        .map(|w| w.iter().map(|x| bf16::from_f32(*x)).collect())
        .collect();
    let packed: Vec<PackedMatrix> = w
        .iter()
        .map(|w| PackedMatrix::new(w, n, k, Uses::Forward))
        .collect();
    let bytes8: Vec<Int8Matrix> = w.iter().map(|w| Int8Matrix::new(w, n, k)).collect();
    for m in [1, 2, 4, 8, 12, 16] {
        let s = Sizes { m, n, k };
        let x = random(m * k, 1);
        let mut y = vec![0f32; m * n];
        let bytes = (layers as usize * n * k) as f64;
        let plain = share(Peak::Memory, 4.0 * bytes, || {
            for w in &w {
                matmul::forward(&x, w, Start::Zero, &mut y, s, Compute::F32);
            }
        });
        let half = share(Peak::Memory, 2.0 * bytes, || {
            for w in &h {
                matmul::forward(&x, w, Start::Zero, &mut y, s, Compute::F32);
            }
        });
        let once = share(Peak::Memory, 2.0 * bytes, || {
            for w in &packed {
                w.forward(&x, Start::Zero, &mut y);
            }
        });
        let eight = share(Peak::Memory, bytes, || {
            for w in &bytes8 {
                w.forward(&x, Start::Zero, &mut y, Activations::Words);
            }
        });
        println!("  {m:>4}  {plain}  {half}  {once}  {eight}");
    }
}
