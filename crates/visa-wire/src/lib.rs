//! Outside formats, parse and print only: OpenAI chat and its event streams.
//!
//! Types that cross a process boundary live here, apart from the types the program thinks in. Nothing here does I/O;
//! every parser takes bytes from an untrusted place and answers with a value or an error, never a panic.

pub mod datasets;
pub mod openai;
pub mod raw;
