//! Breaks marked text into lines of a width, words whole where they fit.

use unicode_width::UnicodeWidthChar;

use super::printable_char;

/// A stretch of text with a mark; the default mark means none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<M> {
    pub(crate) text: String,
    pub(crate) mark: M,
}

/// Columns that `text` takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Lines of at most `columns`, each as pieces. Line ends in the text end a line here; an empty line stays empty.
pub(crate) fn wrap<M: Copy + PartialEq + Default>(
    pieces: &[Piece<M>],
    columns: usize,
) -> Vec<Vec<Piece<M>>> {
    let columns = columns.max(1);
    let mut lines: Vec<Vec<(char, M)>> = vec![Vec::new()];
    let mut word: Vec<(char, M)> = Vec::new();
    let mut blank: Option<M> = None;
    let all = pieces
        .iter()
        .flat_map(|p| p.text.chars().map(move |c| (c, p.mark)));
    for (c, mark) in all {
        if c == '\n' {
            put_word(&mut lines, &mut word, &mut blank, columns);
            blank = None;
            lines.push(Vec::new());
        } else if c.is_whitespace() {
            put_word(&mut lines, &mut word, &mut blank, columns);
            // A blank belongs to a mark only if it lies inside it.
            blank = Some(mark);
        } else {
            word.push((printable_char(c), mark));
        }
    }
    put_word(&mut lines, &mut word, &mut blank, columns);
    lines.into_iter().map(join).collect()
}

/// Plain text in lines of at most `columns`, each `indent` columns in.
pub(crate) fn paragraph(text: &str, indent: usize, columns: usize) -> String {
    let pieces = [Piece {
        text: text.to_string(),
        mark: 0u8,
    }];
    wrap(&pieces, columns.saturating_sub(indent))
        .iter()
        .map(|line| {
            let text: String = line.iter().map(|p| p.text.as_str()).collect();
            let line = format!("{:indent$}{text}", "");
            format!("{}\n", line.trim_end())
        })
        .collect()
}

fn put_word<M: Copy + PartialEq + Default>(
    lines: &mut Vec<Vec<(char, M)>>,
    word: &mut Vec<(char, M)>,
    blank: &mut Option<M>,
    columns: usize,
) {
    if word.is_empty() {
        return;
    }
    let size = |cs: &[(char, M)]| {
        cs.iter()
            .map(|(c, _)| c.width().unwrap_or(0))
            .sum::<usize>()
    };
    let used = lines.last().map_or(0, |l| size(l));
    if used > 0 {
        if used + 1 + size(word) > columns {
            lines.push(Vec::new());
        } else if let (Some(mark), Some(line)) = (*blank, lines.last_mut()) {
            line.push((' ', mark));
        }
    }
    *blank = None;
    for (c, mark) in word.drain(..) {
        let full = lines
            .last()
            .is_some_and(|l| size(l) + c.width().unwrap_or(0) > columns && !l.is_empty());
        if full {
            lines.push(Vec::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push((c, mark));
        }
    }
}

fn join<M: Copy + PartialEq>(line: Vec<(char, M)>) -> Vec<Piece<M>> {
    let mut pieces: Vec<Piece<M>> = Vec::new();
    for (c, mark) in line {
        match pieces.last_mut() {
            Some(last) if last.mark == mark => last.text.push(c),
            _ => pieces.push(Piece {
                text: c.to_string(),
                mark,
            }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[(&str, u8)], columns: usize, expected: &[&str]) {
        let pieces: Vec<Piece<u8>> = pieces
            .iter()
            .map(|(t, m)| Piece {
                text: (*t).to_string(),
                mark: *m,
            })
            .collect();
        let lines: Vec<String> = wrap(&pieces, columns)
            .iter()
            .map(|line| {
                line.iter()
                    .map(|p| {
                        if p.mark == 0 {
                            p.text.clone()
                        } else {
                            format!("<{}>", p.text)
                        }
                    })
                    .collect()
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn words_stay_whole_and_marks_stay_with_them() {
        check(&[("one two three", 0)], 7, &["one two", "three"]);
        check(
            &[("one ", 0), ("two three", 1), (" four", 0)],
            10,
            &["one <two>", "<three> four"],
        );
        check(&[("un", 0), ("do", 1), ("able", 0)], 20, &["un<do>able"]);
        check(&[("a  b\n\nc", 0)], 10, &["a b", "", "c"]);
    }

    #[test]
    fn long_words_are_cut_and_wide_characters_counted() {
        check(&[("abcdefgh", 0)], 3, &["abc", "def", "gh"]);
        check(&[("日本語 テキスト", 0)], 6, &["日本語", "テキス", "ト"]);
        check(&[("x", 0)], 0, &["x"]);
    }
}
