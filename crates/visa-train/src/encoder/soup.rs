//! The average of models that were trained from the same start on different folds, as one model of the same kind.
//!
//! Averaging weights of models fine-tuned from one start lowers the error at no cost in use (Wortsman et al. 2022,
//! arXiv 2203.05482). The average of K low-rank updates is itself a low-rank update of K times the rank: the A's stand
//! above each other and the B's, divided by K, side by side, so no precision is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use visa_align::head::{Head, HeadConfig};
use visa_nn::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Lora, Params, StoreType};

use super::low_rank;
use crate::{Error, Result, checkpoint};

/// Averages the model folders `parts` into `out`; `config` becomes the head's configuration. The update is cut to `rank` where one
/// is given and smaller ([`low_rank`]).
///
/// # Errors
/// Files that are missing, or models of different shapes.
pub fn soup(parts: &[PathBuf], config: &HeadConfig, out: &Path, rank: Option<usize>) -> Result<()> {
    let Some(first) = parts.first() else {
        return Err(Error::Input("there is no model to average".into()));
    };
    let mut lora = Lora::load(first)?;
    let adapters: Vec<Params> = (parts.iter())
        .map(|p| Ok(Params::load_file(&p.join(ADAPTER_WEIGHTS), &Device::Cpu)?))
        .collect::<Result<_>>()?;
    let share = 1.0 / parts.len() as f64;
    let mut merged = Params::new(out.join(ADAPTER_WEIGHTS), &Device::Cpu);
    for name in adapters[0].names() {
        let each: Vec<Tensor> = adapters
            .iter()
            .map(|a| Ok(a.get(name)?.clone()))
            .collect::<Result<_>>()?;
        let whole = if name.contains("lora_B") {
            (Tensor::cat(&each, 1)? * share)?
        } else {
            Tensor::cat(&each, 0)?
        };
        merged.insert(name, &whole)?;
    }
    // alpha / rank stays what it was.
    let scale = lora.alpha / lora.rank as f64;
    lora.rank *= parts.len();
    if let Some(rank) = rank.filter(|rank| *rank < lora.rank) {
        merged = reduced(&merged, lora.rank, rank)?;
        lora.rank = rank;
    }
    lora.alpha = scale * lora.rank as f64;
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    merged.save_file(&out.join(ADAPTER_WEIGHTS), StoreType::F16)?;
    checkpoint::write_atomically(
        &out.join(ADAPTER_CONFIG),
        lora.to_json("FEATURE_EXTRACTION").as_bytes(),
    )?;
    let heads: Vec<Head> = (parts.iter())
        .map(|p| Head::load(p, &Device::Cpu).map_err(|e| Error::Input(e.to_string())))
        .collect::<Result<_>>()?;
    let mut tensors = BTreeMap::new();
    for name in heads[0].tensors().keys() {
        let each: Vec<&Tensor> = heads.iter().map(|h| &h.tensors()[name]).collect();
        tensors.insert(name.clone(), Tensor::stack(&each, 0)?.mean(0)?);
    }
    let head = Head::from_tensors(config.clone(), tensors).map_err(Error::Input)?;
    head.save(out, candle_core::DType::F16)
        .map_err(|e| Error::Input(e.to_string()))
}

/// Every pair of factors, of rank `full`, cut to `rank`.
fn reduced(whole: &Params, full: usize, rank: usize) -> Result<Params> {
    let mut cut = Params::new(whole.path(), &Device::Cpu);
    for name in whole.names().filter(|name| name.contains("lora_B")) {
        let other = name.replace("lora_B", "lora_A");
        let (b, a) = (whole.get(name)?, whole.get(&other)?);
        let (out, inside) = (b.dim(0)?, a.dim(1)?);
        let (b, a, _) = low_rank::cut(
            &b.flatten_all()?.to_vec1()?,
            &a.flatten_all()?.to_vec1()?,
            full,
            rank,
        );
        cut.insert(name, &Tensor::from_vec(b, (out, rank), &Device::Cpu)?)?;
        cut.insert(&other, &Tensor::from_vec(a, (rank, inside), &Device::Cpu)?)?;
    }
    Ok(cut)
}

#[cfg(test)]
mod tests {
    use visa_nn::{Encoder, Lora};

    use super::*;
    use crate::encoder::tests::{recipe, trunk};
    use crate::encoder::{Model, Trained};
    use visa_align::head::{HeadKind, Output};

    #[test]
    fn the_average_of_updates_is_the_average_of_weights() {
        let dir = tempfile::tempdir().unwrap();
        let trunk_dir = dir.path().join("encoder");
        trunk(&trunk_dir);
        let recipe = recipe(dir.path());
        let outputs = || vec![Output::new("relation", &["relation"], &["a", "b", "c"])];
        let parts: Vec<PathBuf> = (0..3)
            .map(|i| {
                let model = Model::new(&recipe, HeadKind::Nli, outputs()).unwrap();
                for (k, (_, var)) in model.vars().into_iter().enumerate() {
                    let noise = var
                        .ones_like()
                        .unwrap()
                        .affine(((i * 7 + k) as f64).sin() * 0.05, 0.0)
                        .unwrap();
                    var.set(&(var.as_tensor() + noise).unwrap()).unwrap();
                }
                let place = dir.path().join(format!("part-{i}"));
                model.save(&place, &model.head.config).unwrap();
                place
            })
            .collect();
        let out = dir.path().join("soup");
        let config = Head::load(&parts[0], &Device::Cpu).unwrap().config;
        soup(&parts, &config, &out, None).unwrap();
        assert_eq!(Lora::load(&out).unwrap().rank, 12);
        let weights = |place: &Path| {
            let encoder = Encoder::load(&trunk_dir, &Device::Cpu).unwrap();
            let merged = encoder.with_adapter(place).unwrap().merged().unwrap();
            let name = "encoder.layer.1.output.dense.weight";
            merged
                .params()
                .get(name)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        let each: Vec<Vec<f32>> = parts.iter().map(|p| weights(p)).collect();
        for (i, x) in weights(&out).iter().enumerate() {
            let mean = each.iter().map(|e| e[i]).sum::<f32>() / 3.0;
            assert!(
                (x - mean).abs() < 2e-3 * mean.abs().max(0.1),
                "{i}: {x} {mean}"
            );
        }
        Trained::load(&out, &trunk_dir).unwrap();
        // The updates differ little, so most of the twelve ranks say the same.
        let small = dir.path().join("small");
        soup(&parts, &config, &small, Some(8)).unwrap();
        let lora = Lora::load(&small).unwrap();
        assert_eq!((lora.rank, lora.alpha), (8, 16.0));
        for (x, y) in weights(&small).iter().zip(weights(&out)) {
            assert!((x - y).abs() < 2e-2 * y.abs().max(0.1), "{x} {y}");
        }
    }
}
