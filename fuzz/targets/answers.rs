//! Answers and errors of an upstream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use visa_wire::openai::{error_message, parse_response};

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_response(bytes);
    if let Some(problem) = error_message(bytes) {
        let _ = problem.to_string();
    }
});
