//! Recipes of trainings: read, and saved as they were resolved.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn through<T: DeserializeOwned + Serialize>(text: &str) {
    if let Ok(recipe) = toml::from_str::<T>(text)
        && let Ok(printed) = toml::to_string(&recipe)
    {
        assert!(toml::from_str::<T>(&printed).is_ok(), "{printed}");
    }
}

fuzz_target!(|text: &str| {
    through::<visa_train::lm::LmRecipe>(text);
    through::<visa_train::sft::SftRecipe>(text);
    through::<visa_train::tokenizer::TokenizerRecipe>(text);
    through::<visa_train::pairs::PairsRecipe>(text);
    through::<visa_train::encoder::Recipe>(text);
});
