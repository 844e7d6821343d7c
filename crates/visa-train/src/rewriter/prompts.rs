//! What the policy is asked: a sentence of the rewriting data, and a wish.
//!
//! Sentences are looked at by [`visa_align::shield::editable`] and wishes made by [`visa_align::embedded::wishes`], as in
//! use: what a sentence does not bear there, it is not asked here. Only the training split is drawn from; a few places of
//! the validation split are for looking.

use rand::seq::{SliceRandom, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use visa_align::embedded::{Asker, edited, wishes};
use visa_align::format::WEAK;
use visa_align::shield::{Editable, MAX_CLAUSE, editable};
use visa_values::Shift;

use crate::grpo::Prompt;
use crate::pairs::row::{Kind, Row, Split};
use crate::{Error, Result};

/// Which sentences and wishes are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptRecipe {
    /// Kinds of pairs whose sources are asked about.
    pub kinds: Vec<Kind>,
    /// Share of wishes that are drawn at random; the others are what the pair teaches.
    pub random: f64,
    /// How much a value is to move in a wish drawn at random, at least and at most.
    pub strength: [f32; 2],
    /// Share of the values in it that are to rise.
    pub embraced: f64,
    /// Most tokens of a clause.
    pub max_clause: usize,
    /// Longest text in bytes.
    pub max_text: usize,
    /// Whether clauses are drawn under the shield of use. Without it any text may follow a sentence, up to the end token:
    /// for measuring what the shield is worth.
    pub shielded: bool,
}

impl Default for PromptRecipe {
    fn default() -> Self {
        Self {
            kinds: vec![
                Kind::Mined,
                Kind::Argument,
                Kind::Swap,
                Kind::Kept,
                Kind::Written,
            ],
            random: 0.75,
            strength: [0.4, 1.2],
            embraced: 0.65,
            max_clause: MAX_CLAUSE,
            max_text: 600,
            shielded: true,
        }
    }
}

impl PromptRecipe {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// With a message that names the setting.
    pub fn check(&self) -> Result<()> {
        let wrong = |detail: String| Err(Error::Input(detail));
        for (name, x) in [("random", self.random), ("embraced", self.embraced)] {
            if !(0.0..=1.0).contains(&x) {
                return wrong(format!("{name} is {x}; give a share from 0 to 1"));
            }
        }
        let [low, high] = self.strength;
        if !(low > 0.0 && low <= high && high <= 2.0) {
            return wrong(format!(
                "strength is {low} to {high}; give two numbers above 0, up to 2, the smaller first"
            ));
        }
        if self.max_clause == 0 || self.kinds.is_empty() {
            return wrong("max_clause is 0 or kinds is empty; a prompt needs both".into());
        }
        Ok(())
    }
}

/// A sentence that bears a clause, in its text.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    text: String,
    edit: Editable,
    /// What the pair teaches, if that is a wish.
    own: Option<[f32; 10]>,
}

impl Place {
    fn new(row: &Row, longest: usize) -> Option<Self> {
        let text = row.text();
        let start = text.len() - row.source.len();
        // The sentence must be one to the splitter too, as it will be in use.
        let edit = editable(&text)
            .into_iter()
            .find(|edit| edit.start == start && edit.end == text.len())?;
        let own = row.shift.as_ref().map(|s| *s.as_array());
        (text.len() <= longest).then_some(Self {
            text,
            edit,
            own: own.filter(|s| s.iter().any(|d| d.abs() >= WEAK)),
        })
    }
}

/// What one group answers.
#[derive(Clone, Debug)]
pub struct Item {
    /// The text with the sentence at its end.
    pub text: String,
    /// The sentence.
    pub edit: Editable,
    /// What is wished.
    pub wish: Shift,
    /// What the decoder sees.
    pub prompt: Prompt,
    /// The same without the wish, for a model that judges the language alone.
    pub plain: Vec<u32>,
    /// Tokens of the final punctuation.
    pub terminator: usize,
}

impl Item {
    fn new(
        place: &Place,
        wish: [f32; 10],
        asker: &Asker,
        recipe: &PromptRecipe,
    ) -> Result<Option<Self>> {
        let failed = |e: visa_align::AlignError| Error::Input(e.to_string());
        let ask = |wish| {
            asker
                .ask(&place.text, &place.edit, wish, recipe.max_clause)
                .map_err(failed)
        };
        let (Some(asked), Some(plain)) = (ask(&wish)?, ask(&[0.0; 10])?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            text: place.text.clone(),
            edit: place.edit.clone(),
            wish: Shift::new(wish).map_err(|e| Error::Input(e.to_string()))?,
            prompt: Prompt {
                ids: asked.prompt,
                shield: asked.shield.filter(|_| recipe.shielded),
            },
            plain: plain.prompt,
            terminator: asked.terminator,
        }))
    }

    /// The clause of a completion.
    ///
    /// # Errors
    /// Tokens that are no text.
    pub fn clause(&self, ids: &[u32], asker: &Asker) -> Result<String> {
        let clause = match &self.prompt.shield {
            Some(_) => asker.clause(ids, self.terminator),
            None => asker.free_clause(ids, &self.text[self.edit.clause..self.edit.end]),
        };
        clause.map_err(|e| Error::Input(e.to_string()))
    }

    /// The sentence as it is.
    pub fn sentence(&self) -> &str {
        &self.text[self.edit.range()]
    }

    /// The sentence with another clause.
    pub fn sentence_with(&self, clause: &str) -> String {
        edited(&self.text, &self.edit, clause)
    }

    /// The text with another clause.
    pub fn text_with(&self, clause: &str) -> String {
        format!(
            "{}{}",
            &self.text[..self.edit.start],
            self.sentence_with(clause)
        )
    }
}

/// Sentences to ask about.
pub struct Prompts {
    recipe: PromptRecipe,
    seed: u64,
    train: Vec<Place>,
    valid: Vec<Place>,
}

impl Prompts {
    /// The sentences of `rows` that bear a clause.
    ///
    /// # Errors
    /// Settings out of range; rows without such a sentence.
    pub fn new(rows: &[Row], recipe: &PromptRecipe, seed: u64) -> Result<Self> {
        recipe.check()?;
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| recipe.kinds.contains(&row.kind)) {
            let into = match row.split {
                Split::Train => &mut train,
                Split::Valid => &mut valid,
                Split::Test => continue,
            };
            into.extend(Place::new(row, recipe.max_text));
        }
        if train.is_empty() {
            let names: Vec<&str> = recipe.kinds.iter().map(|kind| kind.name()).collect();
            return Err(Error::Input(format!(
                "no pair of the kinds {} in the training split has a sentence that bears a clause; give more pairs or other kinds",
                names.join(", ")
            )));
        }
        valid.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Ok(Self {
            recipe: recipe.clone(),
            seed,
            train,
            valid,
        })
    }

    /// Sentences to learn from.
    pub fn len(&self) -> usize {
        self.train.len()
    }

    /// Whether there is none; [`Prompts::new`] refuses that.
    pub fn is_empty(&self) -> bool {
        self.train.is_empty()
    }

    /// The items of a step: each sentence once before any comes again. The same step has the same items.
    ///
    /// # Errors
    /// A text that the tokenizer cannot encode.
    pub fn draw(&self, step: u64, count: usize, asker: &Asker) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(count);
        let n = self.train.len() as u64;
        let start = step * count as u64;
        let mut order: Option<(u64, Vec<u32>)> = None;
        // A sentence may be too long for the decoder; then the next one takes its place.
        for at in start..start + 4 * count as u64 + 16 {
            let pass = at / n;
            if order.as_ref().is_none_or(|(of, _)| *of != pass) {
                let mut all: Vec<u32> = (0..n as u32).collect();
                all.shuffle(&mut self.rng(1, pass));
                order = Some((pass, all));
            }
            let (_, all) = order.as_ref().expect("made above");
            let place = &self.train[all[(at % n) as usize] as usize];
            let wish = self.wish(place, &mut self.rng(2, at));
            items.extend(Item::new(place, wish, asker, &self.recipe)?);
            if items.len() == count {
                return Ok(items);
            }
        }
        Err(Error::Input(
            "most sentences are too long for the decoder's positions; lower max_text or max_clause"
                .into(),
        ))
    }

    /// Up to `count` items of the validation split, always the same.
    ///
    /// # Errors
    /// A text that the tokenizer cannot encode.
    pub fn held_out(&self, count: usize, asker: &Asker) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for (i, place) in self.valid.iter().enumerate() {
            if items.len() == count {
                break;
            }
            let wish = self.wish(place, &mut self.rng(3, i as u64));
            items.extend(Item::new(place, wish, asker, &self.recipe)?);
        }
        Ok(items)
    }

    fn rng(&self, stream: u64, number: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(number) << 16);
        rng
    }

    fn wish(&self, place: &Place, rng: &mut ChaCha8Rng) -> [f32; 10] {
        let random = rng.random_bool(self.recipe.random);
        let gap = match place.own {
            Some(own) if !random => own,
            _ => gap(&self.recipe, rng),
        };
        let all = wishes(&gap);
        all[rng.random_range(0..all.len())]
    }
}

/// A movement of one to three values.
fn gap(recipe: &PromptRecipe, rng: &mut ChaCha8Rng) -> [f32; 10] {
    let count = [1, 1, 2, 2, 3][rng.random_range(0..5)];
    let mut gap = [0.0; 10];
    for value in index::sample(rng, 10, count) {
        let size = rng.random_range(recipe.strength[0]..=recipe.strength[1]);
        gap[value] = if rng.random_bool(recipe.embraced) {
            size
        } else {
            -size
        };
    }
    gap
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::rewriter::testing;

    #[test]
    fn every_sentence_comes_once_before_any_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let asker = testing::asker(dir.path());
        let prompts = Prompts::new(&testing::rows(12), &PromptRecipe::default(), 4).unwrap();
        let n = prompts.len();
        assert!(n >= 4, "{n}");
        let texts = |step, count| -> Vec<String> {
            let items = prompts.draw(step, count, &asker).unwrap();
            items.into_iter().map(|item| item.text).collect()
        };
        let pass: HashSet<String> = (0..n as u64).flat_map(|step| texts(step, 1)).collect();
        assert_eq!(pass.len(), n);
        assert_eq!(texts(3, 2), texts(3, 2));
        let wishes: HashSet<String> = (0..40)
            .map(|step| format!("{:?}", prompts.draw(step, 1, &asker).unwrap()[0].wish))
            .collect();
        assert!(wishes.len() > 20, "{}", wishes.len());
    }

    #[test]
    fn items_are_asked_as_in_use_and_put_clauses_in_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let asker = testing::asker(dir.path());
        let rows = testing::rows(12);
        let prompts = Prompts::new(&rows, &PromptRecipe::default(), 4).unwrap();
        let item = &prompts.draw(0, 1, &asker).unwrap()[0];
        let shown = asker.tokenizer().decode_all(&item.prompt.ids).unwrap();
        let stem = &item.text[item.edit.start..item.edit.stem];
        assert!(
            shown.starts_with("<|begin|><|") && shown.ends_with(stem),
            "{shown}"
        );
        let plain = asker.tokenizer().decode_all(&item.plain).unwrap();
        assert!(plain.starts_with("<|begin|><|text|>"), "{plain}");
        let changed = item.text_with(", out of love");
        assert!(changed.ends_with(", out of love."), "{changed}");
        assert!(changed.ends_with(&item.sentence_with(", out of love")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |recipe: PromptRecipe, part: &str| {
            let error = Prompts::new(&testing::rows(12), &recipe, 1).err().unwrap();
            assert!(error.to_string().contains(part), "{error}");
        };
        let recipe = PromptRecipe::default;
        check(
            PromptRecipe {
                random: 1.5,
                ..recipe()
            },
            "random is 1.5",
        );
        check(
            PromptRecipe {
                strength: [0.5, 0.1],
                ..recipe()
            },
            "strength",
        );
        check(
            PromptRecipe {
                kinds: vec![Kind::Simplified],
                ..recipe()
            },
            "simplified",
        );
    }
}
