//! `visa lm generate|score`: a decoder as a plain language model, without values.

use anyhow::bail;
use candle_core::{Device, Tensor};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use visa_align::Part;
use visa_nn::sample::{Generator, SampleOptions};
use visa_nn::{ChatTemplate, Decoder, Message, Tokenizer};

use super::detect::Lazy;
use super::not_empty;
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record, together};
use crate::exit::{Failure, model, usage};
use crate::view::{DIM, POSITIVE, Style, printable, progress::Counter};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Continue a text
    Generate(GenerateArgs),
    /// Log-probability of every token of a text, natural logarithms
    Score(ScoreArgs),
}

#[derive(Args, Debug)]
pub(crate) struct GenerateArgs {
    /// The beginning; without it --input is read
    prompt: Option<String>,
    /// Most tokens to add
    #[arg(long, value_name = "N", env = "VISA_MAX_TOKENS", default_value_t = SampleOptions::default().max_tokens)]
    max_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token
    #[arg(long, value_name = "X", env = "VISA_TEMPERATURE", default_value_t = SampleOptions::default().temperature)]
    temperature: f64,
    /// Keep the fewest tokens whose probabilities reach this sum; 1 keeps all
    #[arg(long, value_name = "X", env = "VISA_TOP_P", default_value_t = SampleOptions::default().top_p)]
    top_p: f64,
    /// Keep this many likeliest tokens; 0 keeps all
    #[arg(long, value_name = "N", env = "VISA_TOP_K", default_value_t = SampleOptions::default().top_k)]
    top_k: usize,
    /// Make tokens that occurred less likely; 1 changes nothing
    #[arg(long, value_name = "X", env = "VISA_REPETITION_PENALTY", default_value_t = SampleOptions::default().repetition_penalty)]
    repetition_penalty: f64,
    /// A text that ends the output; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Take the prompt as a user's message in the model's chat template
    #[arg(long, env = "VISA_CHAT", value_parser = clap::builder::BoolishValueParser::new())]
    chat: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct ScoreArgs {
    /// The text; without it --input is read
    prompt: Option<String>,
    /// What follows it; the total is then that of the completion alone
    #[arg(long, value_name = "TEXT")]
    completion: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct Input {
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    completion: Option<String>,
    #[serde(default)]
    ids: Option<Vec<u32>>,
}

impl Record for Input {
    fn from_text(prompt: String) -> anyhow::Result<Self> {
        Ok(Self {
            prompt: Some(prompt),
            completion: None,
            ids: None,
        })
    }
}

#[derive(Serialize)]
struct GeneratedOutput {
    text: String,
    ids: Vec<u32>,
}

#[derive(Serialize)]
struct ScoreOutput {
    ids: Vec<u32>,
    /// One a token; the first has none.
    logprobs: Vec<Option<f32>>,
    total: f64,
    /// Index of the completion's first token, where there is a completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_start: Option<usize>,
    #[serde(skip)]
    tokens: Vec<String>,
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Generate(a) => generate(a),
        Command::Score(a) => score(a),
    }
}

/// A decoder with its tokenizer and, where it has one, its chat template.
struct Model {
    decoder: Decoder,
    tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
}

impl Model {
    fn load(which: &ModelArgs, chat: bool) -> Result<Self, Failure> {
        let dir = which.find()?.dir(Part::Rewriter).map_err(model)?;
        let decoder = Decoder::load(&dir, &Device::Cpu).map_err(model)?;
        let tokenizer = Tokenizer::load(&dir).map_err(model)?;
        tokenizer
            .check_fits(decoder.config().vocab_size)
            .map_err(model)?;
        let chat = chat
            .then(|| ChatTemplate::load(&dir))
            .transpose()
            .map_err(model)?;
        Ok(Self {
            decoder,
            tokenizer,
            chat,
        })
    }

    /// The tokens of a prompt, begun as the model's texts begin.
    fn prompt(&self, input: &Input) -> anyhow::Result<Vec<u32>> {
        if let Some(ids) = &input.ids {
            if input.prompt.is_some() || input.completion.is_some() {
                bail!("\"ids\" and \"prompt\" are both given; give one of them");
            }
            return self.checked(ids.clone());
        }
        let Some(prompt) = &input.prompt else {
            bail!("neither \"prompt\" nor \"ids\" is given; give one of them")
        };
        if let Some(template) = &self.chat {
            not_empty("prompt", prompt)?;
            let text = template.render(&[Message::new("user", prompt)], true)?;
            return Ok(self.tokenizer.encode_bare(&text)?.ids);
        }
        let mut ids = self.tokenizer.encode(prompt)?.ids;
        // Tokenizers that add nothing leave it to us to begin the text as in training.
        if let Some(begin) = self.decoder.config().bos_token_id
            && ids.first() != Some(&begin)
        {
            ids.insert(0, begin);
        }
        if ids.is_empty() {
            bail!(
                "the prompt is empty and the model has no token that begins a text; give at least one word"
            );
        }
        Ok(ids)
    }

    fn checked(&self, ids: Vec<u32>) -> anyhow::Result<Vec<u32>> {
        let vocabulary = self.decoder.config().vocab_size;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            bail!("id {id} is not in the vocabulary of {vocabulary} tokens");
        }
        if ids.is_empty() {
            bail!("\"ids\" is empty; give at least one");
        }
        Ok(ids)
    }

    fn generate(&self, input: &Input, options: &SampleOptions) -> anyhow::Result<GeneratedOutput> {
        let prompt = self.prompt(input)?;
        let generator = Generator::new(&self.decoder).tokenizer(&self.tokenizer);
        let Some(generated) = generator.run(&[prompt], options, &mut [])?.pop() else {
            bail!("the decoder gave no answer");
        };
        let text = self.tokenizer.decode(&generated.ids)?;
        Ok(GeneratedOutput {
            text,
            ids: generated.ids,
        })
    }

    fn score(&self, input: &Input) -> anyhow::Result<ScoreOutput> {
        let mut ids = self.prompt(input)?;
        let completion_start = input.completion.as_ref().map(|_| ids.len());
        if let Some(completion) = &input.completion {
            ids.extend(self.tokenizer.encode_bare(completion)?.ids);
        }
        let length = ids.len();
        let most = self.decoder.config().max_position_embeddings;
        if length > most {
            bail!("{length} tokens are more than the model's {most}; score the text in parts");
        }
        let mut logprobs = vec![None];
        if length > 1 {
            let row = |ids: &[u32]| Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu);
            let losses = self
                .decoder
                .token_losses(&row(&ids[..length - 1])?, &row(&ids[1..])?, None)?
                .flatten_all()?
                .to_vec1::<f32>()?;
            logprobs.extend(losses.into_iter().map(|loss| Some(-loss)));
        }
        if logprobs.iter().flatten().any(|l| !l.is_finite()) {
            bail!(
                "the model gave a number that is not finite; its weights are damaged or do not fit this version"
            );
        }
        let from = completion_start.unwrap_or(0);
        let total = logprobs[from..]
            .iter()
            .flatten()
            .map(|l| f64::from(*l))
            .sum();
        let tokens = ids
            .iter()
            .map(|id| self.tokenizer.decode_all(&[*id]))
            .collect::<Result<_, _>>()?;
        Ok(ScoreOutput {
            ids,
            logprobs,
            total,
            completion_start,
            tokens,
        })
    }
}

fn generate(arguments: GenerateArgs) -> Result<(), Failure> {
    let GenerateArgs {
        prompt,
        chat,
        model: which,
        io,
        common,
        ..
    } = &arguments;
    common.apply()?;
    let mut options = SampleOptions {
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        top_k: arguments.top_k,
        repetition_penalty: arguments.repetition_penalty,
        seed: common.seed,
        max_tokens: arguments.max_tokens,
        stop: arguments.stop.clone(),
        ..SampleOptions::default()
    };
    options.check().map_err(usage)?;
    let text_format = io.format() == Format::Text;
    let style = Style::new(
        common.color,
        text_format && crate::output::is_terminal(&io.output),
    );
    let mut loaded = Lazy::new(|| Model::load(which, *chat));
    let counter = Counter::new(common.quiet, "prompts");
    batch::run(
        Job {
            io,
            single: prompt.clone().map(|p| Input {
                prompt: Some(p),
                completion: None,
                ids: None,
            }),
            chunk: 1,
            progress: &|done| counter.set(done),
        },
        |items: &[Item<Input>]| {
            let loaded = loaded.get()?;
            options
                .stop_ids
                .clone_from(&loaded.decoder.config().eos_token_ids);
            Ok(items
                .iter()
                .map(|item| {
                    if item.record.completion.is_some() {
                        bail!("\"completion\" is given; that is for visa lm score");
                    }
                    loaded.generate(&item.record, &options)
                })
                .collect())
        },
        |item, output| {
            let start = item
                .record
                .prompt
                .as_deref()
                .map(printable_lines)
                .unwrap_or_default();
            format!(
                "{}{}\n",
                style.paint(DIM, &start),
                printable_lines(&output.text)
            )
        },
    )
}

fn score(arguments: ScoreArgs) -> Result<(), Failure> {
    let ScoreArgs {
        prompt,
        completion,
        model: which,
        io,
        common,
    } = &arguments;
    common.apply()?;
    let text_format = io.format() == Format::Text;
    let style = Style::new(
        common.color,
        text_format && crate::output::is_terminal(&io.output),
    );
    let mut loaded = Lazy::new(|| Model::load(which, false));
    let counter = Counter::new(common.quiet || text_format, "texts");
    batch::run(
        Job {
            io,
            single: prompt.clone().map(|p| Input {
                prompt: Some(p),
                completion: completion.clone(),
                ids: None,
            }),
            chunk: 16,
            progress: &|done| counter.set(done),
        },
        |items: &[Item<Input>]| {
            let loaded = loaded.get()?;
            Ok(together(
                items,
                |_| Ok(()),
                |inputs| inputs.iter().map(|i| loaded.score(i)).collect(),
            ))
        },
        |_, output| view(&style, output),
    )
}

/// Line ends stay, everything else is as in [`printable`].
fn printable_lines(text: &str) -> String {
    text.split('\n')
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
}

fn view(style: &Style, output: &ScoreOutput) -> String {
    let mut out = String::new();
    for ((token, id), logprob) in output.tokens.iter().zip(&output.ids).zip(&output.logprobs) {
        let number = logprob.map_or_else(|| "       –".to_string(), |l| format!("{l:8.3}"));
        out.push_str(&format!(
            "  {number}  {id:>6}  {}\n",
            style.paint(POSITIVE, &format!("{token:?}"))
        ));
    }
    let scored = output.logprobs[output.completion_start.unwrap_or(0)..]
        .iter()
        .flatten()
        .count();
    let perplexity = if scored > 0 {
        (-output.total / scored as f64).exp()
    } else {
        f64::NAN
    };
    out.push_str(&format!("  {:8.3}  total of {scored} tokens", output.total));
    if perplexity.is_finite() {
        out.push_str(&format!(", perplexity {perplexity:.2}"));
    }
    out.push('\n');
    out
}
