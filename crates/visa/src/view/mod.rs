//! What a person sees: bars, marked text, texts side by side. Everything here answers strings and knows no model.
//!
//! A [`Style`] is decided once: colours (`--color`, NO_COLOR, CLICOLOR_FORCE), Unicode or ASCII by the locale, and
//! the width of the terminal. Marks never rely on colour alone.

pub(crate) mod bars;
pub(crate) mod diff;
pub(crate) mod progress;
pub(crate) mod spans;
pub(crate) mod words;
pub(crate) mod wrap;

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style as Paint};

use crate::args::Color;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) color: bool,
    pub(crate) unicode: bool,
    /// Columns, 40 to 120.
    pub(crate) width: usize,
}

/// Embraced, added, good.
pub(crate) const POSITIVE: Paint = AnsiColor::Cyan.on_default();
/// Rejected, removed.
pub(crate) const NEGATIVE: Paint = AnsiColor::Yellow.on_default();
/// What changed for the better.
pub(crate) const ADDED: Paint = AnsiColor::Green.on_default().bold();
/// What is no longer there.
pub(crate) const REMOVED: Paint = AnsiColor::Red.on_default().strikethrough();
/// Headings.
pub(crate) const HEADING: Paint = Paint::new().bold();
/// What matters less.
pub(crate) const DIM: Paint = Paint::new().dimmed();

impl Style {
    /// The style for this run: `terminal` says whether the results go to one.
    pub(crate) fn new(color: Color, terminal: bool) -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let columns = var("COLUMNS").and_then(|c| c.parse().ok());
        let size =
            terminal_size::terminal_size_of(std::io::stdout()).map(|(w, _)| usize::from(w.0));
        Self {
            color: wants_color(color, terminal, &var),
            unicode: speaks_unicode(&var),
            width: size
                .filter(|_| terminal)
                .or(columns)
                .unwrap_or(80)
                .clamp(40, 120),
        }
    }

    /// `text` in a colour, or as it is.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("{}{text}{}", paint.render(), paint.render_reset())
        } else {
            text.to_string()
        }
    }

    /// The Unicode sign, or its ASCII stand-in.
    pub(crate) fn sign<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }
}

/// Is there a person to show progress to?
pub(crate) fn shows_progress(quiet: bool) -> bool {
    !quiet && std::io::stderr().is_terminal()
}

fn wants_color(color: Color, terminal: bool, var: &impl Fn(&str) -> Option<String>) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if var("NO_COLOR").is_some() => false,
        Color::Auto if var("CLICOLOR_FORCE").is_some_and(|v| v != "0") => true,
        Color::Auto => terminal && var("TERM").as_deref() != Some("dumb"),
    }
}

/// By the locale, as the C library decides: the first variable that is set. Without any, terminals of today are UTF-8.
fn speaks_unicode(var: &impl Fn(&str) -> Option<String>) -> bool {
    if var("TERM").as_deref() == Some("dumb") {
        return false;
    }
    match var("LC_ALL")
        .or_else(|| var("LC_CTYPE"))
        .or_else(|| var("LANG"))
    {
        Some(locale) => {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        }
        None => true,
    }
}

/// `text` without what could steer the terminal: control characters become a visible stand-in.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

/// One character of [`printable`]; white space becomes a blank.
pub(crate) fn printable_char(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        // Directional overrides can make a text read as another.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// No colour, Unicode, 80 columns.
    pub(crate) const PLAIN: Style = Style {
        color: false,
        unicode: true,
        width: 80,
    };

    /// Compares a drawing, ignoring blanks at line ends.
    pub(crate) fn check(found: &str, expected: &str) {
        let trim = |t: &str| {
            t.trim_matches('\n')
                .lines()
                .map(str::trim_end)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            trim(found),
            trim(expected),
            "\nfound:\n{found}\nexpected:\n{expected}"
        );
    }

    #[test]
    fn colours_follow_the_caller_then_the_environment() {
        let check = |color, terminal, vars: &[(&str, &str)], expected| {
            let var = |name: &str| vars.iter().find(|v| v.0 == name).map(|v| v.1.to_string());
            assert_eq!(
                wants_color(color, terminal, &var),
                expected,
                "{color:?} {terminal} {vars:?}"
            );
        };
        check(Color::Auto, true, &[("TERM", "xterm")], true);
        check(Color::Auto, false, &[("TERM", "xterm")], false);
        check(Color::Auto, true, &[("NO_COLOR", "1")], false);
        check(Color::Auto, false, &[("CLICOLOR_FORCE", "1")], true);
        check(Color::Auto, true, &[("TERM", "dumb")], false);
        check(Color::Always, false, &[("NO_COLOR", "1")], true);
        check(Color::Never, true, &[], false);
    }

    #[test]
    fn unicode_follows_the_locale() {
        let check = |vars: &[(&str, &str)], expected| {
            let var = |name: &str| vars.iter().find(|v| v.0 == name).map(|v| v.1.to_string());
            assert_eq!(speaks_unicode(&var), expected, "{vars:?}");
        };
        check(&[], true);
        check(&[("LANG", "C.UTF-8")], true);
        check(&[("LANG", "de_DE.utf8"), ("LC_ALL", "C")], false);
        check(&[("TERM", "dumb"), ("LANG", "C.UTF-8")], false);
    }

    #[test]
    fn text_cannot_steer_the_terminal() {
        assert_eq!(
            printable("a\x1b[31mb\u{202e}c\td"),
            "a\u{fffd}[31mb\u{fffd}c d"
        );
    }
}
