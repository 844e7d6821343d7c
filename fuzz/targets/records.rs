//! Records of the command line and of the native API.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use visa_align::person::TextsInput;
use visa_align::record::{RewriteInput, ScoreInput, TranslateInput};
use visa_align::{Text, explicit};

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fuzz_target!(|bytes: &[u8]| {
    let _ = read::<Text>(bytes);
    if let Some(input) = read::<TranslateInput>(bytes) {
        let _ = explicit(&input.instruction);
    }
    if let Some(input) = read::<ScoreInput>(bytes) {
        let _ = input.check(None);
    }
    if let Some(input) = read::<RewriteInput>(bytes)
        && let Ok(request) = input.request(None, None)
    {
        assert!(!request.text.trim().is_empty(), "a text has a word");
    }
    if let Some(input) = read::<TextsInput>(bytes)
        && let Ok(texts) = input.texts()
    {
        assert_eq!(texts.len(), input.len());
    }
});
