//! Cross-entropy and log-probabilities against double precision, and their
//! gradients against finite differences.

mod common;

use common::{check_close, each_isa, random, rng, to_bf16};
use visa_kernels::cross_entropy;
use visa_kernels::isa;
use visa_kernels::log_probability::{self, Gradients, Outputs, Upstream, Weight};
use visa_kernels::matmul::{Compute, Sizes};
use visa_kernels::packed::{PackedMatrix, Uses};

struct Head {
    s: Sizes,
    h: Vec<f32>,
    w: Vec<f32>,
    tokens: Vec<u32>,
}

/// Log-probability and entropy of each row.
fn reference(head: &Head, h: &[f64], w: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Sizes { n, k, .. } = head.s;
    let mut out = (Vec::new(), Vec::new());
    for (h, token) in h.chunks_exact(k).zip(&head.tokens) {
        let l: Vec<f64> = w
            .chunks_exact(k)
            .map(|w| h.iter().zip(w).map(|(h, w)| h * w).sum())
            .collect();
        assert_eq!(l.len(), n);
        let top = l.iter().copied().fold(f64::MIN, f64::max);
        let lse = top + l.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
        out.0.push(l[*token as usize] - lse);
        out.1
            .push(-l.iter().map(|l| (l - lse).exp() * (l - lse)).sum::<f64>());
    }
    out
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

fn heads() -> Vec<Head> {
    [
        (1, 1, 1),
        (3, 37, 5),
        (70, 131, 33),
        (300, 17, 8),
        (40, 8193, 4),
    ]
    .into_iter()
    .map(|(m, n, k)| {
        let rng = &mut rng(11);
        Head {
            s: Sizes { m, n, k },
            h: random(m * k, rng),
            w: random(n * k, rng).iter().map(|w| 2.0 * w).collect(),
            tokens: (0..m).map(|i| (i * 7 % n) as u32).collect(),
        }
    })
    .collect()
}

/// Error of a logit whose factors were rounded to bf16, at these sizes.
fn tolerance(compute: Compute) -> f64 {
    match compute {
        Compute::F32 => 2e-5,
        Compute::Bf16 => 3e-2,
    }
}

#[test]
fn log_probabilities_and_entropies() {
    for head in heads() {
        let s = head.s;
        let (want_p, want_e) = reference(&head, &doubles(&head.h), &doubles(&head.w));
        each_isa(|isa| {
            let packed = PackedMatrix::new(&head.w, s.n, s.k, Uses::Forward);
            for (weight, compute) in [
                (Weight::Plain(&head.w), Compute::F32),
                (Weight::Plain(&head.w), Compute::Bf16),
                (Weight::Packed(&packed), Compute::Bf16),
            ] {
                let mut log_p = vec![f32::NAN; s.m];
                let (mut lse, mut entropy) = (log_p.clone(), log_p.clone());
                let to = Outputs {
                    log_p: &mut log_p,
                    lse: &mut lse,
                    entropy: Some(&mut entropy),
                };
                log_probability::forward(&head.h, weight, &head.tokens, s, compute, to);
                let name = format!("{isa:?}, {s:?}, {compute:?}");
                check_close(&name, &log_p, &want_p, tolerance(compute));
                check_close(&name, &entropy, &want_e, tolerance(compute));
            }
            let (mut losses, mut lse) = (vec![f32::NAN; s.m], vec![f32::NAN; s.m]);
            let (w, c) = (&head.w, Compute::F32);
            cross_entropy::forward(&head.h, w, &head.tokens, s, c, &mut losses, &mut lse);
            let minus: Vec<f64> = want_p.iter().map(|p| -p).collect();
            check_close("loss", &losses, &minus, tolerance(c));
        });
    }
}

/// Gradients of `Σ g · log p + e · H` by central differences in double precision.
fn differences(head: &Head, g: &[f32], e: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let objective = |h: &[f64], w: &[f64]| -> f64 {
        let (p, entropy) = reference(head, h, w);
        let weigh =
            |x: &[f64], g: &[f32]| -> f64 { x.iter().zip(g).map(|(x, g)| x * f64::from(*g)).sum() };
        weigh(&p, g) + weigh(&entropy, e)
    };
    let (mut h, mut w) = (doubles(&head.h), doubles(&head.w));
    let step = 1e-5;
    let mut along = |which: usize, i: usize| {
        let mut at = |delta: f64| {
            let x = if which == 0 { &mut h } else { &mut w };
            let old = x[i];
            x[i] = old + delta;
            let y = objective(&h, &w);
            (if which == 0 { &mut h } else { &mut w })[i] = old;
            y
        };
        (at(step) - at(-step)) / (2.0 * step)
    };
    (
        (0..head.h.len()).map(|i| along(0, i)).collect(),
        (0..head.w.len()).map(|i| along(1, i)).collect(),
    )
}

#[test]
fn gradients() {
    for (m, n, k) in [(1, 2, 1), (5, 19, 3), (33, 11, 7)] {
        let rng = &mut rng(13);
        let head = Head {
            s: Sizes { m, n, k },
            h: random(m * k, rng),
            w: random(n * k, rng),
            tokens: (0..m).map(|i| (i * 5 % n) as u32).collect(),
        };
        let s = head.s;
        let mut g = random(m, rng);
        let mut e = random(m, rng);
        // A row without either, and one with entropy alone.
        (g[m / 2], e[m / 2]) = (0.0, 0.0);
        g[0] = 0.0;
        let (want_h, want_w) = differences(&head, &g, &e);
        each_isa(|isa| {
            let packed = PackedMatrix::new(&head.w, n, k, Uses::ForwardAndGradient);
            for (weight, compute) in [
                (Weight::Plain(&head.w), Compute::F32),
                (Weight::Plain(&head.w), Compute::Bf16),
                (Weight::Packed(&packed), Compute::Bf16),
            ] {
                let mut log_p = vec![0.0; m];
                let (mut lse, mut entropy) = (log_p.clone(), log_p.clone());
                let to = Outputs {
                    log_p: &mut log_p,
                    lse: &mut lse,
                    entropy: Some(&mut entropy),
                };
                log_probability::forward(&head.h, weight, &head.tokens, s, compute, to);
                let upstream = Upstream {
                    log_p: &g,
                    entropy: Some((&e, &entropy)),
                };
                let (mut dh, mut dw) = (vec![f32::NAN; m * k], vec![f32::NAN; n * k]);
                let to = Gradients {
                    dh: Some(&mut dh),
                    dw: Some(&mut dw),
                };
                let tokens = &head.tokens;
                log_probability::backward(&head.h, weight, tokens, &lse, upstream, s, compute, to);
                let name = format!("{isa:?}, {s:?}, {compute:?}");
                check_close(&format!("dh, {name}"), &dh, &want_h, tolerance(compute));
                check_close(&format!("dw, {name}"), &dw, &want_w, tolerance(compute));
            }
        });
    }
}

/// Many rows and several chunks: the gradient is that of the rows one by one.
#[test]
fn chunks_add_up() {
    let s = Sizes {
        m: 1100,
        n: 4099,
        k: 6,
    };
    let rng = &mut rng(17);
    let (h, w) = (random(s.m * s.k, rng), random(s.n * s.k, rng));
    let tokens: Vec<u32> = (0..s.m as u32).map(|i| i * 31 % 4099).collect();
    let g = random(s.m, rng);
    let c = Compute::F32;
    let run = |rows: std::ops::Range<usize>| {
        let part = &h[rows.start * s.k..rows.end * s.k];
        let s = Sizes { m: rows.len(), ..s };
        let (mut losses, mut lse) = (vec![0.0; s.m], vec![0.0; s.m]);
        cross_entropy::forward(part, &w, &tokens[rows.clone()], s, c, &mut losses, &mut lse);
        let (mut dh, mut dw) = (vec![0.0; part.len()], vec![0.0; w.len()]);
        let to = Gradients {
            dh: Some(&mut dh),
            dw: Some(&mut dw),
        };
        cross_entropy::backward(part, &w, &tokens[rows.clone()], &lse, &g[rows], s, c, to);
        (dh, dw)
    };
    each_isa(|_| {
        let (dh, dw) = run(0..s.m);
        let parts: Vec<_> = [0..400, 400..401, 401..1100].map(run).into();
        let want_h: Vec<f64> = parts.iter().flat_map(|(dh, _)| doubles(dh)).collect();
        let want_w: Vec<f64> = (0..dw.len())
            .map(|i| parts.iter().map(|(_, dw)| f64::from(dw[i])).sum())
            .collect();
        check_close("dh", &dh, &want_h, 1e-5);
        check_close("dw", &dw, &want_w, 1e-5);
    });
}

#[test]
fn a_nan_is_not_lost() {
    let s = Sizes { m: 20, n: 33, k: 9 };
    let rng = &mut rng(19);
    let (mut h, w) = (random(s.m * s.k, rng), random(s.n * s.k, rng));
    h[5 * s.k + 2] = f32::NAN;
    let tokens = vec![3; s.m];
    each_isa(|isa| {
        for compute in [Compute::F32, Compute::Bf16] {
            let (mut log_p, mut lse) = (vec![0.0; s.m], vec![0.0; s.m]);
            let to = Outputs {
                log_p: &mut log_p,
                lse: &mut lse,
                entropy: None,
            };
            let weight = Weight::Plain(&w);
            log_probability::forward(&to_bf16(&h), weight, &tokens, s, compute, to);
            for (i, p) in log_p.iter().enumerate() {
                assert_eq!(p.is_nan(), i == 5, "{isa:?}: row {i} has {p}");
            }
        }
        assert!(isa::isa() == isa);
    });
}
