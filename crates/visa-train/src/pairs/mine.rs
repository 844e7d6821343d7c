//! Sentences whose last clause says why, taken apart into stem, clause and final punctuation.
//!
//! Rules alone: a list of connectives, and what must not stand on either side of them. They prefer
//! to miss a clause over cutting a sentence where its main clause is not complete. The clause obeys
//! what the shield allows at inference: lower-case words, commas, hyphens, apostrophes, the word I.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use visa_score::sentences;

use super::{Kind, Pair};

/// Words of a clause and of a stem, at least and at most.
const CLAUSE_WORDS: std::ops::RangeInclusive<usize> = 3..=18;
const STEM_WORDS: std::ops::RangeInclusive<usize> = 4..=30;
/// Most characters of context.
const CONTEXT: usize = 260;

/// What may begin a clause that gives a reason, a purpose, a regard or a consequence.
static CONNECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    let who = "(?:i|you|we|they|he|she|it|people|everyone|everybody|children|others|nobody|no one)";
    let parts = [
        ",? because ".to_owned(),
        ",? so that ".to_owned(),
        ",? in order (?:to|that) ".to_owned(),
        format!(",? so {who} (?:can|could|would|will|may|might|do|does|did|are|were|have|feel|know)"),
        ",? out of (?:respect|love|loyalty|concern|kindness|duty|compassion|gratitude|pity|pride|fear|courtesy|care|a sense|a desire|a wish) ".to_owned(),
        ",? for the (?:sake|good|benefit|love|sheer|sake) (?:of )?".to_owned(),
        ",? in the name of ".to_owned(),
        ",? for fear of ".to_owned(),
        ",? lest ".to_owned(),
        ", since ".to_owned(),
        format!(", as (?:{who}|this|that|there|these|those|such|the|our|their|my) "),
        ", for (?:i|it|we|they|he|she|there) (?:is|was|are|were|had|has|have|will|would|could|can|knew|know|wanted|loved|feared|felt) ".to_owned(),
        ", which (?:is|was|makes|made|keeps|kept|helps|helped|gives|gave|allows|lets|means|would|will|can|could|shows|saves|brings|protects|leads) ".to_owned(),
        ",? as a (?:way|sign|token|mark|means) (?:to|of) ".to_owned(),
        ", (?:allowing|helping|ensuring|knowing|trusting|respecting|protecting|honou?ring|hoping|wanting) ".to_owned(),
        ",? to (?:protect|ensure|prevent|avoid|preserve|honou?r|make sure|respect|defend|keep|show|help|support|save|promote|maintain) ".to_owned(),
        ",? (?:while|by|without) (?:respecting|protecting|keeping|honou?ring|harming|hurting|risking|breaking|losing|helping|giving|making|letting|caring) ".to_owned(),
    ];
    Regex::new(&format!("(?:{})", parts.join("|"))).expect("a valid pattern")
});

fn words(list: &'static str) -> HashSet<&'static str> {
    list.split_whitespace().collect()
}

/// Behind these a clause does not follow a complete main clause.
static DANGLING: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    words(
        "not just only simply merely partly mainly largely chiefly precisely mostly primarily \
         solely purely is was be been are were am being it's that's and or but nor even that \
         which who perhaps probably possibly maybe so the a an of to than as more all if with for \
         in on at by from about into both either whether too very because since although though \
         while when where how what why exactly especially particularly usually often sometimes \
         partially",
    )
});

/// Behind these an infinitive belongs to the word before it and is no purpose.
static TAKES_INFINITIVE: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    words(
        "want wants wanted need needs needed like likes liked try tries tried trying going able \
         unable have has had having ought used decide decides decided begin begins began begun \
         hope hopes hoped wish wishes wished love loves loved hate hates hated continue continues \
         continued seem seems seemed appear appears appeared willing unwilling likely unlikely \
         easy easier hard harder difficult important necessary essential best better good great \
         nice right wrong way ways chance chances opportunity opportunities ability desire desires \
         attempt attempts attempted effort efforts fail fails failed refuse refuses refused order \
         designed intended meant made asked told allowed forced required supposed expected \
         encouraged enough duty responsibility obligation job goal goals aim aims plan plans \
         planned time power promise promised promises tend tends tended help helps helped helping \
         learn learned agree agreed choose chose choosing me him her them us you people someone \
         everyone anyone himself herself themselves myself yourself ourselves itself trying due \
         prepared ready determined eager anxious afraid glad happy sad sorry free first last only \
         thing things something anything nothing everything one step steps measures reason reasons \
         need want managed seek seeks sought strive strives strove serve serves served work works \
         worked exist exists existed bound obliged obligated supposed pledged sworn swore vowed \
         government governments law laws policy policies right rights pressure incentive \
         incentives task mission purpose role urge how what where when whether come came comes go \
         goes went got get gets getting start started starts prefer preferred preferring",
    )
});

/// Signs of a finite verb in a stem.
static VERBS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    words(
        "is are was were be am been has have had do does did will would can could should must may \
         might shall cannot can't don't doesn't didn't won't wouldn't couldn't shouldn't isn't \
         aren't wasn't weren't i'm you're we're they're he's she's it's i've we've they've ought \
         said says say went go goes came come comes took take takes gave give gives made make makes \
         got get gets knew know knows thought think thinks saw see sees felt feel feels kept keep \
         keeps held hold holds left leave leaves told tell tells found find finds put let lets lost \
         met paid ran run runs sat set sets stood stand stands wrote write writes read spoke speak \
         speaks began begin begins brought bring brings built build builds bought buy buys chose \
         choose chooses became become becomes cut drew ate eat eats fell grew grow grows heard hear \
         hears led lay lie lies meant mean means needs need rose rise sent send sends shut sold sell \
         sells slept spent spend spends taught teach teaches wore wear wears won want wants like \
         likes love loves hate hates help helps work works use uses try tries stay stays call calls \
         ask asks believe believes support supports prefer prefers enjoy enjoys live lives seem \
         seems turn turns show shows start starts stop stops play plays move moves pay pays \
         consider remember avoid ensure check follow wait add allow allows refuse refuses",
    )
});

static ARCHAIC: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    words("thou thee thy thine hath doth ye tis 'tis art hast wherefore whither thereof hither")
});

/// A sentence taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The main clause, word for word.
    pub stem: String,
    /// The clause with its leading "," or " ".
    pub clause: String,
    /// The final punctuation.
    pub terminator: String,
}

/// Takes a sentence apart at its last connective, if the rules allow it.
pub fn cut(sentence: &str) -> Option<Cut> {
    let (body, terminator) = body(sentence)?;
    let lower = body.to_ascii_lowercase();
    let mut at = None;
    let mut from = 0;
    // Overlapping connectives: ", because" and a purpose right behind a reason.
    while let Some(found) = CONNECTIVE.find_at(&lower, from) {
        if good_cut(body, &lower, found.start(), found.as_str()) {
            at = Some(found.start());
        }
        from = found.start() + 1;
        while !lower.is_char_boundary(from) {
            from += 1;
        }
    }
    let at = at?;
    Some(Cut {
        stem: body[..at].to_owned(),
        clause: body[at..].to_owned(),
        terminator: terminator.to_owned(),
    })
}

/// The sentence without its final punctuation, where it is one that could be edited.
fn body(sentence: &str) -> Option<(&str, &str)> {
    let sentence = sentence.trim();
    let body = sentence.trim_end_matches(['.', '!']);
    let terminator = &sentence[body.len()..];
    let plain = matches!(terminator, "." | "!")
        && body.starts_with(char::is_uppercase)
        && body.ends_with(char::is_alphanumeric)
        && !body.contains([
            '\n', '"', '“', '”', '(', ')', '[', ']', ';', ':', '_', '*', '—', '?',
        ])
        && !body.contains("--")
        && !body.contains(" - ")
        && !body.contains("\u{2013}");
    plain.then_some((body, terminator))
}

fn last_word(text: &str) -> &str {
    text.rsplit(char::is_whitespace).next().unwrap_or_default()
}

fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

fn good_cut(body: &str, lower: &str, at: usize, connective: &str) -> bool {
    let (stem, clause) = (&body[..at], &body[at..]);
    let last = last_word(&lower[..at]);
    let infinitive = connective.trim_start_matches(',').starts_with(" to ");
    CLAUSE_WORDS.contains(&count(clause))
        && STEM_WORDS.contains(&count(stem))
        && stem.ends_with(char::is_alphanumeric)
        && !DANGLING.contains(last)
        && !(infinitive
            && (TAKES_INFINITIVE.contains(last) || last.ends_with("ing") || last.ends_with("ed")))
        && has_verb(&lower[..at])
        && !tokens(lower).any(|word| ARCHAIC.contains(word))
        && writable(clause)
}

fn tokens(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\''))
}

fn has_verb(lower: &str) -> bool {
    tokens(lower).any(|word| VERBS.contains(word) || (word.len() > 3 && word.ends_with("ed")))
}

/// Whether the shield would let this clause be written.
fn writable(clause: &str) -> bool {
    if !clause.ends_with(char::is_alphanumeric) {
        return false;
    }
    let mut before = 'x';
    for word in clause.trim_start_matches([',', ' ']).split(' ') {
        let bare = word.trim_end_matches(',');
        let i = bare == "I" || bare.starts_with("I'") || bare.starts_with("I’");
        let small = bare
            .chars()
            .all(|c| c.is_lowercase() || matches!(c, '-' | '\'' | '’'));
        if bare.is_empty() || !(i || small) || before == '-' {
            return false;
        }
        before = bare.chars().next_back().unwrap_or('x');
    }
    before != '-' && before != '\'' && before != '’'
}

/// All clauses of a document, and its plain sentences as [`Kind::Kept`]; their topic is the caller's to name.
pub fn document(text: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for paragraph in text.lines() {
        let ranges = sentences(paragraph);
        for (i, range) in ranges.iter().enumerate() {
            let sentence = paragraph[range.clone()].trim();
            let (cut, kind) = match cut(sentence) {
                Some(cut) => (cut, Kind::Mined),
                None => match kept(sentence) {
                    Some(cut) => (cut, Kind::Kept),
                    None => continue,
                },
            };
            let start = ranges[i.saturating_sub(2)..i]
                .iter()
                .map(|r| r.start)
                .find(|&start| range.start - start <= CONTEXT)
                .unwrap_or(range.start);
            pairs.push(Pair {
                kind,
                topic: String::new(),
                context: paragraph[start..range.start].trim().to_owned(),
                stem: cut.stem,
                clause: cut.clause,
                terminator: cut.terminator,
                old: None,
                shift: (kind == Kind::Kept).then_some([0.0; 10]),
            });
        }
    }
    pairs
}

/// A plain sentence that could bear a clause and has none.
fn kept(sentence: &str) -> Option<Cut> {
    let (body, terminator) = body(sentence)?;
    let lower = body.to_ascii_lowercase();
    let fits = (4..=22).contains(&count(body))
        && !CONNECTIVE.is_match(&lower)
        && has_verb(&lower)
        && !tokens(&lower).any(|word| ARCHAIC.contains(word));
    fits.then(|| Cut {
        stem: body.to_owned(),
        clause: String::new(),
        terminator: terminator.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sentence: &str, expected: Option<(&str, &str)>) {
        let cut = cut(sentence);
        let got = cut
            .as_ref()
            .map(|cut| (cut.stem.as_str(), cut.clause.as_str()));
        assert_eq!(got, expected, "{sentence}");
    }

    #[test]
    fn reasons_are_taken_out() {
        check(
            "We walked the dog every morning because it keeps us healthy.",
            Some((
                "We walked the dog every morning",
                " because it keeps us healthy",
            )),
        );
        check(
            "They closed the old road, since it was dangerous for children!",
            Some((
                "They closed the old road",
                ", since it was dangerous for children",
            )),
        );
        check(
            "She took off her shoes out of respect for the house.",
            Some(("She took off her shoes", " out of respect for the house")),
        );
        check(
            "The council raised the fee in order to protect the river.",
            Some((
                "The council raised the fee",
                " in order to protect the river",
            )),
        );
        check(
            "He locked every door to keep the family safe.",
            Some(("He locked every door", " to keep the family safe")),
        );
        check(
            "We should plant more trees, so that we can breathe clean air.",
            Some((
                "We should plant more trees",
                ", so that we can breathe clean air",
            )),
        );
    }

    #[test]
    fn the_last_complete_cut_is_taken() {
        check(
            "I will stay at home because I am ill, so that you can work.",
            Some((
                "I will stay at home because I am ill",
                ", so that you can work",
            )),
        );
    }

    #[test]
    fn incomplete_main_clauses_stay_whole() {
        check("I do this not because it is easy for me.", None);
        check("I really want to help other people.", None);
        check(
            "They asked the guard to protect the old house.",
            Some(("They asked the guard", " to protect the old house")),
        );
        check("It is important to keep the house clean.", None);
        check("That was only because it was raining hard.", None);
        check("The blue house because it is big.", None);
    }

    #[test]
    fn what_the_shield_forbids_is_not_learnt() {
        check("We left the town early because Peter was ill.", None);
        check("We left the town early because it was 5 degrees.", None);
        check(
            "We left the town early because he said \"go\" loudly.",
            None,
        );
        check(
            "We left the town early because of it.",
            Some(("We left the town early", " because of it")),
        );
        check("Did we leave the town because it was late?", None);
        check(
            "We left the town early because I'm a well-known coward.",
            Some(("We left the town early", " because I'm a well-known coward")),
        );
    }

    #[test]
    fn context_is_what_stands_before() {
        let pairs = document(
            "One is here. Two is there. Three is near. We stayed in the house because it was late.",
        );
        let mined = pairs.iter().find(|p| p.kind == Kind::Mined).unwrap();
        assert_eq!(mined.context, "Two is there. Three is near.");
        assert_eq!(mined.shift, None);
    }
}
