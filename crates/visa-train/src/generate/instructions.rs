//! Instructions for the translator: plain words in, a value shift out.

use super::ShiftArray;

/// What sort of instruction an example is, for analysis and for balanced tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstructionKind {
    /// "much more security, a bit less hedonism"
    Direct,
    /// "a cautious parent who cares about tradition"
    Persona,
    /// "she no longer seeks status"
    Change,
    /// "not uncaring", "anything but reckless"
    Negation,
    /// "tradition over novelty"
    Contrast,
    /// "more conservative", "open to change"
    HigherOrder,
    /// "tradition +, stimulation -"
    List,
    /// "fix the commas", "for an engineer": shifts nothing
    Zero,
    /// "fix the commas and make it more caring"
    Mixed,
}

/// An instruction and the shift it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct InstructionExample {
    /// The instruction as somebody might type it.
    pub text: String,
    /// The shift, circle order, each in −1..=1; all zero when no value is spoken of.
    pub shift: ShiftArray,
    /// The family that produced it.
    pub kind: InstructionKind,
}

/// `count` distinct instructions, about 15 % of them with a zero shift.
pub fn instructions(seed: u64, count: usize) -> Vec<InstructionExample> {
    let _ = (seed, count);
    todo!()
}
