//! `visa translate`: what an instruction or persona asks of the values, as a shift and a target.

use clap::Args;
use visa_align::record::{TranslateInput, TranslateOutput};
use visa_align::{Translation, Translator, Trunk, explicit};
use visa_values::NAMES;

use super::detect::Lazy;
use super::{goal, not_empty};
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record};
use crate::exit::{Failure, model};
use crate::view::bars::{Column, table};
use crate::view::{NEGATIVE, Style, progress::Counter};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The instruction or persona, or value=±x; without it --input is read
    instruction: Option<String>,
    /// The profile to shift from, a file or JSON; without it the target is that of a text that speaks no value
    #[arg(long, value_name = "PROFILE", env = "VISA_FROM")]
    from: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

impl Record for TranslateInput {
    fn from_text(instruction: String) -> anyhow::Result<Self> {
        Ok(Self {
            instruction,
            from: None,
        })
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        instruction,
        from,
        model: which,
        io,
        common,
    } = arguments;
    common.apply()?;
    let from = from
        .map(|f| goal::profile("--from", &f))
        .transpose()
        .map_err(Failure::Usage)?
        .unwrap_or_default();
    let text_format = io.format() == Format::Text;
    let style = Style::new(
        common.color,
        text_format && crate::output::is_terminal(&io.output),
    );
    let mut translator = Lazy::new(|| {
        let models = which.find()?;
        let trunk = Trunk::find(&models).map_err(model)?;
        Translator::find(&models, &trunk).map_err(model)
    });
    let counter = Counter::new(common.quiet || text_format, "instructions");
    batch::run(
        Job {
            io: &io,
            single: instruction.map(|instruction| TranslateInput {
                instruction,
                from: None,
            }),
            chunk: 64,
            progress: &|done| counter.set(done),
        },
        |items: &[Item<TranslateInput>]| {
            let mut results = Vec::with_capacity(items.len());
            for item in items {
                let TranslateInput {
                    instruction,
                    from: own,
                } = &item.record;
                let from = own.as_ref().unwrap_or(&from);
                // Explicit shifts need no model, so none is loaded for them.
                let translation = match not_empty("instruction", instruction)
                    .and_then(|()| Ok(explicit(instruction)?))
                {
                    Ok(Some(shift)) => Ok(Translation {
                        shift,
                        notice: None,
                    }),
                    Ok(None) => translator
                        .get()?
                        .translate(instruction)
                        .map_err(anyhow::Error::from),
                    Err(e) => Err(e),
                };
                results.push(translation.map(|t| TranslateOutput::new(t, from)));
            }
            Ok(results)
        },
        |_, output| view(&style, output),
    )
}

fn view(style: &Style, output: &TranslateOutput) -> String {
    let moved: Vec<bool> = output.shift.as_array().iter().map(|d| *d != 0.0).collect();
    let columns = [
        Column {
            title: "shift",
            numbers: output.shift.as_array(),
            scale: 2.0,
        },
        Column {
            title: "target",
            numbers: output.target.as_array(),
            scale: 1.0,
        },
    ];
    let mut out = table(style, &NAMES, &columns, &moved);
    if let Some(notice) = &output.notice {
        out.push_str(&format!("\n  {}\n", style.paint(NEGATIVE, notice)));
    }
    out
}
