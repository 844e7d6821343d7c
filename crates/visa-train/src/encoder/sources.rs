//! Reading the detector's sources below the data folder: files in, parsed rows out.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};

use visa_wire::datasets::{persona, touche, valuebench};

use crate::{Error, Result, RunContext};

/// An argument with its 20 labels, in the order of [`visa_values::Category::ALL`].
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The argument.
    pub argument: touche::Argument,
    /// Which categories it resorts to.
    pub labels: Vec<bool>,
}

/// The text of a file below the data folder.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn read(context: &RunContext, name: &str) -> Result<String> {
    let path = context.data.join(name);
    std::fs::read_to_string(&path).map_err(Error::io(&path))
}

/// A parser's failure with the file's name.
pub fn parsed<T, E: ToString>(
    context: &RunContext,
    name: &str,
    result: std::result::Result<T, E>,
) -> Result<T> {
    result.map_err(|e| Error::data(&context.data.join(name), e.to_string()))
}

/// A split of `touche23`: `training`, `validation` or `validation-zhihu`.
///
/// # Errors
/// A file that is missing or malformed, or labels that do not belong to the arguments.
pub fn arguments(context: &RunContext, split: &str) -> Result<Vec<Labelled>> {
    let file = format!("touche23/arguments-{split}.tsv");
    let arguments = parsed(context, &file, touche::arguments(&read(context, &file)?))?;
    let file = format!("touche23/labels-{split}.tsv");
    let labels = parsed(context, &file, touche::labels(&read(context, &file)?))?;
    let bad = |detail: String| Error::data(&context.data.join(&file), detail);
    let columns: Vec<usize> = (visa_values::Category::ALL.iter())
        .map(|c| {
            let found = labels.names.iter().position(|n| n == c.name());
            found.ok_or_else(|| bad(format!("no column {:?}; fetch the file again", c.name())))
        })
        .collect::<Result<_>>()?;
    let by_id: HashMap<&str, &Vec<bool>> = labels
        .rows
        .iter()
        .map(|(id, flags)| (id.as_str(), flags))
        .collect();
    (arguments.into_iter())
        .map(|argument| {
            let flags = by_id.get(argument.id.as_str());
            let flags =
                flags.ok_or_else(|| bad(format!("no labels for argument {}", argument.id)))?;
            let labels = columns
                .iter()
                .map(|&c| flags.get(c).copied().unwrap_or(false))
                .collect();
            Ok(Labelled { argument, labels })
        })
        .collect()
}

/// One phrase-rich text for each of the 20 categories, from `value-categories.json`.
///
/// # Errors
/// A file that is missing, malformed, or lacks a category.
pub fn descriptions(context: &RunContext) -> Result<Vec<String>> {
    let file = "touche23/value-categories.json";
    let all = parsed(context, file, touche::categories(&read(context, file)?))?;
    (visa_values::Category::ALL.iter())
        .map(|category| {
            let found = all.iter().find(|d| d.name == category.name());
            let found = found.ok_or_else(|| {
                Error::data(
                    &context.data.join(file),
                    format!("{:?} is not described", category.name()),
                )
            })?;
            let values = found
                .values
                .iter()
                .map(|(value, phrases)| format!("{value}: {}", phrases.join(", ")));
            Ok(format!(
                "{}. {}",
                found.name,
                values.collect::<Vec<_>>().join(". ")
            ))
        })
        .collect()
}

/// The statements of some traits, by trait.
///
/// # Errors
/// A file that is missing or malformed.
pub fn statements<'t>(
    context: &RunContext,
    traits: impl Iterator<Item = &'t str>,
) -> Result<BTreeMap<String, Vec<persona::Statement>>> {
    traits
        .map(|name| {
            let file = format!("persona-statements/{name}.jsonl");
            Ok((
                name.to_owned(),
                parsed(context, &file, persona::statements(&read(context, &file)?))?,
            ))
        })
        .collect()
}

/// Items and definitions of `valuebench`.
///
/// # Errors
/// A file that is missing or malformed.
pub fn inventories(
    context: &RunContext,
) -> Result<(Vec<valuebench::Item>, Vec<valuebench::Definition>)> {
    let file = "valuebench/value_orientation.csv";
    let items = parsed(context, file, valuebench::items(&read(context, file)?))?;
    let file = "valuebench/extracted_data/value_definition.csv";
    let path = context.data.join(file);
    // Some characters of this file were lost when it was published.
    let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
    let definitions = parsed(
        context,
        file,
        valuebench::definitions(&String::from_utf8_lossy(&bytes)),
    )?;
    Ok((items, definitions))
}

/// The first `count` sentences of 40 to 160 bytes, one a paragraph at most, from a compressed text file.
///
/// # Errors
/// A file that is missing or cannot be decompressed.
pub fn sentences(context: &RunContext, file: &str, count: usize) -> Result<Vec<String>> {
    collect(context, file, count, |line| {
        // The second sentence is seldom a heading or a definition with brackets.
        let sentence = line.split_inclusive(". ").nth(1).map(str::trim);
        sentence.filter(|s| (40..=160).contains(&s.len()) && s.ends_with('.'))
    })
}

/// The first `count` paragraphs of 80 to 320 bytes: one to three sentences.
///
/// # Errors
/// A file that is missing or cannot be decompressed.
pub fn paragraphs(context: &RunContext, file: &str, count: usize) -> Result<Vec<String>> {
    collect(context, file, count, |line| {
        Some(line.trim()).filter(|l| (80..=320).contains(&l.len()))
    })
}

fn collect(
    context: &RunContext,
    file: &str,
    count: usize,
    pick: impl Fn(&str) -> Option<&str>,
) -> Result<Vec<String>> {
    let path = context.data.join(file);
    let open = std::fs::File::open(&path).map_err(Error::io(&path))?;
    let decoder = zstd::Decoder::new(open).map_err(Error::io(&path))?;
    let mut found = Vec::with_capacity(count);
    for line in BufReader::new(decoder).lines() {
        if found.len() == count {
            break;
        }
        let line = line.map_err(Error::io(&path))?;
        found.extend(pick(&line).map(str::to_owned));
    }
    Ok(found)
}
