//! Event streams: the same events however they are cut, and an answer or an error at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use visa_wire::openai::{Event, SseParser, StreamAssembler};

fn events(pieces: impl Iterator<Item = Vec<u8>>) -> Option<Vec<Event>> {
    let mut parser = SseParser::new();
    let mut all = Vec::new();
    for piece in pieces {
        all.extend(parser.push(&piece).ok()?);
    }
    all.extend(parser.finish());
    Some(all)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = events(std::iter::once(bytes.to_vec()));
    let cut = events(bytes.chunks(usize::from(size) + 1).map(<[u8]>::to_vec));
    assert_eq!(whole, cut, "cuts change nothing");
    let mut assembler = StreamAssembler::new();
    for event in whole.into_iter().flatten() {
        if assembler.push(&event).is_err() {
            return;
        }
    }
    let _ = assembler.finish();
});
