//! `visa search`: no target, only feedback. What somebody likes better of two texts, or how they rate texts, becomes the
//! profile that they would have a text speak, with how sure that is and which question would tell the most.
//!
//! Two levels. The outer one is a preference model over profiles (`visa_align::person`). The inner one, when a text is given,
//! asks the rewriter for the best rewrite at growing shares of the way to the estimated ideal, and at an ideal drawn from
//! the posterior; the rewrites that nothing beats in predicted preference and consistency are the front, and the target
//! behind the best of them is what is kept. Without a text the ideal itself is kept.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use visa_align::person::preference::{Choice, Preference, front, rated};
use visa_align::person::questionnaire;
use visa_align::rewrite::{Cancel, Goal, Loop, RewriteOptions, RewriteRequest};
use visa_align::{Checker, Detector, EmbeddedBackend, Models, NamedProfile, Text, Trunk, Values};
use visa_values::{Profile, Target};

use crate::args::{Common, Format, ModelArgs, default_format};
use crate::commands::profile::{KeepArgs, Keeper, Made, say_saved, view};
use crate::exit::{Failure, model, usage};
use crate::output;
use crate::view::wrap::paragraph;
use crate::view::{DIM, HEADING, Style, printable};

/// Shares of the way to the ideal at which a rewrite is asked for.
const SHARES: [f32; 4] = [0.25, 0.5, 0.75, 1.0];

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A text to search on: the front is over rewrites of it
    text: Option<String>,
    /// Choices, a JSON object a line: {"chosen": …, "other": …}, each a text or an object of values
    #[arg(long, value_name = "FILE", env = "VISA_CHOICES")]
    choices: Option<PathBuf>,
    /// Rated examples, a JSON object a line: {"text": …, "rating": 4}, on any scale
    #[arg(long, value_name = "FILE", env = "VISA_RATED")]
    rated: Option<PathBuf>,
    /// Texts to ask about, one a line, in place of the questionnaire's statements
    #[arg(long, value_name = "FILE", env = "VISA_POOL")]
    pool: Option<PathBuf>,
    /// Questions to ask at the terminal; 12 where no feedback is given otherwise
    #[arg(long, value_name = "N", env = "VISA_QUESTIONS")]
    questions: Option<usize>,
    /// Candidates a round of the inner search
    #[arg(long, value_name = "N", env = "VISA_CANDIDATES", default_value_t = RewriteOptions::default().candidates)]
    candidates: usize,
    /// Form of the result [default: text on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORM", env = "VISA_FORMAT", value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: Common,
}

/// A text, or what it speaks where that is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Values(Profile),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceLine {
    chosen: Said,
    other: Said,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RatedLine {
    text: Said,
    rating: f64,
}

/// A rewrite on the front.
#[derive(Debug, Serialize)]
struct Point {
    text: String,
    /// Probability that it is liked better than the original.
    preference: f64,
    consistency: f32,
    /// The target it was asked for.
    target: Target,
}

/// The question that would tell the most.
#[derive(Debug, Serialize)]
struct Question {
    first: String,
    second: String,
    /// What its answer is expected to tell, in nats; a coin whose side nobody knows tells 0.69.
    tells: f64,
}

#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    made: Made,
    choices: usize,
    /// Expected cosine of the found ideal with the true one.
    sure: f64,
    /// How sharply the choices tell texts apart.
    sharpness: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    front: Vec<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
}

/// The models of a search.
struct Tools {
    models: Models,
    trunk: Trunk,
    detector: Detector,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.common.apply()?;
    let a = &arguments;
    if !(1..=256).contains(&a.candidates) {
        return Err(usage(format!(
            "--candidates is {}; give 1 to 256",
            a.candidates
        )));
    }
    let format = a.format.unwrap_or_else(|| default_format("-"));
    let style = Style::new(
        a.common.color,
        format == Format::Text && output::is_terminal("-"),
    );
    let given = a.choices.is_some() || a.rated.is_some();
    let questions = match a.questions {
        Some(n) => n,
        None if given => 0,
        None if std::io::stdin().is_terminal() => 12,
        None => {
            return Err(usage(
                "no feedback: give --choices FILE or --rated FILE, or --questions N to be asked (answers 1 or 2, a line each)",
            ));
        }
    };
    let keeper = Keeper::new(arguments.keep)?;
    let models = arguments.model.find()?;
    let trunk = Trunk::find(&models).map_err(model)?;
    let tools = Tools {
        detector: Detector::find(&models, &trunk).map_err(model)?,
        models,
        trunk,
    };
    let mut choices = Vec::new();
    if let Some(path) = &arguments.choices {
        choices.extend(tools.chosen(path).map_err(Failure::Input)?);
    }
    if let Some(path) = &arguments.rated {
        choices.extend(tools.rated(path).map_err(Failure::Input)?);
    }
    let pool = pool(arguments.pool.as_deref()).map_err(Failure::Input)?;
    let profiles = tools.profiles(&pool).map_err(Failure::Input)?;
    let asked = ask(
        questions,
        &pool,
        &profiles,
        &mut choices,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr(),
    )?;
    let seed = arguments.common.seed;
    let found = tools
        .find(
            &choices,
            arguments.text.as_deref(),
            arguments.candidates,
            seed,
        )
        .and_then(|(preference, target, front)| {
            let mut made = Made::new(NamedProfile {
                uncertainty: Some(preference.uncertainty()),
                ..NamedProfile::of(target, format!("found from {} choices", choices.len()))
            });
            keeper.keep(&mut made.profile)?;
            Ok(Found {
                made,
                choices: choices.len(),
                sure: preference.expected_cosine(seed),
                sharpness: preference.sharpness,
                front,
                question: question(&preference, &pool, &profiles, &asked),
            })
        })
        .map_err(Failure::Input)?;
    output::open("-", "-")?;
    output::write(&match format {
        Format::Text => show(&style, &found),
        Format::Json => json(serde_json::to_string_pretty(&found))?,
        Format::Jsonl => json(serde_json::to_string(&found))?,
    })?;
    say_saved(&keeper, arguments.common.quiet);
    Ok(())
}

fn json(text: serde_json::Result<String>) -> Result<String, Failure> {
    text.map(|t| t + "\n").map_err(|e| Failure::Input(e.into()))
}

/// One object a line, with the line's number in every error.
fn lines<T: for<'d> Deserialize<'d>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut found = Vec::new();
    for (n, line) in (1..).zip(text.lines()) {
        if !line.trim().is_empty() {
            let one = serde_json::from_str(line)
                .map_err(|e| anyhow!("{}, line {n}: {e}", path.display()))?;
            found.push(one);
        }
    }
    if found.is_empty() {
        bail!("{} is empty; give a JSON object a line", path.display());
    }
    Ok(found)
}

/// The texts that are asked about.
fn pool(path: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let Some(path) = path else {
        let items = questionnaire::items().iter();
        return Ok(items.map(|item| item.text.clone()).collect());
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let pool: Vec<String> = lines.map(str::to_owned).collect();
    if pool.len() < 2 {
        bail!("{}: give at least two texts, one a line", path.display());
    }
    Ok(pool)
}

impl Tools {
    fn profiles(&self, texts: &[String]) -> anyhow::Result<Vec<Profile>> {
        let texts: Vec<Text> = texts.iter().map(Text::new).collect();
        Ok(self.detector.profiles(&texts)?)
    }

    fn read(&self, said: Vec<Said>) -> anyhow::Result<Vec<Profile>> {
        let texts: Vec<String> = (said.iter())
            .filter_map(|s| match s {
                Said::Text(text) => Some(text.clone()),
                Said::Values(_) => None,
            })
            .collect();
        let mut read = self.profiles(&texts)?.into_iter();
        said.into_iter()
            .map(|s| match s {
                Said::Values(profile) => Ok(profile),
                Said::Text(_) => read.next().ok_or_else(|| anyhow!("a text was not read")),
            })
            .collect()
    }

    fn chosen(&self, path: &Path) -> anyhow::Result<Vec<Choice>> {
        let lines: Vec<ChoiceLine> = lines(path)?;
        let both = lines
            .into_iter()
            .flat_map(|l| [l.chosen, l.other])
            .collect();
        let read = self.read(both)?;
        Ok(read
            .chunks(2)
            .map(|pair| Choice::new(pair[0].clone(), pair[1].clone()))
            .collect())
    }

    fn rated(&self, path: &Path) -> anyhow::Result<Vec<Choice>> {
        let lines: Vec<RatedLine> = lines(path)?;
        let ratings: Vec<f64> = lines.iter().map(|l| l.rating).collect();
        let read = self.read(lines.into_iter().map(|l| l.text).collect())?;
        let texts: Vec<(Profile, f64)> = read.into_iter().zip(ratings).collect();
        rated(&texts).with_context(|| path.display().to_string())
    }

    /// The preference, the target to keep, and the front where there is a text.
    fn find(
        &self,
        choices: &[Choice],
        text: Option<&str>,
        candidates: usize,
        seed: u64,
    ) -> anyhow::Result<(Preference, Profile, Vec<Point>)> {
        let preference = Preference::fit(choices)?;
        let ideal = preference.ideal();
        let Some(text) = text else {
            return Ok((preference, ideal, Vec::new()));
        };
        let front = self.front(&preference, text, candidates, seed)?;
        // Preference and consistency weigh alike, as in the score of a rewrite.
        let best = front.iter().max_by(|a, b| {
            let worth = |p: &Point| p.preference + f64::from(p.consistency);
            worth(a).total_cmp(&worth(b))
        });
        let target = best.map_or(ideal, |point| point.target.profile().clone());
        Ok((preference, target, front))
    }

    /// The original and its rewrites that nothing beats.
    fn front(
        &self,
        preference: &Preference,
        text: &str,
        candidates: usize,
        seed: u64,
    ) -> anyhow::Result<Vec<Point>> {
        let checker = Checker::find(&self.models, &self.trunk)?;
        let mut backend = EmbeddedBackend::find(&self.models, &self.trunk, &self.detector)?;
        let before = self.profiles(&[text.to_owned()])?.remove(0);
        let ideal = preference.ideal();
        let mut targets: Vec<Target> = SHARES.map(|share| toward(&before, &ideal, share)).into();
        targets.push(Target::new(preference.draw(seed)));
        let mut points = vec![Point {
            text: text.to_owned(),
            preference: 0.5,
            consistency: 1.0,
            target: Target::new(before.clone()),
        }];
        for target in targets {
            let mut rewriting = Loop {
                values: &self.detector,
                checker: &checker,
                translator: None,
                backend: &mut backend,
                options: RewriteOptions {
                    candidates,
                    seed,
                    ..RewriteOptions::default()
                },
            };
            let request = RewriteRequest {
                text: text.to_owned(),
                query: None,
                goal: Goal::Target(target.clone()),
            };
            let outcome = rewriting.rewrite(&request, &Cancel::new(), &mut |_| {})?;
            points.push(Point {
                preference: preference.prefers(&outcome.after, &before),
                consistency: outcome.score.consistency.mean(),
                text: outcome.rewritten,
                target,
            });
        }
        let both: Vec<(f64, f64)> = (points.iter())
            .map(|p| (p.preference, f64::from(p.consistency)))
            .collect();
        let mut points: Vec<Option<Point>> = points.into_iter().map(Some).collect();
        Ok(front(&both)
            .into_iter()
            .filter_map(|i| points[i].take())
            .collect())
    }
}

/// This share of the way from one profile to another.
fn toward(from: &Profile, to: &Profile, share: f32) -> Target {
    let (a, b) = (from.as_array(), to.as_array());
    let there = std::array::from_fn(|v| (a[v] + share * (b[v] - a[v])).clamp(-1.0, 1.0));
    Target::new(Profile::new(there).expect("between two profiles"))
}

/// Asks `count` questions, the most telling first; an empty line or the end of the input ends them. Answers what was asked.
fn ask(
    count: usize,
    pool: &[String],
    profiles: &[Profile],
    choices: &mut Vec<Choice>,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<Vec<(usize, usize)>, Failure> {
    let lost = |e: std::io::Error| Failure::Input(anyhow::Error::new(e).context("the questions"));
    let fit = |choices: &[Choice]| {
        Preference::fit(choices).map_err(|e| Failure::Input(anyhow::Error::new(e)))
    };
    let mut asked: Vec<(usize, usize)> = Vec::new();
    while asked.len() < count {
        let preference = fit(choices)?;
        let Some((a, b, _)) = preference.question(profiles, &asked) else {
            break;
        };
        writeln!(
            out,
            "{}/{count}  Which is more like what you would say?\n  1  {}\n  2  {}",
            asked.len() + 1,
            printable(&pool[a]),
            printable(&pool[b])
        )
        .map_err(lost)?;
        let chosen = loop {
            write!(out, "  > ").map_err(lost)?;
            out.flush().map_err(lost)?;
            let mut line = String::new();
            input.read_line(&mut line).map_err(lost)?;
            match line.trim() {
                "1" => break Some((a, b)),
                "2" => break Some((b, a)),
                "" => break None,
                _ => writeln!(out, "  1 or 2; an empty line ends the questions").map_err(lost)?,
            }
        };
        let Some((liked, other)) = chosen else { break };
        choices.push(Choice::new(
            profiles[liked].clone(),
            profiles[other].clone(),
        ));
        asked.push((a, b));
    }
    Ok(asked)
}

fn question(
    preference: &Preference,
    pool: &[String],
    profiles: &[Profile],
    asked: &[(usize, usize)],
) -> Option<Question> {
    let (a, b, tells) = preference.question(profiles, asked)?;
    Some(Question {
        first: pool[a].clone(),
        second: pool[b].clone(),
        tells,
    })
}

fn show(style: &Style, found: &Found) -> String {
    let mut out = view(style, &found.made);
    out.push_str(&format!(
        "\n  sure        {:.2}, the expected cosine with the true profile; 0 is nothing known\n",
        found.sure
    ));
    if !found.front.is_empty() {
        out.push_str(&format!("\n  {}\n", style.paint(HEADING, "the front")));
        for point in &found.front {
            out.push_str(&format!(
                "  liked better with {:.2}, meaning kept {:.2}\n{}",
                point.preference,
                point.consistency,
                paragraph(&printable(&point.text), 4, style.width)
            ));
        }
    }
    if let Some(question) = &found.question {
        let words = format!(
            "Most would be learnt from: {:?} or {:?}? ({:.2} of at most 0.69 nats)",
            question.first, question.second, question.tells
        );
        let words = paragraph(&printable(&words), 2, style.width);
        out.push_str(&format!("\n{}", style.paint(DIM, &words)));
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use visa_values::Value;

    use super::*;

    fn asked(answers: &str, count: usize) -> (usize, Vec<Choice>, String) {
        let pool: Vec<String> = ["lead", "obey", "rest"].map(str::to_owned).into();
        let profiles = ["power=0.8", "conformity=0.8", "hedonism=0.8"]
            .map(|p| Profile::parse(p).expect("a profile"));
        let mut choices = Vec::new();
        let mut out = Vec::new();
        let asked = ask(
            count,
            &pool,
            &profiles,
            &mut choices,
            &mut answers.as_bytes(),
            &mut out,
        )
        .expect("answered");
        (asked.len(), choices, String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn questions_differ_and_wrong_answers_are_asked_again() {
        let (count, choices, said) = asked("1\nyes\n2\n1\n", 9);
        // Three texts make three pairs, and no more.
        assert_eq!((count, choices.len()), (3, 3));
        assert_eq!(said.matches("1 or 2; an empty line").count(), 1);
        let (count, _, _) = asked("1\n\n1\n", 9);
        assert_eq!(count, 1);
        assert_eq!(asked("1\n1\n", 1).0, 1);
        assert_eq!(asked("", 2).0, 0);
    }

    #[test]
    fn a_share_of_the_way_is_between() {
        let (a, b) = (
            Profile::zero(),
            Profile::parse("power=0.8").expect("a profile"),
        );
        let half = toward(&a, &b, 0.5);
        assert!((half.get(Value::Power) - 0.4).abs() < 1e-6);
    }
}
