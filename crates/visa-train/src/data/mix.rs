//! Fixed-length sequences drawn from several token streams by weight.
//!
//! A stream is cut into windows of `context + 1` tokens, so that documents are packed without
//! padding; every pass visits each window once, in an order and at an offset of its own. What has
//! been drawn is counted, and the counts are all the state there is.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// The tokens of one source and its share.
pub struct Stream {
    /// The source's name.
    pub name: String,
    /// Share of the sequences, relative to the others.
    pub weight: f64,
    /// All documents, one behind the other.
    pub tokens: Vec<u16>,
}

/// Draws sequences from streams.
pub struct Mixer {
    streams: Vec<Stream>,
    context: usize,
    seed: u64,
    drawn: Vec<u64>,
    /// The order of the present pass of each stream, made when first needed.
    orders: Vec<Option<(u64, Vec<u32>)>>,
}

impl Mixer {
    /// A mixer of sequences of `context + 1` tokens.
    ///
    /// # Errors
    /// A stream shorter than one sequence, or weights that are not positive.
    pub fn new(streams: Vec<Stream>, context: usize, seed: u64) -> Result<Self> {
        for stream in &streams {
            if stream.tokens.len() <= context + 1 {
                return Err(Error::Input(format!(
                    "source `{}` has {} tokens, fewer than one sequence of {}; give it more text or drop it",
                    stream.name,
                    stream.tokens.len(),
                    context + 1
                )));
            }
            if !(stream.weight.is_finite() && stream.weight > 0.0) {
                return Err(Error::Input(format!(
                    "source `{}` has weight {}, expected a positive number",
                    stream.name, stream.weight
                )));
            }
        }
        if streams.is_empty() {
            return Err(Error::Input(
                "no source of text is given; add a [[source]]".into(),
            ));
        }
        let n = streams.len();
        Ok(Self {
            streams,
            context,
            seed,
            drawn: vec![0; n],
            orders: vec![None; n],
        })
    }

    /// Sequences drawn from each stream so far; what a checkpoint keeps.
    pub fn drawn(&self) -> &[u64] {
        &self.drawn
    }

    /// Goes on behind what [`Mixer::drawn`] gave.
    pub fn set_drawn(&mut self, drawn: Vec<u64>) -> Result<()> {
        if drawn.len() != self.streams.len() {
            return Err(Error::Input(format!(
                "the checkpoint mixes {} sources, the recipe {}; start a new run for another mix",
                drawn.len(),
                self.streams.len()
            )));
        }
        self.drawn = drawn;
        Ok(())
    }

    /// `rows` sequences of `context + 1` tokens each.
    pub fn batch(&mut self, rows: usize) -> Vec<u32> {
        let total: f64 = self.streams.iter().map(|s| s.weight).sum();
        let mut tokens = Vec::with_capacity(rows * (self.context + 1));
        for _ in 0..rows {
            // The draw depends on how many went before, so it needs no state of its own.
            let n: u64 = self.drawn.iter().sum();
            let mut point = self.rng(0, n).random_range(0.0..total);
            let mut pick = self.streams.len() - 1;
            for (i, stream) in self.streams.iter().enumerate() {
                if point < stream.weight {
                    pick = i;
                    break;
                }
                point -= stream.weight;
            }
            self.draw(pick, &mut tokens);
        }
        tokens
    }

    fn draw(&mut self, pick: usize, into: &mut Vec<u32>) {
        let len = self.streams[pick].tokens.len();
        // One window fewer than fits, to leave room for the offset of a pass.
        let windows = ((len - 1) / self.context).saturating_sub(1).max(1);
        let (pass, place) = (
            self.drawn[pick] / windows as u64,
            self.drawn[pick] % windows as u64,
        );
        self.drawn[pick] += 1;
        if self.orders[pick].as_ref().is_none_or(|(of, _)| *of != pass) {
            let mut order: Vec<u32> = (0..windows as u32).collect();
            order.shuffle(&mut self.rng(1 + pick as u64, pass));
            self.orders[pick] = Some((pass, order));
        }
        let (_, order) = self.orders[pick].as_ref().expect("made above");
        let room = len - 1 - windows * self.context;
        let offset = self
            .rng(1 + pick as u64, pass)
            .random_range(0..=room.min(self.context));
        let start = offset + order[place as usize] as usize * self.context;
        let window = &self.streams[pick].tokens[start..start + self.context + 1];
        into.extend(window.iter().map(|&token| u32::from(token)));
    }

    fn rng(&self, stream: u64, number: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(number) << 32);
        rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixer() -> Mixer {
        let stream = |name: &str, weight, from: u16, n: u16| Stream {
            name: name.into(),
            weight,
            tokens: (from..from + n).collect(),
        };
        Mixer::new(
            vec![stream("a", 1.0, 0, 1000), stream("b", 3.0, 5000, 100)],
            9,
            7,
        )
        .unwrap()
    }

    #[test]
    fn sequences_are_windows_of_one_stream() {
        let tokens = mixer().batch(400);
        let mut from_b = 0;
        for row in tokens.chunks(10) {
            assert!(row.windows(2).all(|pair| pair[1] == pair[0] + 1), "{row:?}");
            from_b += usize::from(row[0] >= 5000);
        }
        assert!(
            (270..330).contains(&from_b),
            "{from_b} of 400 from the stream of weight 3/4"
        );
    }

    #[test]
    fn a_pass_visits_every_window_once() {
        let mut mixer = mixer();
        let mut tokens = Vec::new();
        let windows = 999 / 9 - 1;
        for _ in 0..windows {
            mixer.draw(0, &mut tokens);
        }
        let mut starts: Vec<u32> = tokens.chunks(10).map(|row| row[0]).collect();
        assert!(!starts.is_sorted());
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), windows);
        let mut second = Vec::new();
        mixer.draw(0, &mut second);
        assert_eq!(second.len(), 10);
    }

    #[test]
    fn drawing_goes_on_from_the_counts() {
        let (mut whole, mut parts) = (mixer(), mixer());
        let all = whole.batch(60);
        let first = parts.batch(25);
        let mut resumed = mixer();
        resumed.set_drawn(parts.drawn().to_vec()).unwrap();
        assert_eq!([first, resumed.batch(35)].concat(), all);
    }

    #[test]
    fn too_little_text_is_an_error_that_names_the_source() {
        let stream = Stream {
            name: "tiny".into(),
            weight: 1.0,
            tokens: vec![1; 10],
        };
        let message = Mixer::new(vec![stream], 9, 0).err().unwrap().to_string();
        assert!(message.contains("`tiny`"), "{message}");
    }
}
