//! Filling frames with phrases: which phrase fits which slot, in which form, at what strength.

use rand::Rng;

use super::ShiftArray;
use super::inflect::{Person, base, comparative, gerund, plural, present, with_article};
use super::phrases::{FRAMES, Lexicon, PLAIN, Phrase, fields, pick};

/// One direction to be spoken of in a frame.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    lexicon: &'a Lexicon,
}

impl<'a> Term<'a> {
    pub(super) fn new(lexicon: &'a Lexicon) -> Self {
        Self { lexicon }
    }
}

/// Negative strengths keep the main values only: no longer being a monk says nothing of pleasure.
pub(super) fn scaled(shift: &ShiftArray, strength: f32) -> ShiftArray {
    shift.map(|s| {
        if strength < 0.0 && s.abs() < 1.0 {
            0.0
        } else {
            s * strength
        }
    })
}

/// A degree line "slightly | 0.3" as ("slightly ", 0.3); the empty degree stays empty.
fn degree<R: Rng>(lines: &[String], rng: &mut R) -> (String, f32) {
    let parts = pick(lines, rng);
    let parts = fields(parts);
    let word = if parts[0].is_empty() {
        String::new()
    } else {
        format!("{} ", parts[0])
    };
    (word, parts[1].parse().expect("degrees carry a number"))
}

/// An adverb of degree with a trailing blank, and its strength.
pub(super) fn adverb<R: Rng>(rng: &mut R) -> (String, f32) {
    degree(&FRAMES.adverbs, rng)
}

/// Draws frames until one fits the terms, and fills it. The strengths are the frame's own.
pub(super) fn draw_frame<R: Rng>(
    frames: &[String],
    terms: &[Term<'_>],
    person: &Person,
    rng: &mut R,
) -> (String, ShiftArray) {
    // The lists are tested to fit, so running dry is a defect of the data.
    for _ in 0..10_000 {
        if let Some(filled) = fill(pick(frames, rng).as_str(), terms, person, rng) {
            return filled;
        }
    }
    panic!(
        "no frame of {:?} … takes {:?} …",
        frames.first(),
        terms.first().map(|t| &t.lexicon.nouns[0].text)
    );
}

/// Fills one frame, or says that these terms do not fit it.
pub(super) fn fill<R: Rng>(
    frame: &str,
    terms: &[Term<'_>],
    person: &Person,
    rng: &mut R,
) -> Option<(String, ShiftArray)> {
    let parts = fields(frame);
    let mut text = parts[0].to_owned();
    if let Some(rest) = text.strip_prefix('!') {
        if terms.iter().any(|t| !t.lexicon.embraced) {
            return None;
        }
        text = rest.to_owned();
    }
    let embraced_only = parts[0].starts_with('!');
    if person.first_person() {
        if text.contains("I know") {
            return None;
        }
        text = first_person(&text);
    }
    let (deg, deg_strength) = degree(&FRAMES.degrees, rng);
    let (adv, adv_strength) = adverb(rng);
    text = text.replace("{deg} ", &deg).replace("{adv} ", &adv);

    let mut total = [0.0; 10];
    for (i, term) in terms.iter().enumerate() {
        let note = parts.get(i + 1)?;
        let strength = match *note {
            "deg" => deg_strength,
            "-deg" => -deg_strength,
            "adv" => adv_strength,
            "-adv" => -adv_strength,
            number => number
                .parse()
                .unwrap_or_else(|_| panic!("frame {frame:?}: no strength in {number:?}")),
        };
        let suffix = if i == 0 { "" } else { "2" };
        let shift = fill_term(
            &mut text,
            suffix,
            term.lexicon,
            strength,
            embraced_only,
            person,
            rng,
        )?;
        for (t, s) in total.iter_mut().zip(scaled(&shift, strength)) {
            *t += s;
        }
    }
    text = text
        .replacen("{S}", &person.name, 1)
        .replace("{S}", person.subject);
    text = text
        .replace("{O}", person.object)
        .replace("{P}", person.possessive);
    Some((text, total))
}

/// Puts phrases of one lexicon into every slot with this suffix; the first slot's shift counts.
fn fill_term<R: Rng>(
    text: &mut String,
    suffix: &str,
    lexicon: &Lexicon,
    strength: f32,
    embraced_only: bool,
    person: &Person,
    rng: &mut R,
) -> Option<ShiftArray> {
    let mut found: Option<ShiftArray> = None;
    for form in ["n", "a", "c", "v", "s", "g", "p"] {
        let slot = format!("{{{form}{suffix}}}");
        while let Some(at) = text.find(&slot) {
            let list = match form {
                "n" => &lexicon.nouns,
                "a" | "c" => &lexicon.adjectives,
                "p" => &lexicon.personas,
                _ => &lexicon.verbs,
            };
            let phrase: &Phrase = pick(list, rng);
            let before = &text[..at];
            let negated = ["not ", "never "]
                .iter()
                .any(|n| phrase.text.starts_with(n));
            let frame_negates = [
                "n't",
                "not ",
                "never",
                "no longer",
                "no one",
                "nobody",
                "without",
                "stop",
                "gave up",
                "quit",
                "tired of",
                "no need",
                "fails",
                "barely",
                "instead of",
            ]
            .iter()
            .any(|n| before.contains(n));
            if form != "n" && form != "p" && negated && (strength < 0.0 || frame_negates) {
                return None;
            }
            let one = Person::new("one", "they");
            let filled = match form {
                "n" => {
                    if clausal(&phrase.text)
                        && (!embraced_only
                            || before.ends_with("the ")
                            || before.ends_with("more ")
                            || before.ends_with("less "))
                    {
                        return None;
                    }
                    person.own(&phrase.text)
                }
                "a" => person.own(&phrase.text),
                "c" => comparative(&phrase.text)?.to_owned(),
                "v" => base(&phrase.text, person),
                "s" if before.ends_with("people who ") => plural(&phrase.text, &one),
                "s" if before.ends_with("who ") => present(&phrase.text, &one),
                "s" => present(&phrase.text, person),
                "g" => gerund(&phrase.text, person),
                _ => phrase.text.clone(),
            };
            // "people who {v}" wants the finite plural, which differs for "be" only.
            let filled = if form == "v" && before.ends_with("people who ") {
                plural(&phrase.text, &one)
            } else {
                filled
            };
            text.replace_range(at..at + slot.len(), &filled);
            found.get_or_insert(phrase.shift);
        }
    }
    found
}

/// Noun phrases with an article or led by a gerund do not follow "more" or "the".
fn clausal(noun: &str) -> bool {
    let first = noun.split(' ').next().unwrap_or_default();
    matches!(first, "a" | "an" | "the") || (noun.contains(' ') && first.ends_with("ing"))
}

/// Turns the verbs that follow {S} in a frame to the first person.
fn first_person(frame: &str) -> String {
    const VERBS: [(&str, &str); 24] = [
        ("is", "am"),
        ("isn't", "am not"),
        ("has", "have"),
        ("doesn't", "don't"),
        ("does", "do"),
        ("values", "value"),
        ("cares", "care"),
        ("believes", "believe"),
        ("puts", "put"),
        ("dislikes", "dislike"),
        ("hates", "hate"),
        ("loves", "love"),
        ("finds", "find"),
        ("seems", "seem"),
        ("tends", "tend"),
        ("likes", "like"),
        ("wants", "want"),
        ("tries", "try"),
        ("spends", "spend"),
        ("thinks", "think"),
        ("refuses", "refuse"),
        ("prefers", "prefer"),
        ("wouldn't", "wouldn't"),
        ("misses", "miss"),
    ];
    const ADVERBS: [&str; 10] = [
        "strongly",
        "always",
        "really",
        "sometimes",
        "no",
        "longer",
        "now",
        "still",
        "never",
        "recently",
    ];
    let mut after_subject = false;
    frame
        .split(' ')
        .map(|word| {
            if matches!(word, "{S}" | "and" | "but") {
                after_subject = true;
                return word.to_owned();
            }
            if after_subject && !ADVERBS.contains(&word) {
                after_subject = false;
                if let Some((_, changed)) = VERBS.iter().find(|(third, _)| *third == word) {
                    return (*changed).to_owned();
                }
            }
            word.to_owned()
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Somebody to speak of.
pub(super) fn random_person<R: Rng>(rng: &mut R) -> Person {
    const WOMEN: [&str; 10] = [
        "mother",
        "grandmother",
        "aunt",
        "sister",
        "wife",
        "daughter",
        "mother-in-law",
        "landlady",
        "niece",
        "girlfriend",
    ];
    const MEN: [&str; 8] = [
        "father",
        "grandfather",
        "uncle",
        "brother",
        "husband",
        "son",
        "boyfriend",
        "nephew",
    ];
    const EITHER: [&str; 8] = [
        "boss",
        "teacher",
        "neighbour",
        "friend",
        "doctor",
        "cousin",
        "coach",
        "client",
    ];
    let gender = if rng.random_bool(0.5) { "she" } else { "he" };
    match rng.random_range(0..10) {
        0..5 => Person::new(gender, gender),
        5 | 6 => Person::new("I", "I"),
        7 => Person::new(pick(&FRAMES.names, rng).clone(), gender),
        8 if gender == "she" => Person::new(format!("my {}", pick(&WOMEN, rng)), "she"),
        8 => Person::new(format!("my {}", pick(&MEN, rng)), "he"),
        _ => Person::new(
            format!(
                "{} {}",
                pick(&["my", "our", "my", "the"], rng),
                pick(&EITHER, rng)
            ),
            gender,
        ),
    }
}

/// A noun phrase for a person who holds the values of one to three of the lexicons.
pub(super) fn persona_phrase<R: Rng>(lexicons: &[&Lexicon], rng: &mut R) -> (String, ShiftArray) {
    let mut rest = lexicons.iter().take(*pick(&[1, 1, 1, 2, 2, 2, 3], rng));
    let first = rest.next().expect("a persona holds at least one value");
    let person = Person::new(
        "someone",
        pick::<&'static str, _>(&["she", "he", "they"], rng),
    );
    let mut total = [0.0; 10];
    let mut add = |shift: &ShiftArray, strength: f32| {
        for (t, s) in total.iter_mut().zip(scaled(shift, strength)) {
            *t += s;
        }
    };
    let core = if rng.random_bool(0.3) {
        pick(&FRAMES.relations, rng)
    } else {
        pick(&FRAMES.cores, rng)
    };
    let mut text;
    let mut clauses: Vec<String> = Vec::new();
    match rng.random_range(0..10) {
        0..4 => {
            let phrase = pick(&first.personas, rng);
            text = phrase.text.clone();
            add(&phrase.shift, PLAIN);
        }
        4..8 => {
            let (adverb, strength) = if rng.random_bool(0.3) {
                adverb(rng)
            } else {
                (String::new(), PLAIN)
            };
            let phrase = pick(&first.adjectives, rng);
            add(&phrase.shift, strength);
            let adjective = format!("{adverb}{}", person.own(&phrase.text));
            let noun = if core == "person" && rng.random_bool(0.3) {
                "someone".to_owned()
            } else {
                core.clone()
            };
            if noun == "someone" {
                text = format!("someone {adjective}");
            } else if phrase.text.contains(' ') {
                text = with_article(&noun);
                clauses.push(format!("is {adjective}"));
            } else {
                text = with_article(&format!("{adjective} {noun}"));
            }
        }
        _ => {
            text = with_article(core);
            clauses.push(quality(first, &person, &mut add, rng));
        }
    }
    for lexicon in rest {
        clauses.push(quality(lexicon, &person, &mut add, rng));
    }
    if !clauses.is_empty() {
        // A persona that has its own "who" takes the rest in a sentence apart.
        let list = clauses.join(if clauses.len() > 2 { ", " } else { " and " });
        text = if text.contains(" who ") {
            format!("{text} and {list}")
        } else {
            format!("{text} who {list}")
        };
    }
    (text, total)
}

/// What follows "who": "plays it safe", "is very loyal", "cares about tradition".
fn quality<R: Rng>(
    lexicon: &Lexicon,
    person: &Person,
    add: &mut impl FnMut(&ShiftArray, f32),
    rng: &mut R,
) -> String {
    match rng.random_range(0..10) {
        0..5 => {
            let verb = pick(&lexicon.verbs, rng);
            add(&verb.shift, PLAIN);
            present(&verb.text, person)
        }
        5..7 => {
            let (adverb, strength) = adverb(rng);
            let adjective = pick(&lexicon.adjectives, rng);
            add(&adjective.shift, strength);
            format!("is {adverb}{}", person.own(&adjective.text))
        }
        _ => {
            let noun = pick(&lexicon.nouns, rng);
            let (verb, strength) = if lexicon.embraced {
                *pick(
                    &[
                        ("cares about", 0.6),
                        ("values", 0.6),
                        ("cares deeply about", 0.9),
                        ("loves", 0.8),
                        ("cares a little about", 0.3),
                        ("believes in", 0.6),
                        ("has a strong sense of", 0.8),
                        ("appreciates", 0.6),
                        ("is obsessed with", 1.0),
                        ("has no interest in", -0.8),
                        ("does not care about", -0.6),
                        ("dislikes", -0.6),
                        ("can't stand", -0.9),
                        ("is tired of", -0.6),
                        ("wants", 0.6),
                        ("longs for", 0.7),
                        ("puts nothing above", 1.0),
                        ("thinks little of", -0.5),
                    ],
                    rng,
                )
            } else {
                *pick(
                    &[
                        ("dislikes", -0.6),
                        ("can't stand", -0.9),
                        ("is known for", 0.7),
                        ("has a tendency to", 0.5),
                        ("hates", -0.9),
                    ],
                    rng,
                )
            };
            if verb.ends_with(" to") {
                let verb_phrase = pick(&lexicon.verbs, rng);
                add(&verb_phrase.shift, strength);
                return format!("{verb} {}", base(&verb_phrase.text, person));
            }
            add(&noun.shift, strength);
            format!("{verb} {}", noun.text)
        }
    }
}
