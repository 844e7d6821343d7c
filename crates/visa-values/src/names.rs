//! Names given by people: spelling that varies, and the nearest known name when one is misspelt.

use crate::ValueError;

/// Longest piece of foreign text an error repeats.
const SHOWN: usize = 60;

/// Lower case, with `-` for spaces and underscores, so that `Self Direction` is `self-direction`.
pub(crate) fn normal(name: &str) -> String {
    name.trim()
        .chars()
        .map(|c| match c {
            ' ' | '_' | '\u{2010}' | '\u{2011}' => '-',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// At most [`SHOWN`] characters of `text`, so that a message stays a line.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// Place of `name` among `known` after [`normal`], or an error that proposes the nearest.
pub(crate) fn find<'a>(
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize, ValueError> {
    let wanted = normal(name);
    if let Some(index) = known.clone().position(|k| normal(k) == wanted) {
        return Ok(index);
    }
    Err(ValueError::Unknown {
        what,
        name: shown(name.trim()),
        suggestion: nearest(&wanted, known.clone()).map(str::to_owned),
        known: known.collect::<Vec<_>>().join(", "),
    })
}

/// The known name within a third of its length in edits, or of which `wanted` is a beginning of three letters or more.
fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    // A name of hundreds of characters is no misspelling, and the distance is quadratic.
    if wanted.is_empty() || wanted.chars().count() > SHOWN {
        return None;
    }
    let by_distance = known
        .clone()
        .map(|k| (edits(wanted, &normal(k)), k))
        .filter(|(distance, k)| *distance <= (k.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k);
    by_distance.or_else(|| {
        let mut begun = known.filter(|k| wanted.len() >= 3 && normal(k).starts_with(wanted));
        let first = begun.next();
        if begun.next().is_some() { None } else { first }
    })
}

/// Damerau–Levenshtein distance with adjacent transpositions, in characters.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance() {
        for (a, b, expected) in [
            ("power", "power", 0),
            ("powre", "power", 1),
            ("tradtion", "tradition", 1),
            ("", "abc", 3),
            ("security", "serenity", 3),
        ] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
            assert_eq!(edits(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn long_text_is_shortened_on_character_borders() {
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&"ü".repeat(100)).chars().count(), SHOWN + 1);
    }
}
