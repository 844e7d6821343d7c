//! Each op against finite differences, and fused against composed, at sizes
//! that leave tails everywhere. `every_instruction_set` runs all of it again
//! for the sets that `VISA_ISA` can force.

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{GroupLens, Mask, Precision, composed, fused};

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = StdRng::seed_from_u64(seed);
    let n = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference, relative to the largest magnitude wanted (at least 0.01:
/// a gradient that is zero by cancellation keeps the rounding of its terms).
fn distance(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let top = want.iter().fold(1e-2f32, |m, x| m.max(x.abs()));
    got.iter().zip(want).fold(0.0f32, |m, (g, w)| {
        assert!(g.is_finite(), "{g} where {w} is wanted");
        m.max((g - w).abs() / top)
    })
}

type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// A scalar that weighs every output differently.
fn objective(op: Op<'_>, args: &[Tensor]) -> Tensor {
    let y = op(args).unwrap();
    let weights = random(y.dims(), 99);
    (y * weights).unwrap().sum_all().unwrap()
}

fn variables(shapes: &[&[usize]]) -> Vec<Var> {
    let make = |(i, s): (usize, &&[usize])| Var::from_tensor(&random(s, i as u64)).unwrap();
    shapes.iter().enumerate().map(make).collect()
}

fn gradients(op: Op<'_>, vars: &[Var]) -> Vec<Vec<f32>> {
    let args: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let grads = objective(op, &args).backward().unwrap();
    let grad = |v: &Var| flat(grads.get(v).expect("every argument receives a gradient"));
    vars.iter().map(grad).collect()
}

/// Same outputs and same gradients, within `tolerance`.
fn check_parity(name: &str, shapes: &[&[usize]], tolerance: f32, fast: Op<'_>, slow: Op<'_>) {
    let vars = variables(shapes);
    let args: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let (got, want) = (fast(&args).unwrap(), slow(&args).unwrap());
    assert_eq!(got.dims(), want.dims(), "{name}");
    let far = distance(&flat(&got), &flat(&want));
    assert!(
        far < tolerance,
        "{name} {shapes:?}: outputs differ by {far}"
    );
    let (got, want) = (gradients(fast, &vars), gradients(slow, &vars));
    for i in 0..vars.len() {
        let far = distance(&got[i], &want[i]);
        assert!(
            far < tolerance,
            "{name} {shapes:?}: gradient {i} differs by {far}"
        );
    }
}

/// The gradient against central differences of the objective, at some elements
/// of each argument.
fn check_differences(name: &str, shapes: &[&[usize]], op: Op<'_>) {
    let vars = variables(shapes);
    let grads = gradients(op, &vars);
    for (i, var) in vars.iter().enumerate() {
        let base = flat(var.as_tensor());
        let top = grads[i].iter().fold(1e-3f32, |m, x| m.max(x.abs()));
        for at in (0..base.len()).step_by(base.len().div_ceil(12)) {
            let value = |step: f32| {
                let mut moved = base.clone();
                moved[at] += step;
                let mut args: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
                args[i] = Tensor::from_vec(moved, var.dims(), &Device::Cpu).unwrap();
                f64::from(objective(op, &args).to_scalar::<f32>().unwrap())
            };
            let slope = ((value(1e-2) - value(-1e-2)) / 2e-2) as f32;
            let far = (slope - grads[i][at]).abs() / top;
            assert!(
                far < 1e-2,
                "{name}: gradient {i}[{at}] is {}, differences say {slope}",
                grads[i][at]
            );
        }
    }
}

/// Both: fused against composed, and both against differences.
fn check(name: &str, shapes: &[&[usize]], fast: Op<'_>, slow: Op<'_>) {
    check_parity(name, shapes, 1e-5, fast, slow);
    check_differences(name, shapes, slow);
    check_differences(name, shapes, fast);
}

#[test]
fn linear() {
    for (m, n, k) in [(1, 5, 7), (3, 17, 33), (19, 37, 50), (6, 1, 16)] {
        check(
            "linear",
            &[&[m, k], &[n, k], &[n]],
            &|a| fused::linear(&a[0], &a[1], Some(&a[2]), Precision::F32),
            &|a| composed::linear(&a[0], &a[1], Some(&a[2])),
        );
    }
    check_parity(
        "linear, three dimensions, no bias",
        &[&[3, 29, 70], &[45, 70]],
        1e-5,
        &|a| fused::linear(&a[0], &a[1], None, Precision::F32),
        &|a| composed::linear(&a[0], &a[1], None),
    );
}

#[test]
fn linear_in_bf16() {
    for (m, n, k) in [(17, 33, 35), (40, 64, 128), (131, 97, 771)] {
        check_parity(
            "linear in bf16",
            &[&[m, k], &[n, k], &[n]],
            1e-2,
            &|a| fused::linear(&a[0], &a[1], Some(&a[2]), Precision::Bf16),
            &|a| composed::linear(&a[0], &a[1], Some(&a[2])),
        );
    }
}

#[test]
fn frozen_arguments_receive_no_gradient() {
    let (x, w) = (random(&[20, 8], 1), random(&[6, 8], 2));
    let (xv, wv) = (Var::from_tensor(&x).unwrap(), Var::from_tensor(&w).unwrap());
    let y = fused::linear(&xv, &w, None, Precision::F32).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&xv).is_some() && grads.get(&w).is_none());
    let y = fused::linear(&x, &wv, None, Precision::F32).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&wv).is_some() && grads.get(&x).is_none());
}

#[test]
fn norms() {
    for (rows, d) in [(1, 3), (5, 16), (9, 37), (300, 64)] {
        let shapes: &[&[usize]] = &[&[rows, d], &[d]];
        let run = if d > 40 { check_parity_only } else { check };
        run(
            "rms norm",
            shapes,
            &|a| fused::rms_norm(&a[0], &a[1], 1e-5),
            &|a| composed::rms_norm(&a[0], &a[1], 1e-5),
        );
        run(
            "layer norm",
            &[&[rows, d], &[d], &[d]],
            &|a| fused::layer_norm(&a[0], &a[1], &a[2], 1e-5),
            &|a| composed::layer_norm(&a[0], &a[1], &a[2], 1e-5),
        );
        run(
            "add layer norm",
            &[&[1, rows, d], &[1, rows, d], &[d], &[d]],
            &|a| fused::add_layer_norm(&a[0], &a[1], &a[2], &a[3], 1e-5),
            &|a| composed::add_layer_norm(&a[0], &a[1], &a[2], &a[3], 1e-5),
        );
    }
}

/// Many rows: the objective is too coarse for differences in `f32`.
fn check_parity_only(name: &str, shapes: &[&[usize]], fast: Op<'_>, slow: Op<'_>) {
    check_parity(name, shapes, 2e-5, fast, slow);
}

#[test]
fn activations() {
    check("gelu", &[&[3, 37]], &|a| fused::gelu(&a[0]), &|a| {
        composed::gelu(&a[0])
    });
    check(
        "swiglu",
        &[&[3, 37], &[3, 37]],
        &|a| fused::swiglu(&a[0], &a[1]),
        &|a| composed::swiglu(&a[0], &a[1]),
    );
    check(
        "add",
        &[&[3, 37], &[3, 37]],
        &|a| fused::add(&a[0], &a[1]),
        &|a| &a[0] + &a[1],
    );
    // Far from zero, where approximations go wrong first.
    let x = (random(&[1000], 3) * 20.0).unwrap();
    let far = distance(
        &flat(&fused::gelu(&x).unwrap()),
        &flat(&composed::gelu(&x).unwrap()),
    );
    assert!(far < 1e-6, "gelu differs by {far}");
}

#[test]
fn rope() {
    for dim in [8, 22, 64] {
        let positions = Tensor::new(&[[0u32, 1, 2, 700], [5, 4, 3, 9]], &Device::Cpu).unwrap();
        check_parity(
            "rope",
            &[&[2, 4, 3, dim]],
            1e-5,
            &|a| fused::rope(&a[0], &positions, 10_000.0),
            &|a| composed::rope(&a[0], &positions, 10_000.0),
        );
        check_differences("rope", &[&[2, 4, 3, dim]], &|a| {
            fused::rope(&a[0], &positions, 10_000.0)
        });
    }
}

#[test]
fn rope_pairs_halves() {
    // Position 1, head of 2: the pair (x[0], x[1]) turns by one radian.
    let x = Tensor::new(&[[[[1.0f32, 0.0]]]], &Device::Cpu).unwrap();
    let positions = Tensor::new(&[[1u32]], &Device::Cpu).unwrap();
    let y = flat(&fused::rope(&x, &positions, 10_000.0).unwrap());
    assert!(distance(&y, &[1f32.cos(), 1f32.sin()]) < 1e-6);
}

#[test]
fn attention() {
    let sizes = [
        // batch, queries, keys, heads, key heads, head
        (1, 1, 1, 1, 1, 4),
        (2, 5, 5, 2, 1, 6),
        (2, 37, 37, 4, 2, 16),
        (1, 70, 70, 3, 3, 20),
        (2, 1, 19, 4, 4, 16),
        (2, 3, 35, 4, 2, 40),
    ];
    for (b, sq, sk, hq, hkv, d) in sizes {
        let lens: Vec<usize> = (0..b).map(|i| if i == 0 { sk } else { sk / 2 }).collect();
        let offset = sk - sq;
        let masks = [
            Mask::Causal { lens: None, offset },
            Mask::Causal {
                lens: Some(lens.clone()),
                offset,
            },
            Mask::Bidirectional { lens: None },
            Mask::Bidirectional { lens: Some(lens) },
        ];
        for mask in masks {
            let shapes: &[&[usize]] = &[&[b, sq, hq, d], &[b, sk, hkv, d], &[b, sk, hkv, d]];
            let run = if sk > 20 { check_parity_only } else { check };
            run(
                "attention",
                shapes,
                &|a| fused::attention(&a[0], &a[1], &a[2], &mask, Precision::F32),
                &|a| composed::attention(&a[0], &a[1], &a[2], &mask),
            );
        }
    }
}

#[test]
fn attention_of_groups() {
    let group = |prompt, completions: &[usize]| GroupLens {
        prompt,
        completions: completions.to_vec(),
    };
    for (heads, kv_heads, groups) in [
        (
            4,
            2,
            vec![group(5, &[3, 1, 7]), group(1, &[]), group(50, &[60, 0, 2])],
        ),
        (3, 3, vec![group(2, &[1])]),
    ] {
        let tokens = groups.iter().map(GroupLens::total).sum();
        let mask = Mask::Groups(groups);
        check(
            "attention of groups",
            &[
                &[1, tokens, heads, 6],
                &[1, tokens, kv_heads, 6],
                &[1, tokens, kv_heads, 6],
            ],
            &|a| fused::attention(&a[0], &a[1], &a[2], &mask, Precision::F32),
            &|a| composed::attention(&a[0], &a[1], &a[2], &mask),
        );
    }
}

#[test]
fn attention_of_an_empty_row_is_zero() {
    let (q, k) = (random(&[2, 3, 2, 8], 1), random(&[2, 3, 2, 8], 2));
    let mask = Mask::Bidirectional {
        lens: Some(vec![0, 3]),
    };
    for y in [
        fused::attention(&q, &k, &k, &mask, Precision::F32).unwrap(),
        composed::attention(&q, &k, &k, &mask).unwrap(),
    ] {
        assert!(flat(&y.get(0).unwrap()).iter().all(|x| *x == 0.0));
        assert!(flat(&y.get(1).unwrap()).iter().all(|x| *x != 0.0));
    }
}

#[test]
fn an_explicit_mask_equals_the_causal_one() {
    let (q, k) = (random(&[1, 4, 2, 8], 1), random(&[1, 4, 2, 8], 2));
    let lower: Vec<u8> = (0..16).map(|i| u8::from(i % 4 <= i / 4)).collect();
    let explicit = Mask::Explicit(Tensor::from_vec(lower, (4, 4), &Device::Cpu).unwrap());
    let got = super::attention(&q, &k, &k, &explicit).unwrap();
    let want = super::attention(&q, &k, &k, &Mask::causal()).unwrap();
    assert!(distance(&flat(&got), &flat(&want)) < 1e-6);
}

#[test]
fn lengths_that_do_not_fit_are_an_error() {
    let q = random(&[2, 3, 2, 8], 1);
    for lens in [vec![3], vec![3, 4]] {
        let mask = Mask::Bidirectional { lens: Some(lens) };
        let error = super::attention(&q, &q, &q, &mask).unwrap_err().to_string();
        assert!(error.contains("length"), "{error}");
    }
}

#[test]
fn embedding() {
    let ids = Tensor::new(&[[1u32, 4, 1], [0, 4, 4]], &Device::Cpu).unwrap();
    check(
        "embedding",
        &[&[6, 19]],
        &|a| fused::embedding(&a[0], &ids),
        &|a| composed::embedding(&a[0], &ids),
    );
    let error = fused::embedding(&random(&[4, 2], 1), &ids).unwrap_err();
    assert!(error.to_string().contains("id 4"), "{error}");
}

#[test]
fn linear_cross_entropy() {
    for (m, v, k) in [(1, 3, 5), (7, 50, 9), (40, 33, 17)] {
        let ids: Vec<u32> = (0..m).map(|i| (i * 7 % v) as u32).collect();
        let targets = Tensor::from_vec(ids, m, &Device::Cpu).unwrap();
        let fast: Op<'_> = &|a| fused::linear_cross_entropy(&a[0], &a[1], &targets, Precision::F32);
        let slow: Op<'_> = &|a| composed::linear_cross_entropy(&a[0], &a[1], &targets);
        check("cross entropy", &[&[m, k], &[v, k]], fast, slow);
        check_parity(
            "cross entropy in bf16",
            &[&[m, k], &[v, k]],
            2e-2,
            &|a| fused::linear_cross_entropy(&a[0], &a[1], &targets, Precision::Bf16),
            slow,
        );
        // Masked rows: their gradient is zero and they are not computed.
        let mask: Vec<f32> = (0..m).map(|i| (i % 3 == 1) as u8 as f32).collect();
        let mask = Tensor::from_vec(mask, m, &Device::Cpu).unwrap();
        check_parity(
            "masked cross entropy",
            &[&[m, k], &[v, k]],
            1e-5,
            &|a| fast(a)?.mul(&mask),
            &|a| slow(a)?.mul(&mask),
        );
    }
}

#[test]
fn a_shared_head_adds_up_both_gradients() {
    let ids = Tensor::new(&[3u32, 1, 1, 0], &Device::Cpu).unwrap();
    check(
        "tied embedding and head",
        &[&[5, 8]],
        &|a| {
            let h = fused::embedding(&a[0], &ids)?;
            fused::linear_cross_entropy(&h, &a[0], &ids, Precision::F32)
        },
        &|a| {
            let h = composed::embedding(&a[0], &ids)?;
            composed::linear_cross_entropy(&h, &a[0], &ids)
        },
    );
}

#[test]
fn softmaxes() {
    check_differences("softmax", &[&[3, 11]], &|a| composed::softmax_last(&a[0]));
    check_differences("log softmax", &[&[3, 11]], &|a| {
        composed::log_softmax_last(&a[0])
    });
}

#[test]
fn views_are_read_as_what_they_show() {
    let x = random(&[6, 10], 1);
    let w = random(&[4, 6], 2);
    let t = x.t().unwrap();
    let got = super::linear(&t, &w, None).unwrap();
    let want = composed::linear(&t.contiguous().unwrap(), &w, None).unwrap();
    assert!(distance(&flat(&got), &flat(&want)) < 1e-6);
}

/// Runs the other tests again in a process of its own for each lesser set.
#[test]
fn every_instruction_set() {
    if std::env::var_os("VISA_ISA").is_some() {
        return;
    }
    let best = visa_kernels::isa::detect();
    for isa in ["portable", "avx2"] {
        if visa_kernels::isa::parse(isa, best).is_err_and(|_| isa != "portable") {
            continue;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["ops::tests::", "--test-threads=2"])
            .env("VISA_ISA", isa)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{isa}: {text}");
        assert!(!text.contains("running 0 tests"), "{isa} ran no test");
    }
}
