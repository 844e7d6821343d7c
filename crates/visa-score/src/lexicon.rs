//! Word knowledge of the guards: common words, stems, irregular forms.
//!
//! `data/common-words.txt` lists words that ordinary prose writes in lower case (counted in public-domain novels and
//! encyclopaedia text, without the forms that regular endings make). It tells "Tables were set" from "Tallinn was set"
//! at the beginning of a sentence, where capitals say nothing.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

static WORDS: &str = include_str!("../data/common-words.txt");

fn words() -> &'static HashSet<&'static str> {
    static SET: OnceLock<HashSet<&'static str>> = OnceLock::new();
    SET.get_or_init(|| WORDS.split_whitespace().collect())
}

/// Whether a lower-case word is common: listed, or made from a listed one by a regular ending.
pub(crate) fn is_common(word: &str) -> bool {
    let word = word.strip_suffix("'s").unwrap_or(word);
    let listed = |w: &str| words().contains(w);
    if listed(word) || irregular().contains_key(word) {
        return true;
    }
    // "he's", "it'll", "don't": common if the part before the apostrophe is.
    if let Some((head, _)) = word.split_once('\'') {
        return listed(head) || listed(head.strip_suffix('n').unwrap_or(head));
    }
    [
        "s", "es", "ed", "d", "ing", "ly", "er", "ers", "est", "ness", "r",
    ]
    .iter()
    .any(|ending| {
        let Some(base) = word
            .strip_suffix(ending)
            .filter(|b| b.len() >= 3 && b.is_ascii())
        else {
            return false;
        };
        let undoubled = &base[..base.len() - 1];
        listed(base)
            || listed(&format!("{base}e"))
            || base.ends_with('i') && listed(&format!("{undoubled}y"))
            || base.len() >= 4
                && base.ends_with(&base[base.len() - 2..base.len() - 1])
                && listed(undoubled)
    })
}

/// A crude stem by which inflected forms meet: `attends`, `attended`, `attending` → `attend`; `went` → `go`.
pub(crate) fn stem(word: &str) -> Cow<'_, str> {
    if let Some(base) = irregular().get(word) {
        return Cow::Borrowed(base);
    }
    if !word.is_ascii() {
        return Cow::Borrowed(word);
    }
    let word = word.strip_suffix("'s").unwrap_or(word);
    let long = |base: &str| base.len() >= 3;
    if let Some(base) = word
        .strip_suffix("ies")
        .or_else(|| word.strip_suffix("ied"))
        .filter(|b| long(b))
    {
        return Cow::Owned(format!("{base}y"));
    }
    let base = ["ing", "ed"]
        .iter()
        .find_map(|e| word.strip_suffix(e).filter(|b| long(b) && has_vowel(b)));
    let base = match base {
        Some(base) => base,
        None => match word.strip_suffix("es").filter(|b| long(b)) {
            // "boxes", "passes"; but "makes" goes with "make" below.
            Some(base)
                if ["s", "x", "z", "ch", "sh"]
                    .iter()
                    .any(|e| base.ends_with(e)) =>
            {
                base
            }
            _ if word.len() > 3 && !["ss", "us", "is"].iter().any(|e| word.ends_with(e)) => {
                word.strip_suffix('s').unwrap_or(word)
            }
            _ => word,
        },
    };
    let bytes = base.as_bytes();
    let doubled = bytes.len() >= 4 && bytes[bytes.len() - 1] == bytes[bytes.len() - 2];
    if doubled && base.len() < word.len() && !base.ends_with("ss") && !base.ends_with("ll") {
        return Cow::Borrowed(&base[..base.len() - 1]);
    }
    Cow::Borrowed(base.strip_suffix('e').filter(|b| long(b)).unwrap_or(base))
}

fn has_vowel(word: &str) -> bool {
    word.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// Irregular forms and the stem of their base.
const IRREGULAR: &str = "\
go went gone goes going|see saw seen|take took taken|give gave given|make made|come came|know knew known|think thought|\
get got gotten|say said|tell told|find found|leave left|feel felt|keep kept|hold held|bring brought|begin began begun|\
write wrote written|stand stood|hear heard|mean meant|meet met|run ran|pay paid|sit sat|speak spoke spoken|lie lay lain|\
lead led|grow grew grown|lose lost|fall fell fallen|send sent|build built|understand understood|draw drew drawn|\
break broke broken|spend spent|rise rose risen|drive drove driven|buy bought|wear wore worn|choose chose chosen|\
seek sought|throw threw thrown|catch caught|deal dealt|win won|forget forgot forgotten|sell sold|fight fought|\
teach taught|eat ate eaten|sing sang sung|fly flew flown|hide hid hidden|steal stole stolen|swim swam swum|\
strike struck|hang hung|shake shook shaken|ride rode ridden|feed fed|shoot shot|drink drank drunk|bear bore borne|\
sleep slept|become became|show shown|prove proven|have has had|do does did done doing|be is are was were been am|child children|man men|\
woman women|foot feet|tooth teeth|mouse mice|life lives|wife wives|person people|bind bound|bite bit bitten|blow blew blown|\
freeze froze frozen|forbid forbade forbidden|forgive forgave forgiven|swear swore sworn|tear tore torn|wake woke woken|\
lend lent|bend bent|light lit|ring rang rung|sink sank sunk|spring sprang sprung|stick stuck|sweep swept|swing swung|\
weep wept|wind wound|arise arose arisen|overcome overcame|withdraw withdrew withdrawn|undergo underwent undergone";

fn irregular() -> &'static HashMap<&'static str, &'static str> {
    static MAP: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    MAP.get_or_init(|| {
        let mut map = HashMap::new();
        for family in IRREGULAR.split('|') {
            let mut forms = family.split_whitespace();
            if let Some(base) = forms.next() {
                // The base itself stems regularly; its forms must meet it there.
                let stem = base
                    .strip_suffix('e')
                    .filter(|b| b.len() >= 3)
                    .unwrap_or(base);
                map.extend(forms.map(|form| (form, stem)));
            }
        }
        map
    })
}

/// Words that carry grammar and not content: no negation is about them, and no name begins with them.
const FUNCTION: &str = "\
a an the this that these those my your his her its our their whose which who whom what i you he she it we they me him us \
them myself yourself himself herself itself ourselves themselves one ones any some all both each every either another other \
others such same own so too very quite rather really even just only also still yet already ever again once then there here \
now thus hence therefore however of in on at by for from to into onto upon with within over under above below between among \
through during before after about against across along around behind beyond near off out up down toward towards via per as \
like than and or but if when while because although though unless until since whether where why how be is are was were been \
being am have has had having do does did doing done will would shall should can could may might must ought dare going \
gonna ll ve re d m s t always often sometimes usually more most less least much many longer anymore \
necessarily entirely completely fully wholly absolutely exactly particularly especially actually simply truly clearly yes \
well able";

/// Whether a lower-case word carries grammar and not content.
pub(crate) fn is_function(word: &str) -> bool {
    static SET: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let set = SET.get_or_init(|| FUNCTION.split_whitespace().collect());
    set.contains(word.trim_start_matches('\''))
        || word
            .split_once('\'')
            .is_some_and(|(head, tail)| !tail.is_empty() && set.contains(head) && tail != "t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words() {
        for word in [
            "tables", "running", "quickly", "the", "happier", "he's", "went", "studies", "stopped",
            "making",
        ] {
            assert!(is_common(word), "{word}");
        }
        for word in ["tallinn", "smith", "einstein", "kowalski", "gusna", "paris"] {
            assert!(!is_common(word), "{word}");
        }
    }

    #[test]
    fn forms_of_a_word_meet() {
        for forms in [
            &["attend", "attends", "attended", "attending"][..],
            &["go", "goes", "went", "gone", "going"],
            &["make", "makes", "made", "making"],
            &["stop", "stopped", "stopping", "stops"],
            &["carry", "carries", "carried"],
            &["child", "children"],
            &["pass", "passes", "passed"],
            &["take", "took", "taken", "taking"],
            &["have", "has", "having"],
        ] {
            for form in forms {
                assert_eq!(stem(form), stem(forms[0]), "{form}");
            }
        }
        assert_eq!(stem("naïve"), "naïve");
    }
}
