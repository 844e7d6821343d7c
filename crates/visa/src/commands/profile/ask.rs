//! The questionnaire at a terminal, or its answers from a file.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use serde::Deserialize;
use visa_align::NamedProfile;
use visa_align::person::questionnaire::{ANSWERS, HIGHEST, items, profile};

use super::{KeepArgs, Keeper, Made, begin, say_saved, view};
use crate::args::{Common, IoArgs};
use crate::batch::{self, Item, Job, Record};
use crate::exit::{Failure, usage};
use crate::view::wrap::paragraph;
use crate::view::{DIM, HEADING, Style};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The twenty answers, 1 to 6, in the order of --list; without them you are asked, or --input is read: {"answers"}
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    answers: Vec<u8>,
    /// Print the statements with their numbers, and exit
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    io: IoArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct Input {
    answers: Vec<u8>,
}

impl Record for Input {
    /// Numbers between blanks or commas.
    fn from_text(text: String) -> anyhow::Result<Self> {
        let words = text.split(|c: char| c.is_whitespace() || c == ',');
        let answers = words
            .filter(|w| !w.is_empty())
            .map(|w| {
                w.parse()
                    .map_err(|_| anyhow::anyhow!("{w:?} is no answer; answers are 1 to {HIGHEST}"))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { answers })
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        answers,
        list,
        keep,
        io,
        common,
    } = arguments;
    let style = begin(&common, &io)?;
    if list {
        crate::output::open(&io.output, "-")?;
        return crate::output::write(&statements());
    }
    let keeper = Keeper::new(keep)?;
    let single = if !answers.is_empty() {
        Some(answers)
    } else if io.input == "-" && std::io::stdin().is_terminal() {
        // What is asked goes to stderr, so that the profile can go to a file.
        let style = Style::new(common.color, std::io::stderr().is_terminal());
        Some(ask(
            &style,
            &mut std::io::stdin().lock(),
            &mut std::io::stderr(),
        )?)
    } else {
        None
    };
    batch::run(
        Job {
            io: &io,
            single: single.map(|answers| Input { answers }),
            chunk: 64,
            progress: &|_| (),
        },
        |all: &[Item<Input>]| {
            Ok(all
                .iter()
                .map(|item| {
                    let answers = &item.record.answers;
                    let target = profile(answers)?;
                    let mut made = Made::new(NamedProfile::of(
                        target,
                        "answers to twenty statements, centred",
                    ));
                    if answers.iter().all(|a| a == &answers[0]) {
                        made.notice = Some(
                            "Every answer is the same, so no value goes before another.".into(),
                        );
                    }
                    keeper.keep(&mut made.profile)?;
                    Ok(made)
                })
                .collect())
        },
        |_, made| view(&style, made),
    )?;
    say_saved(&keeper, common.quiet);
    Ok(())
}

fn statements() -> String {
    let scale: Vec<String> = ANSWERS
        .iter()
        .enumerate()
        .map(|(i, words)| format!("{} {words}", i + 1))
        .collect();
    let mut out = format!("{}\n\n", scale.join(", "));
    for (i, item) in items().iter().enumerate() {
        out.push_str(&format!("{:>2}  {}\n", i + 1, item.text));
    }
    out
}

/// Asks every statement; a wrong answer is asked again, `b` goes back, the end of the input ends it.
fn ask(
    style: &Style,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<Vec<u8>, Failure> {
    let lost =
        |e: std::io::Error| Failure::Input(anyhow::Error::new(e).context("the questionnaire"));
    let items = items();
    writeln!(output, "How much is each statement like you?\n").map_err(lost)?;
    for (i, words) in ANSWERS.iter().enumerate() {
        writeln!(output, "  {} {}", i + 1, style.paint(DIM, words)).map_err(lost)?;
    }
    writeln!(
        output,
        "  b {}\n",
        style.paint(DIM, "back to the one before")
    )
    .map_err(lost)?;
    let mut answers: Vec<u8> = Vec::new();
    while let Some(item) = items.get(answers.len()) {
        let number = format!("{:>2}/{}", answers.len() + 1, items.len());
        let words = paragraph(&item.text, 6, style.width);
        write!(output, "{number} {}      > ", words.trim_start()).map_err(lost)?;
        output.flush().map_err(lost)?;
        let mut line = String::new();
        if input.read_line(&mut line).map_err(lost)? == 0 {
            return Err(usage(format!(
                "the questionnaire ended after {} of {} answers; nothing was made of them",
                answers.len(),
                items.len()
            )));
        }
        match line.trim() {
            "b" => drop(answers.pop()),
            given => match given.parse::<u8>() {
                Ok(answer) if (1..=HIGHEST).contains(&answer) => answers.push(answer),
                _ => {
                    let help = format!("      a number from 1 to {HIGHEST}, or b");
                    writeln!(output, "{}", style.paint(HEADING, &help)).map_err(lost)?;
                }
            },
        }
    }
    writeln!(output).map_err(lost)?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::PLAIN;

    fn answer(lines: &str) -> (Result<Vec<u8>, Failure>, String) {
        let mut output = Vec::new();
        let answers = ask(&PLAIN, &mut lines.as_bytes(), &mut output);
        (answers, String::from_utf8(output).expect("UTF-8"))
    }

    #[test]
    fn wrong_answers_are_asked_again_and_b_goes_back() {
        let lines = format!("9\nx\n1\n2\nb\n3\n{}", "4\n".repeat(18));
        let (answers, said) = answer(&lines);
        let answers = answers.expect("twenty answers");
        assert_eq!((answers.len(), &answers[..3]), (20, &[1, 3, 4][..]));
        assert_eq!(said.matches(" 1/20").count(), 3);
        assert_eq!(said.matches("a number from 1 to 6").count(), 2);
        assert_eq!(said.matches(" 2/20").count(), 2);
    }

    #[test]
    fn an_early_end_makes_nothing() {
        let (answers, _) = answer("1\n2\n");
        let Err(Failure::Usage(error)) = answers else {
            panic!("{answers:?}")
        };
        assert!(error.to_string().contains("after 2 of 20"));
    }
}
