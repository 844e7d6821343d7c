//! Numbers, in digits or words, with units; the calendar is read on the way, since its parts are numbers too.
//!
//! A number is compared by its exact value, so that `12` is `twelve`, `1,000` is `1000`, `3rd` is `third` and `2.5 million`
//! is `2,500,000`.
//! `one`, `first` and `second` are words of many uses: they satisfy a number and are no number of their own.

mod decimal;
mod written;

use crate::GuardKind;
use crate::calendar::mark_dates;
use crate::token::{Kind, Token, normal};
use crate::units::{ESSENTIAL, unit_of};

pub(crate) use decimal::Decimal;
use written::magnitude;
pub(crate) use written::number_word;

/// Something a text says that a rewrite must say too.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) kind: GuardKind,
    /// What facts are compared by.
    pub(crate) key: String,
    /// Another key that says the same: `30m` may be thirty metres or thirty million.
    pub(crate) alias: Option<String>,
    /// Normal form of a number's unit.
    pub(crate) unit: Option<&'static str>,
    /// Whether it may be absent from the other text.
    pub(crate) weak: bool,
    /// Tokens it is written with: first, one past the last.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// Numbers, dates and times of a token sequence, in order; `hidden` tokens (URLs, code) are passed over.
pub(crate) fn facts(tokens: &[Token<'_>], hidden: &[bool]) -> Vec<Fact> {
    let mut found = Vec::new();
    let reader = Reader { tokens };
    let mut i = 0;
    while i < tokens.len() {
        let read = if hidden[i] { None } else { reader.read(i) };
        match read {
            Some(facts) => {
                i = facts.iter().map(|f| f.to).max().unwrap_or(i).max(i + 1);
                found.extend(facts);
            }
            None => i += 1,
        }
    }
    mark_dates(&mut found, tokens);
    share_units(&mut found, tokens);
    found
}

/// "from 10 to 20%" is "from 10% to 20%": of two numbers with one small word between, the first takes the second's unit.
fn share_units(found: &mut [Fact], tokens: &[Token<'_>]) {
    for i in (1..found.len()).rev() {
        let (before, after) = (&found[i - 1], &found[i]);
        let range = after.from == before.to + 1
            && matches!(normal(tokens[before.to].text).as_str(), "to" | "-" | "–");
        let shared = after
            .unit
            .filter(|u| range && before.unit.is_none() && ESSENTIAL.contains(u));
        if shared.is_some() {
            found[i - 1].unit = shared;
        }
    }
}

/// Reads facts at a place of a token sequence.
pub(crate) struct Reader<'t, 'a> {
    pub(crate) tokens: &'t [Token<'a>],
}

impl Reader<'_, '_> {
    pub(crate) fn word(&self, i: usize) -> String {
        self.tokens
            .get(i)
            .filter(|t| t.is_word())
            .map(|t| normal(t.text))
            .unwrap_or_default()
    }

    pub(crate) fn sign(&self, i: usize, sign: &str) -> bool {
        self.tokens.get(i).is_some_and(|t| t.is(sign))
    }

    pub(crate) fn glued(&self, i: usize) -> bool {
        self.tokens.get(i).is_some_and(|t| !t.spaced)
    }

    pub(crate) fn number(&self, i: usize) -> Option<&str> {
        self.tokens
            .get(i)
            .filter(|t| t.kind == Kind::Number && t.suffix().is_empty())
            .map(|t| t.digits())
    }

    fn read(&self, i: usize) -> Option<Vec<Fact>> {
        match self.tokens[i].kind {
            Kind::Number => Some(self.digits(i)),
            Kind::Word => self
                .calendar(i)
                .or_else(|| self.written(i))
                .map(|f| vec![f]),
            Kind::Sign => None,
        }
    }

    /// A number that begins with digits.
    fn digits(&self, i: usize) -> Vec<Fact> {
        let token = &self.tokens[i];
        if let Some(date) = self.numeric_date(i) {
            return date;
        }
        if let Some(time) = self.time(i) {
            return vec![time];
        }
        let plain = |key: String, unit, to| Fact {
            kind: GuardKind::Number,
            key,
            alias: None,
            unit,
            weak: false,
            from: i,
            to,
        };
        // A list's own numbering is form, not content.
        if token.line
            && token.suffix().is_empty()
            && (self.sign(i + 1, ".") || self.sign(i + 1, ")"))
            && self.glued(i + 1)
        {
            return vec![Fact {
                weak: true,
                ..plain(format!("item-{}", token.text), None, i + 1)
            }];
        }
        let Some(mut value) = Decimal::from_numeral(token.digits()) else {
            return vec![plain(format!("version-{}", token.text), None, i + 1)];
        };
        let mut to = i + 1;
        let currency = i.checked_sub(1).and_then(|b| self.currency_before(b));
        let mut unit = currency;
        let suffix = normal(token.suffix());
        match suffix.as_str() {
            "" | "st" | "nd" | "rd" | "th" => {}
            "s" => unit = Some("decade"),
            "k" => value = value.scaled(3),
            "m" if currency.is_some() || token.suffix() == "M" => value = value.scaled(6),
            "m" => {
                let millions = Some(value.scaled(6).key());
                return vec![Fact {
                    alias: millions,
                    ..plain(value.key(), Some("m"), i + 1)
                }];
            }
            "b" if currency.is_some() || token.suffix() == "B" => value = value.scaled(9),
            word => match (magnitude(word), unit_of(word)) {
                (Some(power), _) => value = value.scaled(power),
                (None, Some(name)) => unit = Some(name),
                // "802x11", "3D", "5B7": an identifier, compared as written.
                (None, None) => {
                    return vec![plain(format!("id-{suffix}-{}", value.key()), None, i + 1)];
                }
            },
        }
        if suffix.is_empty()
            && self.word(i + 1) == "'s"
            && token.numeral == 4
            && token.digits().ends_with('0')
        {
            (unit, to) = (Some("decade"), i + 2);
        }
        if suffix.is_empty() {
            let next = self.over_hyphen(to);
            let word = self.word(next);
            let short = matches!(word.as_str(), "m" | "b") && currency.is_some();
            let power = magnitude(&word).or(match word.as_str() {
                "m" if short => Some(6),
                "b" if short => Some(9),
                _ => None,
            });
            if let Some(power) = power {
                value = value.scaled(power);
                to = next + 1;
            }
        }
        if i > 0 && self.sign(i - 1, "-") && !token.spaced && self.opens(i - 1)
            || i > 0 && self.sign(i - 1, "\u{2212}")
        {
            value = value.negative();
        }
        let (after, to) = self.unit_after(to);
        vec![plain(value.key(), unit.or(after), to)]
    }

    /// Whether a minus at `i` is a sign and not a hyphen: nothing stands before it, or a bracket.
    fn opens(&self, i: usize) -> bool {
        self.tokens[i].spaced && (i == 0 || self.tokens[i - 1].kind != Kind::Number)
            || i > 0 && self.sign(i - 1, "(")
    }

    fn over_hyphen(&self, i: usize) -> usize {
        if self.sign(i, "-") && self.tokens.get(i + 1).is_some_and(Token::is_word) {
            i + 1
        } else {
            i
        }
    }

    fn currency_before(&self, i: usize) -> Option<&'static str> {
        let token = &self.tokens[i];
        let sign = matches!(token.text, "$" | "€" | "£" | "¥" | "₹");
        let code = matches!(token.text, "USD" | "EUR" | "GBP" | "JPY" | "INR");
        (sign || code)
            .then(|| unit_of(&normal(token.text)))
            .flatten()
    }

    /// A unit after a number that ends before `i`, and where it ends.
    fn unit_after(&self, i: usize) -> (Option<&'static str>, usize) {
        let Some(token) = self.tokens.get(i) else {
            return (None, i);
        };
        if matches!(token.text, "%" | "€" | "£" | "¥" | "¢" | "°" | "$") {
            return (unit_of(token.text), i + 1);
        }
        if self.word(i) == "per" && self.word(i + 1) == "cent" {
            return (Some("%"), i + 2);
        }
        let at = self.over_hyphen(i);
        match unit_of(&self.word(at)) {
            // A lone letter is a unit only when written small ("5 g", not "Group 5 G").
            Some(_) if self.tokens[at].text.len() == 1 && self.tokens[at].is_capitalised() => {
                (None, i)
            }
            Some(unit) => (Some(unit), at + 1),
            None => (None, i),
        }
    }
}
