//! What a decoder makes of answers that are there already.

use std::collections::HashMap;

use rayon::prelude::*;
use visa_kernels::softmax::log_sum_exp;

use super::{Engine, Feed, Keep};
use crate::{Error, KvCache, Result};

/// Prompts that are read before their answers are.
const PROMPTS: usize = 32;
/// Hidden states whose logits are held at one time.
const LOGITS: usize = 128;

/// Answers to one prompt.
struct Group<'a> {
    prompt: &'a [u32],
    /// Which rows.
    members: Vec<usize>,
}

impl Engine {
    /// Log-probability in nats of each token of each answer behind its prompt;
    /// rows are (prompt, answer), at least one token each. A prompt that several
    /// rows share is computed once.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty prompt or answer, tokens beyond the
    /// vocabulary, and more of them than the decoder has positions.
    pub fn log_probabilities(&self, rows: &[(&[u32], &[u32])]) -> Result<Vec<Vec<f32>>> {
        if let Some(i) = rows.iter().position(|(p, a)| p.is_empty() || a.is_empty()) {
            return Err(Error::Input(format!(
                "row {i} has no prompt or no answer; give each at least one token"
            )));
        }
        let mut found: Vec<Vec<f32>> = vec![Vec::new(); rows.len()];
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (i, (prompt, _)) in rows.iter().enumerate() {
            let at = *known.entry(prompt).or_insert_with(|| {
                groups.push(Group {
                    prompt,
                    members: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].members.push(i);
        }
        for groups in groups.chunks(PROMPTS) {
            self.read_groups(groups, rows, &mut found)?;
        }
        Ok(found)
    }

    fn read_groups(
        &self,
        groups: &[Group<'_>],
        rows: &[(&[u32], &[u32])],
        found: &mut [Vec<f32>],
    ) -> Result<()> {
        let mut cache = self.cache();
        let feeds: Vec<Feed<'_>> = groups.iter().map(|g| (cache.add(), g.prompt)).collect();
        let hidden = self.feed(&mut cache, &feeds, Keep::Last)?;
        // The first token of each answer, behind the prompt.
        let mut tokens: Vec<(usize, u32, usize)> = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            tokens.extend(group.members.iter().map(|&i| (at, rows[i].1[0], i)));
        }
        self.append(&hidden, &tokens, found);
        // The others, each behind those before it.
        let mut answers: Vec<(Feed<'_>, usize)> = Vec::new();
        for (group, (prompt, _)) in groups.iter().zip(&feeds) {
            let longer = group.members.iter().filter(|&&i| rows[i].1.len() > 1);
            for &i in longer {
                let answer = rows[i].1;
                answers.push(((cache.fork(*prompt)?, &answer[..answer.len() - 1]), i));
            }
        }
        if answers.is_empty() {
            return Ok(());
        }
        let feeds: Vec<Feed<'_>> = answers.iter().map(|(feed, _)| *feed).collect();
        let hidden = self.feed(&mut cache, &feeds, Keep::All)?;
        tokens.clear();
        for (_, i) in &answers {
            for token in &rows[*i].1[1..] {
                tokens.push((tokens.len(), *token, *i));
            }
        }
        self.append(&hidden, &tokens, found);
        Ok(())
    }

    fn feed(&self, cache: &mut KvCache, feeds: &[Feed<'_>], keep: Keep) -> Result<Vec<f32>> {
        self.check(cache, feeds)?;
        self.run(cache, feeds, keep, None)
    }

    /// Appends log-probabilities: (row of `hidden`, token, where to), in order of rows.
    fn append(&self, hidden: &[f32], tokens: &[(usize, u32, usize)], found: &mut [Vec<f32>]) {
        let (h, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let mut rest = tokens;
        while let Some((first, ..)) = rest.first() {
            let count = rest.partition_point(|(row, ..)| *row < first + LOGITS);
            let (now, later) = rest.split_at(count);
            let last = now[count - 1].0;
            let logits = self.logits(&hidden[first * h..(last + 1) * h]);
            let sums: Vec<f32> = logits.par_chunks_exact(vocab).map(log_sum_exp).collect();
            for (row, token, to) in now {
                let at = row - first;
                found[*to].push(logits[at * vocab + *token as usize] - sums[at]);
            }
            rest = later;
        }
    }
}
