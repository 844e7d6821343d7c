//! Systems that rewrite, compared on the same held-out paragraphs under the reward models and under the judge.
//!
//! The reward models are those that rewriters are trained and steered by; the judge is a second detector and a second
//! checker that only this evaluation asks. What a system gains under the first and not under the second, it gained by
//! pleasing a model. A copy of the text is always worth comparing with: it keeps every meaning and moves nothing.

mod compare;
mod fluency;
mod html;
mod items;
mod lexicon;
mod markdown;
pub mod measure;
mod reader;
mod systems;

use std::path::PathBuf;

use visa_align::{Checker, Detector, EndpointOptions, Part, Translator, Trunk};
use visa_values::Profile;

pub use compare::{Agreement, Bin, Comparison, Example, HARD, ReaderReport, SystemReport, gap};
pub use items::Item;
pub use systems::{Kind, System};

use crate::EvalError;
use crate::suites::Setting;
use compare::Pairs;
use fluency::Fluency;
use measure::{Reading, Surface};
use reader::Reader;
use systems::Workshop;

/// Rewrites shown of each system.
const EXAMPLES: usize = 6;

/// What is compared, and where it is kept.
#[derive(Debug)]
pub struct Options {
    /// The systems, in the order of the report.
    pub systems: Vec<System>,
    /// The folder of the report and of the rewrites.
    pub out: PathBuf,
    /// A language model that was not trained to rewrite, for fluency.
    pub lm: Option<PathBuf>,
    /// An endpoint, for the systems that ask one.
    pub endpoint: Option<EndpointOptions>,
}

/// Rewrites, reads, compares, and writes `report.md`, `report.json`, `report.html` and what was asked (`items.jsonl`) into
/// the folder.
///
/// `say` hears what is being done. Rewrites that are in the folder already are not made again.
///
/// # Errors
/// Missing models or data, a failing model or endpoint, a folder that cannot be written.
pub fn run(
    setting: &Setting,
    options: &Options,
    say: &dyn Fn(String),
) -> Result<Comparison, EvalError> {
    let trunk = Trunk::find(&setting.models)?;
    let detector = Detector::find(&setting.models, &trunk)?;
    let checker = Checker::find(&setting.models, &trunk)?;
    let translator = Translator::find(&setting.models, &trunk)?;
    let judges = if Part::JUDGE.iter().all(|part| setting.models.holds(*part)) {
        Some((
            Detector::judge(&setting.models, &trunk)?,
            Checker::judge(&setting.models, &trunk)?,
        ))
    } else {
        None
    };
    let lm = options.lm.as_deref().map(Fluency::load).transpose()?;
    let reward = Reader {
        name: "reward",
        values: &detector,
        checker: &checker,
    };
    let mut readers = vec![reward];
    if let Some((values, checker)) = &judges {
        readers.push(Reader {
            name: "judge",
            values,
            checker,
        });
    }
    let workshop = Workshop {
        models: &setting.models,
        trunk: &trunk,
        reward,
        endpoint: options.endpoint.as_ref(),
        seed: setting.seed,
    };
    let items = items::items(setting, &translator)?;
    let comparison = compare(
        setting,
        options,
        &items,
        &readers,
        &workshop,
        lm.as_ref(),
        say,
    )?;
    write(options, &items, &comparison)?;
    Ok(comparison)
}

fn compare(
    setting: &Setting,
    options: &Options,
    items: &[Item],
    readers: &[Reader<'_>],
    workshop: &Workshop<'_>,
    lm: Option<&Fluency>,
    say: &dyn Fn(String),
) -> Result<Comparison, EvalError> {
    let folder = options.out.join("rewrites");
    std::fs::create_dir_all(&folder).map_err(|source| EvalError::Write {
        path: folder.clone(),
        source,
    })?;
    say("reading the originals".into());
    let originals: Vec<&str> = items.iter().map(|i| i.text.as_str()).collect();
    let before = (readers.iter())
        .map(|reader| reader.profiles(&originals))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pairs = Pairs::default();
    if let [first, second] = before.as_slice() {
        pairs.originals = first.iter().cloned().zip(second.iter().cloned()).collect();
    }
    let mut systems = Vec::new();
    for system in &options.systems {
        let texts = workshop.rewrites(system, items, &before[0], &folder, &|n, of| {
            say(format!("{}: rewrite {} of {of}", system.name, n + 1));
        })?;
        say(format!("{}: reading", system.name));
        systems.push(measured(
            setting.seed,
            system,
            items,
            readers,
            &before,
            &texts,
            lm,
            &mut pairs,
        )?);
    }
    Ok(Comparison {
        suite: "rewriter",
        items: items.len(),
        seed: setting.seed,
        systems,
        agreement: if readers.len() == 2 {
            compare::agreement(&pairs)
        } else {
            Vec::new()
        },
        remarks: remarks(setting, readers.len(), lm.is_some()),
    })
}

#[allow(clippy::too_many_arguments)] // Everything that is known of one system, gathered once, just above.
fn measured(
    seed: u64,
    system: &System,
    items: &[Item],
    readers: &[Reader<'_>],
    before: &[Vec<Profile>],
    texts: &[String],
    lm: Option<&Fluency>,
    pairs: &mut Pairs,
) -> Result<SystemReport, EvalError> {
    let surfaces: Vec<Surface> = (items.iter().zip(texts))
        .map(|(item, text)| Surface::new(&item.text, text))
        .collect();
    let surprises = lm
        .map(|lm| {
            texts
                .iter()
                .map(|t| lm.read(t))
                .collect::<Result<Vec<_>, _>>()
        })
        .transpose()?;
    let mut read: Vec<(Vec<Reading>, Vec<Profile>)> = Vec::new();
    for (reader, before) in readers.iter().zip(before) {
        read.push(reader.read(items, before, texts)?);
    }
    if let ([first, second], [b0, b1]) = (read.as_slice(), before) {
        let changed = (0..items.len()).filter(|i| !surfaces[*i].unchanged);
        pairs.rewrites.extend(changed.map(|i| {
            [
                (b0[i].clone(), first.1[i].clone()),
                (b1[i].clone(), second.1[i].clone()),
            ]
        }));
    }
    let examples = (items.iter().zip(texts).zip(&surfaces))
        .filter(|(_, surface)| !surface.unchanged)
        .step_by((items.len() / EXAMPLES).max(1))
        .map(|((item, text), _)| Example {
            id: item.id.clone(),
            persona: item.persona.clone(),
            original: item.text.clone(),
            rewrite: text.clone(),
        })
        .take(EXAMPLES)
        .collect();
    Ok(SystemReport {
        name: system.name.clone(),
        kind: system.kind.to_string(),
        surface: compare::surface(&surfaces, surprises.as_deref(), seed),
        gap: match read.as_slice() {
            [first, second] => Some(gap(&first.0, &second.0, seed)),
            _ => None,
        },
        readers: (readers.iter().zip(&read))
            .map(|(reader, (readings, _))| ReaderReport::new(reader.name, readings, seed))
            .collect(),
        examples,
    })
}

fn remarks(setting: &Setting, readers: usize, lm: bool) -> Vec<String> {
    let mut remarks = vec![
        "The wished shift is the same for both readers; each sets the target, and the size |Δv| after the clip at ±1, from its own reading of the original.".to_owned(),
        "reward: the detector and checker that rewriters are trained and steered by. judge: a second detector and checker, trained on other sources, that nothing else asks.".to_owned(),
        "policy is one clause a sentence, with nothing to choose among except that a clause read as moving the wrong way is dropped; best-of-N and loop choose under the reward models, which therefore flatter them.".to_owned(),
    ];
    if readers < 2 {
        remarks.push("No judge: the folders judge-detector and judge-checker are not among the models, so everything here is read by the reward models alone.".to_owned());
    }
    if !lm {
        remarks.push(
            "No perplexity: name a language model that was not trained to rewrite by --lm DIR."
                .to_owned(),
        );
    }
    if setting.data.is_none() {
        remarks.push(
            "Only the committed paragraphs; --data DIR adds film reviews and posts.".to_owned(),
        );
    }
    remarks
}

fn write(options: &Options, items: &[Item], comparison: &Comparison) -> Result<(), EvalError> {
    let json = serde_json::to_string_pretty(comparison).expect("a report serialises") + "\n";
    let items: String = (items.iter())
        .map(|item| serde_json::to_string(item).expect("an item serialises") + "\n")
        .collect();
    for (name, text) in [
        ("items.jsonl", items),
        ("report.md", comparison.markdown()),
        ("report.json", json),
        ("report.html", html::page(comparison)),
    ] {
        let path = options.out.join(name);
        std::fs::write(&path, text).map_err(|source| EvalError::Write { path, source })?;
    }
    Ok(())
}
