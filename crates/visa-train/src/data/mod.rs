//! Text for language models: where documents come from, how they become tokens, and how sequences
//! are drawn from them. It knows nothing of losses or of values.

pub mod mix;
pub mod sources;
pub mod tokens;

pub use mix::{Mixer, Stream};
pub use sources::{Kind, Source};
pub use tokens::{TokenCache, cache};
