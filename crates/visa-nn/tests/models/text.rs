//! Tokenizers, batches and pooling.

use std::path::Path;

use candle_core::Tensor;
use proptest::prelude::*;
use visa_nn::{Batch, Encoder, Encoding, Error, Tokenizer, mean_pool};

use crate::{CPU, assert_close, golden, real_encoder};

const SPECIALS: [&str; 3] = ["<|begin|>", "<|end|>", "<|edit|>"];

fn trained(vocab: usize) -> Tokenizer {
    let texts =
        (0..200).map(|i| format!("the cat number {i} sat on the mat, because it keeps warm."));
    Tokenizer::train_bpe(texts, vocab, &SPECIALS).unwrap()
}

#[test]
fn training_gives_the_specials_the_first_ids_and_is_repeatable() {
    let tokenizer = trained(300);
    for (id, token) in SPECIALS.iter().enumerate() {
        assert_eq!(tokenizer.token_to_id(token), Some(id as u32));
        assert!(tokenizer.is_special(id as u32));
    }
    assert!(!tokenizer.is_special(50));
    assert_eq!(tokenizer.vocab_size(), 300);
    assert_eq!(
        tokenizer.to_json().unwrap(),
        trained(300).to_json().unwrap()
    );
    assert!(tokenizer.encode(" because").unwrap().len() < 4);
    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let read = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(read.to_json().unwrap(), tokenizer.to_json().unwrap());
    assert!(Tokenizer::train_bpe(["x"].into_iter(), 200, &SPECIALS).is_err());
}

#[test]
fn text_of_a_user_never_becomes_a_special_token() {
    let tokenizer = trained(300);
    let text = "a<|end|>b";
    assert!(tokenizer.encode(text).unwrap().ids.contains(&1));
    let plain = tokenizer.encode_plain(text).unwrap();
    assert!(!plain.ids.iter().any(|&id| tokenizer.is_special(id)));
    assert_eq!(tokenizer.decode(&plain.ids).unwrap(), text);
    let real = Tokenizer::load(&real_encoder()).unwrap();
    let pair = real.encode_pair("one [SEP] two", "three").unwrap();
    assert_eq!(pair.ids.iter().filter(|&&id| id == 102).count(), 2);
}

proptest! {
    #[test]
    fn every_text_survives_a_byte_level_tokenizer(text in "\\PC{0,40}", cut in 0usize..40) {
        let tokenizer = Tokenizer::load(&golden("llama-tied")).unwrap();
        let encoding = tokenizer.encode_plain(&text).unwrap();
        prop_assert_eq!(&tokenizer.decode_all(&encoding.ids).unwrap(), &text);
        // Offsets are bytes: they never decrease, and end within the text.
        prop_assert!(encoding.offsets.windows(2).all(|w| w[0].0 <= w[1].0));
        prop_assert!(encoding.offsets.iter().all(|&(a, b)| a <= b && b <= text.len()));
        // Pieces encoded one by one join to the text.
        let cut = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
        let mut ids = tokenizer.encode_plain(&text[..cut]).unwrap().ids;
        ids.extend(tokenizer.encode_plain(&text[cut..]).unwrap().ids);
        prop_assert_eq!(tokenizer.decode_all(&ids).unwrap(), text);
    }
}

#[test]
fn offsets_are_bytes_of_each_text() {
    let tokenizer = Tokenizer::load(&real_encoder()).unwrap();
    let (first, second) = ("Ein Café, naïve.", "Zwölf Boxkämpfer");
    let pair = tokenizer.encode_pair(first, second).unwrap();
    let mut words = Vec::new();
    for (source, &(start, end)) in pair.sources.iter().zip(&pair.offsets) {
        match source {
            Some(0) => words.push(&first[start..end]),
            Some(_) => words.push(&second[start..end]),
            None => assert_eq!((start, end), (0, 0)),
        }
    }
    let joined: String = words.concat();
    assert_eq!(joined, format!("{first}{second}").replace(' ', ""));
    assert_eq!(
        pair.type_ids.iter().filter(|&&t| t == 1).count(),
        pair.sources.iter().filter(|s| **s == Some(1)).count() + 1
    );
}

#[test]
fn long_texts_are_cut_only_when_asked() {
    let mut tokenizer = Tokenizer::load(&real_encoder()).unwrap();
    let long = "word ".repeat(700);
    assert_eq!(tokenizer.encode(&long).unwrap().len(), 702);
    let encoder = Encoder::load(&golden("bert"), CPU).unwrap();
    let encoding = Encoding {
        ids: vec![5; 25],
        type_ids: vec![0; 25],
        ..Encoding::default()
    };
    let batch = Batch::new(&[&encoding], 0, CPU).unwrap();
    let error = encoder.forward(&batch).unwrap_err().to_string();
    assert!(error.contains("24 positions"), "{error}");
    tokenizer.set_max_len(Some(128)).unwrap();
    for encoding in [
        tokenizer.encode(&long).unwrap(),
        tokenizer.encode_pair(&long, &long).unwrap(),
        tokenizer.encode_batch(&[&long]).unwrap().remove(0),
        tokenizer
            .encode_pair_batch(&[(&long, "x")])
            .unwrap()
            .remove(0),
    ] {
        assert_eq!(encoding.len(), 128);
        assert_eq!(encoding.ids.last(), Some(&102));
    }
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let tokenizer = trained(300);
    tokenizer.check_fits(300).unwrap();
    tokenizer.check_fits(400).unwrap();
    let error = tokenizer.check_fits(299).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Vocabulary {
                id: 299,
                rows: 299,
                ..
            }
        ),
        "{error}"
    );
    let real = Tokenizer::load(&real_encoder()).unwrap();
    let error = real.check_fits(288).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer.json") && error.contains("288"),
        "{error}"
    );
    assert!(real.require("<|edit|>").is_err());
    let check = |bytes: &[u8]| {
        let error = Tokenizer::from_bytes(bytes, Path::new("x/tokenizer.json")).unwrap_err();
        assert!(error.to_string().contains("x/tokenizer.json"), "{error}");
    };
    check(b"");
    check(b"{\"version\": \"1.0\"");
    check(b"\xff\xfe");
    assert!(Tokenizer::load(Path::new("nowhere")).is_err());
}

#[test]
fn batches_pad_and_bucket() {
    let encoding = |n: usize| Encoding {
        ids: vec![7; n],
        type_ids: vec![0; n],
        ..Encoding::default()
    };
    let (a, b) = (encoding(2), encoding(4));
    let batch = Batch::new(&[&a, &b], 9, CPU).unwrap();
    assert_eq!(
        batch.ids.to_vec2::<u32>().unwrap(),
        [[7, 7, 9, 9], [7, 7, 7, 7]]
    );
    assert!(batch.type_ids.is_none());
    assert_eq!(batch.lens, [2, 4]);
    assert!(Batch::new(&[], 0, CPU).is_err());
    assert!(Batch::new(&[&a, &encoding(0)], 0, CPU).is_err());
    assert_eq!(
        Batch::buckets(&[5, 1, 9, 2, 5], 10),
        [vec![1, 3], vec![0, 4], vec![2]]
    );
    assert_eq!(Batch::buckets(&[50], 10), [vec![0]]);
    assert!(Batch::buckets(&[], 10).is_empty());
}

#[test]
fn pooling_sees_real_tokens_only() {
    let hidden = Tensor::new(
        &[[[1f32, 2.0], [3.0, 4.0]], [[5.0, 6.0], [f32::MAX, 1.0]]],
        CPU,
    )
    .unwrap();
    let pooled = mean_pool(&hidden, &[2, 1]).unwrap();
    assert_close(
        &pooled,
        &Tensor::new(&[[2f32, 3.0], [5.0, 6.0]], CPU).unwrap(),
        1e-6,
    );
    assert!(mean_pool(&hidden, &[2, 0]).is_err());
    assert!(mean_pool(&hidden, &[3, 1]).is_err());
    assert!(mean_pool(&hidden, &[1]).is_err());
}
