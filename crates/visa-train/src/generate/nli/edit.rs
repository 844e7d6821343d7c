//! What a rule did to a text, and to entailment in both directions.

use super::NliLabel::{self, Contradiction, Entailment, Neutral};

/// An edited text and the relation in both directions.
pub(super) struct Edit {
    pub(super) text: String,
    /// Original to edited.
    pub(super) forward: NliLabel,
    /// Edited to original.
    pub(super) backward: NliLabel,
    pub(super) kind: &'static str,
}

impl Edit {
    /// Says the same.
    pub(super) fn same(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Entailment,
            backward: Entailment,
            kind,
        }
    }

    /// Says less: the original entails it, and not the other way round.
    pub(super) fn less(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Entailment,
            backward: Neutral,
            kind,
        }
    }

    /// Says more.
    pub(super) fn more(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Neutral,
            backward: Entailment,
            kind,
        }
    }

    /// Cannot be true of the same event.
    pub(super) fn against(kind: &'static str, text: String) -> Self {
        Self {
            text,
            forward: Contradiction,
            backward: Contradiction,
            kind,
        }
    }
}
