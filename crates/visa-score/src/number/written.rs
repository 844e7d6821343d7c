//! Numbers in words: `twenty-five`, `two million`, `third`.

use super::{Decimal, Fact, Reader};
use crate::GuardKind;
use crate::token::Token;
use crate::units::ESSENTIAL;

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

impl Reader<'_, '_> {
    /// A number in words: `twenty-five`, `one hundred and five`, `two million`, `third`.
    pub(super) fn written(&self, i: usize) -> Option<Fact> {
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

/// Power of ten of a magnitude word.
pub(super) fn magnitude(word: &str) -> Option<i64> {
    Some(match word {
        "hundred" => 2,
        "thousand" => 3,
        "million" | "mln" => 6,
        "billion" | "bn" => 9,
        "trillion" | "tn" => 12,
        _ => return None,
    })
}
