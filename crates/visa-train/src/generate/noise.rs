//! How people really type: a capital or none, a full stop or none, now and then a slip.

use rand::Rng;

/// Varies case and end mark, and misspells a word in about one text of fourteen.
pub(super) fn roughen<R: Rng>(text: &str, rng: &mut R) -> String {
    let mut text = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" ,", ",");
    text = text
        .replace("?, please", "?")
        .replace("??", "?")
        .replace("? please", "?")
        .replace("?.", "?");
    if rng.random_bool(0.07) {
        text = slip(&text, rng);
    }
    match rng.random_range(0..20) {
        0..9 => {
            text = text
                .split(". ")
                .map(capitalise)
                .collect::<Vec<_>>()
                .join(". ")
        }
        9 => text = text.to_lowercase(),
        10 if text.len() < 40 => text = text.to_uppercase(),
        _ => {}
    }
    if text.ends_with(|c: char| c.is_alphanumeric()) {
        match rng.random_range(0..20) {
            0..6 => text.push('.'),
            6 => text.push('!'),
            7 => text.push_str("..."),
            _ => {}
        }
    }
    text
}

/// The first letter in upper case.
pub(super) fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// One slip of the keyboard inside a word of five or more plain letters.
fn slip<R: Rng>(text: &str, rng: &mut R) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let long: Vec<usize> = (0..words.len())
        .filter(|i| words[*i].len() >= 5 && words[*i].bytes().all(|b| b.is_ascii_lowercase()))
        .collect();
    if long.is_empty() {
        return text.to_owned();
    }
    let word = &mut words[long[rng.random_range(0..long.len())]];
    let mut letters: Vec<char> = word.chars().collect();
    let at = rng.random_range(1..letters.len() - 1);
    match rng.random_range(0..4) {
        0 => letters.swap(at, at + 1),
        1 => {
            letters.remove(at);
        }
        2 => letters.insert(at, letters[at]),
        _ => {
            // A neighbouring key of the row.
            const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
            for row in ROWS {
                if let Some(key) = row.find(letters[at]) {
                    let next = if key + 1 < row.len() {
                        key + 1
                    } else {
                        key - 1
                    };
                    letters[at] = char::from(row.as_bytes()[next]);
                    break;
                }
            }
        }
    }
    *word = letters.into_iter().collect();
    words.join(" ")
}
