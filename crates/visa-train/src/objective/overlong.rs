//! What happens to a completion that was cut off, or came near it.
//!
//! A completion that ran into the limit was not judged whole: whether it is good is unknown, and punishing or
//! rewarding it teaches noise about length.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What to do about long completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Overlong {
    /// Nothing: the reward decides.
    #[default]
    Keep,
    /// Completions that were cut off take no part in the loss (overlong filtering, DAPO).
    Mask,
    /// The reward falls by up to 1 over the last `buffer` tokens before the limit (soft overlong punishment, DAPO,
    /// arXiv 2503.14476, equation 13).
    Penalty {
        /// Tokens before the limit within which the penalty grows.
        buffer: usize,
    },
}

impl Overlong {
    /// Refuses a buffer that no completion can stay outside of.
    ///
    /// # Errors
    /// With a message that names the buffer.
    pub fn check(self, limit: usize) -> Result<()> {
        match self {
            Self::Penalty { buffer } if buffer == 0 || buffer >= limit => {
                Err(Error::Input(format!(
                    "an overlong buffer of {buffer} tokens does not fit completions of at most {limit}; choose 1 to {}",
                    limit.saturating_sub(1)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether a completion takes part in the loss.
    pub fn keeps(self, cut_off: bool) -> bool {
        !(cut_off && self == Self::Mask)
    }

    /// What is added to the reward of a completion of `len` tokens, from −1 to 0:
    ///
    /// ```text
    /// 0                                  len ≤ limit − buffer
    /// (limit − buffer − len) / buffer    beyond
    /// ```
    pub fn penalty(self, len: usize, limit: usize) -> f64 {
        let Self::Penalty { buffer } = self else {
            return 0.0;
        };
        let free = limit.saturating_sub(buffer);
        -(len.saturating_sub(free) as f64 / buffer as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_penalty_grows_over_the_buffer() {
        let soft = Overlong::Penalty { buffer: 4 };
        for (len, expected) in [
            (0, 0.0),
            (6, 0.0),
            (7, -0.25),
            (8, -0.5),
            (10, -1.0),
            (11, -1.0),
        ] {
            assert_eq!(soft.penalty(len, 10), expected, "{len}");
            assert_eq!(Overlong::Mask.penalty(len, 10), 0.0);
        }
    }

    #[test]
    fn only_the_mask_leaves_out_what_was_cut_off() {
        for (overlong, expected) in [
            (Overlong::Keep, true),
            (Overlong::Mask, false),
            (Overlong::Penalty { buffer: 1 }, true),
        ] {
            assert_eq!(overlong.keeps(true), expected);
            assert!(overlong.keeps(false));
        }
    }

    #[test]
    fn a_buffer_must_fit() {
        for (buffer, fits) in [(0, false), (1, true), (9, true), (10, false)] {
            assert_eq!(
                Overlong::Penalty { buffer }.check(10).is_ok(),
                fits,
                "{buffer}"
            );
        }
    }
}
