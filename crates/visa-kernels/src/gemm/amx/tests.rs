//! The same products on tiles in software; [`super::Hardware`] is tested with
//! all other instruction sets where it exists.

use half::bf16;

use crate::Element;
use crate::gemm::method::Kind;
use crate::gemm::{View, across, along, panels::Layout};
use crate::matmul::Start;

type Soft = super::Amx<super::Software>;

fn numbers<T: Element>(n: usize, seed: u32) -> Vec<T> {
    let mut s = seed;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            T::from_f32((s >> 8) as f32 / (1 << 23) as f32 - 1.0)
        })
        .collect()
}

fn seen<T: Element>(x: T) -> f64 {
    f64::from(bf16::from_f32(x.to_f32()).to_f32())
}

fn check(
    got: impl Fn(usize) -> f32,
    (m, n, k): (usize, usize, usize),
    term: impl Fn(usize, usize, usize) -> f64,
    start: impl Fn(usize, usize) -> f32,
    own: f64,
) {
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = f64::from(start(i, j)) + (0..k).map(|p| term(i, j, p)).sum::<f64>();
            let far = (f64::from(got(i * n + j)) - sum).abs();
            assert!(
                far <= 1e-5 * (1.0 + (k as f64).sqrt()) + own * sum.abs(),
                "{m} × {n} × {k}: [{i}, {j}] is {}, not {sum}",
                got(i * n + j)
            );
        }
    }
}

fn check_kinds<X: Element, Y: Element>((m, n, k): (usize, usize, usize)) {
    // Packing rounds by an instruction of its own.
    if !is_x86_feature_detected!("avx512bf16") {
        return;
    }
    let own = if Y::default().to_f32() == 0.0 && size_of::<Y>() == 2 {
        1.0 / 256.0
    } else {
        0.0
    };
    let (x, w, bias) = (
        numbers::<X>(m * k, 1),
        numbers::<f32>(n * k, 2),
        numbers::<f32>(n, 3),
    );
    for columns in [false, true] {
        // The weight as it lies, or [k, n] as for the gradient of the input.
        let view = if columns {
            View::columns(&w, k, n)
        } else {
            View::rows(&w, n, k)
        };
        let layout = Layout::new(Kind::SoftTiles, n, k);
        let mut words = crate::buffer::Scratch::default();
        let words = words.u32s(layout.words());
        words.fill(u32::MAX);
        layout.pack(&view, words);
        let panels = layout.over(words);
        let factor = |j: usize, p: usize| seen(if columns { w[p * n + j] } else { w[j * k + p] });
        let term = |i: usize, j: usize, p: usize| seen(x[i * k + p]) * factor(j, p);
        let left = View::rows(&x, m, k);
        let mut y = numbers::<Y>(m * n, 4);
        across::product::<Soft, X, Y>(&left, &panels, Start::Bias(&bias), &mut y);
        check(|i| y[i].to_f32(), (m, n, k), term, |_, j| bias[j], own);
        let before = numbers::<Y>(m * n, 4);
        let mut y = before.clone();
        across::product::<Soft, X, Y>(&left, &panels, Start::Add, &mut y);
        check(
            |i| y[i].to_f32(),
            (m, n, k),
            term,
            |i, j| before[i * n + j].to_f32(),
            own,
        );
    }
    // Sums over the rows of both: [k, m] and [k, n].
    let (x, w) = (numbers::<X>(k * m, 5), numbers::<f32>(k * n, 6));
    let before = numbers::<f32>(m * n, 7);
    let mut y = before.clone();
    let (a, b) = (View::columns(&x, k, m), View::columns(&w, k, n));
    along::product::<Soft, X, f32>(&a, &b, true, &mut y);
    check(
        |i| y[i],
        (m, n, k),
        |i, j, p| seen(x[p * m + i]) * seen(w[p * n + j]),
        |i, j| before[i * n + j],
        0.0,
    );
}

#[test]
fn products_on_tiles() {
    for sizes in [
        (1, 1, 1),
        (7, 33, 31),
        (16, 16, 32),
        (17, 48, 33),
        (33, 5, 67),
        (101, 70, 13),
        (5, 40, 801),
        (3, 9, 2100),
    ] {
        check_kinds::<f32, f32>(sizes);
        check_kinds::<bf16, bf16>(sizes);
        check_kinds::<f32, bf16>(sizes);
    }
}
