//! Whole models: parity with `transformers`, gradients, decoding, files.
//!
//! The tiny models and what is expected of them come from `golden/make.py`.

mod decoding;
mod files;
mod gradients;
mod grow;
mod lora;
mod parity;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use visa_nn::Decoder;

const CPU: &Device = &Device::Cpu;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn real_encoder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/encoder")
}

/// Inputs (as `u32`) and outputs (as `f32`) that `make.py` wrote.
fn expected() -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(golden("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let words = view
                .data()
                .chunks_exact(4)
                .map(|w| [w[0], w[1], w[2], w[3]]);
            let tensor = match view.dtype() {
                Dtype::F32 => {
                    let values: Vec<f32> = words.map(f32::from_le_bytes).collect();
                    Tensor::from_vec(values, view.shape(), CPU)
                }
                Dtype::I32 => {
                    let values: Vec<u32> = words.map(u32::from_le_bytes).collect();
                    Tensor::from_vec(values, view.shape(), CPU)
                }
                other => panic!("{name} is {other:?}"),
            };
            (name.to_owned(), tensor.unwrap())
        })
        .collect()
}

fn lens_of(tensor: &Tensor) -> Vec<usize> {
    let lens = tensor.to_vec1::<u32>().unwrap();
    lens.into_iter().map(|len| len as usize).collect()
}

/// The largest difference, which must stay below the tolerance.
#[track_caller]
fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims());
    let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
    // `max` would pass over a NaN.
    let worst = worst.fold(0f32, |m, d| if d > m || d.is_nan() { d } else { m });
    assert!(
        worst <= tolerance,
        "differs by {worst}, more than {tolerance}"
    );
}

/// Each row up to its length, all rows below each other.
fn real_rows(x: &Tensor, lens: &[usize]) -> Tensor {
    let rows: Vec<Tensor> = lens
        .iter()
        .enumerate()
        .map(|(row, &len)| x.get(row).unwrap().narrow(0, 0, len).unwrap())
        .collect();
    Tensor::cat(&rows, 0).unwrap()
}

fn ids(rows: &[&[u32]]) -> Tensor {
    let flat: Vec<u32> = rows.concat();
    Tensor::from_vec(flat, (rows.len(), rows[0].len()), CPU).unwrap()
}

fn tiny(name: &str) -> Decoder {
    Decoder::load(&golden(name), CPU).unwrap()
}
