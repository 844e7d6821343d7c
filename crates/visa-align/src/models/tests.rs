//! Models that are found, missing, damaged or of another release.

use super::*;
use crate::testing;
use crate::{Checker, Detector, Translator, Trunk};

#[track_caller]
fn check_error<T>(result: Result<T>, words: &[&str]) {
    let Err(error) = result else {
        panic!("should fail with {words:?}")
    };
    assert!(error.is_model(), "{error:?} ends with exit code 3");
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} should say {word:?}");
    }
}

#[test]
fn a_folder_of_models_is_found_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    testing::models(dir.path());
    let models = Models::at(dir.path()).unwrap();
    for report in models.report() {
        assert_eq!(report.problem, None, "{report:?}");
        assert!(
            report.bytes > 100
                && report.path.as_deref() == Some(&*dir.path().join(report.part.folder()))
        );
    }
    let trunk = Trunk::find(&models).unwrap();
    Detector::find(&models, &trunk).unwrap();
    Translator::find(&models, &trunk).unwrap();
    Checker::find(&models, &trunk).unwrap();
}

#[test]
fn a_single_part_is_told_by_its_files() {
    let dir = tempfile::tempdir().unwrap();
    testing::models(dir.path());
    for part in Part::ALL {
        let path = dir.path().join(part.folder());
        let models = Models::at(&path).unwrap();
        assert_eq!(models.dir(part).unwrap(), path);
        // The others lie beside it.
        assert_eq!(
            models.dir(Part::Encoder).unwrap().canonicalize().unwrap(),
            dir.path().join("encoder").canonicalize().unwrap()
        );
    }
}

#[test]
fn what_is_missing_is_named_with_every_place() {
    let dir = tempfile::tempdir().unwrap();
    testing::encoder(&dir.path().join("encoder"));
    let models = Models::at(dir.path()).unwrap();
    let place = dir.path().join("detector").display().to_string();
    check_error(
        models.dir(Part::Detector),
        &[&place, "VISA_MODELS", "--model"],
    );
    let report = models.report();
    assert!(report[0].problem.is_none() && report[1].problem.is_some());

    check_error(
        Models::find(Some("/no/such/folder")),
        &["/no/such/folder", "owner/name"],
    );
    check_error(
        Models::at(&dir.path().join("encoder/config.json")),
        &["not a folder"],
    );
    let empty = tempfile::tempdir().unwrap();
    check_error(Models::at(empty.path()), &["neither config.json"]);
    assert!(
        default_places()
            .iter()
            .any(|p| p.path.join("../crates/visa-align").is_dir())
    );
}

/// Damages one file of a whole set of models and looks at what loading it says.
#[track_caller]
fn check_damage(file: &str, damage: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    testing::models(dir.path());
    let path = dir.path().join(file);
    match damage(std::fs::read(&path).unwrap()) {
        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    let name = Path::new(file).file_name().unwrap().to_str().unwrap();
    let words: Vec<&str> = words.iter().copied().chain([name]).collect();
    check_error(Detector::load(&dir.path().join("detector")), &words);
}

#[test]
fn damaged_files_are_named() {
    check_damage("encoder/model.safetensors", |_| None, &["incomplete"]);
    check_damage(
        "encoder/model.safetensors",
        |b| Some(b[..b.len() / 2].to_vec()),
        &["truncated", "fetch"],
    );
    check_damage(
        "encoder/model.safetensors",
        |b| Some(b[..5].to_vec()),
        &["truncated"],
    );
    check_damage(
        "encoder/model.safetensors",
        |_| Some(Vec::new()),
        &["empty"],
    );
    check_damage(
        "encoder/model.safetensors",
        |_| Some(b"version https://git-lfs.github.com/spec/v1\noid".to_vec()),
        &["LFS"],
    );
    check_damage(
        "encoder/model.safetensors",
        |b| Some([b.as_slice(), b"xx"].concat()),
        &["promises"],
    );
    check_damage(
        "encoder/model.safetensors",
        |b| Some([&[255u8; 8], &b[8..]].concat()),
        &["header"],
    );
    check_damage("encoder/config.json", |_| Some(b"{".to_vec()), &[]);
    check_damage(
        "encoder/tokenizer.json",
        |b| Some(b[..b.len() / 2].to_vec()),
        &[],
    );
    check_damage(
        "detector/head.json",
        |b| Some(b[..b.len() / 2].to_vec()),
        &[],
    );
    check_damage(
        "detector/head.json",
        |b| {
            Some(
                String::from_utf8(b)
                    .unwrap()
                    .replace("detector", "nli")
                    .into_bytes(),
            )
        },
        &[],
    );
    check_damage(
        "detector/head.safetensors",
        |b| Some(b[..b.len() - 8].to_vec()),
        &["truncated"],
    );
    check_damage(
        "detector/adapter_model.safetensors",
        |_| None,
        &["incomplete"],
    );
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    testing::models(dir.path());
    let more = [
        "many",
        "many",
        "other",
        "words",
        "many words, other words, words and words",
    ];
    let other =
        visa_nn::Tokenizer::train_bpe(more.iter(), 600, &["[PAD]", "[CLS]", "[SEP]", "[A]", "[B]"])
            .unwrap();
    let specials: Vec<String> = (0..400).map(|i| format!("[{i}]")).collect();
    let names: Vec<&str> = ["[PAD]", "[CLS]", "[SEP]"]
        .into_iter()
        .chain(specials.iter().map(String::as_str))
        .collect();
    let large = visa_nn::Tokenizer::train_bpe(more.iter(), 700, &names).unwrap();
    assert!(large.vocab_size() > other.vocab_size());
    large.save(&dir.path().join("encoder")).unwrap();
    check_error(
        Detector::load(&dir.path().join("detector")),
        &["tokenizer.json", "rows"],
    );
}

#[test]
fn an_adapter_of_another_trunk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    testing::models(dir.path());
    let path = dir.path().join("detector/head.json");
    let text = std::fs::read_to_string(&path).unwrap().replace(
        "\"base_sha256\": \"\"",
        "\"base_sha256\": \"0123456789abcdef\"",
    );
    std::fs::write(&path, text).unwrap();
    check_error(
        Detector::load(&dir.path().join("detector")),
        &["another encoder", "0123456789ab"],
    );
}

#[test]
fn hub_ids() {
    for (text, expected) in [
        ("owner/name", true),
        ("a/b.c-d_1", true),
        ("name", false),
        ("/abs", false),
        ("../x", false),
        ("a/b/c", false),
        ("a b/c", false),
    ] {
        assert_eq!(is_hub_id(text), expected, "{text}");
    }
}
