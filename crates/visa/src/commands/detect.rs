//! `visa detect`: which values a text speaks, how strongly, and where.

use clap::Args;
use visa_align::record::DetectOutput;
use visa_align::{DetectOptions, Detector, Text, Trunk};
use visa_values::{Category, NAMES};

use super::not_empty;
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record, together};
use crate::exit::{Failure, model};
use crate::view::bars::{Column, table};
use crate::view::spans::{Mark, marked};
use crate::view::wrap::paragraph;
use crate::view::{DIM, Style, progress::Counter};

/// Records a chunk: enough to fill batches of similar lengths, few enough to answer soon.
const CHUNK: usize = 512;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The text; without it --input is read
    text: Option<String>,
    /// What the text answers or argues about
    #[arg(long, value_name = "TEXT", env = "VISA_CONTEXT")]
    context: Option<String>,
    /// Find the spans that speak a value for JSON output too (about one more pass a clause); text output has them
    #[arg(long, env = "VISA_SPANS", value_parser = clap::builder::BoolishValueParser::new())]
    spans: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

impl Record for Text {
    fn from_text(text: String) -> anyhow::Result<Self> {
        Ok(Self::new(text))
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        text,
        context,
        spans,
        model: which,
        io,
        common,
    } = arguments;
    common.apply()?;
    let text_format = io.format() == Format::Text;
    let style = Style::new(
        common.color,
        text_format && crate::output::is_terminal(&io.output),
    );
    let options = DetectOptions {
        spans: spans || text_format,
    };
    let mut detector = Lazy::new(|| {
        let models = which.find()?;
        let trunk = Trunk::find(&models).map_err(model)?;
        Detector::find(&models, &trunk).map_err(model)
    });
    let counter = Counter::new(common.quiet || text_format, "texts");
    batch::run(
        Job {
            io: &io,
            single: text.map(Text::new),
            chunk: CHUNK,
            progress: &|done| counter.set(done),
        },
        |items: &[Item<Text>]| {
            let detector = detector.get()?;
            Ok(together(
                items,
                |input| not_empty("text", &input.text),
                |inputs| {
                    let texts: Vec<Text> = inputs
                        .iter()
                        .map(|i| Text {
                            text: i.text.clone(),
                            context: i.context.clone().or_else(|| context.clone()),
                        })
                        .collect();
                    let detections = detector.detect_with(&texts, &options)?;
                    Ok(detections
                        .into_iter()
                        .map(|d| DetectOutput::new(d, options.spans))
                        .collect())
                },
            ))
        },
        |item, output| view(&style, &item.record.text, output),
    )
}

/// Loads a model when the first record is there, so that wrong usage and empty input are answered at once.
pub(crate) struct Lazy<T, F> {
    load: F,
    loaded: Option<T>,
}

impl<T, F: Fn() -> Result<T, Failure>> Lazy<T, F> {
    pub(crate) fn new(load: F) -> Self {
        Self { load, loaded: None }
    }

    pub(crate) fn get(&mut self) -> Result<&mut T, Failure> {
        match &mut self.loaded {
            Some(loaded) => Ok(loaded),
            empty => Ok(empty.insert((self.load)()?)),
        }
    }
}

fn view(style: &Style, text: &str, output: &DetectOutput) -> String {
    let spans = output.spans.as_deref().unwrap_or_default();
    let marks: Vec<Mark> = spans
        .iter()
        .map(|s| Mark {
            start: s.start,
            end: s.end,
            name: s.value.name().to_string(),
            weight: s.weight,
        })
        .collect();
    let mut out = marked(style, text, &marks);
    out.push('\n');
    let numbers = output.values.as_array();
    out.push_str(&table(
        style,
        &NAMES,
        &[Column {
            title: "",
            numbers,
            scale: 1.0,
        }],
        &[],
    ));
    let mut present: Vec<(f32, &str)> = Category::ALL
        .into_iter()
        .map(|c| (output.categories.0[c.index()], c.name()))
        .filter(|(p, _)| *p >= 0.5)
        .collect();
    present.sort_by(|a, b| b.0.total_cmp(&a.0));
    let list: Vec<String> = present
        .iter()
        .map(|(p, name)| format!("{name} {p:.2}"))
        .collect();
    let list = if list.is_empty() {
        "none above the decision boundary of 0.50".into()
    } else {
        list.join(", ")
    };
    for line in paragraph(&format!("categories: {list}"), 2, style.width).lines() {
        out.push_str(&format!("\n{}", style.paint(DIM, line)));
    }
    out.push('\n');
    out
}
