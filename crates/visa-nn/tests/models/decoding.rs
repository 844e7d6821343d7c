//! Cached decoding, sampling and constraints.

use std::path::Path;

use candle_core::Tensor;
use visa_nn::sample::{
    Allowed, Constraint, Finish, Generated, Generator, Request, SampleOptions, generate_batch,
};
use visa_nn::{Decoder, Engine, KvCache, Result, Tap, Tokenizer, WeightType};

use crate::{CPU, assert_close, expected, golden, ids, tiny};

const PROMPT: [u32; 5] = [5, 90, 200, 7, 31];

fn greedy(max_tokens: usize) -> SampleOptions {
    SampleOptions {
        temperature: 0.0,
        max_tokens,
        ..SampleOptions::default()
    }
}

fn warm(seed: u64) -> SampleOptions {
    SampleOptions {
        seed,
        max_tokens: 10,
        ..SampleOptions::default()
    }
}

fn last_logits(decoder: &Decoder, text: &[u32]) -> Tensor {
    let hidden = decoder.forward(&ids(&[text]), None).unwrap();
    let last = hidden.get(0).unwrap().get(text.len() - 1).unwrap();
    decoder.logits(&last.unsqueeze(0).unwrap()).unwrap()
}

#[test]
fn cached_steps_equal_the_whole_pass() {
    for name in ["llama-tied", "llama-untied"] {
        let decoder = tiny(name);
        let texts: [Vec<u32>; 3] = [
            (3..16).collect(),
            vec![9, 8, 7, 6, 5, 200, 4, 100],
            (20..31).rev().collect(),
        ];
        // How many tokens each row gets in each step: ragged prefill, one each,
        // a stretch for one row, stretches for all.
        let steps = [[5, 2, 4], [1, 1, 1], [3, 1, 1], [2, 3, 4], [1, 1, 1]];
        let engine = Engine::new(&decoder, WeightType::F32).unwrap();
        let mut cache = engine.cache();
        let rows = [cache.add(), cache.add(), cache.add()];
        let check = |cache: &mut KvCache, feeds: &[(usize, &[u32])], texts: &[&[u32]]| {
            let hidden = engine.step(cache, feeds).unwrap();
            let logits = engine.logits(&hidden);
            let vocab = decoder.config().vocab_size;
            for ((row, logits), text) in feeds.iter().zip(logits.chunks(vocab)).zip(texts) {
                assert_eq!(cache.len(row.0), Some(text.len()));
                let got = Tensor::from_slice(logits, (1, vocab), CPU).unwrap();
                assert_close(&got, &last_logits(&decoder, text), 1e-4);
            }
        };
        for step in steps {
            let starts = rows.map(|row| cache.len(row).unwrap());
            let new = |row: usize| &texts[row][starts[row]..starts[row] + step[row]];
            let seen = |row: usize| &texts[row][..starts[row] + step[row]];
            let feeds = rows.map(|row| (row, new(row)));
            check(&mut cache, &feeds, &[seen(0), seen(1), seen(2)]);
        }
        // Rows that were forked share what they saw and go on by themselves,
        // by one token or several, beside rows that share nothing.
        let seen = texts[2][..11].to_vec();
        let (first, second) = (cache.fork(2).unwrap(), cache.fork(2).unwrap());
        let tails: [&[u32]; 3] = [&[40], &[41, 42], &[43]];
        let text = |tail: &[u32]| [&seen[..], tail].concat();
        let own = [&texts[0][..12], &[44]].concat();
        let feeds = [
            (first, tails[0]),
            (0, &[44][..]),
            (second, tails[1]),
            (2, tails[2]),
        ];
        let whole = [text(tails[0]), own.clone(), text(tails[1]), text(tails[2])];
        let whole: Vec<&[u32]> = whole.iter().map(Vec::as_slice).collect();
        check(&mut cache, &feeds, &whole);
        // A fork of a fork has its own tokens too; a freed row is empty again.
        let third = cache.fork(second).unwrap();
        cache.remove(0);
        assert_eq!(cache.add(), 0);
        let feeds = [(third, &[50, 51][..]), (0, &[9][..])];
        check(&mut cache, &feeds, &[&text(&[41, 42, 50, 51]), &[9]]);
    }
}

#[test]
fn a_ragged_batch_equals_its_rows() {
    let decoder = tiny("llama-tied");
    let rows: [&[u32]; 2] = [&[5, 9, 200, 7, 31, 8], &[8, 100, 3, 2, 2, 2]];
    let batch = decoder.forward(&ids(&rows), Some(&[6, 3])).unwrap();
    for (row, len) in [(0, 6), (1, 3)] {
        let single = decoder.forward(&ids(&[&rows[row][..len]]), None).unwrap();
        let got = batch.get(row).unwrap().narrow(0, 0, len).unwrap();
        assert_close(&got, &single.get(0).unwrap(), 1e-5);
    }
}

#[test]
fn greedy_decoding_equals_transformers() {
    let expected = expected();
    for name in ["llama-tied", "llama-untied"] {
        let want = expected[&format!("{name}.greedy")]
            .to_vec1::<u32>()
            .unwrap();
        let prompt = want[..5].to_vec();
        let got = generate_batch(&tiny(name), &[prompt], &greedy(12), &mut []).unwrap();
        assert_eq!(got[0].ids, want[5..]);
        assert_eq!(got[0].finish, Finish::Length);
    }
}

#[test]
fn the_same_seed_gives_the_same_tokens() {
    let decoder = tiny("llama-tied");
    let prompts = vec![
        PROMPT.to_vec(),
        vec![4, 4],
        PROMPT.to_vec(),
        PROMPT.to_vec(),
    ];
    let options = SampleOptions {
        top_p: 0.95,
        top_k: 40,
        repetition_penalty: 1.1,
        ..warm(11)
    };
    let once = generate_batch(&decoder, &prompts, &options, &mut []).unwrap();
    assert_eq!(
        once,
        generate_batch(&decoder, &prompts, &options, &mut []).unwrap()
    );
    // Continuations of one prompt differ, and so do seeds.
    assert_ne!(once[0].ids, once[2].ids);
    assert_ne!(once[2].ids, once[3].ids);
    let other = SampleOptions {
        seed: 12,
        ..options
    };
    assert_ne!(
        once,
        generate_batch(&decoder, &prompts, &other, &mut []).unwrap()
    );
}

#[test]
fn who_samples_beside_others_gets_what_it_gets_alone() {
    let decoder = tiny("llama-tied");
    let asked = [
        (&PROMPT[..], warm(1), 3),
        (&[4, 4], greedy(6), 0),
        (
            &PROMPT,
            SampleOptions {
                top_k: 20,
                max_tokens: 14,
                ..warm(1)
            },
            3,
        ),
        (&PROMPT, warm(1), 4),
        (
            &[7, 31, 8],
            SampleOptions {
                temperature: 2.0,
                stop_ids: (0..100).collect(),
                ..warm(9)
            },
            0,
        ),
    ];
    let requests: Vec<Request<'_>> = (asked.iter())
        .map(|(prompt, options, stream)| Request {
            prompt,
            options,
            stream: *stream,
        })
        .collect();
    let sample = |requests: &[Request<'_>]| {
        Generator::new(&decoder)
            .requests(requests, &mut [])
            .unwrap()
    };
    let together = sample(&requests);
    for (request, together) in requests.iter().zip(&together) {
        assert_eq!(sample(&[*request])[0].ids, together.ids);
    }
    assert_eq!(together[1].ids.len(), 6);
    assert_eq!(together[2].ids.len(), 14);
    assert_ne!(
        together[0].ids, together[3].ids,
        "another stream of the seed"
    );
    assert_eq!(together[4].finish, Finish::StopId);
}

/// Log-probabilities by whole passes, without a cache.
fn scored(decoder: &Decoder, prompt: &[u32], out: &Generated) -> Vec<f32> {
    (0..out.ids.len())
        .map(|at| {
            let logits = last_logits(decoder, &[prompt, &out.ids[..at]].concat());
            let logits = logits.get(0).unwrap().to_vec1::<f32>().unwrap();
            let sum: f32 = logits.iter().map(|x| x.exp()).sum();
            logits[out.ids[at] as usize] - sum.ln()
        })
        .collect()
}

#[test]
fn log_probabilities_are_those_of_the_model() {
    let decoder = tiny("llama-untied");
    let prompts = vec![PROMPT.to_vec(), vec![4, 4], PROMPT.to_vec()];
    let options = SampleOptions {
        temperature: 1.3,
        top_k: 50,
        ..warm(2)
    };
    for (out, prompt) in generate_batch(&decoder, &prompts, &options, &mut [])
        .unwrap()
        .iter()
        .zip(&prompts)
    {
        let want = scored(&decoder, prompt, out);
        for (a, b) in out.logprobs.iter().zip(want) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
}

#[test]
fn answers_are_read_as_whole_passes_do() {
    let decoder = tiny("llama-untied");
    let other = [4, 4, 9];
    // Prompts that are shared, apart from each other; answers of one token and of many.
    let rows: [(&[u32], &[u32]); 6] = [
        (&PROMPT, &[8, 1, 2]),
        (&other, &[7]),
        (&PROMPT, &[8, 1, 2, 100, 3, 4, 5, 6]),
        (&PROMPT, &[9]),
        (&other, &[200, 201]),
        (&[11], &[12, 13, 14]),
    ];
    for (stored, tolerance) in [(WeightType::F32, 1e-3), (WeightType::Bf16, 5e-2)] {
        let engine = Engine::new(&decoder, stored).unwrap();
        let got = engine.log_probabilities(&rows).unwrap();
        for ((prompt, answer), got) in rows.iter().zip(&got) {
            let out = Generated {
                ids: answer.to_vec(),
                logprobs: Vec::new(),
                finish: Finish::Length,
            };
            let want = scored(&decoder, prompt, &out);
            assert_eq!(got.len(), want.len());
            for (a, b) in got.iter().zip(want) {
                assert!((a - b).abs() < tolerance, "{stored:?}: {a} {b}");
            }
        }
        assert!(engine.log_probabilities(&[]).unwrap().is_empty());
        for (rows, part) in [
            ([(&PROMPT[..], &[][..])], "row 0 has no"),
            ([(&[][..], &[1][..])], "row 0 has no"),
            ([(&[1][..], &[1, 60_000, 1][..])], "token 60000"),
        ] {
            let error = engine.log_probabilities(&rows).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

/// A rule for each place, repeated from `looped` on, done after `length`.
struct Plan {
    rules: Vec<Rule>,
    told: Vec<u32>,
}

enum Rule {
    Any,
    Only(Vec<u32>),
    Except(Vec<u32>),
    Force(u32),
}

impl Plan {
    fn boxed<'a>(rules: Vec<Rule>) -> Box<dyn Constraint + 'a> {
        Box::new(Self {
            rules,
            told: Vec::new(),
        })
    }
}

impl Constraint for Plan {
    fn allowed(&self, generated: &[u32]) -> Allowed<'_> {
        assert_eq!(generated, self.told);
        match &self.rules[generated.len()] {
            Rule::Any => Allowed::All,
            Rule::Only(ids) => Allowed::Only(ids),
            Rule::Except(ids) => Allowed::Except(ids),
            Rule::Force(id) => Allowed::Force(*id),
        }
    }

    fn advance(&mut self, token: u32) {
        self.told.push(token);
    }

    fn done(&self) -> bool {
        self.told.len() == self.rules.len()
    }
}

fn forced(ids: &[u32]) -> impl Iterator<Item = Rule> + '_ {
    ids.iter().map(|&id| Rule::Force(id))
}

/// Counts the tokens of each pass.
#[derive(Default)]
struct Passes(Vec<usize>);

impl Tap for Passes {
    fn layer(&mut self, layer: usize, hidden: &Tensor) -> Result<Option<Tensor>> {
        if layer == 0 {
            self.0.push(hidden.dim(1)?);
        }
        Ok(None)
    }
}

#[test]
fn constraints_are_obeyed_and_forced_stretches_are_one_pass() {
    let decoder = tiny("llama-tied");
    let stem = [60, 61, 62, 63];
    let tail = [70, 71, 72];
    let plan = || {
        let mut rules: Vec<Rule> = forced(&stem).collect();
        rules.push(Rule::Only(vec![100, 101, 102]));
        rules.extend(forced(&tail));
        rules.push(Rule::Except((0..280).collect()));
        rules.push(Rule::Any);
        rules.extend(forced(&[1]));
        Plan::boxed(rules)
    };
    let prompts = vec![PROMPT.to_vec(), PROMPT.to_vec(), vec![4, 4]];
    let mut passes = Passes::default();
    let out = Generator::new(&decoder).tap(&mut passes).run(
        &prompts,
        &warm(3),
        &mut [plan(), plan(), plan()],
    );
    let length = 4 + 1 + 3 + 1 + 1 + 1;
    // `warm` ends after ten tokens, one before the plan is done.
    let out = out.unwrap();
    for out in &out {
        assert_eq!(out.ids.len(), length - 1);
        assert_eq!(out.finish, Finish::Length);
        assert_eq!(out.ids[..4], stem);
        assert!((100..=102).contains(&out.ids[4]));
        assert_eq!(out.ids[5..8], tail);
        assert!(out.ids[8] >= 280);
        assert!(
            out.logprobs[..4]
                .iter()
                .chain(&out.logprobs[5..8])
                .all(|&p| p == 0.0)
        );
        assert!(out.logprobs[4] < 0.0);
    }
    // The two equal prompts with the same forced stem are fed once (9 tokens, and
    // 6 of the third), then the drawn token with the tail behind it, then one.
    assert_eq!(passes.0, [9 + 6, 3 * 4, 3]);

    // The log-probability is the model's, among the allowed tokens.
    let text = [&PROMPT[..], &stem].concat();
    let logits = last_logits(&decoder, &text)
        .get(0)
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    let sum: f32 = (100..=102).map(|id| logits[id].exp()).sum();
    let want = logits[out[0].ids[4] as usize] - sum.ln();
    assert!((out[0].logprobs[4] - want).abs() < 1e-3);
}

#[test]
fn a_done_constraint_ends_the_sequence() {
    let decoder = tiny("llama-tied");
    let check = |rules: Vec<Rule>, expected: usize, finish: Finish, options: &SampleOptions| {
        let out = generate_batch(
            &decoder,
            &[PROMPT.to_vec()],
            options,
            &mut [Plan::boxed(rules)],
        );
        let out = &out.unwrap()[0];
        assert_eq!((out.ids.len(), out.finish), (expected, finish));
        assert_eq!(out.ids.len(), out.logprobs.len());
    };
    check(vec![], 0, Finish::Constraint, &warm(1));
    check(forced(&[9, 9]).collect(), 2, Finish::Constraint, &warm(1));
    check(vec![Rule::Any, Rule::Any], 2, Finish::Constraint, &warm(1));
    let stop = SampleOptions {
        stop_ids: vec![9],
        ..warm(1)
    };
    check(forced(&[8, 9, 7]).collect(), 2, Finish::StopId, &stop);
    let short = SampleOptions {
        max_tokens: 2,
        ..warm(1)
    };
    check(forced(&[8, 9, 7]).collect(), 2, Finish::Length, &short);
    check(forced(&[8, 9]).collect(), 2, Finish::Constraint, &short);
}

#[test]
fn sequences_of_different_lengths_end_on_their_own() {
    let decoder = tiny("llama-untied");
    let prompts = vec![PROMPT.to_vec(), vec![4, 4], vec![9]];
    let mut plans: Vec<Box<dyn Constraint>> = [2, 7, 4]
        .into_iter()
        .map(|n| Plan::boxed((0..n).map(|_| Rule::Any).collect()))
        .collect();
    let out = generate_batch(&decoder, &prompts, &greedy(20), &mut plans).unwrap();
    for ((out, prompt), n) in out.iter().zip(&prompts).zip([2, 7, 4]) {
        let alone = generate_batch(&decoder, std::slice::from_ref(prompt), &greedy(n), &mut []);
        assert_eq!(out.ids, alone.unwrap()[0].ids);
    }
}

#[test]
fn stops_at_ids_texts_and_the_last_position() {
    let decoder = tiny("llama-tied");
    let plain = generate_batch(&decoder, &[PROMPT.to_vec()], &greedy(500), &mut []).unwrap();
    let limit = decoder.config().max_position_embeddings;
    assert_eq!(plain[0].ids.len(), limit - PROMPT.len());
    assert_eq!(plain[0].finish, Finish::Length);

    let third = plain[0].ids[2];
    let first = plain[0].ids.iter().position(|&id| id == third).unwrap();
    let options = SampleOptions {
        stop_ids: vec![third],
        ..greedy(30)
    };
    let out = generate_batch(&decoder, &[PROMPT.to_vec()], &options, &mut []).unwrap();
    assert_eq!(out[0].ids, plain[0].ids[..=first]);
    assert_eq!(out[0].finish, Finish::StopId);

    let tokenizer = Tokenizer::load(&golden("llama-tied")).unwrap();
    let force: Vec<u32> = tokenizer.encode_plain("the mat, end").unwrap().ids;
    let mut rules: Vec<Rule> = force.iter().map(|&id| Rule::Only(vec![id, id])).collect();
    rules.extend([Rule::Any, Rule::Any]);
    let options = SampleOptions {
        stop: vec!["mat,".to_owned()],
        max_tokens: 40,
        ..greedy(1)
    };
    let out = Generator::new(&decoder)
        .tokenizer(&tokenizer)
        .run(&[PROMPT.to_vec()], &options, &mut [Plan::boxed(rules)])
        .unwrap();
    assert_eq!(tokenizer.decode(&out[0].ids).unwrap(), "the mat,");
    assert_eq!(out[0].finish, Finish::StopText);
}

#[test]
fn wrong_arguments_are_named() {
    let decoder = tiny("llama-tied");
    let check = |prompt: &[u32], options: &SampleOptions, expected: &str| {
        let error = generate_batch(&decoder, &[prompt.to_vec()], options, &mut []).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&[], &warm(1), "prompt 0 is empty");
    check(&[5; 48], &warm(1), "48 positions");
    check(&[5, 9999], &warm(1), "token 9999");
    check(
        &[5],
        &SampleOptions {
            temperature: f64::NAN,
            ..warm(1)
        },
        "temperature",
    );
    check(
        &[5],
        &SampleOptions {
            top_p: 1.5,
            ..warm(1)
        },
        "top_p",
    );
    check(
        &[5],
        &SampleOptions {
            stop: vec!["x".into()],
            ..warm(1)
        },
        "tokenizer",
    );
    let mut beyond: [Box<dyn Constraint>; 1] = [Plan::boxed(vec![Rule::Force(9999), Rule::Any])];
    let error = generate_batch(&decoder, &[vec![5]], &warm(1), &mut beyond).unwrap_err();
    assert!(error.to_string().contains("forces token 9999"), "{error}");
    let long = ids(&[&[5; 49]]);
    let error = decoder.forward(&long, None).unwrap_err();
    assert!(error.to_string().contains("48 positions"), "{error}");
    let engine = Engine::new(&decoder, WeightType::F32).unwrap();
    let mut cache = engine.cache();
    let row = cache.add();
    for (feeds, expected) in [
        (&[(row, &[5; 49][..])][..], "48 positions"),
        (&[(row, &[5, 9999])], "token 9999"),
        (&[(7, &[5])], "row 7"),
        (&[(row, &[])], "no token"),
        (&[(row, &[5]), (row, &[6])], "each once"),
        (&[], "at least one row"),
    ] {
        let error = engine.step(&mut cache, feeds).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(cache.fork(7).is_err());
    assert!(Decoder::load(Path::new("nowhere"), CPU).is_err());
}

/// Shifts the residual stream behind one layer.
struct Shift(usize, f64);

impl Tap for Shift {
    fn layer(&mut self, layer: usize, hidden: &Tensor) -> Result<Option<Tensor>> {
        Ok(match layer == self.0 {
            true => Some((hidden + self.1)?),
            false => None,
        })
    }
}

#[test]
fn a_tap_shifts_cached_and_whole_passes_alike() {
    let decoder = tiny("llama-tied");
    let text = ids(&[&PROMPT]);
    let plain = decoder.forward(&text, None).unwrap();
    let idle = decoder
        .forward_tapped(&text, None, Some(&mut Shift(7, 1.0)))
        .unwrap();
    assert_close(&idle, &plain, 0.0);
    let shifted = decoder
        .forward_tapped(&text, None, Some(&mut Shift(0, 1.0)))
        .unwrap();
    let moved = (&shifted - &plain)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap();
    assert!(moved.to_scalar::<f32>().unwrap() > 0.01);
    let engine = Engine::new(&decoder, WeightType::F32).unwrap();
    let mut cache = engine.cache();
    let row = cache.add();
    let mut tap = Shift(0, 1.0);
    engine
        .step_tapped(&mut cache, &[(row, &PROMPT[..3])], &mut tap)
        .unwrap();
    let hidden = engine
        .step_tapped(&mut cache, &[(row, &PROMPT[3..])], &mut tap)
        .unwrap();
    assert_close(
        &Tensor::from_vec(hidden, (1, decoder.config().hidden_size), CPU).unwrap(),
        &shifted.get(0).unwrap().narrow(0, 4, 1).unwrap(),
        1e-4,
    );
}
