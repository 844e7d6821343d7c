//! English inflection by rule, for the base-form verb phrases of the data files: third person,
//! gerund, comparative, articles and the pronouns of whoever is spoken of.
//!
//! It serves our own phrase lists and is no general morphology; the tests hold what the lists need.

/// Who a phrase speaks of, with the pronouns that go with it.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// As first mentioned: "she", "my uncle", "Maria", "I".
    pub(super) name: String,
    pub(super) subject: &'static str,
    pub(super) object: &'static str,
    pub(super) possessive: &'static str,
    pub(super) reflexive: &'static str,
}

impl Person {
    pub(super) fn new(name: impl Into<String>, subject: &'static str) -> Self {
        let (object, possessive, reflexive) = match subject {
            "she" => ("her", "her", "herself"),
            "he" => ("him", "his", "himself"),
            "I" => ("me", "my", "myself"),
            _ => ("them", "their", "themselves"),
        };
        Self {
            name: name.into(),
            subject,
            object,
            possessive,
            reflexive,
        }
    }

    pub(super) fn first_person(&self) -> bool {
        self.subject == "I"
    }

    /// Puts this person's pronouns for "one's" and "oneself", and drops the verb marks.
    pub(super) fn own(&self, phrase: &str) -> String {
        phrase
            .replace("oneself", self.reflexive)
            .replace("one's", self.possessive)
            .replace('_', "")
    }
}

/// The base form, for "to …" and for plural subjects: "not care" becomes "not care".
pub(super) fn base(phrase: &str, person: &Person) -> String {
    person.own(phrase)
}

/// After a plural or first-person subject: "be loyal" → "are loyal" / "am loyal".
pub(super) fn plural(phrase: &str, person: &Person) -> String {
    let be = if person.first_person() { "am" } else { "are" };
    person.own(&each_verb(
        phrase,
        |verb| {
            if verb == "be" {
                be.to_owned()
            } else {
                verb.to_owned()
            }
        },
        "do not",
    ))
}

/// Third person singular, or the first person's form when the person is "I".
pub(super) fn present(phrase: &str, person: &Person) -> String {
    if person.first_person() {
        return plural(phrase, person);
    }
    person.own(&each_verb(phrase, third, "does not"))
}

/// The "-ing" form.
pub(super) fn gerund(phrase: &str, person: &Person) -> String {
    person.own(&each_verb(phrase, ing, "not"))
}

/// Applies `form` to the leading verb and to every verb marked by "_"; "never …" is looked through
/// and "not …" takes `negated`, after which the verb stays bare (but not in a gerund).
fn each_verb(phrase: &str, form: impl Fn(&str) -> String, negated: &str) -> String {
    let mut words: Vec<String> = phrase.split(' ').map(str::to_owned).collect();
    let mut first = 0;
    if words[0] == "never" {
        first = 1;
    } else if words[0] == "not" {
        words[0] = negated.to_owned();
        first = if negated == "not" { 1 } else { usize::MAX };
    }
    for (i, word) in words.iter_mut().enumerate() {
        if i == first {
            *word = form(word);
        } else if let Some(verb) = word.strip_prefix('_') {
            *word = form(verb);
        }
    }
    words.join(" ")
}

fn third(verb: &str) -> String {
    match verb {
        "be" => return "is".to_owned(),
        "have" => return "has".to_owned(),
        "do" => return "does".to_owned(),
        "go" => return "goes".to_owned(),
        _ => {}
    }
    if let Some(stem) = verb.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    if ["s", "x", "ch", "sh", "z"]
        .iter()
        .any(|end| verb.ends_with(end))
    {
        return format!("{verb}es");
    }
    format!("{verb}s")
}

fn ing(verb: &str) -> String {
    const DOUBLED: [&str; 28] = [
        "put", "get", "let", "cut", "set", "win", "run", "stop", "plan", "drop", "shrug", "quit",
        "skip", "hit", "begin", "step", "forget", "beg", "chat", "wrap", "fit", "sit", "bet",
        "shop", "grab", "prefer", "swap", "hug",
    ];
    if verb == "be" {
        return "being".to_owned();
    }
    if let Some(stem) = verb.strip_suffix("ie") {
        return format!("{stem}ying");
    }
    if DOUBLED.contains(&verb) {
        let last = &verb[verb.len() - 1..];
        return format!("{verb}{last}ing");
    }
    match verb.strip_suffix('e') {
        Some(stem) if !stem.ends_with(['e', 'o', 'y']) => format!("{stem}ing"),
        _ => format!("{verb}ing"),
    }
}

/// The "-er" form of an adjective of our lists, where English has one.
pub(super) fn comparative(adjective: &str) -> Option<&'static str> {
    const FORMS: [(&str, &str); 50] = [
        ("safe", "safer"),
        ("bold", "bolder"),
        ("wild", "wilder"),
        ("kind", "kinder"),
        ("gentle", "gentler"),
        ("warm", "warmer"),
        ("cold", "colder"),
        ("mean", "meaner"),
        ("rude", "ruder"),
        ("blunt", "blunter"),
        ("polite", "politer"),
        ("humble", "humbler"),
        ("meek", "meeker"),
        ("calm", "calmer"),
        ("tame", "tamer"),
        ("dull", "duller"),
        ("lazy", "lazier"),
        ("idle", "idler"),
        ("stern", "sterner"),
        ("grim", "grimmer"),
        ("merry", "merrier"),
        ("jolly", "jollier"),
        ("bossy", "bossier"),
        ("rich", "richer"),
        ("greedy", "greedier"),
        ("wealthy", "wealthier"),
        ("risky", "riskier"),
        ("rash", "rasher"),
        ("wary", "warier"),
        ("edgy", "edgier"),
        ("lively", "livelier"),
        ("green", "greener"),
        ("stingy", "stingier"),
        ("harsh", "harsher"),
        ("cruel", "crueller"),
        ("unruly", "unrulier"),
        ("strict", "stricter"),
        ("stable", "stabler"),
        ("fun", "more fun"),
        ("kind-hearted", "kinder-hearted"),
        ("warm-hearted", "warmer-hearted"),
        ("down-to-earth", "more down-to-earth"),
        ("eco-friendly", "more eco-friendly"),
        ("unkind", "unkinder"),
        ("easy-going", "more easy-going"),
        ("sober", "soberer"),
        ("free-spirited", "freer"),
        ("civil", "more civil"),
        ("unsafe", "less safe"),
        ("big-hearted", "bigger-hearted"),
    ];
    FORMS
        .iter()
        .find(|(plain, _)| *plain == adjective)
        .map(|(_, form)| *form)
}

/// "a" or "an" by the sound of the next word, as far as our lists go.
pub(super) fn article(next: &str) -> &'static str {
    let word = next.to_lowercase();
    let silent_h = ["honest", "hour", "heir", "honour"]
        .iter()
        .any(|w| word.starts_with(w));
    let you_sound = ["uni", "eu", "one", "use", "us ", "un aid", "u-"]
        .iter()
        .any(|w| word.starts_with(w));
    let unlike = word.starts_with("unim") || word.starts_with("unin");
    if silent_h || unlike || (word.starts_with(['a', 'e', 'i', 'o', 'u']) && !you_sound) {
        "an"
    } else {
        "a"
    }
}

/// The noun phrase with its article.
pub(super) fn with_article(noun_phrase: &str) -> String {
    format!("{} {noun_phrase}", article(noun_phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(phrase: &str, expected: [&str; 3]) {
        let she = Person::new("she", "she");
        let i = Person::new("I", "I");
        let found = [
            present(phrase, &she),
            gerund(phrase, &she),
            present(phrase, &i),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn verbs_inflect() {
        check(
            "put oneself first",
            [
                "puts herself first",
                "putting herself first",
                "put myself first",
            ],
        );
        check(
            "relax and _enjoy oneself",
            [
                "relaxes and enjoys herself",
                "relaxing and enjoying herself",
                "relax and enjoy myself",
            ],
        );
        check(
            "be loyal to one's friends",
            [
                "is loyal to her friends",
                "being loyal to her friends",
                "am loyal to my friends",
            ],
        );
        check(
            "not care about money",
            [
                "does not care about money",
                "not caring about money",
                "do not care about money",
            ],
        );
        check(
            "never think of the risks",
            [
                "never thinks of the risks",
                "never thinking of the risks",
                "never think of the risks",
            ],
        );
        check(
            "lie on the beach",
            [
                "lies on the beach",
                "lying on the beach",
                "lie on the beach",
            ],
        );
        check(
            "obey the law",
            ["obeys the law", "obeying the law", "obey the law"],
        );
        check(
            "defy authority",
            ["defies authority", "defying authority", "defy authority"],
        );
        check(
            "shrug at injustice",
            [
                "shrugs at injustice",
                "shrugging at injustice",
                "shrug at injustice",
            ],
        );
    }

    #[test]
    fn articles_follow_sound() {
        for (word, expected) in [
            ("honest man", "an"),
            ("unimaginative clerk", "an"),
            ("universal rule", "a"),
            ("old lady", "an"),
            ("UN aid worker", "a"),
            ("euro", "a"),
        ] {
            assert_eq!(article(word), expected, "{word}");
        }
    }
}
