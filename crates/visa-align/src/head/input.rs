//! Token ids of one or two texts → the input of the encoder.

/// Tokens of one input, ready for the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Token ids with specials.
    pub ids: Vec<u32>,
    /// 0 for the first segment, 1 for the second.
    pub type_ids: Vec<u32>,
}

/// The specials of a BERT tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Specials {
    /// Id of `[CLS]`.
    pub cls: u32,
    /// Id of `[SEP]`.
    pub sep: u32,
}

impl Specials {
    /// The ids of the uncased BERT vocabulary.
    pub const BERT: Self = Self { cls: 101, sep: 102 };
}

/// Joins token ids (without specials) to `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]` of at most
/// `max_tokens`. A pair that is too long loses from the end of its longer half first, as `longest_first` does elsewhere.
pub fn encode_input(
    specials: Specials,
    first: &[u32],
    second: Option<&[u32]>,
    max_tokens: usize,
) -> Input {
    let room = max_tokens.saturating_sub(if second.is_some() { 3 } else { 2 });
    let full = second.map_or(0, <[u32]>::len);
    let (a, b) = if first.len() + full <= room {
        (first.len(), full)
    } else {
        let half = room / 2;
        match (first.len() > half, full > half) {
            (true, true) => (room - half, half),
            (true, false) => (room - full, full),
            (false, _) => (first.len(), room - first.len()),
        }
    };
    let mut ids = Vec::with_capacity(a + b + 3);
    ids.push(specials.cls);
    ids.extend_from_slice(&first[..a]);
    ids.push(specials.sep);
    let mut type_ids = vec![0; ids.len()];
    if let Some(second) = second {
        ids.extend_from_slice(&second[..b]);
        ids.push(specials.sep);
        type_ids.resize(ids.len(), 1);
    }
    Input { ids, type_ids }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pairs_keep_both_halves() {
        let a: Vec<u32> = (1000..1100).collect();
        let check = |n: usize, m: Option<usize>, max: usize, expected: (usize, usize)| {
            let second = m.map(|m| &a[..m]);
            let input = encode_input(Specials::BERT, &a[..n], second, max);
            let ones = input.type_ids.iter().filter(|&&t| t == 1).count();
            assert_eq!((input.ids.len() - ones, ones), expected);
            assert!(input.ids.len() <= max && input.ids.len() == input.type_ids.len());
        };
        check(5, None, 16, (7, 0));
        check(50, None, 16, (16, 0));
        check(5, Some(4), 16, (7, 5));
        check(50, Some(4), 16, (11, 5));
        check(4, Some(50), 16, (6, 10));
        check(50, Some(50), 16, (9, 7));
    }
}
