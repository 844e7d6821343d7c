//! Transformers for VISA: BERT encoders and Llama decoders on candle and the
//! fused kernels.
//!
//! From a Hugging Face directory to hidden states, losses and sampled text:
//! configuration, weights, low-rank adapters, KV cache, constrained sampling,
//! tokenizers and chat templates. Both architectures can be trained whole or by
//! adapter; the optimiser is elsewhere. Knows nothing of values.

mod chat;
mod config;
mod decoder;
mod encoder;
mod engine;
mod error;
pub mod files;
mod layers;
mod lora;
pub mod ops;
mod params;
mod random;
pub mod sample;
mod tokenizer;

pub use chat::{ChatTemplate, Message};
pub use config::{DecoderConfig, EncoderConfig};
pub use decoder::{Decoder, Group, Tap};
pub use encoder::{Batch, Encoder, EncoderEngine, mean_pool};
pub use engine::{Engine, Feed, KvCache, WeightType};
pub use error::{Error, Result};
pub use lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Lora};
pub use params::{Params, StoreType};
pub use tokenizer::{Encoding, Tokenizer};
