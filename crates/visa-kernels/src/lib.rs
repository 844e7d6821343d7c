//! Fused CPU kernels for small transformers, forward and backward side by side.
//!
//! Everything works on plain slices in row-major order, of `f32` or, where
//! [`Element`] is named, of bf16 as well; threads come from rayon and results do
//! not depend on their number. The instruction set is chosen once, at run time
//! (see [`isa`]). The crate knows neither tensors nor
//! a tape nor what the numbers mean: the binding to candle lives in
//! `visa_nn::ops`.
//!
//! | module | kernels |
//! | --- | --- |
//! | [`matmul`] | `x·Wᵀ + b`, its two gradients; `f32` or bf16 in, out and as factors |
//! | [`packed`] | the same over a weight packed once as bf16: `PackedMatrix::{new, repack, forward, grad_input}` |
//! | [`int8`] | weights of one byte a number, for inference: `Int8Matrix::{new, repack, forward}` |
//! | [`norm`] | RMS norm, layer norm with an optional residual |
//! | [`rope`] | rotary embedding, half-split |
//! | [`activation`] | exact GELU, SwiGLU, sums |
//! | [`attention`] | softmax attention with grouped heads; `decode` over caches of `f32` or bf16, prefixes shared |
//! | [`cross_entropy`] | a linear head and its cross-entropy, logits in chunks |
//! | [`log_probability`] | a linear head and the log-probability of given tokens, entropy too; plain or packed weight |
//! | [`embedding`] | rows of a table and their scatter-add |
//! | [`blend`] | sums and means of two arrays |
//! | [`softmax`] | exponentials of a row and their sum |
//! | [`adamw`] | one optimiser step, gradient norm |
//! | [`peak`] | what the processor could do at most |
//!
//! Lengths that do not match are a programmer's error and panic.

#![allow(unsafe_code)]
// Kernels walk several arrays by one index; an iterator over one of them hides that.
#![allow(clippy::needless_range_loop)]

#[macro_use]
mod simd;
#[macro_use]
mod gemm;

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod blend;
mod buffer;
pub mod cross_entropy;
mod element;
pub mod embedding;
mod head;
pub mod int8;
pub mod isa;
pub mod log_probability;
mod math;
pub mod matmul;
pub mod norm;
pub mod packed;
pub mod peak;
pub mod rope;
pub mod softmax;
pub mod startup;

pub use buffer::new_vec;
pub use element::Element;
pub use half::bf16;
