//! Outside formats, parse and print only: OpenAI chat and its event streams, guardrails, rewards, classification, tools,
//! rows of public data sets.
//!
//! Types that cross a process boundary live here, apart from the types the program thinks in. Nothing here does I/O;
//! every parser takes bytes from an untrusted place and answers with a value or an error, never a panic.

pub mod classify;
pub mod datasets;
pub mod guardrail;
pub mod mcp;
pub mod openai;
pub mod raw;
pub mod rewards;
