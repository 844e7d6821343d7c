//! The models behind queues: what many requests ask at once is computed together, and what cannot wait is refused.
//!
//! Models are synchronous code for all cores. Each has one thread that takes whatever waits ([`batch`]); rewrites run a
//! few at a time ([`rewrite`]) and have their clauses written, and their values and consistency read, through such
//! queues, so that they share batches with each other and with everybody. Nothing here knows HTTP.

mod batch;
mod local;
mod queue;
mod rewrite;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use candle_core::Device;
use visa_align::embedded::{ClauseRequest, Writer};
use visa_align::{
    AlignError, Backend, Checker, DetectOptions, Detection, Detector, EndpointBackend,
    EndpointOptions, Models, Part, Text, Translation, Translator, Trunk,
};
use visa_nn::{Decoder, Engine as Weights, Tokenizer};
use visa_score::Consistency;

use batch::{Answers, Batcher, Plan};
use queue::Queue;
use rewrite::Maker;

pub(crate) use local::{Continued, Prompt, PromptKind};

use crate::metrics::Metrics;

pub(crate) type Result<T> = std::result::Result<T, EngineError>;

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The queue is full.
    #[error("as many requests wait as may; try again in a moment")]
    Busy,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The worker panicked over this request.
    #[error("the model's worker failed on this request; the server's log says more")]
    Lost,
    /// It took longer than allowed.
    #[error("the models took longer than the {0} s allowed")]
    Timeout(u64),
    /// The models refused or failed.
    #[error(transparent)]
    Align(#[from] AlignError),
}

/// How the models are run.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Requests that may wait for detector, translator and checker each.
    pub queue: usize,
    /// Rewrites that may wait.
    pub rewrite_queue: usize,
    /// Rewrites that run at once.
    pub rewriters: usize,
    /// An endpoint that proposes rewrites in place of the embedded model.
    pub endpoint: Option<EndpointOptions>,
    /// Sampling temperature of the embedded rewriter.
    pub temperature: f64,
    /// The folder of a decoder that answers chats when there is no upstream; the rewriter's when not named.
    pub lm: Option<PathBuf>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            queue: 256,
            rewrite_queue: 32,
            rewriters: 2,
            endpoint: None,
            temperature: visa_align::EmbeddedOptions::default().temperature,
            lm: None,
        }
    }
}

/// A text to read, with or without spans.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) text: Text,
    pub(crate) spans: bool,
}

/// Clauses written together. Beyond that a step of the decoder takes as much longer as it does more.
const BATCH_CLAUSES: usize = 256;

/// Answers of the local model written together; a short one waits for the longest of its batch.
const BATCH_ANSWERS: usize = 8;

/// Bytes of text computed together: about four thousand tokens, which fills the cores; more would only make others wait.
const BATCH_BYTES: usize = 16_384;

/// The running models.
pub(crate) struct Engine {
    detect: Batcher<Reading, Detection>,
    check: Batcher<(String, String), Consistency>,
    translate: Batcher<String, Translation>,
    rewrites: Arc<Queue<rewrite::RewriteJob>>,
    generate: Option<Batcher<Prompt, Continued>>,
    /// The name under which the local model answers.
    local_name: Option<String>,
    maker: Maker,
    rewriter_threads: Mutex<Vec<JoinHandle<()>>>,
    model_threads: Mutex<Vec<JoinHandle<()>>>,
    /// What `/v1/models` tells.
    parts: Vec<visa_align::models::PartReport>,
    rewriter_name: String,
}

impl Engine {
    /// Loads every model and starts its threads. `local` says whether chats are answered here.
    ///
    /// # Errors
    /// A model that is missing or damaged, or endpoint options that make no sense.
    pub(crate) fn load(
        models: &Models,
        options: &EngineOptions,
        local: bool,
        metrics: &Metrics,
    ) -> std::result::Result<Self, AlignError> {
        let trunk = Trunk::find(models)?;
        let detector = Detector::find(models, &trunk)?;
        let checker = Checker::find(models, &trunk)?;
        let translator = Arc::new(Translator::find(models, &trunk)?);
        let generator = local
            .then(|| {
                let dir = match &options.lm {
                    Some(dir) => dir.clone(),
                    None => models.dir(Part::Rewriter)?,
                };
                let decoder = Decoder::load(&dir, &Device::Cpu).map_err(AlignError::Load)?;
                let engine = Weights::new(&decoder, models.weights()).map_err(AlignError::Load)?;
                let tokenizer = Tokenizer::load(&dir).map_err(AlignError::Load)?;
                local::Generator::new(&dir, engine, tokenizer)
            })
            .transpose()?;
        let local_name = generator.as_ref().map(|g| g.name().to_string());
        let threads = |e: std::io::Error| AlignError::ModelFile {
            path: PathBuf::from("worker threads"),
            problem: format!("{e}; raise the limit of threads"),
        };
        let (detect, a) = Batcher::start(
            Plan {
                name: "visa-detect",
                capacity: options.queue,
                batch: BATCH_BYTES,
                // A clause more for each hundred bytes: spans cost about two passes a clause.
                weigh: |r: &Reading| 32 + r.text.text.len() * if r.spans { 3 } else { 1 },
                stage: metrics.stage("detect"),
            },
            move |items| read(&detector, items),
        )
        .map_err(threads)?;
        let (check, b) = Batcher::start(
            Plan {
                name: "visa-check",
                capacity: options.queue,
                batch: BATCH_BYTES,
                weigh: |p: &(String, String)| 4 * (p.0.len() + p.1.len()),
                stage: metrics.stage("check"),
            },
            move |items: &[&(String, String)]| {
                let pairs: Vec<(&str, &str)> =
                    items.iter().map(|p| (p.0.as_str(), p.1.as_str())).collect();
                checker.consistency(&pairs)
            },
        )
        .map_err(threads)?;
        let own = Arc::clone(&translator);
        let (translate, c) = Batcher::start(
            Plan {
                name: "visa-translate",
                capacity: options.queue,
                batch: BATCH_BYTES,
                weigh: |words: &String| 32 + words.len(),
                stage: metrics.stage("translate"),
            },
            move |items: &[&String]| items.iter().map(|words| own.translate(words)).collect(),
        )
        .map_err(threads)?;
        let mut model_threads = vec![a, b, c];
        let generate = match generator {
            None => None,
            Some(generator) => {
                let plan = Plan {
                    name: "visa-generate",
                    capacity: options.rewrite_queue,
                    batch: BATCH_ANSWERS,
                    weigh: |_: &Prompt| 1,
                    stage: metrics.stage("generate"),
                };
                let (generate, d) =
                    Batcher::start(plan, move |items: &[&Prompt]| generator.run(items))
                        .map_err(threads)?;
                model_threads.push(d);
                Some(generate)
            }
        };
        let (maker, rewriter_name) = match &options.endpoint {
            Some(endpoint) => {
                let name = EndpointBackend::new(endpoint.clone())?.name();
                (Maker::Endpoint(Box::new(endpoint.clone())), name)
            }
            None => {
                let writer = Writer::find(models, &trunk)?;
                let asker = Arc::clone(writer.asker());
                let plan = Plan {
                    name: "visa-write",
                    capacity: options.rewrite_queue,
                    batch: BATCH_CLAUSES,
                    weigh: |_: &ClauseRequest| 1,
                    stage: metrics.stage("write"),
                };
                let (write, e) =
                    Batcher::start(plan, move |items: &[&ClauseRequest]| writer.write(items))
                        .map_err(threads)?;
                model_threads.push(e);
                let maker = Maker::Embedded {
                    asker,
                    write,
                    temperature: options.temperature,
                };
                (maker, visa_align::embedded::NAME.to_string())
            }
        };
        let rewrites = Arc::new(Queue::new(options.rewrite_queue));
        let mut rewriter_threads = Vec::new();
        for _ in 0..options.rewriters.max(1) {
            let worker = rewrite::Worker {
                queue: Arc::clone(&rewrites),
                detect: detect.clone(),
                check: check.clone(),
                translator: Arc::clone(&translator),
                maker: maker.clone(),
                stage: metrics.stage("rewrite"),
            };
            rewriter_threads.push(worker.start().map_err(threads)?);
        }
        Ok(Self {
            detect,
            check,
            translate,
            rewrites,
            generate,
            local_name,
            maker,
            rewriter_threads: Mutex::new(rewriter_threads),
            model_threads: Mutex::new(model_threads),
            parts: models.report(),
            rewriter_name,
        })
    }

    /// One detection a text, in order.
    pub(crate) async fn detect(&self, texts: Vec<Text>, spans: bool) -> Result<Answers<Detection>> {
        let items = texts.into_iter().map(|text| Reading { text, spans });
        self.detect.ask(items.collect(), false).await
    }

    /// One judgement a pair (original, candidate), in order, for a request that read values before.
    pub(crate) async fn consistency(
        &self,
        pairs: Vec<(String, String)>,
    ) -> Result<Answers<Consistency>> {
        self.check.ask(pairs, true).await
    }

    /// One translation an instruction, in order.
    pub(crate) async fn translate(&self, words: Vec<String>) -> Result<Answers<Translation>> {
        self.translate.ask(words, false).await
    }

    /// Answers of the local model, where there is one.
    pub(crate) async fn generate(
        &self,
        prompts: Vec<Prompt>,
    ) -> Option<Result<Answers<Continued>>> {
        match &self.generate {
            Some(generate) => Some(generate.ask(prompts, false).await),
            None => None,
        }
    }

    /// The name under which the local model answers.
    pub(crate) fn local_name(&self) -> Option<&str> {
        self.local_name.as_deref()
    }

    /// What proposes rewrites, in words.
    pub(crate) fn rewriter_name(&self) -> &str {
        &self.rewriter_name
    }

    /// The models on disk.
    pub(crate) fn parts(&self) -> &[visa_align::models::PartReport] {
        &self.parts
    }

    /// Whether another rewrite may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.rewrites.has_room()
    }

    /// How many requests wait for each model.
    pub(crate) fn waiting(&self) -> Vec<(&'static str, usize)> {
        let mut waiting = vec![
            ("detect", self.detect.waiting()),
            ("check", self.check.waiting()),
            ("translate", self.translate.waiting()),
            ("rewrite", self.rewrites.len()),
        ];
        if let Some(write) = self.maker.write() {
            waiting.push(("write", write.waiting()));
        }
        if let Some(generate) = &self.generate {
            waiting.push(("generate", generate.waiting()));
        }
        waiting
    }

    /// Finishes what was accepted and ends the threads. Rewrites first: they still need the other models.
    pub(crate) fn stop(&self) {
        let join = |threads: &Mutex<Vec<JoinHandle<()>>>| {
            let threads =
                std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
            for thread in threads {
                // Workers catch panics of the models, so there is nothing to learn here.
                let _ = thread.join();
            }
        };
        self.rewrites.close();
        join(&self.rewriter_threads);
        self.detect.close();
        self.check.close();
        self.translate.close();
        if let Some(write) = self.maker.write() {
            write.close();
        }
        if let Some(generate) = &self.generate {
            generate.close();
        }
        join(&self.model_threads);
    }
}

fn read(
    detector: &Detector,
    items: &[&Reading],
) -> std::result::Result<Vec<Detection>, AlignError> {
    let spans = items.iter().filter(|r| r.spans).count();
    let all = |items: &[&Reading], spans: bool| {
        let texts: Vec<Text> = items.iter().map(|r| r.text.clone()).collect();
        detector.detect_with(&texts, &DetectOptions { spans })
    };
    if spans == 0 || spans == items.len() {
        return all(items, spans > 0);
    }
    // Spans cost many passes: only those who asked pay for them.
    let (with, without): (Vec<&Reading>, Vec<&Reading>) = items.iter().partition(|r| r.spans);
    let mut with = all(&with, true)?.into_iter();
    let mut without = all(&without, false)?.into_iter();
    Ok(items
        .iter()
        .filter_map(|r| if r.spans { with.next() } else { without.next() })
        .collect())
}
