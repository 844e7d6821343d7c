//! Pairs from a few lines of text, with judges that look for a word.

use std::fs;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::rewriter::testing::{Safe, Same};

pub(crate) fn recipe() -> PairsRecipe {
    PairsRecipe {
        generated: 20,
        contrasts: 5,
        kept: 1,
        edits: 0,
        source: vec![Source {
            name: "a".into(),
            kind: crate::data::Kind::Text,
            path: "a.zst".into(),
            weight: 1.0,
            every: 1,
            skip: None,
        }],
        ..PairsRecipe::default()
    }
}

pub(crate) fn data(dir: &std::path::Path) {
    let text = "The town built a fence around the pond because it keeps children safe. \
                They painted it green last summer. It was finished in a week.";
    fs::write(
        dir.join("a.zst"),
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
    )
    .unwrap();
    for (name, text) in [
        (
            "touche23/arguments-training.tsv",
            "Argument ID\tConclusion\tStance\tPremise\n\
             A1\tWe should build roads\tin favor of\tit keeps drivers safe\n\
             A2\tWe should build roads\tin favor of\tit is good for trade\n",
        ),
        ("kpa/arguments_train.csv", "arg_id,argument,topic,stance\n"),
        ("perspectrum/perspectrum_with_answers_v1.0.json", "[]"),
        ("perspectrum/perspective_pool_v1.0.json", "[]"),
        ("perspectrum/dataset_split_v1.0.json", "{}"),
        (
            "counterfactually-augmented-data/sentiment/combined/paired/train_paired.tsv",
            "Sentiment\tText\tbatch_id\nNegative\tA dull film.\t4\nPositive\tA safe film.\t4\n",
        ),
        (
            "paradetox/paradetox.tsv",
            "toxic\tneutral1\tneutral2\tneutral3\nshut up now\tplease be quiet\t\t\n",
        ),
        (
            "wiki-split/tune.tsv",
            "It is old and it stands .\tIt is old . <::::> It stands .\n",
        ),
        (
            "onestopenglish/Sentence-Aligned/ADV-ELE.txt",
            "It was erected.\nIt was built.\n*******\n",
        ),
        ("onestopenglish/Sentence-Aligned/ADV-INT.txt", ""),
        ("onestopenglish/Sentence-Aligned/ELE-INT.txt", ""),
    ] {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }
}

fn context<'a>(dir: &std::path::Path, stop: &'a AtomicBool) -> RunContext<'a> {
    RunContext {
        data: dir.into(),
        out: dir.join("run"),
        stop,
        progress: false,
    }
}

#[test]
fn small_movements_beside_a_large_one_are_noise() {
    let mut after = [0.0; 10];
    (after[2], after[3], after[4]) = (0.6, -0.31, 0.29);
    let shift = shift(&[0.0; 10], &after, 1.0);
    assert_eq!((shift[2], shift[3], shift[4]), (0.6, -0.31, 0.0));
}

#[test]
fn pairs_of_every_kind_are_made_judged_and_written() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    data(dir.path());
    let context = context(dir.path(), &stop);
    let recipe = PairsRecipe {
        edits: 10,
        written: vec![written::tests::folder(), written::tests::book()],
        verdicts: written::tests::folder().join("../sense/verdicts.jsonl"),
        neutral_share: 1.0,
        ..recipe()
    };
    let judges = Judges {
        values: &Safe,
        checker: &Same(0.8),
        sense: None,
    };
    let file = dir.path().join("run/pairs.jsonl");
    let counts = write(&recipe, Some(&judges), &file, &context).unwrap();
    let rows = row::read(&file).unwrap();
    for kind in Kind::ALL {
        let of: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
        assert!(!of.is_empty(), "{}", kind.name());
        let count = counts.iter().find(|(name, _)| name == kind.name());
        assert_eq!(count.map(|(_, n)| *n), Some(of.len() as f64));
        let ours = recipe.unjudged.contains(&kind);
        assert!(
            of.iter().all(|row| row.consistency.is_none() == ours),
            "{}",
            kind.name()
        );
        assert!(of.iter().all(|row| row.shift.is_some()));
    }
    let mined = rows.iter().find(|row| row.kind == Kind::Mined).unwrap();
    assert_eq!(mined.stem(), Some("The town built a fence around the pond"));
    assert_eq!(
        mined.clause.as_deref(),
        Some(" because it keeps children safe")
    );
    assert_eq!(mined.topic, "a 0");
    let moved = mined.shift.as_ref().unwrap().as_array();
    assert!(
        (moved[5] - 0.3).abs() < 1e-6 && moved[0] == 0.0,
        "{moved:?}"
    );
    let split = rows.iter().find(|row| row.kind == Kind::Split).unwrap();
    assert_eq!(split.target, "It is old. It stands.");
    assert!(split.clause.is_none());
    assert!(dir.path().join("run/recipe.toml").exists());
}

#[test]
fn what_keeps_too_little_or_moves_nothing_goes() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    data(dir.path());
    let context = context(dir.path(), &stop);
    let kinds = |consistency: f32, neutral_share: f64| -> HashSet<Kind> {
        let recipe = PairsRecipe {
            edits: 10,
            neutral_share,
            ..recipe()
        };
        let judges = Judges {
            values: &Safe,
            checker: &Same(consistency),
            sense: None,
        };
        let rows = make(&recipe, Some(&judges), &context).unwrap();
        rows.iter().map(|row| row.kind).collect()
    };
    let low = kinds(0.2, 1.0);
    for kind in [Kind::Mined, Kind::Argument, Kind::Split, Kind::Detoxified] {
        assert!(!low.contains(&kind), "{}", kind.name());
    }
    assert!(low.contains(&Kind::Counterfactual) && low.contains(&Kind::Generated));
    let moving = kinds(0.8, 0.0);
    assert!(moving.contains(&Kind::Mined) && moving.contains(&Kind::Split));
}

#[test]
fn topics_do_not_cross_splits() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    data(dir.path());
    let recipe = PairsRecipe {
        generated: 300,
        contrasts: 100,
        valid_share: 0.3,
        test_share: 0.3,
        ..recipe()
    };
    let rows = make(&recipe, None, &context(dir.path(), &stop)).unwrap();
    let mut splits: BTreeMap<&str, Split> = BTreeMap::new();
    for row in &rows {
        assert_eq!(*splits.entry(&row.topic).or_insert(row.split), row.split);
    }
    for split in [Split::Train, Split::Valid, Split::Test] {
        assert!(rows.iter().filter(|row| row.split == split).count() > 20);
    }
}
