//! The losses of the heads: differentiable, weighted, and nothing else.

use candle_core::{D, Result, Tensor};
use visa_align::head::{Activation, Output};
use visa_nn::ops;

use super::batch::BatchTarget;

/// Loss of one output: mean over the rows that say anything, and over labels, of weight × cross-entropy.
///
/// Sigmoid: −[t log σ(z) + (1 − t) log(1 − σ(z))] with soft targets t. Softmax: −log softmax(z) at the class, and for a
/// class between two of them their mixture: 1.8 is class 1 with probability 0.2 and class 2 with 0.8. `logits` is
/// `[B, n]`; the result is a scalar, or none when no row counts.
///
/// # Errors
/// Those of the tensor library.
pub fn output_loss(
    output: &Output,
    logits: &Tensor,
    target: &BatchTarget,
) -> Result<Option<Tensor>> {
    if target.rows == 0 {
        return Ok(None);
    }
    let losses = match output.activation {
        Activation::Sigmoid => binary(logits, &target.value)?,
        Activation::Softmax => {
            let (b, labels) = target.value.dims2()?;
            let logits = logits.reshape((b, labels, output.classes.len()))?;
            let log = ops::log_softmax_last(&logits)?;
            let at = |class: &Tensor| -> Result<Tensor> {
                let class = class.to_dtype(candle_core::DType::U32)?.unsqueeze(2)?;
                log.gather(&class, D::Minus1)?.squeeze(2)
            };
            let (low, high) = (target.value.floor()?, target.value.ceil()?);
            let (low_log, share) = (at(&low)?, (&target.value - &low)?);
            (&low_log + (at(&high)? - &low_log)? * share)?.neg()?
        }
    };
    let scale = 1.0 / (target.rows * output.labels.len()) as f64;
    Ok(Some(((losses * &target.weight)?.sum_all()? * scale)?))
}

/// Cross-entropy of a logistic output against a probability, element by element:
/// max(z, 0) − z·t + log(1 + e^(−|z|)), which never overflows.
fn binary(z: &Tensor, t: &Tensor) -> Result<Tensor> {
    let tail = (z.abs()?.neg()?.exp()? + 1.0)?.log()?;
    (z.relu()? - (z * t)?)? + tail
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn target(value: &[f32], weight: &[f32], labels: usize) -> BatchTarget {
        let b = value.len() / labels;
        BatchTarget {
            value: Tensor::from_slice(value, (b, labels), &Device::Cpu).unwrap(),
            weight: Tensor::from_slice(weight, (b, labels), &Device::Cpu).unwrap(),
            rows: weight
                .chunks(labels)
                .filter(|w| w.iter().any(|&x| x > 0.0))
                .count(),
        }
    }

    fn check(output: &Output, z: &[f32], target: &BatchTarget, expected: f32) {
        let b = z.len() / output.len();
        let value = |z: &[f32]| {
            let z = Tensor::from_slice(z, (b, output.len()), &Device::Cpu).unwrap();
            output_loss(output, &z, target)
                .unwrap()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
        };
        assert!(
            (value(z) - expected).abs() < 1e-5,
            "{} {expected}",
            value(z)
        );
        let var = Var::from_slice(z, (b, output.len()), &Device::Cpu).unwrap();
        let loss = output_loss(output, &var, target).unwrap().unwrap();
        let grads = loss.backward().unwrap();
        let grad = grads
            .get(&var)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        for i in 0..z.len() {
            let mut moved = z.to_vec();
            moved[i] += 1e-2;
            let up = value(&moved);
            moved[i] -= 2e-2;
            let slope = (up - value(&moved)) / 2e-2;
            assert!((slope - grad[i]).abs() < 2e-3, "{i}: {slope} {}", grad[i]);
        }
    }

    #[test]
    fn logistic_losses_by_the_formula_and_by_finite_differences() {
        let output = Output::new("presence", &["a", "b"], &[]);
        let sp = |z: f32| (1.0 + z.exp()).ln();
        let t = target(&[1.0, 0.0, 0.3, 0.5], &[1.0, 2.0, 0.5, 0.0], 2);
        let z = [0.4, -1.2, 2.0, 50.0];
        let expected = (sp(-0.4) + 2.0 * sp(-1.2) + 0.5 * (0.3 * sp(-2.0) + 0.7 * sp(2.0))) / 4.0;
        check(&output, &z, &t, expected);
    }

    #[test]
    fn class_losses_by_the_formula_and_by_finite_differences() {
        let output = Output::new("sign", &["a", "b"], &["r", "s", "e"]);
        let t = target(&[2.0, 0.0, 1.0, 1.0], &[1.0, 0.5, 0.0, 0.0], 2);
        let z = [0.1, -0.5, 1.0, 0.7, 0.2, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0];
        let nll = |z: &[f32], k: usize| z.iter().map(|x| x.exp()).sum::<f32>().ln() - z[k];
        check(
            &output,
            &z,
            &t,
            (nll(&z[0..3], 2) + 0.5 * nll(&z[3..6], 0)) / 2.0,
        );
    }

    #[test]
    fn a_class_between_two_is_their_mixture() {
        let output = Output::new("sign", &["a"], &["r", "s", "e"]);
        let z = [0.3f32, -0.4, 1.1];
        let nll = |k: usize| z.iter().map(|x| x.exp()).sum::<f32>().ln() - z[k];
        check(
            &output,
            &z,
            &target(&[1.8], &[1.0], 1),
            0.2 * nll(1) + 0.8 * nll(2),
        );
        check(
            &output,
            &z,
            &target(&[0.4], &[1.0], 1),
            0.6 * nll(0) + 0.4 * nll(1),
        );
    }

    #[test]
    fn a_batch_that_says_nothing_has_no_loss() {
        let output = Output::new("presence", &["a"], &[]);
        let z = Tensor::zeros((1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(
            output_loss(&output, &z, &target(&[1.0], &[0.0], 1))
                .unwrap()
                .is_none()
        );
    }
}
