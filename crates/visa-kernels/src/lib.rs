//! Fused CPU kernels for small transformers, forward and backward, chosen at run time
