//! How the training step grows: with the context, with the weights, with the threads.
//!
//! Each row says its share of peak, so that a fall can be told apart: arithmetic that grew leaves the share, a cliff
//! takes it.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use visa_nn::DecoderConfig;
use visa_nn::ops::{Precision, set_precision};

use super::measure::{Case, Row, interleave, seconds};
use super::models::{Training, training_flops};
use super::peaks::{Peak, Peaks};
use super::sizes::{Sizes, decoder};
use crate::exit::Failure;

/// Rounds of a model, at most: the large ones take seconds a step.
const ROUNDS: usize = 3;

/// Measures everything; hands each group of rows to `done` as soon as it is there.
pub(super) fn run(
    sizes: &Sizes,
    rounds: usize,
    peaks: &mut Peaks,
    say: &dyn Fn(String),
    done: &mut dyn FnMut(Vec<Row>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let rounds = rounds.min(ROUNDS);
    let mut measure = |cases: Result<Vec<Case>>| {
        let rows = cases.and_then(|mut cases| interleave(&mut cases, rounds, peaks, say));
        done(rows.map_err(Failure::Input)?)
    };
    measure(contexts(sizes))?;
    measure(threads(sizes))?;
    // One after the other: the large ones need the memory for themselves.
    for &(layers, width) in &sizes.grown {
        say(format!("making a decoder of {layers} layers of {width}"));
        measure(parameters(sizes, layers, width).map(|case| vec![case]))?;
    }
    Ok(())
}

fn case(
    name: String,
    config: &DecoderConfig,
    shape: (usize, usize),
    mut step: impl FnMut() -> Result<f64> + 'static,
) -> Case {
    let tokens = (shape.0 * shape.1) as f64;
    let run = move || {
        set_precision(Precision::Bf16);
        step()
    };
    Case::rate(name, "tokens/s", tokens, run)
        .work(tokens * training_flops(config, shape.1), Peak::Bf16)
}

/// The same model and the same number of tokens, in fewer and longer sequences.
fn contexts(sizes: &Sizes) -> Result<Vec<Case>> {
    let config = &sizes.decoder;
    let training = Rc::new(RefCell::new(Training::new(config, sizes.train)?));
    let cases = sizes.contexts.iter().map(|&context| {
        let shape = (sizes.context_tokens / context, context);
        let training = training.clone();
        let name = format!("growth_context{context}_tokens_per_s");
        case(name, config, shape, move || {
            let mut training = training.borrow_mut();
            training.reshape(shape)?;
            seconds(|| training.step())
        })
    });
    Ok(cases.collect())
}

/// 1, 2, 4 … threads, up to all.
fn threads(sizes: &Sizes) -> Result<Vec<Case>> {
    let config = &sizes.decoder;
    let all = rayon::current_num_threads();
    let counts = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < all);
    let training = Training::new(config, sizes.train)?;
    let training = Rc::new(RefCell::new(training));
    counts
        .chain([all])
        .map(|count| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build()?;
            let training = training.clone();
            let name = format!("growth_threads{count}_tokens_per_s");
            Ok(case(name, config, sizes.train, move || {
                let training = &mut *training.borrow_mut();
                pool.install(|| seconds(|| training.step()))
            }))
        })
        .collect()
}

fn parameters(sizes: &Sizes, layers: usize, width: usize) -> Result<Case> {
    let base = &sizes.decoder;
    // Two thirds of four widths, as Llama has it, in whole vectors.
    let wide = (width * 8 / 3).next_multiple_of(64);
    let heads = width / base.head_dim;
    let (vocabulary, positions) = (base.vocab_size, base.max_position_embeddings);
    let config = decoder(layers, width, heads, wide, vocabulary, positions);
    let millions = config.parameters() as f64 / 1e6;
    let mut training = Training::new(&config, sizes.grown_train)?;
    let name = format!("growth_parameters{millions:.0}m_tokens_per_s");
    Ok(case(name, &config, sizes.grown_train, move || {
        seconds(|| training.step())
    }))
}
