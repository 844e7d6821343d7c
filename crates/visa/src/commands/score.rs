//! `visa score`: how good a rewrite is, as the Score object of the contract.

use clap::Args;
use visa_align::record::{Aim, ScoreInput, ScoreOutput};
use visa_align::{Checker, Detector, Models, Text, Trunk};
use visa_score::Acceptance;
use visa_values::{NAMES, Profile, Shift, Target};

use super::detect::Lazy;
use super::goal;
use crate::args::{Common, Format, IoArgs, ModelArgs};
use crate::batch::{self, Item, Job, Record, together};
use crate::exit::{Failure, model, usage};
use crate::view::bars::{Column, table};
use crate::view::{Style, progress::Counter, words};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The original; with --candidate scores one pair, without both --input is read as JSON Lines
    #[arg(long, value_name = "TEXT", requires = "candidate")]
    original: Option<String>,
    /// The rewrite
    #[arg(long, value_name = "TEXT", requires = "original")]
    candidate: Option<String>,
    /// What the text answers or argues about
    #[arg(long, value_name = "TEXT", env = "VISA_QUERY")]
    query: Option<String>,
    /// The profile wanted, for records that name none: a file or JSON
    #[arg(long, value_name = "FILE|JSON", env = "VISA_TARGET")]
    target: Option<String>,
    /// The shift wanted, for records that name none
    #[arg(long, value_name = "VALUE=±X", num_args = 1.., env = "VISA_SHIFT")]
    shift: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

impl Record for ScoreInput {
    fn from_text(_: String) -> anyhow::Result<Self> {
        anyhow::bail!(
            "score reads JSON Lines of {{\"original\", \"candidate\", \"target\" or \"shift\"}}; for one pair use --original and --candidate"
        )
    }
}

struct Judge {
    detector: Detector,
    checker: Checker,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        original,
        candidate,
        query,
        target,
        shift,
        model: which,
        io,
        common,
    } = arguments;
    common.apply()?;
    let default = default_aim(target, shift)?;
    let text_format = io.format() == Format::Text;
    let style = Style::new(
        common.color,
        text_format && crate::output::is_terminal(&io.output),
    );
    let single = original
        .zip(candidate)
        .map(|(original, candidate)| ScoreInput {
            original,
            candidate,
            query: None,
            target: None,
            shift: None,
        });
    if single.is_some() && default.is_none() {
        return Err(usage(
            "nothing says where the values were to go; give --target or --shift",
        ));
    }
    let mut judge = Lazy::new(|| load(&which.find()?));
    let counter = Counter::new(common.quiet || text_format, "pairs");
    batch::run(
        Job {
            io: &io,
            single,
            chunk: 64,
            progress: &|done| counter.set(done),
        },
        |items: &[Item<ScoreInput>]| {
            let judge = judge.get()?;
            Ok(together(
                items,
                |input| Ok(input.check(default.as_ref())?),
                |inputs| judge.all(inputs, query.as_deref(), default.as_ref()),
            ))
        },
        |_, judged| view(&style, judged),
    )
}

fn default_aim(target: Option<String>, shift: Vec<String>) -> Result<Option<Aim>, Failure> {
    match (target, shift.is_empty()) {
        (Some(_), false) => Err(usage(
            "--target and --shift were both given; give one of them",
        )),
        (Some(target), true) => Ok(Some(Aim::Target(
            goal::target(&target).map_err(Failure::Usage)?,
        ))),
        (None, false) => {
            let shift =
                Shift::parse(&shift.join(", ")).map_err(|e| usage(format!("--shift: {e}")))?;
            Ok(Some(Aim::Shift(shift)))
        }
        (None, true) => Ok(None),
    }
}

fn load(models: &Models) -> Result<Judge, Failure> {
    let trunk = Trunk::find(models).map_err(model)?;
    Ok(Judge {
        detector: Detector::find(models, &trunk).map_err(model)?,
        checker: Checker::find(models, &trunk).map_err(model)?,
    })
}

impl Judge {
    fn all(
        &self,
        inputs: &[&ScoreInput],
        query: Option<&str>,
        default: Option<&Aim>,
    ) -> anyhow::Result<Vec<ScoreOutput>> {
        let text = |input: &ScoreInput, text: &str| Text {
            text: text.to_string(),
            context: input.query.clone().or_else(|| query.map(str::to_string)),
        };
        let texts: Vec<Text> = inputs
            .iter()
            .flat_map(|i| [text(i, &i.original), text(i, &i.candidate)])
            .collect();
        let pairs: Vec<(&str, &str)> = inputs
            .iter()
            .map(|i| (i.original.as_str(), i.candidate.as_str()))
            .collect();
        let detections = self.detector.detect(&texts)?;
        let consistencies = self.checker.consistency(&pairs)?;
        inputs
            .iter()
            .zip(detections.chunks_exact(2))
            .zip(consistencies)
            .map(|((input, both), consistency)| {
                let [before, after] = both else {
                    anyhow::bail!("the detector gave no answer")
                };
                Ok(input.judged(default, &before.profile, &after.profile, consistency)?)
            })
            .collect()
    }
}

fn view(style: &Style, judged: &ScoreOutput) -> String {
    let verdict = judged.score.accepted(&Acceptance::default());
    let mut out = words::score(style, &judged.score);
    out.push_str(&format!("  {verdict}\n\n"));
    out.push_str(&profiles(
        style,
        &judged.before,
        &judged.after,
        &judged.target,
    ));
    out
}

/// The two profiles and the target as bars; rows where something was wanted are set apart.
pub(crate) fn profiles(
    style: &Style,
    before: &Profile,
    after: &Profile,
    target: &Target,
) -> String {
    let wanted: Vec<bool> = before
        .as_array()
        .iter()
        .zip(target.as_array())
        .map(|(b, t)| (t - b).abs() >= 0.05)
        .collect();
    let columns = [
        Column {
            title: "before",
            numbers: before.as_array(),
            scale: 1.0,
        },
        Column {
            title: "after",
            numbers: after.as_array(),
            scale: 1.0,
        },
        Column {
            title: "target",
            numbers: target.as_array(),
            scale: 1.0,
        },
    ];
    table(style, &NAMES, &columns, &wanted)
}
