//! How a clause reads to a model that does not learn.
//!
//! Fluency is the mean log-probability of the clause and its end behind the sentence, in nats a token, without any wish.
//! It knows nothing of values.

use std::path::Path;

use candle_core::Device;
use visa_align::embedded::Asker;
use visa_nn::{Decoder, Group, Tokenizer};

use super::prompts::Item;
use super::reward::RewardRecipe;
use crate::grpo::Rollout;
use crate::{Error, Result};

/// Groups that go through the model together.
const TOGETHER: usize = 8;

/// A frozen model that reads clauses.
pub struct Language<'a> {
    decoder: Decoder,
    asker: &'a Asker,
    /// Whether it reads running text, and not the rewriter's format.
    plain: bool,
}

impl<'a> Language<'a> {
    /// What reads for a reward: the plain model of a folder, or the frozen rewriter itself where none is named; nothing if the reward
    /// does not weigh it.
    ///
    /// # Errors
    /// As [`Self::plain`].
    pub fn of(
        folder: &Path,
        reward: &RewardRecipe,
        frozen: &Decoder,
        asker: &'a Asker,
    ) -> Result<Option<Self>> {
        if !reward.reads() {
            return Ok(None);
        }
        let language = if folder.as_os_str().is_empty() {
            Self::rewriter(frozen.clone(), asker)
        } else {
            Self::plain(folder, asker)
        };
        language.map(Some)
    }

    /// A rewriter reads its own format.
    ///
    /// # Errors
    /// A tokenizer without the format's marks.
    pub fn rewriter(decoder: Decoder, asker: &'a Asker) -> Result<Self> {
        Ok(Self {
            decoder,
            asker,
            plain: false,
        })
    }

    /// A plain language model in a folder, with the tokenizer of the rewriter.
    ///
    /// # Errors
    /// A folder without a model, or with another tokenizer.
    pub fn plain(dir: &Path, asker: &'a Asker) -> Result<Self> {
        let decoder = Decoder::load(dir, &Device::Cpu)?;
        let tokenizer = Tokenizer::load(dir)?;
        let probe = "The same words, cut alike: 17 sheep don't mind.";
        if tokenizer.encode_plain(probe)?.ids != asker.tokenizer().encode_plain(probe)?.ids
            || tokenizer.vocab_size() != asker.tokenizer().vocab_size()
        {
            return Err(Error::recipe(
                dir,
                "has another tokenizer than the rewriter; name the language model that the rewriter was made from",
            ));
        }
        Ok(Self {
            decoder,
            asker,
            plain: true,
        })
    }

    fn prompt(&self, context: &str, stem: &str) -> Result<Vec<u32>> {
        let (marks, tokenizer) = (self.asker.marks(), self.asker.tokenizer());
        if self.plain {
            let mut ids = vec![marks.begin];
            ids.extend(tokenizer.encode_plain(&format!("{context}{stem}"))?.ids);
            return Ok(ids);
        }
        marks
            .prompt(tokenizer, &[0.0; 10], context, stem)
            .map_err(|e| Error::Input(e.to_string()))
    }

    /// The fluency of every completion of every group.
    ///
    /// # Errors
    /// What the model reports.
    pub fn read(&self, items: &[Item], rollouts: &[Rollout<'_>]) -> Result<Vec<Vec<f64>>> {
        let mut answers: Vec<Vec<&[u32]>> = Vec::with_capacity(items.len());
        let mut prompts = Vec::with_capacity(items.len());
        for (item, rollout) in items.iter().zip(rollouts) {
            // The end is a choice too; what follows its first token is forced.
            let answer = |ids: &'_ [u32]| ids.len().saturating_sub(item.terminator - 1).max(1);
            let of = rollout.completions.iter().map(|c| &c.generated.ids[..]);
            answers.push(of.map(|ids| &ids[..answer(ids)]).collect());
            prompts.push(if self.plain {
                self.prompt(
                    &item.text[..item.edit.start],
                    &item.text[item.edit.start..item.edit.stem],
                )?
            } else {
                item.plain.clone()
            });
        }
        let mut own = Vec::new();
        for (prompts, answers) in prompts.chunks(TOGETHER).zip(answers.chunks(TOGETHER)) {
            let groups = prompts.iter().zip(answers).map(|(prompt, answers)| Group {
                prompt,
                completions: answers.clone(),
            });
            own.extend(self.means(&groups.collect::<Vec<_>>())?);
        }
        let mut own = own.into_iter();
        Ok(answers
            .iter()
            .map(|group| own.by_ref().take(group.len()).collect())
            .collect())
    }

    /// Mean log-probability of each completion.
    fn means(&self, groups: &[Group<'_>]) -> Result<Vec<f64>> {
        let logprobs = self.decoder.group_logprobs(groups)?.to_vec1::<f32>()?;
        let mut rest = &logprobs[..];
        let completions = groups.iter().flat_map(|group| &group.completions);
        Ok(completions
            .map(|completion| {
                let (own, behind) = rest.split_at(completion.len());
                rest = behind;
                own.iter().map(|l| f64::from(*l)).sum::<f64>() / own.len() as f64
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use visa_nn::sample::{Finish, Generated};

    use super::*;
    use crate::grpo::Completion;
    use crate::rewriter::prompts::{PromptRecipe, Prompts};
    use crate::rewriter::testing;

    /// Mean log-probability of `answer` behind `prompt`, by a pass of its own.
    fn alone(decoder: &Decoder, prompt: &[u32], answer: &[u32]) -> f64 {
        let all = [prompt, answer].concat();
        let row = |ids: &[u32]| Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).unwrap();
        let losses = decoder
            .token_losses(&row(&all[..all.len() - 1]), &row(&all[1..]), None)
            .unwrap();
        let losses = losses.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let own = &losses[prompt.len() - 1..];
        -own.iter().map(|l| f64::from(*l)).sum::<f64>() / own.len() as f64
    }

    #[test]
    fn clauses_are_read_behind_their_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let asker = testing::asker(dir.path());
        let decoder = Decoder::load(dir.path(), &Device::Cpu).unwrap();
        let prompts = Prompts::new(&testing::rows(12), &PromptRecipe::default(), 4).unwrap();
        let items = prompts.draw(0, 3, &asker).unwrap();
        let completion = |clause: &str| {
            let mut ids = asker.tokenizer().encode_plain(clause).unwrap().ids;
            ids.extend(asker.tokenizer().encode_plain(".").unwrap().ids);
            Completion {
                generated: Generated {
                    logprobs: vec![0.0; ids.len()],
                    ids,
                    finish: Finish::Constraint,
                },
                cut_off: false,
            }
        };
        let completions = [completion(", because it is safe"), completion(" so far")];
        let rollouts: Vec<Rollout<'_>> = items
            .iter()
            .map(|item| Rollout {
                prompt: &item.prompt.ids,
                completions: &completions,
            })
            .collect();
        let plain = Language::plain(dir.path(), &asker).unwrap();
        let own = Language::rewriter(decoder.clone(), &asker).unwrap();
        for language in [&own, &plain] {
            let found = language.read(&items, &rollouts).unwrap();
            for (item, readings) in items.iter().zip(found) {
                let stem = &item.text[item.edit.start..item.edit.stem];
                let prompt = if language.plain {
                    language
                        .prompt(&item.text[..item.edit.start], stem)
                        .unwrap()
                } else {
                    item.plain.clone()
                };
                for (completion, reading) in completions.iter().zip(readings) {
                    let ids = &completion.generated.ids;
                    let here = alone(&decoder, &prompt, ids);
                    assert!((reading - here).abs() < 1e-4, "{reading} {here}");
                }
            }
        }
        let other = tempfile::tempdir().unwrap();
        visa_align::testing::encoder(other.path());
        assert!(Language::plain(other.path(), &asker).is_err());
    }
}
