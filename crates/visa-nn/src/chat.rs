//! Chat templates: messages to the prompt a model was trained on.
//!
//! The template is the Jinja text in `chat_template.jinja` or in
//! `tokenizer_config.json`, rendered as `transformers` does: blocks trimmed,
//! Python's string and list methods, `raise_exception`, `strftime_now` and
//! `tojson`. Does not tokenise.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Error, Result, files};

const TEMPLATE: &str = "chat";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`, as far as the template knows them.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// A compiled chat template with the special tokens it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    path: PathBuf,
    environment: Environment<'static>,
    specials: Vec<(String, String)>,
}

impl ChatTemplate {
    /// Loads the template of a model's folder: `chat_template.jinja`, or the
    /// field `chat_template` of `tokenizer_config.json` (a text, or a list of
    /// named ones of which `default` is taken).
    pub fn load(dir: &Path) -> Result<Self> {
        let config_path = dir.join("tokenizer_config.json");
        let separate = dir.join("chat_template.jinja");
        let config: Json = match config_path.exists() {
            true => serde_json::from_str(&files::read_text(&config_path)?)
                .map_err(|e| Error::not_json(&config_path, e))?,
            // The tokens are optional where the template is a file of its own.
            false if separate.exists() => Json::Null,
            false => return Err(Error::io(&config_path)(std::io::ErrorKind::NotFound.into())),
        };
        let specials = ["bos_token", "eos_token", "unk_token", "pad_token"]
            .into_iter()
            .filter_map(|name| {
                let token = config.get(name)?;
                let token = token.as_str().or_else(|| token.get("content")?.as_str())?;
                Some((name.to_owned(), token.to_owned()))
            })
            .collect();
        if separate.exists() {
            return Self::new(&files::read_text(&separate)?, specials, &separate);
        }
        let source = match config.get("chat_template") {
            Some(Json::String(source)) => Some(source.as_str()),
            Some(Json::Array(list)) => list
                .iter()
                .find(|entry| entry.get("name").and_then(Json::as_str) == Some("default"))
                .and_then(|entry| entry.get("template")?.as_str()),
            _ => None,
        };
        match source {
            Some(source) => Self::new(source, specials, &config_path),
            None => Err(Error::Template {
                path: config_path,
                detail: "the model has none; choose a model tuned for chat, or give plain prompts"
                    .to_owned(),
            }),
        }
    }

    /// Compiles a template; `specials` are names such as `bos_token` with the
    /// tokens; errors name `path`.
    pub fn new(source: &str, specials: Vec<(String, String)>, path: &Path) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| {
            Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| {
            strftime(&format, SystemTime::now())
                .map_err(|detail| minijinja::Error::new(ErrorKind::InvalidOperation, detail))
        });
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned(TEMPLATE, source.to_owned())
            .map_err(|error| failed(path, &error))?;
        Ok(Self {
            path: path.to_path_buf(),
            environment,
            specials,
        })
    }

    /// The prompt of a conversation. `add_generation_prompt` opens the
    /// assistant's next message.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.render_with(messages, add_generation_prompt, &serde_json::Map::new())
    }

    /// As [`ChatTemplate::render`], with further variables (`tools`,
    /// `enable_thinking` and the like); they win over the special tokens.
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        variables: &serde_json::Map<String, Json>,
    ) -> Result<String> {
        let mut context: Vec<(&str, Value)> = Vec::new();
        for (name, token) in &self.specials {
            context.push((name, Value::from(token.as_str())));
        }
        for (name, value) in variables {
            context.push((name, Value::from_serialize(value)));
        }
        context.push(("messages", Value::from_serialize(messages)));
        context.push(("add_generation_prompt", Value::from(add_generation_prompt)));
        let context: Value = context.into_iter().collect();
        self.environment
            .get_template(TEMPLATE)
            .and_then(|template| template.render(context))
            .map_err(|error| failed(&self.path, &error))
    }
}

fn failed(path: &Path, error: &minijinja::Error) -> Error {
    let line = error
        .line()
        .map(|line| format!(" (line {line})"))
        .unwrap_or_default();
    let detail = match error.detail() {
        Some(detail) => format!("{detail}{line}"),
        None => format!("{error}"),
    };
    Error::Template {
        path: path.to_path_buf(),
        detail,
    }
}

/// JSON as Python's `json.dumps(…, ensure_ascii=False)` writes it; minijinja's
/// own filter escapes for HTML.
fn tojson(
    value: Value,
    rest: Rest<Value>,
    options: Kwargs,
) -> std::result::Result<Value, minijinja::Error> {
    let indent: Option<usize> = match rest.first() {
        Some(indent) => Some(indent.clone().try_into()?),
        None => options.get("indent")?,
    };
    let written = |error: serde_json::Error| {
        minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())
    };
    let mut out = Vec::new();
    match indent {
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let format = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, format);
            value.serialize(&mut serializer).map_err(written)?;
        }
        None => {
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
            value.serialize(&mut serializer).map_err(written)?;
        }
    }
    let text = String::from_utf8(out)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// Python's separators: `, ` and `: `.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// Formats a time in UTC with the directives that templates use; another one
/// is an error.
fn strftime(format: &str, now: SystemTime) -> std::result::Result<String, String> {
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_err(|_| "the clock stands before 1970; set it".to_owned())?
        .as_secs();
    let (days, in_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    let (year, month, day) = civil(days);
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[(days % 7) as usize];
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let piece = match letters.next() {
            Some('Y') => format!("{year}"),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => "UTC".to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => {
                return Err(format!(
                    "strftime_now does not know %{other}; known: Y y m d e B b A a H I p M S F T Z"
                ));
            }
            None => return Err("strftime_now: the format ends in a lone %".to_owned()),
        };
        out.push_str(&piece);
    }
    Ok(out)
}

/// Year, month, day of a number of days since 1 January 1970 (Hinnant,
/// "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn template(source: &str) -> Result<ChatTemplate> {
        let specials = vec![("bos_token".to_owned(), "<s>".to_owned())];
        ChatTemplate::new(source, specials, Path::new("model/tokenizer_config.json"))
    }

    fn check(source: &str, expected: &str) {
        let messages = [Message::new("user", " Hi & <b> ")];
        let got = template(source).unwrap().render(&messages, true).unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn renders_as_transformers_does() {
        check(
            "{{ bos_token }}{{ messages[0]['content'] }}",
            "<s> Hi & <b> ",
        );
        check(
            "{{ messages[0]['content'].strip().upper().split(' ')[0] }}",
            "HI",
        );
        check(
            "{{ messages[0] | tojson }}",
            r#"{"role": "user", "content": " Hi & <b> "}"#,
        );
        check(
            "{% for x in [1, 2, 3] %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}",
            "12",
        );
    }

    #[test]
    fn errors_name_the_file_and_the_cause() {
        let check = |source: &str, expected: &str| {
            let error = template(source)
                .and_then(|template| template.render(&[], false))
                .unwrap_err()
                .to_string();
            assert!(error.contains("model/tokenizer_config.json"), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        check(
            "{{ raise_exception('roles must alternate') }}",
            "roles must alternate",
        );
        check("{% for x in %}", "line 1");
        check("{{ strftime_now('%Q') }}", "%Q");
    }

    #[test]
    fn finds_the_template_where_models_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("tokenizer_config.json");
        let check = |expected: &str| {
            let got = ChatTemplate::load(dir.path())
                .and_then(|template| template.render(&[], false))
                .unwrap_or_else(|error| error.to_string());
            assert!(got.contains(expected), "{got}");
        };
        check("tokenizer_config.json");
        std::fs::write(&config, r#"{"bos_token": null}"#).unwrap();
        check("the model has none");
        std::fs::write(
            &config,
            r#"{"bos_token": {"content": "<B>"}, "chat_template": "one {{ bos_token }}"}"#,
        )
        .unwrap();
        check("one <B>");
        std::fs::write(&config, r#"{"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "two"}]}"#).unwrap();
        check("two");
        std::fs::write(dir.path().join("chat_template.jinja"), "three").unwrap();
        check("three");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds: u64, expected: &str| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(
                strftime("%d %b %Y %A %H:%M:%S %I%p", time).unwrap(),
                expected
            );
        };
        check(0, "01 Jan 1970 Thursday 00:00:00 12AM");
        check(951_827_696, "29 Feb 2000 Tuesday 12:34:56 12PM");
        check(4_107_542_399, "28 Feb 2100 Sunday 23:59:59 11PM");
    }
}
