//! Fused CPU kernels for small transformers, forward and backward side by side.
//!
//! Everything works on plain `f32` slices in row-major order; threads come from
//! rayon and results do not depend on their number. The instruction set is
//! chosen once, at run time (see [`isa`]). The crate knows neither tensors nor
//! a tape nor what the numbers mean: the binding to candle lives in
//! `visa_nn::ops`.
//!
//! | module | kernels |
//! | --- | --- |
//! | [`matmul`] | `x·Wᵀ + b`, its two gradients; `f32` or bf16 factors |
//! | [`norm`] | RMS norm, layer norm with an optional residual |
//! | [`rope`] | rotary embedding, half-split |
//! | [`activation`] | exact GELU, SwiGLU, sums |
//! | [`attention`] | softmax attention with grouped heads |
//! | [`cross_entropy`] | a linear head and its cross-entropy, logits in chunks |
//! | [`embedding`] | rows of a table and their scatter-add |
//! | [`adamw`] | one optimiser step, gradient norm |
//! | [`peak`] | what the processor could do at most |
//!
//! Lengths that do not match are a programmer's error and panic.

#![allow(unsafe_code)]
// Kernels walk several arrays by one index; an iterator over one of them hides that.
#![allow(clippy::needless_range_loop)]

#[macro_use]
mod simd;

pub mod activation;
pub mod adamw;
pub mod attention;
mod buffer;
pub mod cross_entropy;
pub mod embedding;
mod gemm;
pub mod isa;
mod math;
pub mod matmul;
pub mod norm;
pub mod peak;
pub mod rope;
pub mod startup;

pub use buffer::new_vec;
