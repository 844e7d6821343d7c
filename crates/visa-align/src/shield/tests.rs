//! Properties of the shield: whatever path it allows keeps what must be kept.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use visa_nn::sample::{Allowed, Constraint};
use visa_score::protected_spans;

use super::*;

/// A vocabulary with single characters, whole words, and everything a clause must not hold.
fn pieces() -> Vec<(u32, String)> {
    let mut texts: Vec<String> = (0u8..128).map(|b| char::from(b).to_string()).collect();
    for text in [
        ", because",
        " because",
        " so",
        " that",
        " it",
        " keeps",
        " children",
        " safe",
        "ing",
        "'s",
        " I",
        "sabel",
        " Paris",
        " 7",
        "7",
        ".\n",
        "...",
        "\"",
        " “",
        "http",
        "://",
        "`",
        " don",
        "'t",
        "-",
        " long",
        "-term",
        "é",
        " ,",
        "  ",
        ", ",
        "\n\n",
        "? ",
        ".",
        "!",
        "<|end|>",
    ] {
        texts.push(text.to_string());
    }
    (0u32..).zip(texts).collect()
}

const END: &str = "<|end|>";

fn vocab() -> (Arc<ClauseVocab>, HashMap<u32, String>, HashMap<String, u32>) {
    let special = |p: &&(u32, String)| p.1 != END;
    let pieces = pieces();
    let vocab = ClauseVocab::from_pieces(pieces.iter().filter(special).cloned()).unwrap();
    let ids = pieces
        .iter()
        .map(|(id, text)| (text.clone(), *id))
        .collect();
    (Arc::new(vocab), pieces.into_iter().collect(), ids)
}

/// Decodes along a path that `choices` pick among the allowed tokens; gives the text and whether it was cut.
fn walk(terminator: &str, max_clause: usize, choices: &[usize]) -> (String, bool) {
    let (vocab, texts, ids) = vocab();
    let terminator: Vec<u32> = if terminator.is_empty() {
        vec![ids[END]]
    } else {
        terminator.chars().map(|c| ids[&c.to_string()]).collect()
    };
    let mut shield = ClauseShield::new(&vocab, &terminator, max_clause).unwrap();
    let mut out: Vec<u32> = Vec::new();
    let mut choices = choices.iter().cycle();
    while !shield.done() {
        let token = match shield.allowed(&out) {
            Allowed::Force(token) => token,
            Allowed::Only(list) => {
                assert!(!list.is_empty(), "a dead end behind {out:?}");
                list[choices.next().unwrap() % list.len()]
            }
            other => panic!("{other:?} restricts nothing"),
        };
        shield.advance(token);
        out.push(token);
        assert!(out.len() <= max_clause + 4 + terminator.len(), "no end");
    }
    let text = out
        .iter()
        .map(|id| texts[id].as_str())
        .filter(|t| *t != END)
        .collect();
    (text, shield.is_cut())
}

proptest! {
    #[test]
    fn every_path_is_a_clause_and_its_end(
        choices in prop::collection::vec(any::<usize>(), 1..40),
        terminator in prop::sample::select(vec![".", "!", "...", ""]),
        max in 1usize..12,
    ) {
        let (text, _) = walk(terminator, max, &choices);
        prop_assert!(text.ends_with(terminator));
        let clause = &text[..text.len() - terminator.len()];
        prop_assert!(clause.is_empty() || clause.starts_with([',', ' ']), "{clause:?}");
        for c in clause.chars() {
            prop_assert!(c.is_lowercase() || "I ,-'’".contains(c), "{c:?} in {clause:?}");
        }
        prop_assert!(!clause.contains("  ") && !clause.contains(" ,") && !clause.ends_with([' ', ',', '-']), "{clause:?}");
        for word in clause.split([' ', ',']).filter(|w| w.contains('I')) {
            prop_assert!(word == "I" || word.starts_with("I'") || word.starts_with("I’"), "a new name {word:?}");
        }
    }

    /// The promise of the whole: any allowed path, put in place, keeps protected spans and the other sentences.
    #[test]
    fn every_edit_keeps_what_is_protected(
        choices in prop::collection::vec(any::<usize>(), 1..40),
        which in any::<usize>(),
        sentences in prop::collection::vec(prop::sample::select(vec![
            "You should walk 30 minutes a day because it keeps your heart healthy.",
            "Anna Schmidt moved to Berlin in 2019, which made her parents proud.",
            "He said \"wait for me\" and left.",
            "See https://example.org/a?b=1 for the details of it.",
            "Call `run()` before you start the server!",
            "What do you think of it?",
            "Do not drink and drive, because Mr. Jones saw 3 crashes.",
            "Bring your own bag so that less goes to waste.",
            "Short one.",
            "- Eat more greens every single day",
            "# A heading of five words",
            "We keep a garden in order to eat well.",
        ]), 1..6),
        breaks in prop::collection::vec(prop::sample::select(vec![" ", "\n", "\n\n", "  "]), 6),
    ) {
        let mut text = String::new();
        for (sentence, space) in sentences.iter().zip(&breaks) {
            text.push_str(sentence);
            text.push_str(space);
        }
        let edits = editable(&text);
        if edits.is_empty() {
            return Ok(());
        }
        let edit = &edits[which % edits.len()];
        let (written, _) = walk(&text[edit.clause..edit.end], 10, &choices);
        let rewritten = format!("{}{written}{}", &text[..edit.stem], &text[edit.end..]);
        for span in protected_spans(&text) {
            let words = &text[span.start..span.end];
            let count = |t: &str| t.matches(words).count();
            prop_assert!(count(&rewritten) >= count(&text), "{words:?} is lost in {rewritten:?}");
        }
        for range in visa_score::sentences(&text) {
            let kept = range.end <= edit.start || range.start >= edit.end;
            prop_assert!(!kept || rewritten.contains(&text[range.clone()]), "{:?} is lost", &text[range]);
        }
        prop_assert!(rewritten.starts_with(&text[..edit.stem]) && rewritten.ends_with(&text[edit.end..]));
    }

    #[test]
    fn edits_of_any_text_are_in_order(text in "([A-Za-z]{1,8}|because|, |\\. |! |\\? |\"|7|\n|é| ){0,40}") {
        let mut end = 0;
        for e in editable(&text) {
            prop_assert!(end <= e.start && e.start < e.stem && e.stem <= e.clause && e.clause <= e.end && e.end <= text.len());
            prop_assert!((e.edit == Edit::Extend) == (e.stem == e.clause));
            prop_assert!(text.is_char_boundary(e.stem) && text.is_char_boundary(e.clause));
            end = e.end;
        }
    }
}

#[test]
fn the_limit_is_told() {
    // Always the first allowed token that goes on: the path never chooses to end.
    let (text, cut) = walk(".", 3, &[0]);
    assert!(cut && text.ends_with('.'), "{text:?}");
    // The terminator is the last of the list at the start: an empty clause.
    assert_eq!(walk("!", 3, &[usize::MAX]).0.chars().last(), Some('!'));
}

#[test]
fn a_vocabulary_without_letters_is_refused() {
    let pieces = [(0, ",".to_string()), (1, " ".to_string())];
    assert!(ClauseVocab::from_pieces(pieces.into_iter()).is_none());
    let (vocab, ..) = vocab();
    assert!(ClauseShield::new(&vocab, &[], 5).is_none());
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = editable(text)
        .iter()
        .map(|e| (&text[e.start..e.stem], &text[e.stem..e.clause]))
        .collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn sentences_are_taken_apart() {
    check(
        "Wear a warm coat, because it is cold. Then go outside to play.",
        &[
            ("Wear a warm coat", ", because it is cold"),
            ("Then go outside to play", ""),
        ],
    );
    // A clause with a number stays, and so does one with a name.
    check(
        "You should save money because rents rose by 9 %.\nTake the early train because Maria waits there.",
        &[("Take the early train because Maria waits there", "")],
    );
    check(
        "Is this a real question? No. # A title with many words",
        &[],
    );
    check(
        "The last sentence may lack its end",
        &[("The last sentence may lack its end", "")],
    );
    check("He said \"we leave for home now.\"", &[]);
    check(
        "Read the page at https://example.org/now.",
        &[("Read the page at https://example.org/now", "")],
    );
    check(
        "```\nlet the code stay as it is.\n```\n\nThis is plain prose again.",
        &[("This is plain prose again", "")],
    );
}

#[test]
fn advice_bears_reasons_and_reports_do_not() {
    let check = |text: &str, expected: bool| {
        assert_eq!(editable(text)[0].bears_reasons, expected, "{text}");
    };
    check("You should wear a helmet on the way.", true);
    check("Check the brakes before you leave.", true);
    check("I'll call the plumber in the morning.", true);
    check("The price of coffee rose in March.", false);
    check("Power returned to most houses on Sunday.", false);
    check("The gym near the river has new owners.", false);
    check("The offices will be rebuilt with fewer desks.", false);
    check("We will be back at about four.", true);
    // A reason that is there already may be replaced by another.
    check(
        "They built a fence because it keeps the children safe.",
        true,
    );
}

#[test]
fn among_phrases_one_of_them_is_written_and_the_end() {
    let (vocab, texts, ids) = vocab();
    let tokens = |pieces: &[&str]| pieces.iter().map(|p| ids[*p]).collect::<Arc<[u32]>>();
    let phrases = Phrases::new(vec![
        tokens(&[" so", " that", " it", " keeps"]),
        tokens(&[" so", " that", " children"]),
        tokens(&[" so", " that"]),
    ]);
    let phrases = Arc::new(phrases.unwrap());
    let mut found = Vec::new();
    for choice in 0..4 {
        // A limit below their length does not cut what is written whole.
        let shield = ClauseShield::new(&vocab, &[ids["!"], ids["!"]], 1).unwrap();
        let mut shield = shield.among(&phrases);
        let mut text = String::new();
        while !shield.done() {
            let token = match shield.allowed(&[]) {
                Allowed::Force(token) => token,
                Allowed::Only(list) => list[choice.min(list.len() - 1)],
                other => panic!("{other:?} restricts nothing"),
            };
            shield.advance(token);
            text += &texts[&token];
        }
        assert!(!shield.is_cut());
        found.push(text);
    }
    found.dedup();
    // One way to begin and to go on; then the first choice each time, the second, and the last, which is the end.
    assert_eq!(
        found,
        [" so that it keeps!!", " so that children!!", " so that!!"]
    );
}
