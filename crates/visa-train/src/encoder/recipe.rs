//! What a recipe of an encoder task says. Each default is written here once.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use visa_align::head::Pooling;

use crate::{Error, Result, runlog};

/// How the trunk is adapted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adapter {
    /// Rank of the update of every linear module.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
}

impl Default for Adapter {
    fn default() -> Self {
        Self {
            rank: 32,
            alpha: 64.0,
        }
    }
}

/// Optimisation, shared by all tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimisation {
    /// Passes over the examples.
    pub epochs: usize,
    /// Texts a batch at most.
    pub batch: usize,
    /// Peak learning rate of the adapter.
    pub lr: f64,
    /// Peak learning rate of the head.
    pub head_lr: f64,
    /// Share of all steps spent warming up.
    pub warmup: f64,
    /// Last learning rate as a fraction of the peak.
    pub floor: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest gradient norm.
    pub clip: f64,
    /// Decay of the average of the weights a step; 0 turns the average off.
    pub average: f64,
    /// Whether matrix products round their factors to bf16.
    pub bf16: bool,
}

impl Default for Optimisation {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch: 32,
            lr: 1e-3,
            head_lr: 8e-3,
            warmup: 0.06,
            floor: 0.05,
            weight_decay: 0.01,
            clip: 1.0,
            average: 0.99,
            bf16: true,
        }
    }
}

/// The head's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadShape {
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// Width of the inner layer, 0 for none.
    pub inner: usize,
    /// Longest input in tokens.
    pub max_tokens: usize,
}

impl Default for HeadShape {
    fn default() -> Self {
        Self {
            pooling: Pooling::Mean,
            inner: 0,
            max_tokens: 128,
        }
    }
}

/// A folder of sentences with additions ([`crate::pairs::written`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Additions {
    /// The folder.
    pub folder: PathBuf,
    /// How many texts are drawn of it each epoch.
    pub drawn: usize,
}

/// Whose sources a model learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sources {
    /// Those of the models that the product judges and trains with.
    #[default]
    Product,
    /// Those of the judge, which only evaluation asks; see [`super::apart`].
    Judge,
}

/// Settings of the detector's data and losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorTask {
    /// Whose sources the signed texts come from.
    pub sources: Sources,
    /// Chance that an argument is shown without its context, as plain texts are.
    pub drop_context: f64,
    /// Chance that a signed text loses its full stop, as typed texts do.
    pub drop_stop: f64,
    /// Share of the conclusions held out for stopping and thresholds.
    pub hold_out: f64,
    /// Models trained from one start, each with other conclusions held out, and averaged.
    pub folds: usize,
    /// Label smoothing of the presence labels, toward 0.1.
    pub smoothing: f32,
    /// Weight of the sign loss beside the presence loss.
    pub sign_weight: f32,
    /// Arguments an epoch are all; of the persona statements this share is drawn anew each epoch.
    pub persona_rate: f64,
    /// Sentences made from the phrase lists, each epoch.
    pub phrases: usize,
    /// Sentences with a value-bearing clause from the generator, each epoch.
    pub clauses: usize,
    /// Share of the written texts that is drawn each epoch.
    pub written: f64,
    /// Sentences with additions. The judge's are its own.
    pub additions: Vec<Additions>,
    /// Encyclopaedia sentences that speak no value.
    pub plain: usize,
    /// Weight of "present means embraced" for the arguments.
    pub argument_sign: f32,
    /// Share of folded presence in the profile.
    pub presence_share: f32,
    /// Whether the presence head starts from the descriptions of the categories.
    pub describe: bool,
}

impl Default for DetectorTask {
    fn default() -> Self {
        Self {
            sources: Sources::Product,
            drop_context: 0.25,
            drop_stop: 0.4,
            hold_out: 0.125,
            folds: 3,
            smoothing: 0.0,
            sign_weight: 0.5,
            persona_rate: 0.2,
            phrases: 1500,
            clauses: 1500,
            written: 1.0,
            additions: Vec::new(),
            plain: 800,
            argument_sign: 0.3,
            presence_share: 0.05,
            describe: true,
        }
    }
}

/// Settings of the translator's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranslatorTask {
    /// Generated instructions.
    pub instructions: usize,
    /// How often each written wish comes in an epoch; 0 leaves them out.
    pub written: usize,
    /// Models trained from one start on other instructions each, and averaged.
    pub folds: usize,
    /// Generated instructions held out for stopping.
    pub hold_out: usize,
    /// Signed statements phrased as personas.
    pub personas: usize,
    /// Weight of the strength loss beside the direction loss.
    pub strength_weight: f32,
}

impl Default for TranslatorTask {
    fn default() -> Self {
        Self {
            instructions: 20_000,
            written: 3,
            folds: 1,
            hold_out: 1500,
            personas: 0,
            strength_weight: 1.0,
        }
    }
}

/// Settings of the consistency checker's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NliTask {
    /// Whose pairs are learnt beside the human inference pairs: the judge has others in place of the generated ones.
    pub sources: Sources,
    /// Models trained from one start on other generated pairs each, and averaged.
    pub folds: usize,
    /// Generated pairs.
    pub generated: usize,
    /// Share of the generated pairs drawn each epoch.
    pub generated_rate: f64,
    /// Weight of a generated pair beside a human one.
    pub generated_weight: f32,
    /// Rank that the average of the models is cut to; 0 keeps it whole.
    pub rank: usize,
}

impl Default for NliTask {
    fn default() -> Self {
        Self {
            sources: Sources::Product,
            folds: 1,
            generated: 12_000,
            generated_rate: 0.5,
            generated_weight: 1.0,
            rank: 0,
        }
    }
}

/// Settings of the sense reader's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SenseTask {
    /// The folder of written clauses ([`crate::pairs::written`]).
    pub written: PathBuf,
    /// What the target is where a clause of a speech act stands behind a sentence of another.
    pub elsewhere: f32,
    /// A file of sentences with the acts that they perform (JSON Lines); none if empty.
    pub acts: PathBuf,
    /// Weight of the loss of acts beside that of sense.
    pub act_weight: f64,
    /// A file of verdicts on clauses behind sentences (JSON Lines); none if empty.
    pub labelled: PathBuf,
    /// Weight of such a case beside the others.
    pub labelled_weight: f32,
    /// The folder of the rewriter's phrases, whose verdicts are all drawn in an epoch; if empty, all verdicts are.
    pub book: PathBuf,
    /// Share of the verdicts on other clauses that is drawn in an epoch.
    pub other_rate: f64,
    /// Share of the clauses of paragraphs that is drawn in an epoch.
    pub written_rate: f64,
    /// Share of the sentences that are shown with another's clause in an epoch; below 1.
    pub swapped_rate: f64,
    /// Share of the clauses of acts, where they belong and where not, that is drawn in an epoch.
    pub act_rate: f64,
}

impl Default for SenseTask {
    fn default() -> Self {
        Self {
            written: "recipes/written".into(),
            elsewhere: 0.2,
            acts: PathBuf::new(),
            act_weight: 1.0,
            labelled: PathBuf::new(),
            labelled_weight: 4.0,
            book: PathBuf::new(),
            other_rate: 0.25,
            written_rate: 0.3,
            swapped_rate: 0.1,
            act_rate: 0.3,
        }
    }
}

/// A recipe: everything that decides what a training run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The trunk's folder, relative to the working directory.
    pub encoder: PathBuf,
    /// Decides every random choice.
    pub seed: u64,
    /// The adapter.
    pub adapter: Adapter,
    /// The head.
    pub head: HeadShape,
    /// Optimisation.
    pub optimisation: Optimisation,
    /// The detector's own settings.
    pub detector: DetectorTask,
    /// The translator's own settings.
    pub translator: TranslatorTask,
    /// The checker's own settings.
    pub nli: NliTask,
    /// The sense reader's own settings.
    pub sense: SenseTask,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            encoder: "models/encoder".into(),
            seed: 17,
            adapter: Adapter::default(),
            head: HeadShape::default(),
            optimisation: Optimisation::default(),
            detector: DetectorTask::default(),
            translator: TranslatorTask::default(),
            nli: NliTask::default(),
            sense: SenseTask::default(),
        }
    }
}

impl Recipe {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming the field that does not fit.
    pub fn load(path: &Path) -> Result<Self> {
        let recipe: Self = runlog::read_recipe(path)?;
        recipe.check().map_err(|e| Error::recipe(path, e))?;
        Ok(recipe)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let o = &self.optimisation;
        let d = &self.detector;
        if o.epochs == 0 || o.batch == 0 || self.adapter.rank == 0 {
            return Err("epochs, batch and adapter.rank must be at least 1".into());
        }
        if !(0.0..1.0).contains(&o.average) || !(0.0..1.0).contains(&o.warmup) {
            return Err("average and warmup must be in 0..1".into());
        }
        if !(8..=512).contains(&self.head.max_tokens) {
            return Err("head.max_tokens must be in 8..=512".into());
        }
        if !(0.02..=0.5).contains(&d.hold_out)
            || [d.drop_context, d.drop_stop]
                .iter()
                .any(|p| !(0.0..=1.0).contains(p))
        {
            return Err(
                "detector.hold_out must be in 0.02..=0.5, drop_context, drop_stop and written in 0..=1"
                    .into(),
            );
        }
        let s = &self.sense;
        let share = 0.0..=1.0;
        if !(0.0..1.0).contains(&s.swapped_rate)
            || !share.contains(&s.written_rate)
            || !share.contains(&s.other_rate)
        {
            return Err(
                "sense.swapped_rate must be in 0..1, written_rate and other_rate in 0..=1".into(),
            );
        }
        if self.translator.folds == 0
            || self.nli.folds == 0
            || d.folds == 0
            || d.folds as f64 * d.hold_out > 1.0
        {
            return Err(
                "detector.folds must be at least 1, and folds times hold_out at most 1".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_senseless_numbers_are_refused() {
        let check = |text: &str, word: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("r.toml");
            std::fs::write(&path, text).unwrap();
            let error = Recipe::load(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        check("sed = 1", "sed");
        check("[optimisation]\nepochs = 0", "epochs");
        check("[optimisation]\naverage = 1.0", "average");
        check("[head]\nmax_tokens = 4", "max_tokens");
    }
}
