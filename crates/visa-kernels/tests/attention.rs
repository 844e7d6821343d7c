//! Attention against double precision; gradients against finite differences.

mod common;

use common::{check_close, each_isa, random, rng, to_bf16};
use half::bf16;
use visa_kernels::Element;
use visa_kernels::attention::{self, Batch, Cache, Prefix, Row, Saved, Shape, Sight};
use visa_kernels::matmul::Compute;

/// One query over `count` keys, which `key(j)` and `value(j)` name.
fn attend<'a>(
    q: &[f64],
    count: usize,
    key: impl Fn(usize) -> &'a [f64],
    value: impl Fn(usize) -> &'a [f64],
) -> Vec<f64> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    let s: Vec<f64> = (0..count)
        .map(|j| q.iter().zip(key(j)).map(|(q, k)| q * k).sum::<f64>() * scale)
        .collect();
    let top = s.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = s.iter().map(|s| (s - top).exp()).sum();
    let mut out = vec![0.0; q.len()];
    for (j, s) in s.iter().enumerate() {
        for (o, v) in out.iter_mut().zip(value(j)) {
            *o += (s - top).exp() / sum * v;
        }
    }
    out
}

fn doubles<T: Element>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| f64::from(x.to_f32())).collect()
}

fn visible(sight: &Sight<'_>, b: usize, i: usize, keys: usize) -> usize {
    let len = sight.lens.map_or(keys, |lens| lens[b].min(keys));
    sight.causal.map_or(len, |offset| len.min(offset + i + 1))
}

fn reference(q: &[f64], k: &[f64], v: &[f64], shape: &Shape, sight: &Sight<'_>) -> Vec<f64> {
    let Shape {
        batch,
        queries,
        keys,
        heads,
        kv_heads,
        dim,
    } = *shape;
    let mut out = Vec::new();
    for b in 0..batch {
        for i in 0..queries {
            for h in 0..heads {
                let at = ((b * queries + i) * heads + h) * dim;
                let g = h / (heads / kv_heads);
                let place = |j: usize| ((b * keys + j) * kv_heads + g) * dim;
                let count = visible(sight, b, i, keys);
                out.extend(attend(
                    &q[at..at + dim],
                    count,
                    |j| &k[place(j)..place(j) + dim],
                    |j| &v[place(j)..place(j) + dim],
                ));
            }
        }
    }
    out
}

fn shapes() -> Vec<(Shape, Option<Vec<usize>>, Option<usize>)> {
    let shape = |batch, queries, keys, heads, kv_heads, dim| Shape {
        batch,
        queries,
        keys,
        heads,
        kv_heads,
        dim,
    };
    vec![
        (shape(1, 1, 1, 1, 1, 1), None, None),
        (shape(2, 7, 7, 4, 2, 5), None, Some(0)),
        (shape(2, 3, 11, 2, 2, 32), Some(vec![4, 11]), None),
        (shape(1, 61, 61, 2, 1, 17), None, Some(0)),
        (shape(1, 2, 29, 3, 1, 33), None, Some(27)),
        // Several blocks of queries, and of keys.
        (shape(1, 130, 130, 2, 1, 64), None, Some(0)),
        (shape(1, 100, 460, 1, 1, 16), Some(vec![401]), Some(360)),
        // Nothing to see.
        (shape(2, 5, 4, 1, 1, 8), Some(vec![0, 3]), None),
    ]
}

/// Forward and backward of `T` against `f64` and its differences.
fn check<T: Element + std::fmt::Debug>(compute: Compute, close: f64) {
    for (shape, lens, causal) in shapes() {
        let sight = Sight {
            lens: lens.as_deref(),
            causal,
        };
        let rng = &mut rng(1);
        let mut some = |n| -> Vec<T> { random(n, rng).into_iter().map(T::from_f32).collect() };
        let (q, k, v) = (
            some(shape.q_len()),
            some(shape.kv_len()),
            some(shape.kv_len()),
        );
        let grad = some(shape.q_len());
        let mut all = [doubles(&q), doubles(&k), doubles(&v)];
        let want = reference(&all[0], &all[1], &all[2], &shape, &sight);
        let step = 1e-5;
        let mut differences: [Vec<f64>; 3] = Default::default();
        for which in 0..3 {
            // All of the small shapes, some of the large ones.
            for i in (0..all[which].len()).step_by(all[which].len() / 40 + 1) {
                let old = all[which][i];
                let mut at = |delta: f64| -> f64 {
                    all[which][i] = old + delta;
                    let out = reference(&all[0], &all[1], &all[2], &shape, &sight);
                    let grad = grad.iter().map(|g| f64::from(g.to_f32()));
                    out.iter().zip(grad).map(|(o, g)| o * g).sum()
                };
                let slope = (at(step) - at(-step)) / (2.0 * step);
                all[which][i] = old;
                differences[which].push(slope);
            }
        }
        each_isa(|isa| {
            let nan = |n| vec![T::from_f32(f32::NAN); n];
            let (mut out, mut lse) = (nan(q.len()), vec![f32::NAN; shape.lse_len()]);
            attention::forward(&q, &k, &v, &shape, &sight, compute, &mut out, &mut lse);
            check_close(&format!("{isa:?}, {shape:?}"), &floats(&out), &want, close);
            let saved = Saved {
                q: &q,
                k: &k,
                v: &v,
                out: &out,
                lse: &lse,
                grad: &grad,
            };
            let mut got = [nan(q.len()), nan(k.len()), nan(k.len())];
            let [dq, dk, dv] = &mut got;
            attention::backward(&saved, &shape, &sight, compute, dq, dk, dv);
            for (name, (got, want)) in ["dq", "dk", "dv"].iter().zip(got.iter().zip(&differences)) {
                let got = floats(got);
                assert!(got.iter().all(|x| x.is_finite()));
                let some: Vec<f32> = got.iter().step_by(got.len() / 40 + 1).copied().collect();
                check_close(
                    &format!("{name}, {isa:?}, {shape:?}"),
                    &some,
                    want,
                    10.0 * close,
                );
            }
        });
    }
}

fn floats<T: Element>(x: &[T]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

#[test]
fn forward_and_backward() {
    check::<f32>(Compute::F32, 1e-5);
}

#[test]
fn forward_and_backward_in_bf16() {
    check::<bf16>(Compute::Bf16, 1e-2);
    check::<f32>(Compute::Bf16, 1e-2);
}

#[test]
fn texts_side_by_side() {
    let (lens, heads, dim) = ([3, 0, 1, 61, 130], 2, 20);
    let width = heads * dim;
    let tokens: usize = lens.iter().sum();
    let qkv = random(3 * tokens * width, &mut rng(3));
    let mut want = Vec::new();
    let mut first = 0;
    for len in lens {
        let part = |i: usize| -> Vec<f64> {
            (first..first + len)
                .flat_map(|t| doubles(&qkv[(3 * t + i) * width..][..width]))
                .collect()
        };
        let shape = Shape {
            batch: 1,
            queries: len,
            keys: len,
            heads,
            kv_heads: heads,
            dim,
        };
        let sight = Sight {
            lens: None,
            causal: None,
        };
        want.extend(reference(&part(0), &part(1), &part(2), &shape, &sight));
        first += len;
    }
    each_isa(|isa| {
        let mut out = vec![f32::NAN; tokens * width];
        for (compute, close) in [(Compute::F32, 1e-5), (Compute::Bf16, 1e-2)] {
            attention::bidirectional(&qkv, &lens, (heads, dim), compute, &mut out);
            check_close(&format!("{isa:?}, {compute:?}"), &out, &want, close);
        }
    });
}

/// Keys and values of a cache, with room behind, positions or heads first.
struct Memory<T> {
    k: Vec<T>,
    v: Vec<T>,
    len: usize,
    position: usize,
    head: usize,
}

impl<T: Element> Memory<T> {
    fn new(len: usize, room: usize, kv_heads: usize, dim: usize, heads_first: bool) -> Self {
        let rng = &mut rng(len as u64 + 100);
        let mut numbers = || -> Vec<T> {
            let x = random((len + room) * kv_heads * dim, rng);
            x.into_iter().map(T::from_f32).collect()
        };
        let (position, head) = if heads_first {
            (dim, (len + room) * dim)
        } else {
            (kv_heads * dim, dim)
        };
        Self {
            k: numbers(),
            v: numbers(),
            len,
            position,
            head,
        }
    }

    fn cache(&self) -> Cache<'_, T> {
        Cache {
            k: &self.k,
            v: &self.v,
            len: self.len,
            position: self.position,
            head: self.head,
        }
    }

    fn place(&self, j: usize, g: usize) -> usize {
        j * self.position + g * self.head
    }
}

/// Rows as `(prefix, own keys, queries)`.
fn check_decode<T: Element>(
    prefix_lens: &[usize],
    rows: &[(Option<usize>, usize, usize)],
    (queries, heads, kv_heads, dim): (usize, usize, usize, usize),
) {
    // Results of bf16 are rounded once; what leads to them is not.
    let (compute, close) = match size_of::<T>() {
        4 => (Compute::F32, 1e-5),
        _ => (Compute::Bf16, 4e-3),
    };
    for heads_first in [false, true] {
        let memory = |len| Memory::<T>::new(len, 3, kv_heads, dim, heads_first);
        let shared: Vec<_> = prefix_lens.iter().map(|len| memory(*len)).collect();
        let own: Vec<_> = rows.iter().map(|row| memory(row.1)).collect();
        let list: Vec<_> = rows
            .iter()
            .zip(&own)
            .map(|((prefix, _, count), own)| Row {
                prefix: *prefix,
                own: own.cache(),
                count: *count,
            })
            .collect();
        let q = random(rows.len() * queries * heads * dim, &mut rng(4));
        let q: Vec<T> = q.into_iter().map(T::from_f32).collect();
        let mut want = Vec::new();
        for (r, (prefix, len, count)) in rows.iter().enumerate() {
            let before = prefix.map(|p| &shared[p]);
            let (kb, vb) = before.map_or((vec![], vec![]), |m| (doubles(&m.k), doubles(&m.v)));
            let (ko, vo) = (doubles(&own[r].k), doubles(&own[r].v));
            let first = before.map_or(0, |m| m.len);
            for i in 0..queries {
                for h in 0..heads {
                    let at = ((r * queries + i) * heads + h) * dim;
                    if i >= *count {
                        want.extend(vec![0.0; dim]);
                        continue;
                    }
                    let g = h / (heads / kv_heads);
                    let seen = first + len - count + i + 1;
                    let gather = |b: &[f64], o: &[f64]| -> Vec<Vec<f64>> {
                        let pick = |j: usize| match before {
                            Some(m) if j < first => &b[m.place(j, g)..][..dim],
                            _ => &o[own[r].place(j - first, g)..][..dim],
                        };
                        (0..seen).map(|j| pick(j).to_vec()).collect()
                    };
                    let (keys, values) = (gather(&kb, &ko), gather(&vb, &vo));
                    want.extend(attend(
                        &doubles(&q[at..at + dim]),
                        seen,
                        |j| &keys[j],
                        |j| &values[j],
                    ));
                }
            }
        }
        each_isa(|isa| {
            let pack = |m: &Memory<T>| Prefix::new(&m.cache(), kv_heads, dim, compute);
            let packed: Vec<Prefix> = shared.iter().map(pack).collect();
            let prefixes: Vec<&Prefix> = packed.iter().collect();
            let batch = Batch {
                prefixes: &prefixes,
                rows: &list,
                queries,
                heads,
                kv_heads,
                dim,
            };
            let mut out = vec![T::from_f32(f32::NAN); q.len()];
            attention::decode(&q, &batch, &mut out);
            check_close(&format!("{isa:?}"), &floats(&out), &want, close);
        });
    }
}

#[test]
fn decoding() {
    // One row alone, plain rows of different lengths, groups that share prefixes.
    let alone = [(None, 5, 1)];
    let plain = [(None, 1, 1), (None, 300, 1), (None, 17, 1)];
    let group: Vec<_> = (0..7).map(|i| (Some(i % 2), 1 + i * 40, 1)).collect();
    let many: Vec<_> = (0..61).map(|i| (Some(0), 1 + i % 5, 1)).collect();
    for sizes in [(1, 4, 2, 32), (1, 2, 2, 64), (1, 3, 1, 13), (1, 6, 1, 80)] {
        check_decode::<f32>(&[], &alone, sizes);
        check_decode::<f32>(&[], &plain, sizes);
        check_decode::<bf16>(&[], &plain, sizes);
        check_decode::<f32>(&[257, 3], &group, sizes);
        check_decode::<bf16>(&[513, 16], &group, sizes);
        check_decode::<bf16>(&[70], &many, sizes);
    }
}

#[test]
fn blocks_of_queries() {
    let rows = [
        (Some(0), 9, 9),
        (Some(1), 20, 4),
        (Some(0), 2, 1),
        (None, 8, 8),
        (Some(1), 3, 0),
    ];
    for sizes in [(9, 4, 2, 32), (9, 2, 1, 19)] {
        check_decode::<f32>(&[40, 0], &rows, sizes);
        check_decode::<bf16>(&[300, 1], &rows, sizes);
    }
}

#[test]
fn a_nan_is_not_lost() {
    let shape = Shape {
        batch: 1,
        queries: 5,
        keys: 5,
        heads: 2,
        kv_heads: 1,
        dim: 8,
    };
    let sight = Sight {
        lens: None,
        causal: Some(0),
    };
    let rng = &mut rng(1);
    let q = random(shape.q_len(), rng);
    let (mut k, v) = (random(shape.kv_len(), rng), random(shape.kv_len(), rng));
    // The key of position 3: seen by the last two queries.
    k[3 * 8 + 1] = f32::NAN;
    let k16 = to_bf16(&k);
    each_isa(|isa| {
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; shape.lse_len()]);
        attention::forward(&q, &k, &v, &shape, &sight, Compute::F32, &mut out, &mut lse);
        let mut again = vec![bf16::ZERO; q.len()];
        let own = Cache {
            k: &k16,
            v: &to_bf16(&v),
            len: 5,
            position: 8,
            head: 8,
        };
        let batch = Batch {
            prefixes: &[],
            rows: &[Row {
                prefix: None,
                own,
                count: 5,
            }],
            queries: 5,
            heads: 2,
            kv_heads: 1,
            dim: 8,
        };
        attention::decode(&to_bf16(&q), &batch, &mut again);
        let again = floats(&again);
        for (name, out) in [("forward", &out), ("decode", &again)] {
            for (i, x) in out.iter().enumerate() {
                assert_eq!(x.is_nan(), i / 16 >= 3, "{isa:?}, {name}: {i} is {x}");
            }
        }
    });
}
