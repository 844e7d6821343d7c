//! Instructions that we wrote by hand: `data/wishes.jsonl`. What people mean seldom stands in the words of a frame.

use serde::Deserialize;
use visa_values::Shift;

use super::instructions::{InstructionExample, InstructionKind};
use crate::committed;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    text: String,
    shift: Shift,
}

/// All of them.
pub fn wishes() -> Vec<InstructionExample> {
    committed::lines::<Wish>("wishes.jsonl", include_str!("data/wishes.jsonl"))
        .map(|wish| InstructionExample {
            text: wish.text,
            shift: *wish.shift.as_array(),
            kind: InstructionKind::Written,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wishes_parse_and_move_every_value_both_ways() {
        let wishes = wishes();
        for v in 0..10 {
            for sign in [1.0, -1.0] {
                let n = wishes.iter().filter(|w| w.shift[v] * sign > 0.15).count();
                assert!(n >= 15, "{n} wishes move value {v} by {sign}");
            }
        }
        let silent = wishes.iter().filter(|w| w.shift == [0.0; 10]).count();
        assert!(10 * silent > wishes.len() / 2, "{silent}");
    }
}
