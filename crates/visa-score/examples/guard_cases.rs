//! Measures the guards on sentences of a data folder: `guard_cases DATA [SHOW]` prints how many of the changes are caught
//! and how many true paraphrases raise a false alarm, with SHOW examples of each failure. DATA holds `wiki-split/`,
//! `kpa/` and `onestopenglish/` as published.
#![allow(clippy::print_stdout)]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use visa_score::cases::{self, Case};
use visa_score::guards;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("usage: guard_cases DATA [SHOW]")?;
    let show: usize = arguments.next().map_or(Ok(3), |n| n.parse())?;
    let data = Path::new(&data);
    let wiki = fs::read_to_string(data.join("wiki-split/tune.tsv"))?;
    let test = fs::read_to_string(data.join("wiki-split/test.tsv"))?;
    let held = fs::read_to_string(data.join("wiki-split/validation.tsv"))?;
    let kpa = fs::read_to_string(data.join("kpa/arguments_train.csv"))?;
    let arguments: Vec<&str> = kpa
        .lines()
        .skip(1)
        .filter_map(argument)
        .filter(|a| a.len() > 25)
        .collect();
    for (name, split) in [
        ("wiki-split tune", &wiki),
        ("wiki-split test", &test),
        ("wiki-split validation", &held),
    ] {
        let pairs: Vec<(&str, String)> = split.lines().filter_map(pair).collect();
        // Every second sentence of encyclopaedia, every fourth of arguments, so that both styles are in each thousand.
        let mut mixed: Vec<&str> = pairs.iter().step_by(2).map(|(whole, _)| *whole).collect();
        let offset = usize::from(!name.ends_with("tune"));
        for (i, argument) in arguments.iter().skip(offset).step_by(2).enumerate() {
            mixed.insert((2 * i).min(mixed.len()), argument);
        }
        println!("== {name} + arguments: {} sentences", mixed.len());
        caught(
            "changed number",
            &limited(cases::changed_numbers(&mixed, 1)),
            show,
        );
        caught(
            "changed name",
            &limited(cases::changed_names(&mixed, 2)),
            show,
        );
        caught(
            "changed negation",
            &limited(cases::changed_negations(&mixed, 3)),
            show,
        );
        alarms(
            "generated paraphrases",
            &cases::paraphrases(&mixed, 4),
            show,
        );
        alarms(
            "added clauses",
            &limited(cases::added_clauses(&mixed, 5)),
            show,
        );
        let all: Vec<Case> = pairs.iter().map(|(a, b)| made(a, b)).collect();
        alarms("all splits (many unfaithful)", &all, show);
        let faithful: Vec<Case> = all
            .into_iter()
            .filter(|c| same_words(&c.original, &c.candidate, 0))
            .collect();
        alarms("splits with the same content words", &faithful, show);
    }
    for file in ["ADV-INT", "ELE-INT"] {
        let text = fs::read(data.join(format!("onestopenglish/Sentence-Aligned/{file}.txt")))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let aligned: Vec<Case> = lines
            .split(|l| l.starts_with("***"))
            .filter(|block| block.len() >= 2)
            .map(|block| made(block[0].trim(), block[1].trim()))
            .filter(|c| c.original != c.candidate)
            .collect();
        alarms(
            &format!("{file}, all aligned (many unfaithful)"),
            &aligned,
            0,
        );
        let near: Vec<Case> = aligned
            .into_iter()
            .filter(|c| same_words(&c.original, &c.candidate, 2))
            .collect();
        alarms(
            &format!("{file}, at most two content words changed"),
            &near,
            show,
        );
    }
    let long = wiki.repeat(1 + 1_000_000 / wiki.len());
    let long: String = long.chars().take(1_000_000).collect();
    let start = std::time::Instant::now();
    let found = guards(&long, &long).len();
    println!(
        "{} bytes against themselves: {found} violations, {:.2?}",
        long.len(),
        start.elapsed()
    );
    Ok(())
}

fn made(original: &str, candidate: &str) -> Case {
    Case {
        original: original.to_owned(),
        candidate: candidate.to_owned(),
        what: "pair",
    }
}

fn limited(mut cases: Vec<Case>) -> Vec<Case> {
    cases.truncate(1000);
    cases
}

/// Text of `arg_id,argument,topic,stance`, for arguments without a comma or quoted.
fn argument(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(',')?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted
            .split_once("\",")
            .map(|(a, _)| a)
            .filter(|a| !a.contains('"')),
        None => rest.split_once(',').map(|(a, _)| a),
    }
}

fn pair(line: &str) -> Option<(&str, String)> {
    let (whole, parts) = line.split_once('\t')?;
    Some((whole.trim(), parts.replace(" <::::>", "").trim().to_owned()))
}

/// Whether two texts have the same content words, up to `most` on each side: a test of faithfulness that knows no guards
/// (lower case, no stop words, no signs).
fn same_words(a: &str, b: &str, most: usize) -> bool {
    const STOP: &[&str] = &[
        "it", "he", "she", "they", "this", "that", "these", "those", "was", "were", "is", "are",
        "the", "and", "but", "which", "who", "also", "then", "there", "has", "had", "have", "been",
        "his", "her", "their", "its", "him", "them", "with", "for", "while", "where", "when",
        "whose", "being", "however", "although",
    ];
    let set = |text: &str| -> HashSet<String> {
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| (w.len() > 2 || w.chars().any(|c| c.is_ascii_digit())) && !STOP.contains(w))
            .map(str::to_owned)
            .collect()
    };
    let (a, b) = (set(a), set(b));
    a.difference(&b).count() <= most && b.difference(&a).count() <= most
}

fn caught(name: &str, cases: &[Case], show: usize) {
    let missed: Vec<&Case> = cases
        .iter()
        .filter(|c| guards(&c.original, &c.candidate).is_empty())
        .collect();
    let share = 100.0 * (cases.len() - missed.len()) as f64 / cases.len().max(1) as f64;
    println!("{name}: caught {share:.2} % of {}", cases.len());
    for case in missed.iter().take(show) {
        println!(
            "  MISSED [{}]\n    {}\n    {}",
            case.what, case.original, case.candidate
        );
    }
}

fn alarms(name: &str, cases: &[Case], show: usize) {
    let raised: Vec<(&Case, _)> = cases
        .iter()
        .map(|c| (c, guards(&c.original, &c.candidate)))
        .filter(|(_, v)| !v.is_empty())
        .collect();
    let share = 100.0 * raised.len() as f64 / cases.len().max(1) as f64;
    println!("{name}: false alarms {share:.2} % of {}", cases.len());
    for (case, violations) in raised.iter().take(show) {
        println!(
            "  ALARM [{}]\n    {}\n    {}",
            case.what, case.original, case.candidate
        );
        for violation in violations {
            println!("      {}", violation.detail);
        }
    }
}
