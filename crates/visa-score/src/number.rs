//! Numbers, in digits or words, with units; the calendar is read on the way, since its parts are numbers too.
//!
//! A number is compared by its exact value, so that `12` is `twelve`, `1,000` is `1000`, `3rd` is `third` and `2.5 million`
//! is `2,500,000`.
//! `one`, `first` and `second` are words of many uses: they satisfy a number and are no number of their own.

use crate::GuardKind;
use crate::calendar::mark_dates;
use crate::token::{Kind, Token, normal};
use crate::units::{ESSENTIAL, unit_of};

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

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const ORDINAL: [&str; 20] = [
    "zeroth",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const TENTHS: [&str; 10] = [
    "",
    "",
    "twentieth",
    "thirtieth",
    "fortieth",
    "fiftieth",
    "sixtieth",
    "seventieth",
    "eightieth",
    "ninetieth",
];
/// A number's exact value: digits without zeros at the ends, times a power of ten.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decimal {
    digits: String,
    exponent: i64,
}

impl Decimal {
    pub(crate) fn new(digits: &str, exponent: i64) -> Self {
        let trimmed = digits.trim_end_matches('0');
        let exponent = exponent + (digits.len() - trimmed.len()) as i64;
        let digits = trimmed.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            Decimal {
                digits: "0".into(),
                exponent: 0,
            }
        } else {
            Decimal { digits, exponent }
        }
    }

    fn from_u64(value: u64) -> Self {
        Decimal::new(&value.to_string(), 0)
    }

    /// Reads `1,234.50`; several points (`1.2.3`) are a version and stay as written.
    fn from_numeral(numeral: &str) -> Option<Self> {
        let plain: String = numeral
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        match plain.split_once('.') {
            None => Some(Decimal::new(&plain, 0)),
            Some((_, fraction)) if fraction.contains('.') => None,
            Some((whole, fraction)) => Some(Decimal::new(
                &format!("{whole}{fraction}"),
                -(fraction.len() as i64),
            )),
        }
    }

    fn scaled(&self, power: i64) -> Self {
        Decimal::new(&self.digits, self.exponent + power)
    }

    pub(crate) fn key(&self) -> String {
        if self.exponent == 0 {
            self.digits.clone()
        } else {
            format!("{}e{}", self.digits, self.exponent)
        }
    }
}

/// Power of ten of a magnitude word.
fn magnitude(word: &str) -> Option<i64> {
    Some(match word {
        "hundred" => 2,
        "thousand" => 3,
        "million" | "mln" => 6,
        "billion" | "bn" => 9,
        "trillion" | "tn" => 12,
        _ => return None,
    })
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
            value.digits.insert(0, '-');
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

    /// A number in words: `twenty-five`, `one hundred and five`, `two million`, `third`.
    fn written(&self, i: usize) -> Option<Fact> {
        let mut total: u64 = 0;
        let mut group: u64 = 0;
        let mut weak = true;
        let mut at = i;
        let mut last = Last::Nothing;
        let first = self.word(i);
        if matches!(first.as_str(), "a" | "an") {
            magnitude(&self.word(i + 1))?;
            (group, last, at) = (1, Last::Unit, i + 1);
        }
        loop {
            let (start, joined) = self.joint(at, last);
            let word = self.word(start);
            let Some((value, class, ordinal)) = number_word(&word) else {
                break;
            };
            match class {
                Class::Unit if matches!(last, Last::Unit | Last::Teen) => break,
                Class::Teen if matches!(last, Last::Unit | Last::Teen | Last::Tens) => break,
                Class::Tens if matches!(last, Last::Unit | Last::Teen | Last::Tens) => break,
                Class::Power if last == Last::Nothing => break,
                _ => {}
            }
            // "two and three" are two numbers; "and" joins after a magnitude only.
            if joined && last != Last::Power {
                break;
            }
            weak &= matches!(word.as_str(), "one" | "first" | "second") && at == i;
            match class {
                Class::Power => {
                    weak = false;
                    if value == 100 {
                        group = group.checked_mul(100)?;
                    } else {
                        total = total.checked_add(group.max(1).checked_mul(value)?)?;
                        group = 0;
                    }
                    last = Last::Power;
                }
                Class::Unit => (group, last) = (group.checked_add(value)?, Last::Unit),
                Class::Teen => (group, last) = (group.checked_add(value)?, Last::Teen),
                Class::Tens => (group, last) = (group.checked_add(value)?, Last::Tens),
            }
            at = start + 1;
            if ordinal {
                break;
            }
        }
        if at == i || last == Last::Nothing {
            return None;
        }
        let (after, to) = self.unit_after(at);
        let unit = i
            .checked_sub(1)
            .and_then(|b| self.currency_before(b))
            .or(after);
        let value = Decimal::from_u64(total.checked_add(group)?);
        // "one day", "second week": still too many uses; "one percent" is a number.
        let weak = weak && !unit.is_some_and(|u| ESSENTIAL.contains(&u));
        let to = if weak { at } else { to };
        Some(Fact {
            kind: GuardKind::Number,
            key: value.key(),
            alias: None,
            unit,
            weak,
            from: i,
            to,
        })
    }

    /// Where the next number word may stand: after a hyphen inside tens, or after "and".
    fn joint(&self, at: usize, last: Last) -> (usize, bool) {
        if last == Last::Nothing {
            return (at, false);
        }
        if self.sign(at, "-") && self.tokens.get(at + 1).is_some_and(Token::is_word) {
            return (at + 1, false);
        }
        if last == Last::Power && self.word(at) == "and" {
            (at + 1, true)
        } else {
            (at, false)
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Unit,
    Teen,
    Tens,
    Power,
}

pub(crate) enum Class {
    Unit,
    Teen,
    Tens,
    Power,
}

/// Value and class of a number word, and whether it is an ordinal.
pub(crate) fn number_word(word: &str) -> Option<(u64, Class, bool)> {
    let class = |n: usize| if n < 10 { Class::Unit } else { Class::Teen };
    if let Some(n) = SMALL.iter().position(|s| *s == word) {
        return Some((n as u64, class(n), false));
    }
    if let Some(n) = ORDINAL.iter().position(|s| *s == word) {
        return Some((n as u64, class(n), true));
    }
    if word.is_empty() {
        return None;
    }
    if let Some(n) = TENS.iter().position(|s| *s == word) {
        return Some((10 * n as u64, Class::Tens, false));
    }
    if let Some(n) = TENTHS.iter().position(|s| *s == word) {
        return Some((10 * n as u64, Class::Tens, true));
    }
    match word {
        "dozen" => return Some((12, Class::Teen, false)),
        "hundredth" => return Some((100, Class::Power, true)),
        "thousandth" => return Some((1000, Class::Power, true)),
        "bn" | "mln" | "tn" => return None,
        _ => {}
    }
    magnitude(word).map(|power| (10_u64.pow(power as u32), Class::Power, false))
}
