//! One struct a command serves flags, environment and file: flag over variable over file over default.
//!
//! A settings file only replaces *defaults* in the argument parser before it runs, so that the order above, the
//! checking of values and every message are the parser's, and each default stays written once, at its argument. The
//! origin of every setting is kept for `visa doctor`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use serde::Serialize;

use crate::cli::Cli;
use crate::exit::{Failure, usage};

/// The settings of a run with their origins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The settings file, if one was named.
    pub(crate) file: Option<PathBuf>,
    /// Every option of the command that has a value, in the order of its help.
    pub(crate) entries: Vec<Setting>,
}

/// One option, its value and where that came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Who decided a setting, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    Flag,
    Variable,
    File,
    Default,
}

impl Settings {
    /// Who decided the option `name` (as its long flag is spelled); `None` when it has no value.
    pub(crate) fn origin(&self, name: &str) -> Option<Origin> {
        self.entries
            .iter()
            .find(|s| s.name == name)
            .map(|s| s.origin)
    }
}

/// Parses the command line, with the settings file and the environment under it.
///
/// # Errors
/// Wrong usage, help and version requests, and a settings file that cannot be used.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<(Cli, Settings), Failure> {
    let mut command = quiet_help(Cli::command());
    let file = settings_file(&arguments);
    let mut from_file = BTreeSet::new();
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path).map_err(|e| {
            usage(format!(
                "the settings file {} cannot be read: {e}",
                path.display()
            ))
        })?;
        (command, from_file) = with_file(command, &text, path)?;
    }
    let matches = command
        .clone()
        .try_get_matches_from(arguments)
        .map_err(Failure::Arguments)?;
    let entries = entries(&command, &matches, &from_file);
    let cli = Cli::from_arg_matches(&matches).map_err(Failure::Arguments)?;
    Ok((cli, Settings { file, entries }))
}

/// Variables are named after the flags, which is said once and not at every option.
fn quiet_help(command: Command) -> Command {
    command
        .mut_args(|a| a.hide_env(true))
        .mut_subcommands(quiet_help)
}

/// `--config FILE` must be known before the other arguments can be parsed.
fn settings_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1);
    let mut found = None;
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            continue;
        };
        if text == "--" {
            break;
        } else if text == "--config" {
            found = arguments.next().map(PathBuf::from);
        } else if let Some(path) = text.strip_prefix("--config=") {
            found = Some(PathBuf::from(path));
        }
    }
    found.or_else(|| {
        std::env::var_os("VISA_CONFIG")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    })
}

/// A command and an option of it, such as `train lm` and `seed`.
type Place = (String, String);

/// Puts the file's values in the place of the defaults; answers which options it set.
fn with_file(
    command: Command,
    text: &str,
    path: &Path,
) -> Result<(Command, BTreeSet<Place>), Failure> {
    let wrong = |why: String| usage(format!("the settings file {}: {why}", path.display()));
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| wrong(e.to_string().trim().to_string()))?;
    let mut set = BTreeSet::new();
    let mut command = command;
    // Commands named by tables come after the options for all, which they override.
    for (key, value) in table.iter().filter(|(_, v)| !v.is_table()) {
        let texts = texts(key, value).map_err(&wrong)?;
        let mut known = false;
        command = everywhere(command, String::new(), key, &texts, &mut set, &mut known);
        if !known {
            return Err(wrong(unknown("option", key, &all_options(&Cli::command()))));
        }
    }
    for (key, value) in &table {
        if let toml::Value::Table(inner) = value {
            command = one_command(command, String::new(), key, inner, &mut set).map_err(&wrong)?;
        }
    }
    Ok((command, set))
}

fn everywhere(
    mut command: Command,
    path: String,
    key: &str,
    texts: &[String],
    set: &mut BTreeSet<Place>,
    known: &mut bool,
) -> Command {
    if let Some(id) = option_id(&command, key) {
        *known = true;
        set.insert((path.clone(), key.to_string()));
        command = set_default(command, &id, texts);
    }
    for name in sub_names(&command) {
        let inner = join(&path, &name);
        command =
            command.mut_subcommand(&name, |sub| everywhere(sub, inner, key, texts, set, known));
    }
    command
}

fn one_command(
    command: Command,
    path: String,
    name: &str,
    table: &toml::Table,
    set: &mut BTreeSet<Place>,
) -> Result<Command, String> {
    let names = sub_names(&command);
    if !names.iter().any(|n| n == name) {
        return Err(unknown("command", name, &names));
    }
    let path = join(&path, name);
    let mut outcome = Ok(());
    let command = command.mut_subcommand(name, |mut sub| {
        for (key, value) in table {
            let step = match value {
                toml::Value::Table(inner) => {
                    one_command(sub.clone(), path.clone(), key, inner, set)
                }
                value => texts(key, value).and_then(|texts| match option_id(&sub, key) {
                    Some(id) => {
                        set.insert((path.clone(), key.clone()));
                        Ok(set_default(sub.clone(), &id, &texts))
                    }
                    None => Err(unknown(
                        &format!("option of {path}"),
                        key,
                        &own_options(&sub),
                    )),
                }),
            };
            match step {
                Ok(changed) => sub = changed,
                Err(e) => {
                    outcome = Err(e);
                    break;
                }
            }
        }
        sub
    });
    outcome.map(|()| command)
}

fn set_default(command: Command, id: &str, texts: &[String]) -> Command {
    // The parser keeps defaults for the life of the process, and so does this; a settings file is small.
    let texts: Vec<&'static str> = texts
        .iter()
        .map(|t| &*Box::leak(t.clone().into_boxed_str()))
        .collect();
    command.mut_arg(id, |arg| arg.default_values(texts).required(false))
}

/// A TOML value as the words a flag would take.
fn texts(key: &str, value: &toml::Value) -> Result<Vec<String>, String> {
    match value {
        toml::Value::String(s) => Ok(vec![s.clone()]),
        toml::Value::Integer(n) => Ok(vec![n.to_string()]),
        toml::Value::Float(x) => Ok(vec![x.to_string()]),
        toml::Value::Boolean(b) => Ok(vec![b.to_string()]),
        toml::Value::Array(list) => list
            .iter()
            .map(|v| texts(key, v))
            .collect::<Result<Vec<_>, _>>()
            .map(|l| l.concat()),
        other => Err(format!(
            "{key} is a {}, which no option takes",
            other.type_str()
        )),
    }
}

fn option_id(command: &Command, key: &str) -> Option<String> {
    command
        .get_arguments()
        .find(|a| a.get_long() == Some(key) && key != "config")
        .map(|a| a.get_id().to_string())
}

fn own_options(command: &Command) -> Vec<String> {
    command
        .get_arguments()
        .filter_map(|a| a.get_long())
        .filter(|l| *l != "config")
        .map(str::to_string)
        .collect()
}

fn all_options(command: &Command) -> Vec<String> {
    let mut options = own_options(command);
    for sub in command.get_subcommands() {
        options.extend(all_options(sub));
    }
    options.sort();
    options.dedup();
    options
}

fn sub_names(command: &Command) -> Vec<String> {
    command
        .get_subcommands()
        .map(|s| s.get_name().to_string())
        .collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path} {name}")
    }
}

/// A message for a name that is none of `known`, with the nearest one.
pub(crate) fn unknown(what: &str, name: &str, known: &[String]) -> String {
    let near = known
        .iter()
        .map(|k| (similar::TextDiff::from_chars(name, k.as_str()).ratio(), k))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(ratio, _)| *ratio >= 0.6);
    match near {
        Some((_, k)) => format!("unknown {what} {name:?}; did you mean {k:?}?"),
        None => format!("unknown {what} {name:?}; known are {}", known.join(", ")),
    }
}

fn entries(command: &Command, matches: &ArgMatches, from_file: &BTreeSet<Place>) -> Vec<Setting> {
    let mut entries = Vec::new();
    let (mut command, mut matches, mut path) = (command, matches, String::new());
    loop {
        for argument in command.get_arguments() {
            let (id, Some(name)) = (argument.get_id().as_str(), argument.get_long()) else {
                continue;
            };
            let Ok(Some(raw)) = matches.try_get_raw(id) else {
                continue;
            };
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Origin::Flag,
                Some(ValueSource::EnvVariable) => Origin::Variable,
                _ if from_file.contains(&(path.clone(), name.to_string())) => Origin::File,
                _ => Origin::Default,
            };
            let value: Vec<_> = raw.map(|v| v.to_string_lossy().into_owned()).collect();
            entries.push(Setting {
                name: name.to_string(),
                value: value.join(" "),
                origin,
            });
        }
        match matches.subcommand() {
            Some((name, inner)) => {
                let Some(sub) = command.find_subcommand(name) else {
                    break;
                };
                path = join(&path, name);
                (command, matches) = (sub, inner);
            }
            None => break,
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, arguments: &[&str], name: &str, expected: (&str, Origin)) {
        let (command, set) =
            with_file(Cli::command(), file, Path::new("visa.toml")).expect("the file is good");
        let all = std::iter::once("visa").chain(arguments.iter().copied());
        let matches = command
            .clone()
            .try_get_matches_from(all)
            .expect("the arguments are good");
        let entries = entries(&command, &matches, &set);
        let found = entries
            .iter()
            .find(|s| s.name == name)
            .expect("the option has a value");
        assert_eq!((found.value.as_str(), found.origin), expected);
    }

    fn check_error(file: &str, expected: &str) {
        let error =
            with_file(Cli::command(), file, Path::new("visa.toml")).expect_err("a bad file");
        let Failure::Usage(error) = error else {
            panic!("not a usage error: {error:?}")
        };
        let message = error.to_string();
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        assert!(message.contains("visa.toml"), "{message:?} names no file");
    }

    #[test]
    fn a_file_replaces_defaults_and_flags_replace_the_file() {
        check("", &["detect", "x"], "seed", ("0", Origin::Default));
        check("seed = 7", &["detect", "x"], "seed", ("7", Origin::File));
        check(
            "seed = 7",
            &["detect", "x", "--seed", "8"],
            "seed",
            ("8", Origin::Flag),
        );
        check(
            "seed = 7\n[detect]\nseed = 9",
            &["detect", "x"],
            "seed",
            ("9", Origin::File),
        );
        check(
            "seed = 7\n[rewrite]\nseed = 9",
            &["detect", "x"],
            "seed",
            ("7", Origin::File),
        );
        check(
            "[train.lm]\nseed = 3",
            &["train", "lm", "--recipe", "r"],
            "seed",
            ("3", Origin::File),
        );
        check(
            "quiet = true",
            &["detect", "x"],
            "quiet",
            ("true", Origin::File),
        );
    }

    #[test]
    fn a_wrong_file_names_place_and_remedy() {
        check_error("sed = 7", "did you mean \"seed\"");
        check_error("[detekt]\nseed = 7", "did you mean \"detect\"");
        check_error("[detect]\nformt = \"json\"", "did you mean \"format\"");
        check_error("seed = ", "line 1");
        check_error("seed = 2020-01-01", "datetime");
    }

    #[test]
    fn the_settings_file_is_found_before_parsing() {
        let find =
            |args: &[&str]| settings_file(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(find(&["visa", "detect", "--config", "a"]), Some("a".into()));
        assert_eq!(
            find(&["visa", "detect", "--config=b", "x"]),
            Some("b".into())
        );
        assert_eq!(find(&["visa", "detect", "--", "--config", "a"]), None);
    }

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }
}
