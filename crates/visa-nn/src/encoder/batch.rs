//! Texts side by side.

use candle_core::{Device, Tensor};

use crate::{Encoding, Error, Result};

/// Encoded texts, padded on the right to one length.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids `[B, S]`, `u32`.
    pub ids: Tensor,
    /// Segment of each token `[B, S]`, `u32`; `None` means segment 0 throughout.
    pub type_ids: Option<Tensor>,
    /// Number of real tokens in each row.
    pub lens: Vec<usize>,
}

impl Batch {
    /// Pads encodings to the longest of them. Refuses an empty batch and empty
    /// rows.
    pub fn new(encodings: &[&Encoding], pad: u32, device: &Device) -> Result<Self> {
        let lens: Vec<usize> = encodings.iter().map(|e| e.ids.len()).collect();
        let width = lens.iter().copied().max().unwrap_or(0);
        if lens.contains(&0) || width == 0 {
            return Err(Error::Input(
                "a batch needs at least one text, and each text at least one token".to_owned(),
            ));
        }
        let rows = encodings.len();
        let mut ids = vec![pad; rows * width];
        let mut types = vec![0u32; rows * width];
        for (row, encoding) in encodings.iter().enumerate() {
            let at = row * width;
            ids[at..at + encoding.ids.len()].copy_from_slice(&encoding.ids);
            types[at..at + encoding.type_ids.len()].copy_from_slice(&encoding.type_ids);
        }
        let type_ids = if types.iter().any(|&t| t != 0) {
            Some(Tensor::from_vec(types, (rows, width), device)?)
        } else {
            None
        };
        Ok(Self {
            ids: Tensor::from_vec(ids, (rows, width), device)?,
            type_ids,
            lens,
        })
    }

    /// Groups texts of like length: indices into `lens`, sorted by length, at
    /// most `max_tokens` padded tokens a group and at least one text.
    pub fn buckets(lens: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..lens.len()).collect();
        // The sort is stable, so equal lengths keep the order they came in.
        order.sort_by_key(|&i| lens[i]);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for i in order {
            match groups.last_mut() {
                // Sorted, so text `i` sets the width of its group.
                Some(group) if (group.len() + 1) * lens[i] <= max_tokens => group.push(i),
                _ => groups.push(vec![i]),
            }
        }
        groups
    }
}
