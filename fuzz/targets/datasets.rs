//! Files of public data sets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use visa_wire::datasets::{
    cad_nli, ethics, kpa, moralchoice, persona, touche, valuebench, wiki_split,
};

fuzz_target!(|text: &str| {
    let _ = cad_nli::pairs(text);
    let _ = ethics::justice(text);
    let _ = ethics::deontology(text);
    let _ = ethics::virtue(text);
    let _ = ethics::commonsense(text);
    let _ = ethics::utilitarianism(text);
    let _ = kpa::arguments(text);
    let _ = kpa::key_points(text);
    let _ = kpa::matches(text);
    let _ = moralchoice::dilemmas(text);
    let _ = persona::statements(text);
    let _ = touche::arguments(text);
    let _ = touche::labels(text);
    let _ = touche::categories(text);
    let _ = valuebench::items(text);
    let _ = valuebench::definitions(text);
    let _ = wiki_split::splits(text);
});
