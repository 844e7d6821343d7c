//! One file a suite. A suite takes [`Setting`] and gives a [`Report`].

mod additions;
pub(crate) mod data;
mod detector;
mod guards;
mod judge;
mod nli;
mod pvq;
pub(crate) mod rewrite;
mod search;
mod signs;
mod speed;
mod translator;

use std::path::PathBuf;
use std::str::FromStr;

use visa_align::Models;

use crate::{EvalError, Report};

pub use rewrite::{RewriteCase, cases as rewrite_cases};

/// What every suite is given.
#[derive(Debug)]
pub struct Setting {
    /// Where the models are.
    pub models: Models,
    /// The folder that holds the data sets, for suites that read one.
    pub data: Option<PathBuf>,
    /// Seed of sampling and of the bootstrap.
    pub seed: u64,
    /// At most this many items, for a quick look; all when none.
    pub limit: Option<usize>,
    /// The folder where a suite with examples worth reading writes them, as `SUITE.jsonl`.
    pub examples: Option<PathBuf>,
}

/// The suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Twenty categories on the ValueEval'23 validation split.
    Detector,
    /// Sign of first-person statements of traits held out from training.
    Signs,
    /// What additions to a sentence move.
    Additions,
    /// Strongest value of the PVQ-40 items.
    Pvq,
    /// Direction and order of strength of our own instructions.
    Translator,
    /// Three-way relation on the counterfactually-augmented NLI test set.
    Nli,
    /// Changed numbers, names and negations caught; paraphrases let through.
    Guards,
    /// Texts a second through the detector.
    Speed,
    /// Share of ordinary paragraphs whose rewrite is accepted.
    Rewrite,
    /// The judge itself, beside the models it judges.
    Judge,
    /// Simulated people recovered from their choices.
    Search,
}

impl Suite {
    /// Every suite, in the order they are run.
    pub const ALL: [Self; 11] = [
        Self::Detector,
        Self::Signs,
        Self::Additions,
        Self::Pvq,
        Self::Translator,
        Self::Nli,
        Self::Guards,
        Self::Speed,
        Self::Rewrite,
        Self::Judge,
        Self::Search,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Detector => "detector",
            Self::Signs => "signs",
            Self::Additions => "additions",
            Self::Pvq => "pvq",
            Self::Translator => "translator",
            Self::Nli => "nli",
            Self::Guards => "guards",
            Self::Speed => "speed",
            Self::Rewrite => "rewrite",
            Self::Judge => "judge",
            Self::Search => "search",
        }
    }

    /// Runs the suite.
    ///
    /// # Errors
    /// A missing model or data set, or a model failure; never a figure computed from part of the items.
    pub fn run(self, setting: &Setting) -> Result<Report, EvalError> {
        match self {
            Self::Detector => detector::run(setting),
            Self::Signs => signs::run(setting),
            Self::Additions => additions::run(setting),
            Self::Pvq => pvq::run(setting),
            Self::Translator => translator::run(setting),
            Self::Nli => nli::run(setting),
            Self::Guards => guards::run(setting),
            Self::Speed => speed::run(setting),
            Self::Rewrite => rewrite::run(setting),
            Self::Judge => judge::run(setting),
            Self::Search => search::run(setting),
        }
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|suite| suite.name()).collect();
                format!("no suite {name:?}; there are {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_data() -> Setting {
        Setting {
            models: Models::find(None).expect("no explicit place is asked for"),
            data: None,
            seed: 1,
            limit: Some(40),
            examples: None,
        }
    }

    #[test]
    fn every_suite_is_found_by_its_name() {
        for suite in Suite::ALL {
            assert_eq!(suite.name().parse(), Ok(suite));
        }
        assert!("nly".parse::<Suite>().expect_err("a typo").contains("nli"));
    }

    #[test]
    fn a_suite_without_its_data_says_what_it_needs() {
        let problem = Suite::Nli
            .run(&without_data())
            .expect_err("no data folder")
            .to_string();
        assert!(
            problem.contains("counterfactually-augmented-data") && problem.contains("--data"),
            "{problem}"
        );
    }

    #[test]
    fn guards_catch_changes_of_our_own_sentences() {
        let report = Suite::Guards.run(&without_data()).expect("needs no data");
        for figure in &report.figures[..3] {
            assert!(
                figure.value >= 0.95 && figure.n >= 20,
                "{}: {} of {}",
                figure.name,
                figure.value,
                figure.n
            );
        }
        assert!(
            report.figures[3].value <= 0.05,
            "false alarms {}",
            report.figures[3].value
        );
    }

    #[test]
    fn cases_are_in_a_fixed_order_and_each_has_a_persona() {
        let cases = rewrite_cases(&without_data()).expect("committed");
        assert!(
            cases.len() >= 48
                && cases
                    .iter()
                    .all(|case| !case.persona.is_empty() && !case.text.is_empty())
        );
        assert_eq!(cases[0].id, "mail-01");
    }
}
