//! Profile files, and values written as `tradition=+0.8, power=-0.5`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use visa_align::{NamedProfile, explicit};
use visa_values::{Profile, Shift};

fuzz_target!(|text: &str| {
    if let Ok(profile) = Profile::parse(text) {
        assert!(profile.as_array().iter().all(|x| (-1.0..=1.0).contains(x)));
    }
    if let Ok(shift) = Shift::parse(text) {
        assert!(shift.as_array().iter().all(|x| x.is_finite()));
    }
    let _ = explicit(text);
    if let Ok(named) = NamedProfile::from_toml(text) {
        let printed = named.to_toml();
        // Numbers are rounded once, and never again.
        let again = NamedProfile::from_toml(&printed).expect("what was printed is read");
        assert_eq!(again.to_toml(), printed);
    }
});
