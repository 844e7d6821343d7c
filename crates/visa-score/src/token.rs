//! Words, numbers and signs with their places: what sentences and guards are computed from.
//!
//! One pass, no allocation per token, and tolerant of text that was tokenised before (`did n't`, `'' so ''`).

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters first; may hold apostrophes, digits, and the stops of `U.S.`.
    Word,
    /// Digits first; `suffix` letters may be glued on (`3rd`, `5km`).
    Number,
    /// One sign, or the doubled apostrophe that stands for a quotation mark.
    Sign,
}

/// A token and its place in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    pub(crate) kind: Kind,
    /// For numbers: length of the numeral, the rest is a suffix.
    pub(crate) numeral: usize,
    /// Whether white space (or the text's beginning) stands before it.
    pub(crate) spaced: bool,
    /// Whether a line begins with it.
    pub(crate) line: bool,
}

impl<'a> Token<'a> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(crate) fn is(&self, sign: &str) -> bool {
        self.text == sign
    }

    pub(crate) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    /// The digits with their separators.
    pub(crate) fn digits(&self) -> &'a str {
        &self.text[..self.numeral]
    }

    /// Letters glued to a number.
    pub(crate) fn suffix(&self) -> &'a str {
        &self.text[self.numeral..]
    }

    pub(crate) fn is_capitalised(&self) -> bool {
        self.is_word() && self.text.chars().next().is_some_and(char::is_uppercase)
    }
}

/// An apostrophe, straight or curly.
pub(crate) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{2bc}')
}

/// Lower case with straight apostrophes and without the stops of abbreviations: the form in which words are compared.
pub(crate) fn normal(word: &str) -> String {
    word.chars()
        .filter(|&c| c != '.')
        .map(|c| if is_apostrophe(c) { '\'' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Splits a text into tokens; white space separates and is no token.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::with_capacity(text.len() / 5);
    let mut at = 0;
    let (mut spaced, mut line) = (true, true);
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            spaced = true;
            line |= c == '\n';
            at += c.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (kind, length, numeral) = if c.is_ascii_digit() {
            let numeral = numeral(rest);
            (
                Kind::Number,
                numeral + letters_and_digits(&rest[numeral..]),
                numeral,
            )
        } else if c.is_alphabetic() {
            (Kind::Word, word(rest), 0)
        } else if is_apostrophe(c) && spaced && clitic(&rest[c.len_utf8()..]) {
            let letters = letters_and_digits(&rest[c.len_utf8()..]);
            (Kind::Word, c.len_utf8() + letters, 0)
        } else if rest.starts_with("''") || rest.starts_with("``") && !rest.starts_with("```") {
            (Kind::Sign, 2, 0)
        } else {
            (Kind::Sign, c.len_utf8(), 0)
        };
        found.push(Token {
            text: &rest[..length],
            start: at,
            kind,
            numeral,
            spaced,
            line,
        });
        at += length;
        (spaced, line) = (false, false);
    }
    found
}

/// Whether a split-off ending stands here, as in `they 're`.
fn clitic(rest: &str) -> bool {
    let length = letters_and_digits(rest);
    let ending = rest[..length].to_ascii_lowercase();
    matches!(ending.as_str(), "s" | "re" | "ve" | "ll" | "d" | "m" | "t")
}

/// Length of a numeral: digits with decimal points and with commas (or thin spaces) before groups of three.
fn numeral(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    while digit(at) {
        at += 1;
        let group =
            |from: usize| digit(from) && digit(from + 1) && digit(from + 2) && !digit(from + 3);
        match bytes.get(at) {
            Some(b'.') if digit(at + 1) => at += 1,
            Some(b',') if group(at + 1) => at += 1,
            // Narrow and thin no-break spaces group digits in some typography.
            Some(0xe2) if rest[at..].starts_with(['\u{202f}', '\u{2009}']) && group(at + 3) => {
                at += 3
            }
            _ => {}
        }
    }
    at
}

fn letters_and_digits(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric())
        .unwrap_or(rest.len())
}

/// Length of a word: letters and digits, apostrophes and `&` between letters, stops between single letters.
fn word(rest: &str) -> usize {
    if let Some(length) = dotted(rest) {
        return length;
    }
    let mut at = 0;
    loop {
        at += letters_and_digits(&rest[at..]);
        let mut after = rest[at..].chars();
        let joins = after.next().is_some_and(|c| is_apostrophe(c) || c == '&')
            && after.next().is_some_and(char::is_alphabetic);
        if !joins {
            return at;
        }
        at += rest[at..].chars().next().map_or(0, char::len_utf8);
    }
}

/// Length of an abbreviation of single letters with stops, at least two: `U.S.`, `p.m.`, `e.g`.
fn dotted(rest: &str) -> Option<usize> {
    let mut at = 0;
    let mut letters = 0;
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_alphabetic() || chars.peek().is_some_and(|n| n.is_alphanumeric()) {
            break;
        }
        let stop = chars.next_if_eq(&'.').is_some();
        at += c.len_utf8() + usize::from(stop);
        letters += 1;
        if !stop {
            break;
        }
    }
    // `U.S.` or `U.S`; a single letter with a stop is an initial, whose stop is a sign of its own.
    (letters >= 2).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<&str> = tokens(text).iter().map(|t| t.text).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("Don't go.", &["Don't", "go", "."]);
        check("did n't they 're", &["did", "n't", "they", "'re"]);
        check("the U.S. is", &["the", "U.S.", "is"]);
        check("at 3 p.m. on", &["at", "3", "p.m.", "on"]);
        check("J. Smith", &["J", ".", "Smith"]);
        check("1,000.50, 3rd; 5km", &["1,000.50", ",", "3rd", ";", "5km"]);
        check("in 1998,1999", &["in", "1998", ",", "1999"]);
        check("10\u{202f}000 €", &["10\u{202f}000", "€"]);
        check("'' so ''", &["''", "so", "''"]);
        check("AT&T's well-known", &["AT&T's", "well", "-", "known"]);
        check("Zürich—naïve", &["Zürich", "—", "naïve"]);
        check("word.Next", &["word", ".", "Next"]);
    }

    #[test]
    fn places_are_exact() {
        let text = "Über 1,5 \u{1F600} x’s";
        for token in tokens(text) {
            assert_eq!(&text[token.start..token.end()], token.text);
        }
    }
}
