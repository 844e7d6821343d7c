//! Terms by hand, and verdicts on clauses without a model.

use visa_nn::sample::{Finish, Generated};
use visa_score::{Consistency, ValueScore};

use super::super::prompts::{PromptRecipe, Prompts};
use super::super::testing::{self, Letters, Picky};
use super::*;

fn verdict(consistency: f32) -> Verdict {
    Verdict {
        clause: String::new(),
        score: Ok(Score {
            value: ValueScore {
                cosine: 0.5,
                l2: 0.4,
                progress: 0.25,
                movement: -0.5,
            },
            consistency: Consistency {
                forward: consistency,
                backward: consistency,
            },
            guards: Vec::new(),
            total: 0.0,
        }),
        reading: Reading {
            fluency: -3.5,
            sense: 7.0,
        },
        ratio: 2.25,
    }
}

fn check(verdict: &Verdict, expected: [f64; 7]) {
    let found = verdict.terms(&RewardRecipe::default());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn terms_by_hand() {
    check(&verdict(0.5), [0.75, 0.5, 0.25, 0.625, -0.5, 1.0, -0.25]);
    // At the gate the values do not count; the meaning does.
    check(&verdict(0.3), [0.0, 0.3, 0.0, 0.0, -0.5, 1.0, -0.25]);
    let thrown_away = Verdict {
        score: Err(COPY),
        reading: Reading {
            fluency: -9.0,
            sense: -1.0,
        },
        ratio: 0.3,
        ..verdict(1.0)
    };
    check(&thrown_away, [0.0, 0.0, 0.0, 0.0, -2.0, -0.25, -0.1]);
    let recipe = RewardRecipe {
        value: 2.0,
        consistency: 1.0,
        movement: 0.0,
        progress: 0.0,
        fluency: 1.0,
        sense: 0.0,
        length: 4.0,
        ..RewardRecipe::default()
    };
    assert!((verdict(0.5).total(&recipe) - (1.5 + 0.5 - 0.5 - 1.0)).abs() < 1e-6);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |recipe: RewardRecipe, part: &str| {
        let error = recipe.check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let recipe = RewardRecipe::default;
    refused(
        RewardRecipe {
            value: -1.0,
            ..recipe()
        },
        "value",
    );
    refused(
        RewardRecipe {
            gate: 1.5,
            ..recipe()
        },
        "gate is 1.5",
    );
    refused(
        RewardRecipe {
            ratio: [2.0, 1.0],
            ..recipe()
        },
        "ratio is 2",
    );
    let none = RewardRecipe {
        value: 0.0,
        consistency: 0.0,
        movement: 0.0,
        progress: 0.0,
        fluency: 0.0,
        sense: 0.0,
        length: 0.0,
        ..recipe()
    };
    refused(none, "all weights");
}

/// What the reward says of a group of completions for each item.
fn judge(reward: &mut ClauseReward<'_>, items: &[Item], groups: &[Vec<Completion>]) -> Vec<Judged> {
    let rollouts: Vec<Rollout<'_>> = items
        .iter()
        .zip(groups)
        .map(|(item, completions)| Rollout {
            prompt: &item.prompt.ids,
            completions,
        })
        .collect();
    reward.expect(items.to_vec());
    reward.score(&rollouts).unwrap()
}

/// What a text would be as a completion of an item.
fn completion(asker: &Asker, item: &Item, clause: &str) -> Completion {
    let tokenizer = asker.tokenizer();
    let mut ids = tokenizer.encode_plain(clause).unwrap().ids;
    ids.extend(
        tokenizer
            .encode_plain(&item.text[item.edit.clause..])
            .unwrap()
            .ids,
    );
    Completion {
        generated: Generated {
            logprobs: vec![-1.0; ids.len()],
            ids,
            finish: Finish::Constraint,
        },
        cut_off: false,
    }
}

#[test]
fn what_use_throws_away_is_worth_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let asker = testing::asker(dir.path());
    let prompts = Prompts::new(&testing::rows(12), &PromptRecipe::default(), 4).unwrap();
    let items = prompts.draw(0, 2, &asker).unwrap();
    let judges = Judges {
        values: &Letters,
        checker: &Picky(""),
        sense: None,
    };
    let recipe = RewardRecipe {
        fluency: 0.0,
        sense: 0.0,
        ..testing::lenient()
    };
    let mut reward = ClauseReward::new(judges, &asker, None, &recipe).unwrap();
    let clauses = [
        " because it is nice",
        "",
        " of the town",
        ", so that 4711 more come",
        ", out of love for all",
    ];
    let groups: Vec<Vec<Completion>> = items
        .iter()
        .map(|item| {
            let mut group: Vec<Completion> = clauses
                .iter()
                .map(|clause| completion(&asker, item, clause))
                .collect();
            group[4].cut_off = true;
            group
        })
        .collect();
    let judged = judge(&mut reward, &items, &groups);
    for group in &judged {
        let terms = group.as_ref().unwrap();
        let names: Vec<&str> = terms.iter().map(|term| term.name.as_str()).collect();
        assert_eq!(
            names,
            ["value", "consistency", "movement", "progress", "length"]
        );
        for term in &terms[..4] {
            assert!(term.values[0] > 0.0, "{}", term.name);
            assert_eq!(term.values[1..], [0.0; 4], "{}", term.name);
        }
    }
    for (item, verdicts) in reward.verdicts() {
        let why: Vec<_> = verdicts
            .iter()
            .map(|v| v.score.as_ref().err().copied())
            .collect();
        assert_eq!(why, [None, Some(COPY), Some(JOINT), Some(GUARD), Some(CUT)]);
        // The numbers are those of the score of the whole text.
        let after = item.text_with(clauses[0]);
        let [before, after] =
            <[_; 2]>::try_from(Letters.profiles_of(&[&item.text, &after])).unwrap();
        let found = verdicts[0].score.as_ref().unwrap();
        let target = Target::from_shift(&before, &item.wish);
        let l2 = metrics::l2(after.as_array(), target.as_array());
        assert!((found.value.l2 - l2).abs() < 1e-6);
    }
    let numbers = reward.metrics();
    let number = |name: &str| numbers.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(number("completions/usable"), 0.2);
    assert_eq!(number("completions/guarded"), 0.2);
    assert!(reward.samples(1).contains("because it is nice"));
}

#[test]
fn a_judge_that_fails_on_one_text_costs_that_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    let asker = testing::asker(dir.path());
    let prompts = Prompts::new(&testing::rows(12), &PromptRecipe::default(), 4).unwrap();
    let items = prompts.draw(0, prompts.len(), &asker).unwrap();
    let judges = Judges {
        values: &Letters,
        checker: &Picky("red"),
        sense: None,
    };
    let recipe = RewardRecipe {
        fluency: 0.0,
        sense: 0.0,
        ..testing::lenient()
    };
    let mut reward = ClauseReward::new(judges, &asker, None, &recipe).unwrap();
    let groups: Vec<Vec<Completion>> = items
        .iter()
        .map(|item| vec![completion(&asker, item, " because it is nice"); 2])
        .collect();
    let judged = judge(&mut reward, &items, &groups);
    let mut failed = 0;
    for (item, group) in items.iter().zip(&judged) {
        assert_eq!(group.is_err(), item.text.contains("red"), "{}", item.text);
        failed += usize::from(group.is_err());
    }
    assert!(failed > 0 && failed < items.len());
}
