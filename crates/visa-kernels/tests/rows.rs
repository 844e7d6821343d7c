//! Kernels that work row by row or number by number, against double precision;
//! gradients against finite differences.

mod common;

use common::{check_close, each_isa, random, rng};
use visa_kernels::{activation, adamw, bf16, blend, embedding, norm, rope};

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Gradient of `Σ grad · f(x)` by central differences.
fn differences(x: &[f32], grad: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut x = doubles(x);
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let old = x[i];
            let mut at = |delta: f64| -> f64 {
                x[i] = old + delta;
                let y = f(&x);
                y.iter().zip(grad).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            x[i] = old;
            slope
        })
        .collect()
}

#[test]
fn blends() {
    each_isa(|_| {
        for n in [0, 1, 7, 16, 33, 100] {
            let (a, b) = (random(n, &mut rng(1)), random(n, &mut rng(2)));
            let (mut y, mut rounded) = (vec![0f32; n], vec![bf16::ZERO; n]);
            blend::between(&a, &b, 0.3, &mut y);
            blend::between(&a, &b, 0.3, &mut rounded);
            for i in 0..n {
                let want = 0.7 * f64::from(a[i]) + 0.3 * f64::from(b[i]);
                assert!((f64::from(y[i]) - want).abs() < 1e-6, "{n}: [{i}]");
                assert_eq!(rounded[i], bf16::from_f32(y[i]));
            }
            let (x, before) = (rounded.clone(), rounded);
            let mut sum = before.clone();
            blend::add(&x, &mut sum);
            for i in 0..n {
                let want = bf16::from_f32(x[i].to_f32() + before[i].to_f32());
                assert_eq!(sum[i], want, "{n}: [{i}]");
            }
        }
    });
}

const SIZES: [(usize, usize); 5] = [(1, 1), (3, 7), (2, 16), (5, 33), (2, 101)];

fn rms(x: &[f64], w: &[f64]) -> Vec<f64> {
    x.chunks_exact(w.len())
        .flat_map(|x| {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / w.len() as f64;
            let r = 1.0 / (mean + 1e-5).sqrt();
            x.iter()
                .zip(w)
                .map(move |(x, w)| x * r * w)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn layer(x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
    let d = w.len() as f64;
    x.chunks_exact(w.len())
        .flat_map(|x| {
            let mean = x.iter().sum::<f64>() / d;
            let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d;
            let r = 1.0 / (var + 1e-5).sqrt();
            let scaled = x.iter().zip(w.iter().zip(b));
            scaled
                .map(|(x, (w, b))| (x - mean) * r * w + b)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn norms() {
    for (rows, d) in SIZES {
        let rng = &mut rng(1);
        let (x, res, dy) = (
            random(rows * d, rng),
            random(rows * d, rng),
            random(rows * d, rng),
        );
        let (w, b) = (random(d, rng), random(d, rng));
        let (wd, bd) = (doubles(&w), doubles(&b));
        let both: Vec<f32> = x.iter().zip(&res).map(|(x, r)| x + r).collect();
        let want_rms = rms(&doubles(&x), &wd);
        let want_layer = layer(&doubles(&both), &wd, &bd);
        let dx_rms = differences(&x, &dy, |x| rms(x, &wd));
        let dw_rms = differences(&w, &dy, |w| rms(&doubles(&x), w));
        let dx_layer = differences(&both, &dy, |x| layer(x, &wd, &bd));
        let dw_layer = differences(&w, &dy, |w| layer(&doubles(&both), w, &bd));
        let db_layer = differences(&b, &dy, |b| layer(&doubles(&both), &wd, b));
        each_isa(|isa| {
            let name = format!("{isa:?}, {rows} × {d}");
            // At one or two columns a layer norm's slope is steep.
            let loose = if d < 3 { 1e-2 } else { 2e-4 };
            let mut y = vec![f32::NAN; x.len()];
            let (mut dw, mut db) = (vec![f32::NAN; d], vec![f32::NAN; d]);
            norm::rms_forward(&x, &w, 1e-5, &mut y);
            check_close(&name, &y, &want_rms, 1e-5);
            norm::rms_backward(&x, &w, 1e-5, &dy, &mut y, Some(&mut dw));
            check_close(&format!("dx, {name}"), &y, &dx_rms, 2e-4);
            check_close(&format!("dw, {name}"), &dw, &dw_rms, 2e-4);
            norm::layer_forward(&x, Some(&res), &w, &b, 1e-5, &mut y);
            check_close(&name, &y, &want_layer, 1e-4);
            let parts = Some((&mut dw[..], &mut db[..]));
            norm::layer_backward(&x, Some(&res), &w, 1e-5, &dy, &mut y, parts);
            check_close(&format!("layer dx, {name}"), &y, &dx_layer, loose);
            check_close(&format!("layer dw, {name}"), &dw, &dw_layer, loose);
            check_close(&format!("layer db, {name}"), &db, &db_layer, loose);
        });
    }
}

/// The error function by its series, good to 1e-12 in −4…4.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn activations() {
    let gelu = |x: &[f64]| -> Vec<f64> {
        let half = |x: &f64| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()));
        x.iter().map(half).collect()
    };
    let swiglu = |g: &[f64], u: &[f64]| -> Vec<f64> {
        let one = |(g, u): (&f64, &f64)| g / (1.0 + (-g).exp()) * u;
        g.iter().zip(u).map(one).collect()
    };
    for n in [1, 7, 16, 31, 100] {
        let rng = &mut rng(2);
        let wide = |x: Vec<f32>| -> Vec<f32> { x.into_iter().map(|x| 4.0 * x).collect() };
        let (g, u, dy) = (wide(random(n, rng)), random(n, rng), random(n, rng));
        let (gd, ud) = (doubles(&g), doubles(&u));
        let want = [
            gelu(&gd),
            differences(&g, &dy, gelu),
            swiglu(&gd, &ud),
            differences(&g, &dy, |g| swiglu(g, &ud)),
            differences(&u, &dy, |u| swiglu(&gd, u)),
        ];
        each_isa(|isa| {
            let mut got: [Vec<f32>; 5] = std::array::from_fn(|_| vec![f32::NAN; n]);
            let [y, dx, z, dg, du] = &mut got;
            activation::gelu_forward(&g, y);
            activation::gelu_backward(&g, &dy, dx);
            activation::swiglu_forward(&g, &u, z);
            activation::swiglu_backward(&g, &u, &dy, dg, du);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                check_close(&format!("{i}, {isa:?}, {n}"), got, want, 1e-5);
            }
            let mut special = [f32::NAN, f32::INFINITY, 1.0];
            activation::gelu_forward(&special.clone(), &mut special);
            assert!(special[0].is_nan() && special[1] == f32::INFINITY && special[2] < 1.0);
        });
    }
}

#[test]
fn rotation() {
    for (heads, dim) in [(1, 2), (3, 10), (2, 64)] {
        let positions = [0, 1, 5, 700];
        let x = random(positions.len() * heads * dim, &mut rng(3));
        let want: Vec<f64> = (0..x.len())
            .map(|at| {
                let (t, i) = (at / (heads * dim), at % dim);
                let (pair, half) = (i % (dim / 2), dim / 2);
                let angle = f64::from(positions[t]) * 1e4f64.powf(-2.0 * pair as f64 / dim as f64);
                let base = at - i + pair;
                let (a, b) = (f64::from(x[base]), f64::from(x[base + half]));
                if i < half {
                    a * angle.cos() - b * angle.sin()
                } else {
                    b * angle.cos() + a * angle.sin()
                }
            })
            .collect();
        each_isa(|isa| {
            let mut y = vec![f32::NAN; x.len()];
            y.copy_from_slice(&x);
            rope::rotate(&mut y, &positions, (heads, dim), 1e4, false);
            check_close(&format!("{isa:?}"), &y, &want, 1e-4);
            let mut back = vec![f32::NAN; x.len()];
            back.copy_from_slice(&y);
            rope::rotate(&mut back, &positions, (heads, dim), 1e4, true);
            check_close(&format!("back, {isa:?}"), &back, &doubles(&x), 1e-5);
        });
    }
}

#[test]
fn embeddings() {
    let (d, ids) = (7, [3u32, 0, 3, 4]);
    let (w, dy) = (random(5 * d, &mut rng(4)), random(4 * d, &mut rng(5)));
    let mut y = vec![f32::NAN; 4 * d];
    embedding::forward(&w, d, &ids, &mut y);
    let mut dw = vec![0.0; 5 * d];
    embedding::backward(&dy, d, &ids, &mut dw);
    let mut want = vec![0.0; 5 * d];
    for (t, id) in ids.iter().enumerate() {
        assert_eq!(y[t * d..(t + 1) * d], w[*id as usize * d..][..d]);
        for i in 0..d {
            want[*id as usize * d + i] += f64::from(dy[t * d + i]);
        }
    }
    check_close("dw", &dw, &want, 1e-6);
}

#[test]
fn optimiser() {
    let s = adamw::Step {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-3,
        weight_decay: 0.2,
        step: 3,
        grad_scale: 0.5,
    };
    for n in [1, 15, 16, 133] {
        let rng = &mut rng(6);
        let (p, g, m) = (random(n, rng), random(n, rng), random(n, rng));
        let v: Vec<f32> = random(n, rng).iter().map(|v| v.abs()).collect();
        let mut want: [Vec<f64>; 3] = Default::default();
        for i in 0..n {
            let [p, g, m, v] = [p[i], g[i] * 0.5, m[i], v[i]].map(f64::from);
            let (m, v) = (0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g);
            let (mh, vh) = (m / (1.0 - 0.9f64.powi(3)), v / (1.0 - 0.95f64.powi(3)));
            want[0].push(p - 0.1 * (0.2 * p + mh / (vh.sqrt() + 1e-3)));
            want[1].push(m);
            want[2].push(v);
        }
        let square: f64 = doubles(&g).iter().map(|g| g * g).sum();
        each_isa(|isa| {
            let mut got = [p.clone(), m.clone(), v.clone()];
            let [pp, mm, vv] = &mut got;
            adamw::step(pp, &g, mm, vv, &s);
            for (got, want) in got.iter().zip(&want) {
                check_close(&format!("{isa:?}, {n}"), got, want, 1e-5);
            }
            assert!((adamw::sum_squares(&g) / square - 1.0).abs() < 1e-5);
        });
    }
}
