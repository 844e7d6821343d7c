//! Rewrites by the embedded decoder: a small language model that writes clauses, under the shield.
//!
//! One round: choose sentences that bear an edit, sample several clauses for each in one batch, read what each would do
//! to the text's values in one batch of the detector, and combine the best into whole candidates. Everything outside
//! the edited clauses stays byte for byte. What the loop accepts is the loop's business.

mod ask;
mod book;
mod combine;
#[cfg(test)]
mod tests;
mod wish;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_nn::sample::SampleOptions;
use visa_score::guards;
use visa_values::{Profile, metrics};

use crate::backend::{Backend, Proposal, Values};
use crate::detector::Text;
use crate::error::Result;
use crate::models::Models;
use crate::shield::{Edit, Editable, MAX_CLAUSE, editable};
use crate::trunk::Trunk;

use combine::{Choice, combine, fewest_edits, most_edits};

use ask::before;
pub use ask::{AFTER_LIMIT, Asked, Asker, edited, fits};
pub use book::{FILE as PHRASES, Phrasebook};
pub use wish::wishes;
pub use write::{Clause, ClauseRequest, Clauses, Writer};

/// How the embedded rewriter works.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Sentences for which clauses are sampled in a round.
    pub sentences: usize,
    /// Clauses sampled for each.
    pub clauses: usize,
    /// Clauses of each whose values are read: those that read best and belong there most, since sampling is cheap and
    /// most of what a small model writes could stand anywhere.
    pub read: usize,
    /// Least log-odds that a clause belongs behind its sentence ([`Clause::sense`]); what has less is not used.
    pub sense: f32,
    /// Sampling temperature.
    pub temperature: f64,
    /// Nucleus of the distribution to sample from.
    pub top_p: f64,
    /// Most tokens of a clause.
    pub max_clause: usize,
    /// Whether clauses are written under the shield, and only those used that fit and violate no guard. Without it any
    /// text may follow a sentence: for measuring what the shield is worth.
    pub shielded: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            sentences: 6,
            clauses: 40,
            read: 10,
            sense: -1.8,
            temperature: 0.7,
            top_p: 0.92,
            max_clause: MAX_CLAUSE,
            shielded: true,
        }
    }
}

/// What the backend is called in reports.
pub const NAME: &str = "the embedded rewriter";

/// Weight of movement beside the gap against movement along it.
const LEAK: f32 = 0.3;
/// Worth of a remark where a paragraph ends, beside movement: in its midst it holds up the story.
const CLOSES: f32 = 0.15;
/// A clause whose removal moves the values this far (L2) speaks some.
const SPOKEN: f32 = 0.2;
/// Texts longer than this are read around the edit only, since the rest would be the same each time.
const WHOLE: usize = 1500;

/// The backend.
pub struct EmbeddedBackend<'a> {
    asker: Arc<Asker>,
    clauses: Box<dyn Clauses + 'a>,
    values: &'a dyn Values,
    /// How it works; may be changed between rewrites.
    pub options: EmbeddedOptions,
}

/// A clause that the model wrote for a sentence.
#[derive(Clone, Debug)]
struct Written {
    place: usize,
    clause: Clause,
}

impl<'a> EmbeddedBackend<'a> {
    /// A backend that writes by this writer; `values` ranks clauses before whole candidates are made.
    pub fn by(writer: Writer, values: &'a dyn Values) -> Self {
        let asker = Arc::clone(writer.asker());
        Self::new(asker, Box::new(writer), values)
    }

    /// Loads the rewriter among `models`, with the sense reader over a trunk that is shared.
    ///
    /// # Errors
    /// As [`Writer::find`].
    pub fn find(models: &Models, trunk: &Trunk, values: &'a dyn Values) -> Result<Self> {
        Ok(Self::by(Writer::find(models, trunk)?, values))
    }

    /// A backend whose clauses are asked for by `asker` and written by `clauses`.
    pub fn new(asker: Arc<Asker>, clauses: Box<dyn Clauses + 'a>, values: &'a dyn Values) -> Self {
        Self {
            asker,
            clauses,
            values,
            options: EmbeddedOptions::default(),
        }
    }

    /// Sentences of `text` to edit, best first; those that differ from the original's are done already.
    fn places(&self, text: &str, original: &str, rng: &mut ChaCha8Rng) -> Vec<Editable> {
        let untouched: HashSet<&str> = visa_score::sentences(original)
            .into_iter()
            .map(|r| original[r].trim())
            .collect();
        let mut places: Vec<Editable> = editable(text)
            .into_iter()
            .filter(|e| untouched.contains(text[e.range()].trim()))
            .collect();
        // A little noise, so that rounds try different sentences where several are as good.
        for place in &mut places {
            place.fitness += rng.random_range(0.0..0.3);
        }
        places.sort_by(|a, b| b.fitness.total_cmp(&a.fitness));
        places.truncate(self.options.sentences.max(1));
        places
    }

    fn write(
        &self,
        text: &str,
        places: &[Editable],
        gap: &[f32; 10],
        seed: u64,
    ) -> Result<Vec<Written>> {
        let wishes = wishes(gap);
        let shielded = self.options.shielded;
        let options = SampleOptions {
            stop_ids: self.asker.stop_ids(shielded),
            temperature: self.options.temperature,
            top_p: self.options.top_p,
            seed,
            max_tokens: self.options.max_clause + AFTER_LIMIT,
            ..SampleOptions::default()
        };
        self.asker.read_stems(text, places)?;
        let (mut owners, mut requests) = (Vec::new(), Vec::new());
        for (place, edit) in places.iter().enumerate() {
            let max_clause = self.options.max_clause;
            let before = before(text, edit);
            let asked = wishes.iter().map(|wish| {
                let mut asked = self.asker.ask(text, edit, wish, max_clause)?;
                if let Some(asked) = asked.as_mut().filter(|_| !shielded) {
                    asked.shield = None;
                }
                Ok(asked)
            });
            let asked = asked.collect::<Result<Vec<_>>>()?;
            for clause in 0..self.options.clauses {
                let at = clause % wishes.len();
                if let Some(asked) = &asked[at] {
                    requests.push(ClauseRequest {
                        asked: asked.clone(),
                        punctuation: text[edit.clause..edit.end].to_owned(),
                        before: Arc::clone(&before),
                        options: options.clone(),
                        stream: requests.len() as u64,
                    });
                    owners.push(place);
                }
            }
        }
        let written = owners.into_iter().zip(self.clauses.write(requests)?);
        Ok(written
            .filter_map(|(place, clause)| clause.map(|clause| Written { place, clause }))
            .collect())
    }

    /// Drops repetitions, what guards would refuse, what changes nothing, what the text says already and what makes least
    /// sense; adds the bare removal of a clause.
    fn sift(&self, text: &str, places: &[Editable], written: Vec<Written>) -> Vec<Written> {
        let removals = places
            .iter()
            .enumerate()
            .filter(|(_, e)| e.edit == Edit::Replace);
        let removals = removals.map(|(place, _)| Written {
            place,
            clause: Clause {
                text: String::new(),
                logprob: -1.0,
                sense: 0.0,
            },
        });
        let mut seen = HashSet::new();
        let mut kept: Vec<Written> = written
            .into_iter()
            .chain(removals)
            .filter(|w| {
                let edit = &places[w.place];
                let before = &text[edit.range()];
                let after = edited(text, edit, &w.clause.text);
                let allowed = || fits(edit, &w.clause.text) && guards(before, &after).is_empty();
                let sensible =
                    w.clause.sense >= self.options.sense && !text.contains(&w.clause.text);
                after != before
                    && (w.clause.text.is_empty() || sensible)
                    && seen.insert((w.place, w.clause.text.to_lowercase()))
                    && (!self.options.shielded || allowed())
            })
            .collect();
        kept.sort_by(|a, b| b.clause.merit().total_cmp(&a.clause.merit()));
        let mut read = vec![0; places.len()];
        kept.retain(|w| {
            read[w.place] += 1;
            read[w.place] <= self.options.read
        });
        kept
    }

    /// Reads what each clause does to the values, and gives it its worth.
    fn rank(
        &self,
        proposal: &Proposal<'_>,
        text: &str,
        places: &[Editable],
        written: Vec<Written>,
    ) -> Result<Vec<Choice>> {
        let whole = text.len() <= WHOLE;
        let span = |edit: &Editable| {
            if whole {
                0..text.len()
            } else {
                around(text, edit)
            }
        };
        let context = proposal.query.map(str::to_string);
        let with = |text: String| Text {
            text,
            context: context.clone(),
        };
        // First the places as they are, then as they would be.
        let mut texts: Vec<Text> = Vec::new();
        if whole {
            texts.push(with(text.to_string()));
        } else {
            texts.extend(places.iter().map(|e| with(text[span(e)].to_string())));
        }
        let bases = texts.len();
        for w in &written {
            let edit = &places[w.place];
            let range = span(edit);
            texts.push(with(format!(
                "{}{}{}",
                &text[range.start..edit.start],
                edited(text, edit, &w.clause.text),
                &text[edit.end..range.end]
            )));
        }
        let profiles = self.values.profiles(&texts)?;
        let (before, after) = profiles.split_at(bases.min(profiles.len()));
        let base = |place: usize| if whole { &before[0] } else { &before[place] };
        // A clause that speaks no value says something else, which must stay.
        let speaks = |w: &Written, after: &Profile| {
            metrics::l2(base(w.place).as_array(), after.as_array()) >= SPOKEN
        };
        let removable: HashSet<usize> = (written.iter().zip(after))
            .filter(|(w, after)| w.clause.text.is_empty() && speaks(w, after))
            .map(|(w, _)| w.place)
            .collect();
        Ok(written
            .into_iter()
            .zip(after)
            .filter(|(w, _)| places[w.place].edit == Edit::Extend || removable.contains(&w.place))
            .map(|(w, after)| {
                let before = base(w.place);
                let (along, beside) = movement(before.as_array(), after.as_array(), &proposal.gap);
                let end = if closes(text, &places[w.place]) {
                    CLOSES
                } else {
                    0.0
                };
                Choice {
                    place: w.place,
                    worth: along - LEAK * beside + w.clause.merit() + end,
                    along,
                    clause: w.clause.text,
                }
            })
            .collect())
    }
}

impl Backend for EmbeddedBackend<'_> {
    fn propose(&mut self, proposal: &Proposal<'_>) -> Result<Vec<String>> {
        let mut rng = ChaCha8Rng::seed_from_u64(proposal.seed);
        let mut base = proposal.best.unwrap_or(proposal.text);
        let mut places = self.places(base, proposal.text, &mut rng);
        if places.is_empty() && proposal.best.is_some() {
            // Every sentence of the best candidate is edited: begin again, with other samples.
            base = proposal.text;
            places = self.places(base, proposal.text, &mut rng);
        }
        if places.is_empty() {
            return Ok(Vec::new());
        }
        places.shuffle(&mut rng);
        let written = self.write(base, &places, &proposal.gap, proposal.seed)?;
        let written = self.sift(base, &places, written);
        if written.is_empty() {
            return Ok(Vec::new());
        }
        let choices = self.rank(proposal, base, &places, written)?;
        let sentences = visa_score::sentences(base).len();
        let most = most_edits(&proposal.gap, sentences).min(fewest_edits(&choices, &proposal.gap));
        let sets = combine(&choices, most, proposal.n);
        Ok(sets.iter().map(|set| apply(base, &places, set)).collect())
    }

    fn name(&self) -> String {
        NAME.to_string()
    }
}

/// A text with some clauses put in place; every other byte stays.
fn apply(text: &str, places: &[Editable], set: &[&Choice]) -> String {
    let mut edits: Vec<(&Editable, &str)> = set
        .iter()
        .map(|c| (&places[c.place], c.clause.as_str()))
        .collect();
    edits.sort_by_key(|(edit, _)| edit.start);
    let mut out = String::with_capacity(text.len() + 64 * edits.len());
    let mut at = 0;
    for (edit, clause) in edits {
        out.push_str(&text[at..edit.stem]);
        out.push_str(clause);
        at = edit.clause;
    }
    out.push_str(&text[at..]);
    out
}

/// Whether a sentence is the last of its paragraph.
fn closes(text: &str, edit: &Editable) -> bool {
    let rest = text[edit.end..].trim_start_matches([' ', '\t', '\r']);
    rest.is_empty() || rest.starts_with('\n')
}

/// A sentence with its neighbours.
fn around(text: &str, edit: &Editable) -> std::ops::Range<usize> {
    let sentences = visa_score::sentences(text);
    let before = sentences
        .iter()
        .rev()
        .find(|r| r.end <= edit.start)
        .map_or(edit.start, |r| r.start);
    let after = sentences
        .iter()
        .find(|r| r.start >= edit.end)
        .map_or(edit.end, |r| r.end);
    before..after
}

/// Movement along the gap, and what is left of it beside.
fn movement(before: &[f32; 10], after: &[f32; 10], gap: &[f32; 10]) -> (f32, f32) {
    let size = gap.iter().map(|g| g * g).sum::<f32>().sqrt();
    let moved: [f32; 10] = std::array::from_fn(|i| after[i] - before[i]);
    let total: f32 = moved.iter().map(|m| m * m).sum();
    if size == 0.0 {
        return (0.0, total.sqrt());
    }
    let along = moved.iter().zip(gap).map(|(m, g)| m * g).sum::<f32>() / size;
    (along, (total - along * along).max(0.0).sqrt())
}
