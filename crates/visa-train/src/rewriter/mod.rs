//! The rewriter after supervised training: what it is asked, what its clauses are worth, and training on that worth.
//!
//! | module | what |
//! | --- | --- |
//! | [`prompts`] | sentences of the data with a wish, asked as in use |
//! | [`reward`] | clauses → the terms of the composite reward, by the models that judge rewrites |
//! | [`language`] | how well a clause reads to a frozen model, and whether it belongs to its sentence |
//! | [`grpo`] | `train grpo` |
//! | [`prefs`] | `train prefs`: pairs of clauses by the same reward, then DPO or SimPO |
//! | [`policy`] | the model that learns, whole or by adapter |

pub mod grpo;
pub mod language;
pub mod policy;
pub mod prefs;
pub mod prompts;
pub mod reward;
#[cfg(test)]
pub(crate) mod testing;
