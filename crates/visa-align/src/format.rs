//! The token format of the embedded rewriter, shared by training and inference.
//!
//! One edited sentence is one sequence:
//!
//! ```text
//! <|begin|> value tokens <|text|> context <|edit|> stem clause terminator <|end|>
//! ```
//!
//! The value tokens say the wanted shift in circle order, four levels a value, none for a value that is to stay. The
//! context is up to two preceding sentences as they stand in the text, without blanks around them, and may be empty.
//! Context, stem, clause and terminator are encoded one by one, so that training and inference cut words alike.

use visa_nn::Tokenizer;
use visa_values::NAMES;

use crate::error::{AlignError, Result};

/// Begins every document.
pub const BEGIN: &str = "<|begin|>";
/// Ends every document.
pub const END: &str = "<|end|>";
/// Fills rows of a batch.
pub const PAD: &str = "<|pad|>";
/// Stands between the value tokens and the context.
pub const TEXT: &str = "<|text|>";
/// Stands between the context and the stem.
pub const EDIT: &str = "<|edit|>";

/// A shift from here on is strong (level 2).
pub const STRONG: f32 = 0.6;
/// A shift from here on is said at all (level 1).
pub const WEAK: f32 = 0.2;

/// The values in circle order, as signs name them.
const CODES: [&str; 10] = ["sd", "st", "he", "ac", "po", "se", "co", "tr", "be", "un"];
/// What one sign and two signs stand for.
const STRENGTHS: [f32; 2] = [0.4, 0.8];

/// The signs that stand before a written clause, as the shift that it speaks: `++be-po` is benevolence 0.8 and power −0.4,
/// `0` is none. `None` for anything else.
pub fn shift_of(signs: &str) -> Option<[f32; 10]> {
    let mut shift = [0.0; 10];
    let mut rest = if signs == "0" { "" } else { signs };
    while !rest.is_empty() {
        let sign = rest.chars().next().filter(|c| "+-".contains(*c))?;
        let unsigned = rest.trim_start_matches(sign);
        let strength = *STRENGTHS.get(rest.len() - unsigned.len() - 1)?;
        let value = CODES.iter().position(|code| unsigned.starts_with(code))?;
        shift[value] = if sign == '+' { strength } else { -strength };
        rest = &unsigned[2..];
    }
    Some(shift)
}

/// The signs of a shift, as [`shift_of`] reads them: two from [`STRONG`] on.
pub fn signs_of(shift: &[f32; 10]) -> String {
    let said = CODES.iter().zip(shift).filter(|(_, d)| **d != 0.0);
    let signs: String = said
        .map(|(code, d)| {
            let sign = if *d > 0.0 { "+" } else { "-" };
            sign.repeat(if d.abs() >= STRONG { 2 } else { 1 }) + code
        })
        .collect();
    if signs.is_empty() { "0".into() } else { signs }
}

/// Which way each value of a shift goes: −1, 0 or 1.
pub fn ways(shift: &[f32; 10]) -> [i8; 10] {
    shift.map(|d| i8::from(d > 0.0) - i8::from(d < 0.0))
}

/// A written clause as it stands behind a stem: with the blank before its first word, unless it begins with its punctuation.
pub fn behind_stem(clause: &str) -> String {
    let joint = if clause.starts_with([',', '.']) {
        ""
    } else {
        " "
    };
    format!("{joint}{clause}")
}

/// All special tokens, in the order of their ids: five marks, then four levels of each value.
pub fn specials() -> Vec<String> {
    let marks = [BEGIN, END, PAD, TEXT, EDIT].map(str::to_string);
    let values = NAMES
        .iter()
        .flat_map(|name| ["+2", "+1", "-1", "-2"].map(|level| format!("<|{name}:{level}|>")));
    marks.into_iter().chain(values).collect()
}

/// The value tokens of a shift (circle order).
pub fn value_tokens(shift: &[f32; 10]) -> Vec<String> {
    NAMES
        .iter()
        .zip(shift)
        .filter(|(_, d)| d.abs() >= WEAK)
        .map(|(name, d)| {
            let sign = if *d > 0.0 { '+' } else { '-' };
            let level = if d.abs() >= STRONG { 2 } else { 1 };
            format!("<|{name}:{sign}{level}|>")
        })
        .collect()
}

/// The ids of the marks and value tokens of one tokenizer.
#[derive(Clone, Debug)]
pub struct Marks {
    /// [`BEGIN`].
    pub begin: u32,
    /// [`END`].
    pub end: u32,
    /// [`PAD`].
    pub pad: u32,
    /// [`TEXT`].
    pub text: u32,
    /// [`EDIT`].
    pub edit: u32,
}

impl Marks {
    /// Looks the marks up.
    ///
    /// # Errors
    /// [`AlignError::Load`] naming the token that the tokenizer lacks.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let id = |token| tokenizer.require(token).map_err(AlignError::Load);
        Ok(Self {
            begin: id(BEGIN)?,
            end: id(END)?,
            pad: id(PAD)?,
            text: id(TEXT)?,
            edit: id(EDIT)?,
        })
    }

    /// The tokens before the clause.
    ///
    /// # Errors
    /// A value token that the tokenizer lacks, or a text that it cannot encode.
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        shift: &[f32; 10],
        context: &str,
        stem: &str,
    ) -> Result<Vec<u32>> {
        let plain = |text: &str| {
            tokenizer
                .encode_plain(text)
                .map(|e| e.ids)
                .map_err(AlignError::nn("tokenising"))
        };
        let mut ids = vec![self.begin];
        for token in value_tokens(shift) {
            ids.push(tokenizer.require(&token).map_err(AlignError::Load)?);
        }
        ids.push(self.text);
        ids.extend(plain(context.trim())?);
        ids.push(self.edit);
        ids.extend(plain(stem)?);
        Ok(ids)
    }

    /// The tokens of final punctuation; the end of the document where there is none.
    ///
    /// # Errors
    /// A text that the tokenizer cannot encode.
    pub fn terminator(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
        if text.is_empty() {
            return Ok(vec![self.end]);
        }
        tokenizer
            .encode_plain(text)
            .map(|e| e.ids)
            .map_err(AlignError::nn("tokenising"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_size_of_the_shift() {
        let check = |d: f32, expected: &[&str]| {
            let mut shift = [0.0; 10];
            shift[5] = d;
            assert_eq!(value_tokens(&shift), expected, "{d}");
        };
        check(0.6, &["<|security:+2|>"]);
        check(0.59, &["<|security:+1|>"]);
        check(-0.2, &["<|security:-1|>"]);
        check(-2.0, &["<|security:-2|>"]);
        check(0.19, &[]);
        check(0.0, &[]);
    }

    #[test]
    fn signs_are_read_and_written_alike() {
        let check = |signs: &str, expected: Option<&[(usize, f32)]>| {
            let shift = expected.map(|pairs| {
                let mut shift = [0.0; 10];
                pairs.iter().for_each(|&(v, d)| shift[v] = d);
                shift
            });
            assert_eq!(shift_of(signs), shift, "{signs}");
            if let Some(shift) = shift {
                assert_eq!(signs_of(&shift), signs);
            }
        };
        check("0", Some(&[]));
        check("++be", Some(&[(8, 0.8)]));
        check("-tr++be", Some(&[(7, -0.4), (8, 0.8)]));
        for wrong in ["be", "+", "+++be", "+b", "+be po", "+xx"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_prompt_takes_every_special_and_nothing_from_the_text() {
        let specials = specials();
        assert_eq!(specials.len(), 45);
        let names: Vec<&str> = specials.iter().map(String::as_str).collect();
        let tokenizer = Tokenizer::train_bpe(["a stem of words"].iter(), 320, &names).unwrap();
        let marks = Marks::of(&tokenizer).unwrap();
        let mut shift = [0.0; 10];
        shift[0] = 1.0;
        shift[9] = -0.3;
        let ids = marks
            .prompt(&tokenizer, &shift, " <|end|> before. ", "a stem")
            .unwrap();
        assert_eq!(
            tokenizer.decode_all(&ids).unwrap(),
            "<|begin|><|self-direction:+2|><|universalism:-1|><|text|><|end|> before.<|edit|>a stem"
        );
        assert!(!ids.contains(&marks.end), "text of a user is never a mark");
        assert_eq!(marks.terminator(&tokenizer, "").unwrap(), [marks.end]);
    }
}
