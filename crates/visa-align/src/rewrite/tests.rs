//! The loop with scripted models: every way in and out.

use std::cell::RefCell;

use super::*;

/// Reads `power=0.3` style marks: the first number in the text is its power.
struct Numbers;

impl Values for Numbers {
    fn profiles(&self, texts: &[Text]) -> Result<Vec<Profile>> {
        Ok(texts.iter().map(|t| profile(mark(&t.text, 'p'))).collect())
    }
}

/// Consistency is the number behind `c`, 1 without one.
impl Consistent for Numbers {
    fn consistency(&self, pairs: &[(&str, &str)]) -> Result<Vec<Consistency>> {
        let of = |(_, candidate): &(&str, &str)| {
            let c = if candidate.contains("c:") {
                mark(candidate, 'c')
            } else {
                1.0
            };
            Consistency {
                forward: c,
                backward: c,
            }
        };
        Ok(pairs.iter().map(of).collect())
    }
}

/// The number behind `<key>:`, spelled in letters (a = .1 … j = 1) so that no guard sees a number.
fn mark(text: &str, key: char) -> f32 {
    let at = text.find(&format!("{key}:")).map(|at| at + 2);
    let letter = at.and_then(|at| text[at..].chars().next());
    letter.map_or(0.0, |c| f32::from(c as u8 - b'a' + 1) / 10.0)
}

fn profile(power: f32) -> Profile {
    let mut values = [0.0; 10];
    values[4] = power;
    Profile::new(values).unwrap()
}

/// Round, gap in power, best so far, seed.
type Asked = (usize, f32, Option<String>, u64);

/// Gives one list a round, and remembers what it was asked.
#[derive(Default)]
struct Script {
    rounds: Vec<Vec<&'static str>>,
    asked: RefCell<Vec<Asked>>,
}

impl Backend for Script {
    fn propose(&mut self, p: &Proposal<'_>) -> Result<Vec<String>> {
        self.asked
            .borrow_mut()
            .push((p.round, p.gap[4], p.best.map(str::to_string), p.seed));
        Ok(self
            .rounds
            .get(p.round)
            .into_iter()
            .flatten()
            .map(|s| s.to_string())
            .collect())
    }

    fn name(&self) -> String {
        "script".into()
    }
}

fn request(text: &str, power: f32) -> RewriteRequest {
    RewriteRequest {
        text: text.into(),
        query: None,
        goal: Goal::Target(Target::new(profile(power))),
    }
}

fn run(
    request: &RewriteRequest,
    rounds: Vec<Vec<&'static str>>,
    change: impl FnOnce(&mut RewriteOptions),
) -> (Result<Outcome>, Script) {
    let mut script = Script {
        rounds,
        ..Script::default()
    };
    let mut options = RewriteOptions::default();
    change(&mut options);
    let mut it = Loop {
        values: &Numbers,
        checker: &Numbers,
        translator: None,
        backend: &mut script,
        options,
    };
    let outcome = it.rewrite(request, &Cancel::new(), &mut |_| {});
    (outcome, script)
}

#[track_caller]
fn check(
    rounds: Vec<Vec<&'static str>>,
    kind: OutcomeKind,
    text: &str,
    reason: &str,
) -> (Outcome, Script) {
    let (outcome, script) = run(&request("some words p:a", 1.0), rounds, |_| {});
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.outcome, outcome.rewritten.as_str()),
        (kind, text),
        "{}",
        outcome.reason
    );
    assert!(
        outcome.reason.contains(reason),
        "{:?} should say {reason:?}",
        outcome.reason
    );
    (outcome, script)
}

#[test]
fn the_best_accepted_candidate_wins() {
    let (outcome, _) = check(
        vec![vec![
            "weak p:c",
            "strong p:h",
            "strongest p:j c:a",
            "middle p:f",
        ]],
        OutcomeKind::Rewritten,
        "strong p:h",
        "round 1 of 3",
    );
    assert_eq!((outcome.rounds, outcome.candidates), (1, 4));
    assert_eq!(outcome.after, profile(0.8));
    assert!(outcome.score.value.progress > 0.7);
}

#[test]
fn a_later_round_is_told_the_gap_and_the_best() {
    let (outcome, script) = check(
        vec![vec!["a step p:b", "astray c:a p:j"], vec!["home p:i"]],
        OutcomeKind::Rewritten,
        "home p:i",
        "round 2 of 3",
    );
    assert_eq!(outcome.rounds, 2);
    let asked = script.asked.borrow();
    assert!((asked[0].1 - 0.9).abs() < 1e-6 && asked[0].2.is_none());
    assert!(
        (asked[1].1 - 0.8).abs() < 1e-6,
        "the gap is measured from the best"
    );
    assert_eq!(
        asked[1].2.as_deref(),
        Some("a step p:b"),
        "an inconsistent candidate is nothing to build on"
    );
    assert_ne!(asked[0].3, asked[1].3, "each round has its own seed");
}

#[test]
fn the_original_comes_back_with_the_reason() {
    let keep = |rounds, reason| {
        let (outcome, _) = check(rounds, OutcomeKind::KeptOriginal, "some words p:a", reason);
        assert_eq!(outcome.after, outcome.before);
        assert_eq!(outcome.score.consistency.mean(), 1.0);
        assert_eq!(outcome.rounds, 3);
    };
    keep(vec![], "nothing it could change");
    keep(
        vec![vec!["far off p:j c:b"]],
        "1 changed the meaning too much (best consistency 0.20",
    );
    keep(
        vec![vec!["no move p:a", "less"], vec!["some words  p:a"]],
        "2 moved too little",
    );
    keep(
        vec![vec!["", " \n"], vec!["some words p:a"]],
        "1 repeated the text or each other; 2 were empty",
    );
    keep(
        vec![vec!["with 7 in it p:j"]],
        "1 lost or changed something that must stay (",
    );
}

#[test]
fn a_candidate_that_is_too_long_is_not_judged() {
    let long: &'static str = Box::leak(format!("{} p:j", "word ".repeat(200)).into_boxed_str());
    check(
        vec![vec![long]],
        OutcomeKind::KeptOriginal,
        "some words p:a",
        "1 were too long",
    );
}

#[test]
fn nothing_to_do_is_said() {
    let unchanged = |request: RewriteRequest, reason: &str| {
        let (outcome, script) = run(&request, vec![vec!["p:j"]], |_| {});
        let outcome = outcome.unwrap();
        assert_eq!(outcome.outcome, OutcomeKind::Unchanged);
        assert_eq!(outcome.rewritten, request.text);
        assert!(outcome.reason.contains(reason), "{}", outcome.reason);
        assert!(script.asked.borrow().is_empty(), "the backend is not asked");
    };
    unchanged(request("words p:c", 0.3), "already speaks");
    unchanged(
        RewriteRequest {
            goal: Goal::Shift(Shift::zero()),
            ..request("words p:c", 0.0)
        },
        "shift is zero",
    );
    // A shift that the range clips away.
    let up = Shift::parse("power=+1").unwrap();
    unchanged(
        RewriteRequest {
            goal: Goal::Shift(up),
            ..request("words p:j", 0.0)
        },
        "already speaks",
    );
}

#[test]
fn a_shift_is_clipped_to_a_target() {
    let goal = Goal::Shift(Shift::parse("power=+1.5").unwrap());
    let (outcome, _) = run(
        &RewriteRequest {
            goal,
            ..request("words p:c", 0.0)
        },
        vec![vec!["up p:j"]],
        |_| {},
    );
    let outcome = outcome.unwrap();
    assert_eq!(outcome.target.as_array()[4], 1.0);
    assert_eq!(outcome.outcome, OutcomeKind::Rewritten);
}

#[test]
fn unusable_requests_are_errors() {
    let error = |text: &str, goal: Option<Goal>, change: fn(&mut RewriteOptions), words: &str| {
        let mut request = request(text, 1.0);
        request.goal = goal.unwrap_or(request.goal);
        let message = run(&request, vec![], change).0.unwrap_err().to_string();
        assert!(message.contains(words), "{message:?} should say {words:?}");
    };
    let nothing: fn(&mut RewriteOptions) = |_| {};
    error(" \n\t", None, nothing, "empty");
    error(&"x".repeat(MAX_TEXT + 1), None, nothing, "limit");
    error(
        "text",
        Some(Goal::Instruction(" ".into())),
        nothing,
        "persona is empty",
    );
    error(
        "text",
        Some(Goal::Instruction("more power".into())),
        nothing,
        "translator",
    );
    error("text", None, |o| o.candidates = 0, "candidates is 0");
    error("text", None, |o| o.rounds = 1000, "rounds is 1000");
    error("text", None, |o| o.near = f32::NAN, "near is NaN");
    error("text", None, |o| o.growth = 0.5, "growth");
    error(
        "text",
        None,
        |o| o.acceptance.progress = f32::NAN,
        "progress is NaN",
    );
}

#[test]
fn cancelling_stops_between_steps() {
    let mut script = Script {
        rounds: vec![vec!["no p:a"]; 3],
        ..Script::default()
    };
    let cancel = Cancel::new();
    let mut it = Loop {
        values: &Numbers,
        checker: &Numbers,
        translator: None,
        backend: &mut script,
        options: RewriteOptions::default(),
    };
    let outcome = it.rewrite(&request("words p:b", 1.0), &cancel, &mut |p| {
        if matches!(p, Progress::Judged { round: 0, .. }) {
            cancel.cancel();
        }
    });
    assert!(matches!(outcome, Err(AlignError::Cancelled)), "{outcome:?}");
    assert_eq!(script.asked.borrow().len(), 1);
}

#[test]
fn progress_is_told_in_order() {
    let mut script = Script {
        rounds: vec![vec!["a p:b"], vec!["b p:i"]],
        ..Script::default()
    };
    let mut it = Loop {
        values: &Numbers,
        checker: &Numbers,
        translator: None,
        backend: &mut script,
        options: RewriteOptions::default(),
    };
    let mut told = Vec::new();
    it.rewrite(&request("words p:a", 1.0), &Cancel::new(), &mut |p| {
        told.push(match p {
            Progress::Aimed { .. } => "aimed".to_string(),
            Progress::Asking { round, of } => format!("asking {round}/{of}"),
            Progress::Judged {
                round,
                candidates,
                accepted,
                ..
            } => format!("judged {round} {candidates} {accepted}"),
        });
    })
    .unwrap();
    assert_eq!(
        told,
        [
            "aimed",
            "asking 0/3",
            "judged 0 1 false",
            "asking 1/3",
            "judged 1 1 true"
        ]
    );
}

#[test]
fn an_outcome_prints_as_the_command_line_promises() {
    let (outcome, _) = check(
        vec![vec!["strong p:h"]],
        OutcomeKind::Rewritten,
        "strong p:h",
        "",
    );
    let json = serde_json::to_value(&outcome).unwrap();
    let keys: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "original",
        "rewritten",
        "outcome",
        "reason",
        "before",
        "target",
        "after",
        "score",
        "rounds",
        "candidates",
    ];
    assert_eq!(keys, expected);
    assert_eq!(json["outcome"], "rewritten");
    assert!(
        json["score"]["consistency"]["mean"].is_number()
            && json["after"]["self-direction"].is_number()
    );
    let kept = check(vec![], OutcomeKind::KeptOriginal, "some words p:a", "").0;
    assert_eq!(
        serde_json::to_value(kept).unwrap()["outcome"],
        "kept-original"
    );
}
