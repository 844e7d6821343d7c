//! Attention, and the heads of language models.

use visa_kernels::attention::{self, Batch, Cache, Prefix, Row, Saved, Shape, Sight};
use visa_kernels::bf16;
use visa_kernels::cross_entropy::{self, Gradients};
use visa_kernels::log_probability::{self, Outputs, Weight};
use visa_kernels::matmul::{Compute, Sizes};
use visa_kernels::packed::{PackedMatrix, Uses};

use crate::measure::{Peak, random, share};

fn masked(compute: Compute, peak: Peak) {
    for (batch, s, heads, kv_heads, dim, causal) in [
        (16, 256, 4, 2, 64, true),
        (32, 128, 6, 6, 64, true),
        (4, 1024, 6, 6, 64, true),
        (2, 2048, 6, 6, 64, true),
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
        let work = 4.0 * (batch * heads * s * s * dim) as f64 / if causal { 2.0 } else { 1.0 };
        let forward = share(peak, work, || {
            attention::forward(&q, &k, &v, &shape, &sight, compute, &mut out, &mut lse);
        });
        let saved = Saved {
            q: &q,
            k: &k,
            v: &v,
            out: &out,
            lse: &lse,
            grad: &grad,
        };
        let backward = share(peak, 2.5 * work, || {
            attention::backward(&saved, &shape, &sight, compute, &mut dq, &mut dk, &mut dv);
        });
        println!("  {batch} × {s} × {heads}/{kv_heads} × {dim}  {forward}  {backward}");
    }
}

pub(crate) fn attention() {
    for (compute, peak, name) in [
        (Compute::F32, Peak::F32, "f32"),
        (Compute::Bf16, Peak::Bf16, "bf16"),
    ] {
        println!("\nattention in {name}, GFLOP/s (share of its peak): forward, backward");
        masked(compute, peak);
    }
    println!("\ndecoding, 32 rows, 6 heads of 64, bf16 caches: GB/s of them (share of memory)");
    for (shared, own) in [(0, 256), (128, 64), (1024, 64)] {
        let (rows, heads, dim) = (32, 6, 64);
        let width = heads * dim;
        let numbers = |n: usize| -> Vec<bf16> {
            random(n * width, 1)
                .into_iter()
                .map(bf16::from_f32)
                .collect()
        };
        let (prefix, suffix) = (numbers(shared), numbers(rows * own));
        let prompt = Cache {
            k: &prefix,
            v: &prefix,
            len: shared,
            position: width,
            head: dim,
        };
        let packed = Prefix::new(&prompt, heads, dim, Compute::Bf16);
        let list: Vec<Row<'_, bf16>> = (0..rows)
            .map(|r| {
                let part = &suffix[r * own * width..(r + 1) * own * width];
                Row {
                    prefix: Some(0),
                    own: Cache {
                        k: part,
                        v: part,
                        len: own,
                        position: width,
                        head: dim,
                    },
                    count: 1,
                }
            })
            .collect();
        let batch = Batch {
            prefixes: &[&packed],
            rows: &list,
            queries: 1,
            heads,
            kv_heads: heads,
            dim,
        };
        let q = numbers(rows);
        let mut out = q.clone();
        let bytes = (4 * (shared + rows * own) * width) as f64;
        let rate = share(Peak::Memory, bytes, || {
            attention::decode(&q, &batch, &mut out)
        });
        println!("  shared {shared}, own {own}: {rate}");
    }
}

pub(crate) fn heads() {
    println!("\n4,096 × 8,192 × 256: GFLOP/s of the products (share of bf16 peak)");
    let s = Sizes {
        m: 4096,
        n: 8192,
        k: 256,
    };
    let (h, w) = (random(s.m * s.k, 1), random(s.n * s.k, 2));
    let targets: Vec<u32> = (0..s.m as u32).map(|i| i * 7 % 8192).collect();
    let (mut losses, mut lse, ones) = (vec![0.0; s.m], vec![0.0; s.m], vec![1.0; s.m]);
    let (c, work) = (Compute::Bf16, 2.0 * (s.m * s.n * s.k) as f64);
    let forward = share(Peak::Bf16, work, || {
        cross_entropy::forward(&h, &w, &targets, s, c, &mut losses, &mut lse);
    });
    println!("  cross-entropy            {forward}");
    let (mut dh, mut dw) = (h.clone(), w.clone());
    let backward = share(Peak::Bf16, 3.0 * work, || {
        let to = Gradients {
            dh: Some(&mut dh),
            dw: Some(&mut dw),
        };
        cross_entropy::backward(&h, &w, &targets, &lse, &ones, s, c, to);
    });
    println!("  cross-entropy, backward  {backward}");
    let packed = PackedMatrix::new(&w, s.n, s.k, Uses::Forward);
    let mut entropy = vec![0.0; s.m];
    let both = share(Peak::Bf16, work, || {
        let to = Outputs {
            log_p: &mut losses,
            lse: &mut lse,
            entropy: Some(&mut entropy),
        };
        log_probability::forward(&h, Weight::Packed(&packed), &targets, s, c, to);
    });
    println!("  log p and entropy        {both}");
}
