//! The embedded backend with a tiny random decoder: what it writes is nonsense, and must keep every promise all the same.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use visa_nn::{Decoder, Tokenizer, WeightType};
use visa_score::protected_spans;
use visa_values::{Profile, Target};

use super::ask::{BASE, READ, context};
use super::*;
use crate::acts::Acts;
use crate::backend::Sensible;
use crate::testing;

/// Speaks a value by how often a letter occurs: deterministic, and different for different clauses.
struct Letters;

impl Values for Letters {
    fn profiles(&self, texts: &[Text]) -> Result<Vec<Profile>> {
        Ok(texts
            .iter()
            .map(|t| {
                let share = |c: char| {
                    (10.0 * t.text.matches(c).count() as f32 / t.text.len() as f32).min(1.0)
                };
                let letters = ['a', 'e', 'i', 'o', 'u', 'n', 's', 't', 'r', 'h'];
                Profile::new(letters.map(share)).unwrap()
            })
            .collect())
    }
}

fn backend(dir: &Path) -> EmbeddedBackend<'static> {
    EmbeddedBackend::by(Writer::load(dir, WeightType::F32, None).unwrap(), &Letters)
}

const TEXT: &str = "# A day outside\n\nYou should wear a helmet on the 2 km way, because it keeps your head safe.  Anna said \
    \"take the long road\" to me.\n\n- bread and cheese\n- water\n\nIs it far? We share the food that we bring along. \
    See https://example.org for a map of it.";

fn propose(seed: u64, best: Option<&str>, n: usize) -> Vec<String> {
    propose_with(seed, best, n, true)
}

fn propose_with(seed: u64, best: Option<&str>, n: usize, shielded: bool) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let mut backend = backend(dir.path());
    // A random decoder seldom ends a clause by itself, and cut ones are dropped.
    backend.options.clauses = 500;
    backend.options.read = 500;
    backend.options.shielded = shielded;
    let before = Profile::zero();
    let mut gap = [0.0; 10];
    gap[0] = 0.9;
    gap[4] = 0.5;
    let target = Target::new(Profile::new(gap).unwrap());
    let proposal = Proposal {
        text: TEXT,
        query: None,
        before: &before,
        target: &target,
        gap,
        best,
        round: 0,
        n,
        seed,
    };
    backend.propose(&proposal).unwrap()
}

/// Whether `candidate` is `TEXT` with something in place of clauses: the parts that must stay come in order.
fn check_kept(candidate: &str) {
    for span in protected_spans(TEXT) {
        assert!(
            candidate.contains(&TEXT[span.start..span.end]),
            "{:?} is lost in {candidate:?}",
            &TEXT[span.start..span.end]
        );
    }
    let edits = editable(TEXT);
    let mut at = 0;
    let mut from = 0;
    for end in edits.iter().map(|e| e.stem).chain([TEXT.len()]) {
        let part = &TEXT[from..end];
        let found = candidate[at..]
            .find(part)
            .unwrap_or_else(|| panic!("{part:?} is lost in {candidate:?}"));
        at += found + part.len();
        from = edits
            .iter()
            .find(|e| e.stem == end)
            .map_or(end, |e| e.clause);
    }
    assert!(guards(TEXT, candidate).is_empty());
}

#[test]
fn candidates_differ_and_keep_everything_else() {
    let candidates = propose(1, None, 6);
    assert!(candidates.len() >= 3, "{candidates:?}");
    let distinct: HashSet<&String> = candidates.iter().collect();
    assert_eq!(distinct.len(), candidates.len());
    for candidate in &candidates {
        assert_ne!(candidate, TEXT);
        check_kept(candidate);
    }
}

#[test]
fn without_the_shield_anything_may_follow_a_sentence() {
    let candidates = propose_with(1, None, 6, false);
    let free = |text: &String| {
        editable(TEXT).into_iter().any(|edit| {
            let rest = text.strip_prefix(&TEXT[..edit.stem]);
            let clause = rest.and_then(|rest| rest.strip_suffix(&TEXT[edit.clause..]));
            clause.is_some_and(|clause| !fits(&edit, clause))
        })
    };
    assert!(candidates.iter().any(free), "{candidates:?}");
    // Stems stay all the same, and no mark of the format is left in the text.
    for candidate in &candidates {
        assert!(candidate.contains("You should wear a helmet on the 2 km way"));
        assert!(!candidate.contains("<|end|>"), "{candidate:?}");
    }
}

#[test]
fn an_answer_without_a_shield_ends_at_its_end_token() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let writer = Writer::load(dir.path(), WeightType::F32, None).unwrap();
    let (asker, end) = (writer.asker(), writer.asker().marks().end);
    let check = |text: &str, ended: bool, expected: &str| {
        let mut ids = asker.tokenizer().encode_plain(text).unwrap().ids;
        ids.extend(ended.then_some(end));
        assert_eq!(asker.free_clause(&ids, ".").unwrap(), expected);
    };
    check(", out of love.", true, ", out of love");
    check(", out of love", true, ", out of love");
    check(". And 5 more.", false, ". And 5 more");
    check("", true, "");
}

#[test]
fn only_clauses_that_make_most_sense_are_read() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let mut backend = backend(dir.path());
    backend.options.read = 2;
    let text = "You should wear a coat.";
    let places = editable(text);
    let written = |text: &str, logprob, sense| Written {
        place: 0,
        clause: Clause {
            text: text.into(),
            logprob,
            sense,
        },
    };
    let all = vec![
        written(" because it is so", -1.0, -0.5),
        written(" because it is cold", -1.5, 2.0),
        written(" because it is cold", -1.5, 2.0),
        written(" of wool", 0.0, 5.0),
        written(" because coats please people", -2.0, 1.0),
    ];
    let kept = backend.sift(text, &places, all);
    let texts: Vec<&str> = kept.iter().map(|w| w.clause.text.as_str()).collect();
    assert_eq!(
        texts,
        [" because it is cold", " because coats please people"]
    );
}

#[test]
fn the_same_seed_gives_the_same_candidates() {
    assert_eq!(propose(3, None, 4), propose(3, None, 4));
    assert_ne!(propose(3, None, 4), propose(4, None, 4));
}

#[test]
fn clauses_of_two_who_ask_together_are_those_of_each_alone() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let writer = Writer::load(dir.path(), WeightType::F32, None).unwrap();
    let asker = writer.asker();
    let places = editable(TEXT);
    let ask = |seed: u64, temperature: f64, wish: [f32; 10]| -> Vec<ClauseRequest> {
        let options = SampleOptions {
            seed,
            temperature,
            max_tokens: MAX_CLAUSE + AFTER_LIMIT,
            ..SampleOptions::default()
        };
        let request = |stream: u64| {
            let asked = asker.ask(TEXT, &places[0], &wish, MAX_CLAUSE);
            ClauseRequest {
                asked: asked.unwrap().unwrap(),
                punctuation: TEXT[places[0].clause..places[0].end].to_owned(),
                before: TEXT.into(),
                options: options.clone(),
                stream,
            }
        };
        (0..300).map(request).collect()
    };
    let (a, b) = (ask(1, 0.7, [0.5; 10]), ask(2, 1.5, [-1.0; 10]));
    let write = |requests: Vec<&ClauseRequest>| writer.write(&requests).unwrap();
    let together = write(a.iter().chain(&b).collect());
    let alone = [write(a.iter().collect()), write(b.iter().collect())].concat();
    let written = |clauses: &[Option<Clause>]| clauses.iter().flatten().count();
    assert!(written(&alone) > 3, "{} were written", written(&alone));
    assert_eq!(together.len(), alone.len());
    for (together, alone) in together.iter().zip(&alone) {
        let Some((together, alone)) = together.as_ref().zip(alone.as_ref()) else {
            assert_eq!(together, alone);
            continue;
        };
        assert_eq!(together.text, alone.text);
        assert!((together.logprob - alone.logprob).abs() < 1e-3);
        assert!((together.sense - alone.sense).abs() < 1e-3);
    }
    assert_eq!(writer.write(&[]).unwrap(), []);
}

/// The sense that is read of everything.
const READS: f32 = 0.5;

/// Reads that every sentence performs these acts, and that all makes sense; counts how often it is asked.
#[derive(Debug)]
struct Performs(Acts, Arc<AtomicUsize>);

impl Sensible for Performs {
    fn acts(&self, before: &[&str]) -> Result<Vec<Acts>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(vec![self.0; before.len()])
    }

    fn sense(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        Ok(vec![READS; pairs.len()])
    }

    fn about(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>> {
        Ok(texts.iter().map(|_| Arc::from([1.0])).collect())
    }
}

/// Asks the rewriter of a folder for phrases of this book.
fn asker(dir: &Path, book: &str, acts: Acts, asks: &Arc<AtomicUsize>) -> Asker {
    let tokenizer = Tokenizer::load(dir).unwrap();
    let decoder = Decoder::load(dir, &Device::Cpu).unwrap();
    Asker::new(tokenizer, decoder.config())
        .unwrap()
        .with_book(Some(Phrasebook::parse(book).unwrap()))
        .with_sense(Some(Arc::new(Performs(acts, Arc::clone(asks)))))
}

#[test]
fn what_a_phrase_promises_counts_beside_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let book = "++be::80 , which is kind\n++be::20 , which is nice";
    let asks = Arc::default();
    let asker = asker(dir.path(), book, Acts::ALL, &asks);
    let pairs = [", which is kind", ", which is nice", ", which is old"].map(|c| ("A b", c));
    let book = asker.book().unwrap();
    let promised = book.promises(&Performs(Acts::ALL, asks), &pairs).unwrap();
    let read = asker.sense().unwrap().sense(&pairs).unwrap();
    for (found, promised) in read[..2].iter().zip(promised) {
        let wanted = BASE + READ * READS + promised.unwrap();
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    }
    assert_eq!(read[2], READS);
}

#[test]
fn a_sentence_is_asked_for_what_suits_its_act() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let places = editable(TEXT);
    let mut wish = [0.0; 10];
    wish[8] = 0.9;
    let check = |acts: Option<&str>, wish: &[f32; 10], expected: bool| {
        let asks = Arc::new(AtomicUsize::new(0));
        let acts = acts.map_or(Acts::NONE, |names| Acts::parse(names).unwrap());
        let asker = asker(dir.path(), "++be:request , which is kind", acts, &asks);
        for _ in 0..2 {
            let asked = asker.ask(TEXT, &places[0], wish, MAX_CLAUSE).unwrap();
            assert_eq!(asked.is_some(), expected, "{acts}");
        }
        asks.load(Ordering::Relaxed)
    };
    // Read once, asked twice.
    assert_eq!(check(Some("request+plot"), &wish, true), 1);
    assert_eq!(check(Some("plot"), &wish, false), 1);
    assert_eq!(check(None, &wish, false), 1);
    // Where the book has no words for the wish the decoder's own serve.
    assert_eq!(check(None, &[-1.0; 10], true), 0);
}

#[test]
fn many_sentences_are_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let places = editable(TEXT);
    assert!(places.len() > 1);
    let asks = Arc::new(AtomicUsize::new(0));
    let acts = Acts::of(0);
    let asker = asker(dir.path(), "++be:request , which is kind", acts, &asks);
    let mut wish = [0.0; 10];
    wish[8] = 0.9;
    for _ in 0..2 {
        asker.read_stems(TEXT, &places).unwrap();
        for place in &places {
            let asked = asker.ask(TEXT, place, &wish, MAX_CLAUSE).unwrap();
            assert!(asked.is_some());
        }
    }
    assert_eq!(asks.load(Ordering::Relaxed), 1);
}

#[test]
fn a_later_round_builds_on_the_best_and_leaves_its_edits_alone() {
    let best = TEXT.replace(
        ", because it keeps your head safe.",
        " for the sake of it all.",
    );
    for candidate in propose(5, Some(&best), 4) {
        assert!(
            candidate.contains("for the sake of it all."),
            "{candidate:?}"
        );
        assert_ne!(candidate, best);
    }
}

#[test]
fn a_text_without_a_place_gets_no_candidates() {
    let dir = tempfile::tempdir().unwrap();
    testing::rewriter(dir.path());
    let mut backend = backend(dir.path());
    let before = Profile::zero();
    let target = Target::new(Profile::zero());
    for text in ["Why?", "# Title", "\"All of this is quoted speech.\""] {
        let proposal = Proposal {
            text,
            query: None,
            before: &before,
            target: &target,
            gap: [0.5; 10],
            best: None,
            round: 0,
            n: 3,
            seed: 0,
        };
        assert!(backend.propose(&proposal).unwrap().is_empty(), "{text:?}");
    }
}

#[test]
fn edits_are_put_in_place_in_any_order() {
    let text = "You keep it here because it rains. Then we all go home.";
    let places = editable(text);
    let choice = |place: usize, clause: &str| Choice {
        place,
        clause: clause.into(),
        worth: 0.0,
        along: 0.0,
    };
    let (a, b) = (choice(0, ""), choice(1, " together"));
    for set in [[&a, &b], [&b, &a]] {
        assert_eq!(
            apply(text, &places, &set),
            "You keep it here. Then we all go home together."
        );
    }
    assert_eq!(
        context(text, places[1].start, 2),
        "You keep it here because it rains."
    );
    assert_eq!(context(text, 0, 2), "");
    assert_eq!(
        context("One apple. Two pears. Three plums. Four figs.", 35, 2),
        "Two pears. Three plums."
    );
    assert_eq!(
        context("One apple. Two pears. Three plums. Four figs.", 35, 0),
        ""
    );
}

#[test]
fn movement_is_split_along_and_beside() {
    let mut gap = [0.0; 10];
    gap[0] = 2.0;
    let mut after = [0.0; 10];
    after[0] = 0.3;
    after[1] = -0.4;
    let (along, beside) = movement(&[0.0; 10], &after, &gap);
    assert!((along - 0.3).abs() < 1e-6 && (beside - 0.4).abs() < 1e-6);
    assert_eq!(movement(&[0.0; 10], &[0.0; 10], &[0.0; 10]), (0.0, 0.0));
}

#[test]
fn a_paragraph_closes_with_its_last_sentence() {
    let text = "The first came home. The second came later.\n\nThe third one stayed there.";
    let closing: Vec<bool> = editable(text).iter().map(|e| closes(text, e)).collect();
    assert_eq!(closing, [false, true, true]);
}
