//! The nearest update of a lower rank: what averaging several adapters adds in rank, most of it adds nothing in weight.
//!
//! W = B·A (B `out × R`, A `R × in`) is cut to rank r without being formed: B = Q₁R₁ and Aᵀ = Q₂R₂ by Gram and Schmidt, the
//! core R₁R₂ᵀ by one-sided Jacobi rotations, whose r largest singular values stay (Eckart and Young). In `f64`.

/// A matrix as its columns.
type Columns = Vec<Vec<f64>>;

/// Turns of Jacobi; each costs R² / 2 rotations, and they converge in fewer than ten.
const TURNS: usize = 40;
/// Columns whose cosine is below this are orthogonal.
const ORTHOGONAL: f64 = 1e-12;

/// The factors of the best approximation of `b`·`a` of this rank, row by row, and the share of the squared weight that is lost.
/// `b` is `out × full`, `a` is `full × inside`, both row by row.
pub fn cut(b: &[f32], a: &[f32], full: usize, rank: usize) -> (Vec<f32>, Vec<f32>, f64) {
    let (out, inside) = (b.len() / full, a.len() / full);
    let column = |at: usize| (0..out).map(|row| f64::from(b[row * full + at])).collect();
    let (q1, r1) = orthonormal((0..full).map(column).collect());
    let row = |at: usize| {
        a[at * inside..(at + 1) * inside]
            .iter()
            .map(|x| f64::from(*x))
            .collect()
    };
    let (q2, r2) = orthonormal((0..full).map(row).collect());
    // Columns of R₁R₂ᵀ: column j is Σₖ R₁[·,k] R₂[j,k].
    let core: Columns = (0..full)
        .map(|j| {
            let mut sum = vec![0.0; full];
            for (k, from) in r1.iter().enumerate() {
                add(&mut sum, from, r2[k][j]);
            }
            sum
        })
        .collect();
    let (u, v) = rotated(core);
    let mut order: Vec<usize> = (0..full).collect();
    let size = |i: usize| dot(&u[i], &u[i]);
    order.sort_by(|&i, &j| size(j).total_cmp(&size(i)));
    let all: f64 = order.iter().map(|&i| size(i)).sum();
    let lost: f64 = order[rank..].iter().map(|&i| size(i)).sum();
    let (mut left, mut right) = (vec![0.0; out * rank], vec![0.0; rank * inside]);
    for (to, &i) in order[..rank].iter().enumerate() {
        // u holds σ times the left vector; both factors get the root of σ.
        let root = size(i).sqrt().sqrt().max(f64::MIN_POSITIVE);
        for (row, x) in combined(&q1, &u[i]).into_iter().enumerate() {
            left[row * rank + to] = (x / root) as f32;
        }
        for (at, x) in combined(&q2, &v[i]).into_iter().enumerate() {
            right[to * inside + at] = (x * root) as f32;
        }
    }
    (left, right, if all > 0.0 { lost / all } else { 0.0 })
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], from: &[f64], times: f64) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += times * f);
}

/// Σ weights[k] · columns[k].
fn combined(columns: &Columns, weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; columns[0].len()];
    for (column, weight) in columns.iter().zip(weights) {
        add(&mut sum, column, *weight);
    }
    sum
}

/// Q with orthonormal columns (zero where a column depends on those before) and R, column by column.
fn orthonormal(mut columns: Columns) -> (Columns, Columns) {
    let n = columns.len();
    let mut r = vec![vec![0.0; n]; n];
    for (j, r) in r.iter_mut().enumerate() {
        let (done, rest) = columns.split_at_mut(j);
        let column = &mut rest[0];
        let before = dot(column, column).sqrt();
        // Twice is enough.
        for _ in 0..2 {
            for (k, q) in done.iter().enumerate() {
                let along = dot(q, column);
                r[k] += along;
                add(column, q, -along);
            }
        }
        let length = dot(column, column).sqrt();
        if length > 1e-12 * before {
            r[j] = length;
            column.iter_mut().for_each(|x| *x /= length);
        } else {
            column.fill(0.0);
        }
    }
    (columns, r)
}

/// Columns U·Σ and V of M = UΣVᵀ.
fn rotated(mut m: Columns) -> (Columns, Columns) {
    let n = m.len();
    let mut v: Columns = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    for _ in 0..TURNS {
        let mut most = 0.0_f64;
        for p in 0..n {
            for q in p + 1..n {
                let (a, b, c) = (dot(&m[p], &m[p]), dot(&m[q], &m[q]), dot(&m[p], &m[q]));
                if c.abs() <= ORTHOGONAL * (a * b).sqrt() {
                    continue;
                }
                most = most.max(c.abs() / (a * b).sqrt());
                let zeta = (b - a) / (2.0 * c);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cos = 1.0 / t.hypot(1.0);
                turn(&mut m, p, q, cos, t * cos);
                turn(&mut v, p, q, cos, t * cos);
            }
        }
        if most < ORTHOGONAL {
            break;
        }
    }
    (m, v)
}

fn turn(columns: &mut Columns, p: usize, q: usize, cos: f64, sin: f64) {
    let (low, high) = columns.split_at_mut(q);
    for (x, y) in low[p].iter_mut().zip(&mut high[0]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn product(b: &[f32], a: &[f32], rank: usize) -> Vec<f32> {
        let (out, inside) = (b.len() / rank, a.len() / rank);
        let at = |i: usize, j: usize| (0..rank).map(|k| b[i * rank + k] * a[k * inside + j]).sum();
        (0..out)
            .flat_map(|i| (0..inside).map(move |j| (i, j)))
            .map(|(i, j)| at(i, j))
            .collect()
    }

    fn distance(x: &[f32], y: &[f32]) -> f64 {
        let squares = x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2));
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn nothing_is_lost_at_the_full_rank() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut random =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (b, a) = (random(7 * 4), random(4 * 5));
        let whole = product(&b, &a, 4);
        let (left, right, lost) = cut(&b, &a, 4, 4);
        assert!(lost < 1e-12 && distance(&product(&left, &right, 4), &whole) < 1e-5);
        // The loss that is told is the loss there is, and no projection on fewer of the given factors is nearer.
        let (left, right, lost) = cut(&b, &a, 4, 2);
        let size = whole.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let found = distance(&product(&left, &right, 2), &whole);
        assert!((found * found / size - lost).abs() < 1e-5, "{found} {lost}");
        let first = |x: &[f32], width: usize| -> Vec<f32> {
            x.chunks(width).flat_map(|row| row[..2].to_vec()).collect()
        };
        assert!(found < distance(&product(&first(&b, 4), &a[..10], 2), &whole));
    }

    #[test]
    fn the_largest_stay() {
        // diag(3, 2, 1) as B·A with a column that says nothing new.
        let b = [3.0, 0.0, 0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let a = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let (left, right, lost) = cut(&b, &a, 4, 2);
        assert!((lost - 1.0 / 14.0).abs() < 1e-9, "{lost}");
        let expected = [3.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0];
        assert!(distance(&product(&left, &right, 2), &expected) < 1e-6);
    }
}
