//! What reward workers of reinforcement-learning programs send, and the answer's text inside it.
//!
//! * OpenRLHF (`--remote_rm_url`): `{"query", "prompts", "labels"}` → `{"rewards", "scores"}`. A query is the prompt, the
//!   answer and special tokens in one; lists may be empty, since every endpoint after the first gets empty ones.
//! * LlamaFactory (`reward_model_type: api`): `{"model", "messages"}` → `{"scores"}`, each message the whole text.
//! * Ours, for TRL and verl: `{"completions", "prompts"?, "originals"?, "labels"?}` → `{"rewards"}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of `POST /get_reward`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RemoteReward {
    /// Prompt, answer and special tokens, one text an item.
    #[serde(default)]
    pub query: Vec<String>,
    /// The prompts, where they are sent.
    #[serde(default)]
    pub prompts: Option<Vec<String>>,
    /// Labels of the data set, where they are sent.
    #[serde(default)]
    pub labels: Option<Vec<Value>>,
}

/// The answer to it. Older versions read `rewards` alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemoteRewards {
    /// One a query.
    pub rewards: Vec<f32>,
    /// The same, for dynamic filtering.
    pub scores: Vec<f32>,
}

/// The body of `POST /reward`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RewardRequest {
    /// Answers to be rewarded.
    #[serde(default)]
    pub completions: Option<Vec<String>>,
    /// LlamaFactory's name for whole texts.
    #[serde(default)]
    pub messages: Option<Vec<String>>,
    /// What each answers.
    #[serde(default)]
    pub prompts: Option<Vec<String>>,
    /// What each is a rewrite of; then meaning and guards count too.
    #[serde(default)]
    pub originals: Option<Vec<String>>,
    /// Where each should go: the name of a profile, `value=x`, or a profile object.
    #[serde(default)]
    pub labels: Option<Vec<Value>>,
    /// Where all should go: the name of a profile.
    #[serde(default)]
    pub profile: Option<String>,
}

/// The answer in a query: what follows the prompt, without special tokens.
///
/// The prompt is cut off where the query begins with it, as it is or without its special tokens; a query that does not
/// begin with it is read whole, since decoding may have changed it beyond recognition.
pub fn answer_of(query: &str, prompt: Option<&str>) -> String {
    if let Some(prompt) = prompt {
        if let Some(rest) = query.strip_prefix(prompt) {
            return without_specials(rest).trim().to_string();
        }
        let (plain, bare) = (without_specials(query), without_specials(prompt));
        if let Some(rest) = plain.trim_start().strip_prefix(bare.trim()) {
            return rest.trim().to_string();
        }
    }
    // The last turn, where the template's marks still stand.
    for mark in [
        "<|im_start|>assistant",
        "<|start_header_id|>assistant<|end_header_id|>",
        "<start_of_turn>model",
        "<|assistant|>",
        "[/INST]",
    ] {
        if let Some((_, rest)) = query.rsplit_once(mark) {
            return without_specials(rest).trim().to_string();
        }
    }
    without_specials(query).trim().to_string()
}

/// Marks of chat templates that are not of the form `<|…|>`.
const MARKS: [&str; 12] = [
    "<s>",
    "</s>",
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "[PAD]",
    "<think>",
];

/// A text without special tokens.
fn without_specials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '[']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let special = if rest.starts_with("<|") {
            rest.find("|>")
                .filter(|end| *end <= 40 && !rest[..*end].contains(char::is_whitespace))
                .map(|end| end + 2)
        } else {
            MARKS
                .iter()
                .find(|m| rest.starts_with(**m))
                .map(|m| m.len())
        };
        let take = special.unwrap_or(1);
        if special.is_none() {
            out.push_str(&rest[..1]);
        }
        rest = &rest[take..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_answer_is_what_follows_the_prompt() {
        let check = |query: &str, prompt: Option<&str>, expected: &str| {
            assert_eq!(answer_of(query, prompt), expected, "{query:?}");
        };
        check("Why?Because.</s>", Some("Why?"), "Because.");
        check(
            "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|><|endoftext|>",
            None,
            "Because.",
        );
        check(
            "<s>user\nWhy?\nassistant\nBecause.</s><pad><pad>",
            Some("user\nWhy?\nassistant\n"),
            "Because.",
        );
        check("[INST] Why? [/INST] Because.", None, "Because.");
        check("Because a < b and [x].", None, "Because a < b and [x].");
        check(
            "Because <|of a bar|> here.",
            None,
            "Because <|of a bar|> here.",
        );
        check("Because.", Some("another prompt"), "Because.");
        check("Why?</s>", Some("Why?"), "");
        check("", Some(""), "");
    }

    #[test]
    fn empty_and_missing_lists_are_read() {
        let read = |json: &str| serde_json::from_str::<RemoteReward>(json).expect("read");
        assert!(
            read(r#"{"query":[],"prompts":[],"labels":[]}"#)
                .query
                .is_empty()
        );
        assert!(read("{}").query.is_empty());
        assert!(read(r#"{"query":["a"],"prompts":null}"#).prompts.is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_texts_never_panic(query in "(<s>|</s>|<\\|x\\|>|<\\||\\[INST\\]|é|<|\\[| |word){0,12}", prompt in "(<s>|é|word| ){0,4}") {
            let answer = answer_of(&query, Some(&prompt));
            prop_assert!(!answer.contains("</s>") && answer.len() <= query.len());
        }
    }
}
