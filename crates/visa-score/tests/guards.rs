//! What the guards catch and what they let pass, by example, and their rates on built-in cases.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use visa_score::cases::{self, Case};
use visa_score::{GuardKind, guards, protected_spans, sentences, windows};

/// The kinds of violation between two texts, once each.
fn check(original: &str, candidate: &str, expected: &[GuardKind]) {
    let found = guards(original, candidate);
    let mut kinds: Vec<GuardKind> = found.iter().map(|v| v.kind).collect();
    kinds.dedup();
    assert_eq!(kinds, expected, "{original:?} -> {candidate:?}: {found:?}");
}

fn pass(original: &str, candidate: &str) {
    check(original, candidate, &[]);
    check(candidate, original, &[]);
}

use GuardKind::{Code, Date, Name, Negation, Number, Quotation, Url};

#[test]
fn equal_numbers() {
    for (a, b) in [
        ("It took 12 days.", "It took twelve days."),
        ("It cost 1,000 euros.", "It cost €1000."),
        (
            "Half of it, 50%, is gone.",
            "Half of it, 50 percent, is gone.",
        ),
        ("About 50 per cent agree.", "About 50% agree."),
        ("The 3rd attempt worked.", "The third attempt worked."),
        ("He owns 2.5 million shares.", "He owns 2,500,000 shares."),
        ("It cost $3m.", "It cost 3 million dollars."),
        ("It cost £3.20.", "It cost 3.20 pounds."),
        ("One hundred and five people came.", "105 people came."),
        (
            "Twenty-five men and a thousand horses.",
            "25 men and 1000 horses.",
        ),
        ("A five-year plan.", "A 5 year plan."),
        ("It grew from 10% to 20%.", "It grew from 10 to 20%."),
        ("She ran 5km.", "She ran 5 kilometres."),
        ("It has 30m users.", "It has 30 million users."),
        ("1. Wash\n2. Dry", "- Wash\n- Dry"),
        ("One can go.", "You can go."),
        ("It holds 1.50 litres.", "It holds 1.5 litres."),
    ] {
        pass(a, b);
    }
}

#[test]
fn changed_numbers() {
    for (a, b) in [
        ("It took 12 days.", "It took 13 days."),
        ("It took twelve days.", "It took some days."),
        ("It took some days.", "It took twelve days."),
        ("It cost 50 dollars.", "It cost 50 euros."),
        ("It grew by 50 percent.", "It grew by 50."),
        ("It grew by 50.", "It grew by 50 percent."),
        ("He ran 5 km.", "He ran 5 miles."),
        ("He waited 20 days.", "He waited 20 years."),
        ("It is -5 degrees.", "It is 5 degrees."),
        ("He has 2.5 million.", "He has 2.5 billion."),
        (
            "The year 123456789012345678.",
            "The year 123456789012345679.",
        ),
        ("Version 1.2.3 is out.", "Version 1.2.4 is out."),
    ] {
        check(a, b, &[Number]);
    }
}

#[test]
fn dates_and_times() {
    for (a, b) in [
        ("Born on 25th of May 1986.", "Born on May 25, 1986."),
        ("Born on 1986-05-25.", "Born on 25 May 1986."),
        ("Born on 25/05/1986.", "Born on May 25, 1986."),
        ("On Jan. 4 it rained.", "On 4 January it rained."),
        ("Come at 3 pm.", "Come at 15:00."),
        ("Come at 3:30 p.m. today.", "Come at 15:30 today."),
        ("Come at noon.", "Come at 12:00."),
        ("It may march on.", "It can go on."),
        ("Open on Mondays.", "Open on Monday."),
    ] {
        pass(a, b);
    }
    for (a, b) in [
        ("Born in May 1986.", "Born in June 1986."),
        ("Come on Monday.", "Come on Tuesday."),
        ("Come at 3 pm.", "Come at 3 am."),
        ("Come at 3:30 pm.", "Come at 3:45 pm."),
        ("Come on 4 March.", "Come on 5 March."),
        ("Come on 4 March.", "Come."),
    ] {
        check(a, b, &[Date]);
    }
    check("In the 1990s it grew.", "In 1990 it grew.", &[]);
    check("Come in 1990.", "Come in 1991.", &[Number]);
}

#[test]
fn names() {
    for (a, b) in [
        ("The U.S. won.", "The US won."),
        ("Britain's army left.", "The army of Britain left."),
        ("The President spoke.", "The president spoke."),
        ("Anna sang and Anna danced.", "Anna sang and danced."),
        ("Tables were set in Rome.", "In Rome, tables were set."),
        ("He met Mr. Jones.", "He met Jones."),
        ("However, Paris is far.", "Paris, though, is far."),
        ("AT&T's offer", "the offer of AT&T"),
        ("The Americans left.", "The American left."),
        ("\"Stay,\" said Eve.", "Eve said: \"Stay.\""),
        ("DO NOT TOUCH THE WIRE.", "Do not touch the wire."),
    ] {
        pass(a, b);
    }
    for (a, b) in [
        ("He met Anna.", "He met Maria."),
        ("He met Anna.", "He met her."),
        ("He met her.", "He met Anna."),
        ("Kowalczyk won.", "Villanueva won."),
        ("NATO agreed.", "They agreed."),
        ("We love the US.", "We love us."),
        ("He bought an iPad.", "He bought a laptop."),
        ("New York is big.", "New Jersey is big."),
    ] {
        check(a, b, &[Name]);
    }
}

#[test]
fn negations_kept() {
    for (a, b) in [
        ("He did not go.", "He didn't go."),
        ("He did not go.", "He never went."),
        ("He can't swim.", "He cannot swim."),
        ("He cannot swim.", "He is unable to swim."),
        ("She is unhappy.", "She is not happy."),
        ("It is impossible.", "It is not possible."),
        ("There is no evidence.", "There isn't any evidence."),
        ("No complaints were lodged.", "Complaints were not lodged."),
        ("I do not think it is safe.", "I think it is not safe."),
        ("He lives without fear.", "He lives with no fear."),
        ("It is not uncommon.", "It is common."),
        ("He came but did not stay.", "He came. He did not stay."),
        (
            "Since he was not ill, he worked.",
            "He worked, since he was not ill.",
        ),
        (
            "It is not only cheap but good.",
            "It is cheap and also good.",
        ),
        ("Nobody knew.", "No one knew."),
        ("He failed to attend.", "He did not attend."),
        ("He does n't know .", "He does not know."),
    ] {
        pass(a, b);
    }
    // An added clause may deny what it likes.
    check(
        "We should help.",
        "We should help, so that nobody is left alone.",
        &[],
    );
    check(
        "We should help.",
        "We should help. It is never too late for kindness.",
        &[],
    );
}

#[test]
fn negations_changed() {
    for (a, b) in [
        ("He did not go.", "He went."),
        ("He did not attend.", "He attended."),
        ("He attends.", "He does not attend."),
        ("It is safe.", "It isn't safe."),
        ("He always lies.", "He never lies."),
        ("She came with her dog.", "She came without her dog."),
        ("No child is left behind.", "A child is left behind."),
        ("She is unhappy.", "She is happy."),
        ("It is legal.", "It is illegal."),
        ("Neither side won.", "Each side won."),
        (
            "It is not safe but it is cheap.",
            "It is safe but it is not cheap.",
        ),
        (
            "He did not go, since it rained.",
            "He went, since it rained, and nobody laughed.",
        ),
        ("It is uncommon.", "It is not uncommon."),
    ] {
        check(a, b, &[Negation]);
    }
}

#[test]
fn quotations() {
    pass(
        "He said \"I am done\" and left.",
        "“I am done,” he said and left.",
    );
    pass("The so-called 'war' ended.", "The so-called \"war\" ended.");
    pass(
        "The dogs' food and the cat's bowl.",
        "Food of the dogs and the bowl of the cat.",
    );
    pass(
        "It is 5\" wide and 6\" long.",
        "It is 6\" long and 5\" wide.",
    );
    check(
        "He said \"I am done\" and left.",
        "He said \"I was done\" and left.",
        &[Quotation],
    );
    check(
        "He said \"go away\" twice.",
        "He told them to go.",
        &[Quotation],
    );
    check("He agreed.", "He agreed: \"by all means\".", &[Quotation]);
    check(
        "She wrote «out of time» on it.",
        "She wrote on it.",
        &[Quotation],
    );
}

#[test]
fn addresses_and_code() {
    pass(
        "See https://example.org/a?b=1.",
        "There is more (https://example.org/a?b=1).",
    );
    pass("Run `cargo test` now.", "Now run `cargo test`.");
    check(
        "See https://example.org/a.",
        "See https://example.org/b.",
        &[Url],
    );
    check(
        "Write to ann@example.org.",
        "Write to bob@example.org.",
        &[Url],
    );
    check("See www.example.org, please.", "See it, please.", &[Url]);
    check("It is fine.", "It is fine, see example.com/page.", &[Url]);
    check("Run `cargo test` now.", "Run `cargo build` now.", &[Code]);
    check("```\nx = 1\n```\nDone.", "```\nx = 2\n```\nDone.", &[Code]);
}

#[test]
fn details_name_what_happened() {
    let found = guards("Anna paid 12 dollars.", "Maria paid 15 dollars.");
    let details: Vec<&str> = found.iter().map(|v| v.detail.as_str()).collect();
    assert_eq!(details.len(), 4);
    assert!(
        details[0].contains("12 dollars") && details[0].ends_with("is missing"),
        "{details:?}"
    );
    assert!(details[1].contains("15 dollars") && details[1].ends_with("is not in the original"));
    assert_eq!(details[2], "the name \"Anna\" is missing");
    assert_eq!(details[3], "the name \"Maria\" is not in the original");
    let json = serde_json::to_string(&found[2]).unwrap();
    assert_eq!(
        json,
        r#"{"kind":"name","detail":"the name \"Anna\" is missing"}"#
    );
}

#[test]
fn spans() {
    let check = |text: &str, expected: &[(&str, GuardKind)]| {
        let found: Vec<(&str, GuardKind)> = protected_spans(text)
            .into_iter()
            .map(|p| (&text[p.start..p.end], p.kind))
            .collect();
        assert_eq!(found, expected, "{text}");
    };
    check("", &[]);
    check("One can go first.", &[]);
    check(
        "On 4 March 1977, Anna Keller paid $12 in Prague.",
        &[
            ("4 March 1977", Date),
            ("Anna Keller", Name),
            ("12", Number),
            ("Prague", Name),
        ],
    );
    check(
        "He said \"12 men\" and did not stop.",
        &[("12 men", Quotation), ("not", Negation)],
    );
    check(
        "See https://example.org/x1 or `let x = 5`.",
        &[("https://example.org/x1", Url), ("`let x = 5`", Code)],
    );
    check("It grew by 50 percent.", &[("50 percent", Number)]);
}

/// Shares on the built-in sentences; `visa eval guards` measures the same on real ones.
#[test]
fn rates_on_built_in_cases() {
    let sentences: Vec<&str> = cases::SENTENCES.lines().collect();
    let caught = |cases: &[Case], least: usize| {
        assert!(cases.len() >= least, "only {} cases", cases.len());
        let missed: Vec<&Case> = cases
            .iter()
            .filter(|c| guards(&c.original, &c.candidate).is_empty())
            .collect();
        assert!(
            missed.len() * 100 <= cases.len() * 2,
            "{} of {} missed: {missed:#?}",
            missed.len(),
            cases.len()
        );
    };
    let many = |make: fn(&[&str], u64) -> Vec<Case>| -> Vec<Case> {
        (0..8).flat_map(|seed| make(&sentences, seed)).collect()
    };
    caught(&many(cases::changed_numbers), 280);
    caught(&many(cases::changed_names), 280);
    caught(&many(cases::changed_negations), 360);
    for (make, least) in [
        (cases::paraphrases as fn(&[&str], u64) -> Vec<Case>, 600),
        (cases::added_clauses, 400),
    ] {
        let cases = many(make);
        assert!(cases.len() >= least, "only {} cases", cases.len());
        let raised: Vec<_> = cases
            .iter()
            .filter_map(|c| {
                guards(&c.original, &c.candidate)
                    .first()
                    .map(|v| (c, v.detail.clone()))
            })
            .collect();
        assert!(
            raised.len() * 100 <= cases.len() * 5,
            "{} of {}: {:#?}",
            raised.len(),
            cases.len(),
            raised.first()
        );
    }
}

#[test]
fn cases_are_deterministic() {
    let sentences: Vec<&str> = cases::SENTENCES.lines().collect();
    assert_eq!(
        cases::changed_names(&sentences, 7),
        cases::changed_names(&sentences, 7)
    );
    assert_ne!(
        cases::changed_names(&sentences, 7),
        cases::changed_names(&sentences, 8)
    );
}

/// 200 kB in each shape must take well under a second, whatever stands in it.
#[test]
fn time_is_linear() {
    let prose = cases::SENTENCES.replace('\n', " ");
    for unit in [
        prose.as_str(),
        "not ",
        "A ",
        ")",
        ".",
        "\"",
        "'",
        "`",
        "1",
        "1.",
        "1,000",
        "a.",
        "(",
        "https://a.b/)))",
        "https://",
        "x@",
        "a-",
        "a@b.",
        "one hundred ",
        "hundred ",
        "'' a ",
        "- 1\n",
        "\n",
        "Ü",
        "\u{201c}not \u{201d}",
        "NOT A NAME 5 ",
        "wordwithoutend",
    ] {
        let text = unit.repeat(200_000 / unit.len() + 1);
        let start = Instant::now();
        let found = guards(&text, &text);
        let spans = protected_spans(&text);
        let parts = windows(&text, 60);
        let took = start.elapsed();
        assert!(found.is_empty(), "{unit:?}: {:?}", found.first());
        assert!(spans.len() <= text.len() && !parts.is_empty());
        assert!(took < Duration::from_secs(3), "{unit:?} took {took:?}");
    }
}

/// Text with what the guards look at, in any order.
fn texty() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "not",
        "no",
        "never",
        "n't",
        "don't",
        "12",
        "twelve",
        "1,000",
        "%",
        "$",
        "5km",
        "May",
        "1986",
        "-",
        "Anna",
        "U.S.",
        "the",
        "unhappy",
        "without",
        "\"",
        "''",
        "'s",
        "`",
        "```",
        "https://a.org/x",
        ".",
        ",",
        "?",
        "!",
        "\n",
        "\n\n",
        "(",
        ")",
        "3:30",
        "pm",
        "one",
        "hundred",
        "and",
        "million",
        "3rd",
        "Ünder",
        "é",
        "\u{1F600}",
        "…",
        "who",
        "is",
        "went",
        ":",
        "/",
    ]);
    prop::collection::vec((piece, prop::bool::weighted(0.8)), 0..60).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(p, space)| format!("{p}{}", if space { " " } else { "" }))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_copy_never_violates(text in texty()) {
        prop_assert_eq!(guards(&text, &text), vec![]);
    }

    #[test]
    fn arbitrary_text_never_panics(a in ".{0,200}", b in texty()) {
        prop_assert_eq!(guards(&a, &a), vec![]);
        guards(&a, &b);
        guards(&b, &a);
    }

    #[test]
    fn spans_are_sorted_disjoint_and_on_borders(text in texty()) {
        let mut last = 0;
        for span in protected_spans(&text) {
            prop_assert!(last <= span.start && span.start < span.end && span.end <= text.len());
            prop_assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
            last = span.end;
        }
    }

    #[test]
    fn sentences_and_windows_cover_the_text(text in texty(), max in 0_usize..30) {
        for ranges in [sentences(&text), windows(&text, max)] {
            let joined: String = ranges.iter().map(|r| &text[r.clone()]).collect();
            prop_assert_eq!(&joined, &text);
            prop_assert!(ranges.iter().all(|r| r.start < r.end));
        }
    }

    #[test]
    fn a_kept_text_with_a_plain_addition_passes(i in 0_usize..60) {
        let text = cases::SENTENCES.lines().nth(i).unwrap();
        let longer = format!("{text} That is what a good neighbour does, and nobody regrets it.");
        prop_assert_eq!(guards(text, &longer), vec![]);
    }
}
