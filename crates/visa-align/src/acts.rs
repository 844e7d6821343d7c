//! What a sentence does: the speech acts that decide which remark may stand behind it.
//!
//! A remark that suits any request ("so that everybody is treated fairly") is odd behind a complaint, however well it speaks its
//! value. So phrases say behind which acts they may stand, and the sense reader says which of them a sentence performs.

use std::fmt;

/// The acts, by kind: asking, planning, praising, blaming, reporting, telling, claiming, feeling.
pub const NAMES: [&str; 40] = [
    "request",
    "conduct",
    "instruction",
    "advice",
    "tip",
    "intention",
    "promise",
    "timetable",
    "change",
    "invitation",
    "staff-praised",
    "product-praised",
    "place-praised",
    "film-praised",
    "craft-praised",
    "staff-blamed",
    "product-blamed",
    "place-blamed",
    "film-blamed",
    "craft-blamed",
    "good-news",
    "bad-news",
    "decision",
    "description",
    "plot",
    "pleasure",
    "mishap",
    "conflict",
    "habit",
    "past",
    "society",
    "people",
    "fact",
    "procedure",
    "judgement",
    "joy",
    "sorrow",
    "opinion",
    "thanks",
    "regards",
];

/// Acts in which somebody is glad of something.
pub(crate) const GLAD: Acts = Acts::from_bits(0b1_1111 << 10 | 1 << 20 | 1 << 25 | 1 << 35);
/// Acts in which somebody is sorry about something.
pub(crate) const SORRY: Acts = Acts::from_bits(0b1_1111 << 15 | 1 << 21 | 1 << 26 | 1 << 36);

/// Some of the acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acts(u64);

impl Acts {
    /// None of them: no remark suits.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The act of [`NAMES`] at `index`.
    pub fn of(index: usize) -> Self {
        Self(1 << index) & Self::ALL
    }

    /// Those that are not among some others.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Names joined by `+`; `None` if one is unknown.
    pub fn parse(names: &str) -> Option<Self> {
        names.split('+').try_fold(Self::NONE, |acts, name| {
            let index = NAMES.iter().position(|n| *n == name)?;
            Some(acts | Self::of(index))
        })
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Indices in [`NAMES`], ascending.
    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..NAMES.len()).filter(move |i| self.0 >> i & 1 == 1)
    }
}

impl std::ops::BitOr for Acts {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Acts {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// As [`Acts::parse`] reads it.
impl fmt::Display for Acts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.indices().map(|i| NAMES[i]).collect();
        f.write_str(&names.join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_glad_and_the_sorry_are_named() {
        assert_eq!(
            GLAD.to_string(),
            "staff-praised+product-praised+place-praised+film-praised+craft-praised+good-news+pleasure+joy"
        );
        assert_eq!(
            SORRY.to_string(),
            "staff-blamed+product-blamed+place-blamed+film-blamed+craft-blamed+bad-news+mishap+sorrow"
        );
    }

    #[test]
    fn acts_are_written_as_they_are_read() {
        let check = |names: &str, expected: Option<&[usize]>| {
            let acts = Acts::parse(names);
            let indices = acts.map(|a| a.indices().collect::<Vec<_>>());
            assert_eq!(indices.as_deref(), expected, "{names}");
            if let Some(acts) = acts {
                assert_eq!(acts.to_string(), names);
            }
        };
        check("request", Some(&[0]));
        check("request+regards", Some(&[0, 39]));
        check("request+", None);
        check("", None);
        check("quest", None);
        assert_eq!(Acts::ALL.indices().count(), NAMES.len());
        assert!((Acts::of(3) & Acts::of(4)).is_empty());
    }
}
