//! The local model that answers chats when no upstream is configured.
//!
//! A plain decoder: a chat template where the folder has one, a transcript of roles and texts where not.

use std::path::Path;

use visa_align::AlignError;
use visa_nn::sample::{Finish, Generator as Sampler, Request, SampleOptions};
use visa_nn::{ChatTemplate, Engine, Message, Tokenizer};

/// What is to be continued.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// A conversation, or one text to continue as it is.
    pub(crate) of: PromptKind,
    /// How to sample.
    pub(crate) options: SampleOptions,
}

/// A conversation, or one text.
#[derive(Clone, Debug)]
pub(crate) enum PromptKind {
    Chat(Vec<Message>),
    Text(String),
}

/// A continuation.
#[derive(Clone, Debug)]
pub(crate) struct Continued {
    pub(crate) text: String,
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    /// It ended by itself, and not by the limit.
    pub(crate) ended: bool,
}

pub(super) struct Generator {
    name: String,
    engine: Engine,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
}

impl Generator {
    pub(super) fn new(
        dir: &Path,
        engine: Engine,
        tokenizer: Tokenizer,
    ) -> Result<Self, AlignError> {
        tokenizer
            .check_fits(engine.config().vocab_size)
            .map_err(AlignError::Load)?;
        let template = match ChatTemplate::load(dir) {
            Ok(template) => Some(template),
            Err(error) => {
                tracing::warn!(%error, "the local model has no chat template; chats become plain transcripts");
                None
            }
        };
        let name = dir
            .file_name()
            .map_or_else(|| "local".into(), |n| n.to_string_lossy().into_owned());
        Ok(Self {
            name,
            engine,
            tokenizer,
            template,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One answer a prompt, in order, written side by side.
    pub(super) fn run(&self, prompts: &[&Prompt]) -> Result<Vec<Continued>, AlignError> {
        let nn = |source| AlignError::Nn {
            doing: "answering with the local model",
            source,
        };
        let asked = prompts
            .iter()
            .map(|prompt| self.fit(prompt))
            .collect::<visa_nn::Result<Vec<_>>>()
            .map_err(nn)?;
        let requests: Vec<Request<'_>> = asked
            .iter()
            .map(|(prompt, options)| Request {
                prompt,
                options,
                stream: 0,
            })
            .collect();
        let generated = Sampler::over(&self.engine)
            .tokenizer(&self.tokenizer)
            .requests(&requests, &mut [])
            .map_err(nn)?;
        asked
            .iter()
            .zip(generated)
            .map(|((prompt, _), generated)| {
                Ok(Continued {
                    text: self.tokenizer.decode(&generated.ids).map_err(nn)?,
                    prompt_tokens: prompt.len(),
                    completion_tokens: generated.ids.len(),
                    ended: generated.finish != Finish::Length,
                })
            })
            .collect()
    }

    /// The tokens of a prompt and how to follow them, such that both fit the decoder.
    fn fit(&self, prompt: &Prompt) -> visa_nn::Result<(Vec<u32>, SampleOptions)> {
        let config = self.engine.config();
        let mut ids = self.tokens(&prompt.of)?;
        let most = config.max_position_embeddings;
        let mut options = prompt.options.clone();
        options.max_tokens = options.max_tokens.min(most / 2).max(1);
        options.stop_ids.clone_from(&config.eos_token_ids);
        // What is furthest back gives way: a conversation is about its end.
        let room = most - options.max_tokens;
        if ids.len() > room {
            ids.drain(..ids.len() - room);
        }
        Ok((ids, options))
    }

    fn tokens(&self, prompt: &PromptKind) -> visa_nn::Result<Vec<u32>> {
        let text = match (prompt, &self.template) {
            (PromptKind::Chat(messages), Some(template)) => {
                let text = template.render(messages, true)?;
                return Ok(self.tokenizer.encode_bare(&text)?.ids);
            }
            (PromptKind::Chat(messages), None) => {
                let mut text = String::new();
                for message in messages {
                    text.push_str(&format!("{}: {}\n", message.role, message.content));
                }
                text.push_str("assistant:");
                text
            }
            (PromptKind::Text(text), _) => text.clone(),
        };
        let mut ids = self.tokenizer.encode(&text)?.ids;
        if let Some(begin) = self.engine.config().bos_token_id
            && ids.first() != Some(&begin)
        {
            ids.insert(0, begin);
        }
        if ids.is_empty() {
            return Err(visa_nn::Error::Input(
                "the prompt is empty; give at least one word".into(),
            ));
        }
        Ok(ids)
    }
}
