//! What other programs plug into: a guardrail for LiteLLM, rewards for trainers, classification in two dialects, tools
//! for agents. Their formats are read and printed by `visa_wire`; what is done stands here.

mod classify;
mod guardrail;
mod mcp;
mod reward;

pub(crate) use classify::{classify, predict};
pub(crate) use guardrail::guardrail;
pub(crate) use mcp::mcp;
pub(crate) use reward::{get_reward, reward};
