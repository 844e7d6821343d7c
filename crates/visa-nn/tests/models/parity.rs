//! The same numbers as `transformers` and PEFT, to 1e-4 in f32.

use serde::Deserialize;
use visa_nn::{
    Batch, ChatTemplate, Encoder, EncoderEngine, Message, Tokenizer, WeightType, mean_pool,
};

use crate::{CPU, assert_close, expected, golden, lens_of, real_encoder, real_rows, tiny};

#[test]
fn bert_hidden_states() {
    let expected = expected();
    let lens = lens_of(&expected["bert.lens"]);
    let batch = Batch {
        ids: expected["bert.ids"].clone(),
        type_ids: Some(expected["bert.types"].clone()),
        lens: lens.clone(),
    };
    let encoder = Encoder::load(&golden("bert"), CPU).unwrap();
    let hidden = encoder.forward(&batch).unwrap();
    let want = real_rows(&expected["bert.hidden"], &lens);
    assert_close(&real_rows(&hidden, &lens), &want, 1e-4);
    // Without padding, with weights packed or as they are.
    for (stored, tolerance) in [
        (WeightType::F32, 1e-4),
        // Layers as wide as these, of random weights, amplify what each rounds.
        (WeightType::Bf16, 4e-2),
        (WeightType::Int8, 1e-1),
    ] {
        let engine = EncoderEngine::new(&encoder, stored).unwrap();
        let hidden = engine.forward(&batch).unwrap();
        let shape = [
            lens.len(),
            batch.ids.dim(1).unwrap(),
            encoder.config().hidden_size,
        ];
        assert_eq!(hidden.dims(), shape);
        assert_close(&real_rows(&hidden, &lens), &want, tolerance);
        for (ids, types, expected) in [
            (&[][..], None, "text 0 has 0 tokens"),
            (&[1, 99_999], None, "99999"),
            (&[1, 2], Some(&[0][..]), "segments"),
        ] {
            let error = engine.hidden(&[(ids, types)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn llama_logits_and_loss() {
    let expected = expected();
    for name in ["llama-tied", "llama-untied"] {
        let ids = &expected[&format!("{name}.ids")];
        let lens = lens_of(&expected[&format!("{name}.lens")]);
        let decoder = tiny(name);
        let hidden = decoder.forward(ids, Some(&lens)).unwrap();
        let logits = decoder.logits(&hidden).unwrap();
        let want = real_rows(&expected[&format!("{name}.logits")], &lens);
        assert_close(&real_rows(&logits, &lens), &want, 1e-4);

        let row = ids.narrow(0, 0, 1).unwrap();
        let width = row.dim(1).unwrap();
        let inputs = row.narrow(1, 0, width - 1).unwrap().contiguous().unwrap();
        let targets = row.narrow(1, 1, width - 1).unwrap().contiguous().unwrap();
        let weights = targets
            .to_dtype(candle_core::DType::F32)
            .unwrap()
            .ones_like()
            .unwrap();
        let loss = decoder.loss(&inputs, &targets, &weights).unwrap();
        let want = expected[&format!("{name}.loss")].get(0).unwrap();
        assert_close(&loss, &want, 1e-4);
        let each = decoder.token_losses(&inputs, &targets, None).unwrap();
        assert_close(&each.mean_all().unwrap(), &want, 1e-4);
    }
}

#[test]
fn peft_adapter_logits() {
    let expected = expected();
    let lens = lens_of(&expected["llama-tied.lens"]);
    let adapted = tiny("llama-tied")
        .with_adapter(&golden("llama-lora"))
        .unwrap();
    let hidden = adapted
        .forward(&expected["llama-tied.ids"], Some(&lens))
        .unwrap();
    let logits = adapted.logits(&hidden).unwrap();
    let want = real_rows(&expected["llama-lora.logits"], &lens);
    assert_close(&real_rows(&logits, &lens), &want, 1e-4);
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    second: Option<String>,
    ids: Vec<u32>,
    mean: Vec<f32>,
    norm: f32,
}

/// The published weights, through tokenizer, padding and pooling. Both sides
/// compute the same f16 weights in f32, so the tolerance is that of f32.
#[test]
fn minilm_embeddings() {
    let text = std::fs::read_to_string(golden("minilm.json")).unwrap();
    let sentences: Vec<Sentence> = serde_json::from_str(&text).unwrap();
    let tokenizer = Tokenizer::load(&real_encoder()).unwrap();
    let encoder = Encoder::load(&real_encoder(), CPU).unwrap();
    tokenizer.check_fits(encoder.config().vocab_size).unwrap();
    let encodings: Vec<_> = sentences
        .iter()
        .map(|sentence| match &sentence.second {
            Some(second) => tokenizer.encode_pair(&sentence.text, second).unwrap(),
            None => tokenizer.encode(&sentence.text).unwrap(),
        })
        .collect();
    let batch = Batch::new(&encodings.iter().collect::<Vec<_>>(), 0, CPU).unwrap();
    let pooled = mean_pool(&encoder.forward(&batch).unwrap(), &batch.lens).unwrap();
    for (row, (sentence, encoding)) in sentences.iter().zip(&encodings).enumerate() {
        assert_eq!(encoding.ids, sentence.ids, "{}", sentence.text);
        let got = pooled.get(row).unwrap().to_vec1::<f32>().unwrap();
        for (a, b) in got.iter().zip(&sentence.mean) {
            assert!((a - b).abs() < 1e-4, "{}: {a} {b}", sentence.text);
        }
        let norm = got.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(
            (norm - sentence.norm).abs() < 1e-3,
            "{norm} {}",
            sentence.norm
        );
    }
}

/// What rounding does to the embeddings of real sentences.
#[test]
fn minilm_engines_keep_the_direction() {
    let text = std::fs::read_to_string(golden("minilm.json")).unwrap();
    let sentences: Vec<Sentence> = serde_json::from_str(&text).unwrap();
    let encoder = Encoder::load(&real_encoder(), CPU).unwrap();
    let texts: Vec<(&[u32], Option<&[u32]>)> = sentences
        .iter()
        .filter(|sentence| sentence.second.is_none())
        .map(|sentence| (sentence.ids.as_slice(), None))
        .collect();
    let embed = |stored| -> Vec<Vec<f32>> {
        let engine = EncoderEngine::new(&encoder, stored).unwrap();
        let width = encoder.config().hidden_size;
        let mean = |states: Vec<f32>| {
            let mut mean = vec![0.0; width];
            for row in states.chunks(width) {
                mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
            }
            mean
        };
        engine
            .hidden(&texts)
            .unwrap()
            .into_iter()
            .map(mean)
            .collect()
    };
    let exact = embed(WeightType::F32);
    for (stored, least) in [(WeightType::Bf16, 0.999), (WeightType::Int8, 0.995)] {
        for (a, b) in exact.iter().zip(embed(stored)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(a, &b) / (dot(a, a) * dot(&b, &b)).sqrt();
            assert!(cosine > least, "{stored:?}: {cosine}");
        }
    }
}

#[derive(Deserialize)]
struct Chat {
    template: String,
    prompt: bool,
    messages: Vec<Message>,
    rendered: String,
}

#[test]
fn chat_templates() {
    let text = std::fs::read_to_string(golden("chat.json")).unwrap();
    let chats: Vec<Chat> = serde_json::from_str(&text).unwrap();
    let specials = || {
        [("bos_token", "<s>"), ("eos_token", "</s>")]
            .map(|(name, token)| (name.to_owned(), token.to_owned()))
            .to_vec()
    };
    for chat in chats {
        let template = ChatTemplate::new(&chat.template, specials(), "chat.json".as_ref()).unwrap();
        let got = template.render(&chat.messages, chat.prompt).unwrap();
        assert_eq!(got, chat.rendered);
    }
}
