//! Dates and times of day, compared by their parts: `25th of May 1986`, `May 25, 1986` and `1986-05-25` are the same.

use crate::GuardKind;
use crate::number::{Decimal, Fact, Reader, number_word};
use crate::token::{Kind, Token, normal};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Numbers beside a month are days and years: parts of a date.
pub(crate) fn mark_dates(found: &mut [Fact], tokens: &[Token<'_>]) {
    let month = |f: &Fact| f.key.starts_with("month-");
    let joined = |a: &Fact, b: &Fact| {
        b.from >= a.to
            && b.from - a.to <= 2
            && tokens[a.to..b.from]
                .iter()
                .all(|t| matches!(t.text, "," | "of" | "." | "the"))
    };
    for i in 0..found.len() {
        if !month(&found[i]) {
            continue;
        }
        if i > 0 && joined(&found[i - 1], &found[i]) && found[i - 1].unit.is_none() {
            found[i - 1].kind = GuardKind::Date;
        }
        let mut last = i;
        while last + 1 < found.len()
            && last < i + 2
            && joined(&found[last], &found[last + 1])
            && !month(&found[last + 1])
        {
            found[last + 1].kind = GuardKind::Date;
            last += 1;
        }
    }
}

impl Reader<'_, '_> {
    /// Months, weekdays, noon and midnight.
    pub(crate) fn calendar(&self, i: usize) -> Option<Fact> {
        let word = self.word(i);
        let fact = |key: String, to: usize| Fact {
            kind: GuardKind::Date,
            key,
            alias: None,
            unit: None,
            weak: false,
            from: i,
            to,
        };
        let singular = word.strip_suffix('s').unwrap_or(&word);
        let weekday = WEEKDAYS
            .iter()
            .position(|d| *d == singular.trim_end_matches('\''));
        if let Some(day) = weekday {
            return Some(fact(format!("weekday-{day}"), i + 1));
        }
        if word == "noon" || word == "midday" {
            return Some(fact("time-720".into(), i + 1));
        }
        if word == "midnight" {
            return Some(fact("time-0".into(), i + 1));
        }
        if word.len() < 3 || !self.tokens[i].text.is_ascii() {
            return None;
        }
        let whole = MONTHS
            .iter()
            .position(|m| *m == word || word.strip_suffix("'s") == Some(m));
        let month = whole.or_else(|| {
            let short = word == "sept" || word.len() == 3;
            MONTHS
                .iter()
                .position(|m| short && m.starts_with(&word[..3]))
        })?;
        let capital = self.tokens[i].is_capitalised();
        let beside = |k: usize| {
            let number =
                |t: &Token<'_>| t.kind == Kind::Number || number_word(&normal(t.text)).is_some();
            self.tokens.get(k).is_some_and(number)
        };
        let dot = usize::from(whole.is_none() && self.sign(i + 1, ".") && self.glued(i + 1));
        let numbered = i > 0 && beside(i - 1)
            || beside(i + 1 + dot)
            || i > 1 && self.word(i - 1) == "of" && beside(i - 2);
        // "may" and "march" are verbs unless a capital inside a sentence or a number says otherwise.
        let ambiguous = matches!(word.as_str(), "may" | "march");
        let inside = i > 0
            && !self.tokens[i].line
            && (self.tokens[i - 1].is_word() || self.sign(i - 1, "-"));
        let is_month = match whole {
            Some(_) if ambiguous => capital && (inside || numbered),
            Some(_) => capital || numbered,
            None => capital && numbered,
        };
        is_month.then(|| fact(format!("month-{}", month + 1), i + 1 + dot))
    }

    /// `1986-05-25`, `25/05/1986`, `5.6.1986` is a version and stays one.
    pub(crate) fn numeric_date(&self, i: usize) -> Option<Vec<Fact>> {
        let sign = ["-", "/"]
            .into_iter()
            .find(|s| self.sign(i + 1, s) && self.sign(i + 3, s))?;
        if !(1..5).all(|k| self.glued(i + k)) || self.sign(i + 5, sign) {
            return None;
        }
        let (a, b, c) = (self.number(i)?, self.number(i + 2)?, self.number(i + 4)?);
        let fits = |n: &str, most: u32| {
            n.len() <= 2 && n.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n))
        };
        let (year, month, day) = if a.len() == 4 && fits(b, 12) && fits(c, 31) {
            (a, b, c)
        } else if c.len() == 4 && fits(a, 31) && fits(b, 12) && !fits(a, 12) {
            (c, b, a)
        } else if c.len() == 4 && fits(a, 12) && fits(b, 31) && !fits(b, 12) {
            (c, a, b)
        } else {
            // Day and month cannot be told apart: compared as three numbers.
            return None;
        };
        let part = |key: String| Fact {
            kind: GuardKind::Date,
            key,
            alias: None,
            unit: None,
            weak: false,
            from: i,
            to: i + 5,
        };
        let number = |n: &str| Decimal::new(n, 0).key();
        Some(vec![
            part(number(year)),
            part(format!("month-{}", month.trim_start_matches('0'))),
            part(number(day)),
        ])
    }

    /// `15:00`, `3 pm`, `3:30 p.m.`, `10.30am`: minutes since midnight.
    pub(crate) fn time(&self, i: usize) -> Option<Fact> {
        let token = &self.tokens[i];
        let half = |word: &str| match word {
            "am" | "a" => Some(0),
            "pm" | "p" => Some(12),
            _ => None,
        };
        let colon = self.sign(i + 1, ":") && self.glued(i + 1) && self.glued(i + 2);
        let (hours, minutes, suffix, mut to) = if colon && token.suffix().is_empty() {
            let after = self
                .tokens
                .get(i + 2)
                .filter(|t| t.kind == Kind::Number && t.numeral == 2)?;
            (
                token.digits(),
                after.digits(),
                normal(after.suffix()),
                i + 3,
            )
        } else {
            let (hours, minutes) = token
                .digits()
                .split_once('.')
                .unwrap_or((token.digits(), "0"));
            (hours, minutes, normal(token.suffix()), i + 1)
        };
        let spelled = if suffix.is_empty() {
            let word = self.word(to);
            // A single letter after a number is a unit or a name, not a half of the day.
            let found = half(&word).filter(|_| word.len() == 2);
            to += usize::from(found.is_some());
            found
        } else {
            Some(half(&suffix).filter(|_| suffix.len() == 2)?)
        };
        if spelled.is_none() && !colon {
            return None;
        }
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        if hours > 24 || minutes > 59 || spelled.is_some() && hours > 12 {
            return None;
        }
        let hours = spelled.map_or(hours, |add| hours % 12 + add);
        let key = format!("time-{}", hours * 60 + minutes);
        Some(Fact {
            kind: GuardKind::Date,
            key,
            alias: None,
            unit: None,
            weak: false,
            from: i,
            to,
        })
    }
}
