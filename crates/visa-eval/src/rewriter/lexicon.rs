//! The template baseline: a fixed sentence for each value that is to move far enough, put behind the text.
//!
//! It says what is wished in the plainest words and nothing about the text. Whatever a trained rewriter does must beat
//! this; nothing else in the program uses it.

use visa_values::{Shift, Value};

/// A value, what embraces it, what rejects it.
pub(super) const TABLE: &str = "\
self-direction|What counts is that everybody decides freely for themselves.|Nobody should insist on deciding alone.
stimulation|Life should be exciting and full of new things.|There is no need for excitement or change.
hedonism|Enjoying life is what matters.|Pleasure is not what matters.
achievement|It is important to succeed and to be among the best.|Success is not what matters.
power|It is important to be in charge and to be respected for it.|Nobody should have power over others.
security|What matters most is that everybody is safe.|A little danger does no harm.
conformity|Everybody should follow the rules.|Rules are there to be questioned.
tradition|We should honour our traditions.|Old customs should not hold us back.
benevolence|It is important to care for the people around us.|We owe nothing to the people around us.
universalism|All people should be treated equally, and nature protected.|What happens to strangers or to nature is not our concern.";

/// Shifts smaller than this share of the largest say nothing.
const SHARE: f32 = 0.5;
/// Most sentences.
const MOST: usize = 3;

/// The text with the sentences of the strongest wishes behind it, the strongest first.
pub(super) fn insert(text: &str, shift: &Shift) -> String {
    let mut wishes: Vec<(Value, f32)> = shift.iter().filter(|(_, d)| *d != 0.0).collect();
    wishes.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let least = wishes.first().map_or(0.0, |(_, d)| d.abs() * SHARE);
    let mut out = text.trim_end().to_owned();
    for (value, by) in wishes.iter().take(MOST).filter(|(_, d)| d.abs() >= least) {
        out.push(' ');
        out.push_str(sentence(*value, *by > 0.0));
    }
    out
}

fn sentence(value: Value, embraces: bool) -> &'static str {
    let line = (TABLE.lines())
        .find(|line| line.split('|').next() == Some(value.name()))
        .expect("the table has every value");
    line.split('|')
        .nth(if embraces { 1 } else { 2 })
        .expect("the table has both sides")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_wishes_are_said() {
        let check = |shift: &str, expected: &str| {
            let shift = Shift::parse(shift).unwrap();
            assert_eq!(insert("A bus came. ", &shift), expected);
        };
        check(
            "security=0.4, power=-1.0, hedonism=0.6",
            "A bus came. Nobody should have power over others. Enjoying life is what matters.",
        );
        check("power=0", "A bus came.");
    }

    #[test]
    fn every_value_has_both_sides() {
        for value in Value::ALL {
            assert_ne!(sentence(value, true), sentence(value, false));
        }
    }
}
