//! Which sentences may be edited, and where: a stem that stays, and the clause behind it.

use std::ops::Range;

use visa_score::protected_spans;

/// What may be done to a sentence besides keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Write a clause behind the whole sentence.
    Extend,
    /// Write a clause, perhaps an empty one, in place of the one that is there.
    Replace,
}

/// One way to edit one sentence. `start..stem` stays word for word, `stem..clause` is taken out, and
/// `clause..end` (the final punctuation) stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Editable {
    /// First byte of the sentence.
    pub start: usize,
    /// End of the stem.
    pub stem: usize,
    /// End of the clause that is taken out; equals `stem` for an extension.
    pub clause: usize,
    /// End of the final punctuation; equals `clause` if there is none.
    pub end: usize,
    /// The kind of edit.
    pub edit: Edit,
    /// How well the sentence bears an edit, greater is better: advice before statements, short before long.
    pub fitness: f32,
    /// Whether the sentence advises, asks, plans or wishes. A reason behind it is the speaker's own; behind a report
    /// ("The price rose, because …") it would be an invented cause.
    pub bears_reasons: bool,
}

impl Editable {
    /// Bytes of the sentence.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// What begins a clause that gives a reason, a purpose or a regard, and may therefore carry a value.
const CONNECTIVES: [&str; 24] = [
    ", because ",
    " because ",
    ", so that ",
    " so that ",
    ", in order to ",
    " in order to ",
    ", so you ",
    ", so we ",
    " out of respect for ",
    " out of ",
    " for the sake of ",
    ", which ",
    ", since ",
    ", as it ",
    ", as this ",
    ", as that ",
    " as a way to ",
    ", to keep ",
    " to keep ",
    ", to show ",
    " to show ",
    ", to make sure ",
    " to make sure ",
    " in the name of ",
];

/// Fewest words of a sentence that is edited: less is an exclamation or a heading.
const MIN_WORDS: usize = 4;
/// Most words: a clause behind a longer sentence is not read as its own.
const MAX_WORDS: usize = 45;

/// Ways to edit the sentences of a text, in order of the text; none for headings, questions, list fragments, quotations
/// and code.
pub fn editable(text: &str) -> Vec<Editable> {
    let protected: Vec<Range<usize>> = protected_spans(text)
        .iter()
        .map(|p| p.start..p.end)
        .collect();
    let sentences = visa_score::sentences(text);
    let last = sentences.len().saturating_sub(1);
    let mut found = Vec::new();
    for (i, range) in sentences.into_iter().enumerate() {
        let Some(sentence) = Sentence::new(text, range, i == last) else {
            continue;
        };
        // A span that runs into the end (a quotation with its full stop, a URL) leaves no place for a clause.
        let across = |at: usize| protected.iter().any(|p| p.start < at && at < p.end);
        if across(sentence.body_end) || inside_code(text, sentence.start) {
            continue;
        }
        let bears_reasons = bears_reasons(sentence.body());
        let fitness = fitness(sentence.body(), bears_reasons);
        let clause = sentence.clause();
        let held = |clause: &Range<usize>| {
            protected
                .iter()
                .any(|p| p.start < clause.end && clause.start < p.end)
        };
        match clause {
            Some(clause) if !held(&clause) => found.push(Editable {
                start: sentence.start,
                stem: clause.start,
                clause: clause.end,
                end: sentence.end,
                edit: Edit::Replace,
                fitness,
                bears_reasons: true,
            }),
            // A second reason behind a first one reads badly.
            clause => found.push(Editable {
                start: sentence.start,
                stem: sentence.body_end,
                clause: sentence.body_end,
                end: sentence.end,
                edit: Edit::Extend,
                fitness: if clause.is_some() {
                    fitness - 1.0
                } else {
                    fitness
                },
                bears_reasons,
            }),
        }
    }
    found
}

/// A sentence without the blanks around it, taken apart.
struct Sentence<'t> {
    text: &'t str,
    start: usize,
    body_end: usize,
    end: usize,
}

impl<'t> Sentence<'t> {
    /// `None` for what is not to be edited.
    fn new(text: &'t str, range: Range<usize>, last: bool) -> Option<Self> {
        let whole = &text[range.clone()];
        // A bar parts a post's title from its text.
        let inner = whole.trim_start();
        let inner = inner.strip_prefix("| ").unwrap_or(inner).trim_start();
        let start = range.start + whole.len() - inner.len();
        let end = range.end - (whole.len() - whole.trim_end().len());
        if start >= end {
            return None;
        }
        let body_end = start
            + text[start..end]
                .trim_end_matches(['.', '!', '?', '…'])
                .len();
        let (body, mark) = (&text[start..body_end], &text[body_end..end]);
        let words = body.split_whitespace().count();
        let ends_in_letter = body.chars().next_back().is_some_and(char::is_alphanumeric);
        // One sentence without an end may close a text; elsewhere it is a heading or a fragment.
        let ended = match mark {
            "" => last,
            // What is broken off or shouted still states.
            mark => !mark.contains('?'),
        };
        let marked = body.starts_with(['#', '>', '|', '`', '<', '*', '=']);
        let fits = (MIN_WORDS..=MAX_WORDS).contains(&words)
            && ends_in_letter
            && ended
            && flows(body)
            && !marked;
        fits.then_some(Self {
            text,
            start,
            body_end,
            end,
        })
    }

    fn body(&self) -> &'t str {
        &self.text[self.start..self.body_end]
    }

    /// The clause at the end that may carry a value: from its connective to the end of the body.
    fn clause(&self) -> Option<Range<usize>> {
        let body = self.body();
        // Only ASCII letters change case, so offsets stay.
        let lower = body.to_ascii_lowercase();
        let at = CONNECTIVES.iter().filter_map(|c| lower.rfind(c)).max()?;
        // ", because" is found at the comma and " because" behind it: the comma belongs to the clause.
        let at = if body[..at].ends_with(',') {
            at - 1
        } else {
            at
        };
        let stem_words = body[..at].split_whitespace().count();
        let clause_words = body[at..].split_whitespace().filter(|w| *w != ",").count();
        (stem_words >= 3 && clause_words >= 3).then(|| self.start + at..self.body_end)
    }
}

/// Fewest characters of a line that was broken because it was full.
const FULL_LINE: usize = 40;

/// Whether the lines of a sentence are broken only where they are full, as in mails.
fn flows(body: &str) -> bool {
    let lines: Vec<&str> = body.split('\n').collect();
    let (_, full) = lines.split_last().unwrap_or((&"", &[]));
    full.iter().all(|line| line.chars().count() >= FULL_LINE)
        && lines.iter().all(|line| !line.trim().is_empty())
}

/// Whether a position lies between code fences.
fn inside_code(text: &str, at: usize) -> bool {
    text[..at].matches("```").count() % 2 == 1
}

/// The words of a sentence, lower case, without punctuation.
fn words(body: &str) -> Vec<String> {
    body.split_whitespace()
        .map(|w| {
            w.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'')
                .to_lowercase()
        })
        .filter(|w| !w.is_empty())
        .collect()
}

/// Words that advise, ask, plan or wish wherever they stand.
const WISHES: [&str; 20] = [
    "should",
    "must",
    "need",
    "try",
    "consider",
    "choose",
    "recommend",
    "want",
    "let",
    "let's",
    "ought",
    "please",
    "hope",
    "plan",
    "i'll",
    "we'll",
    "you'll",
    "i'd",
    "we'd",
    "think",
];
/// Who plans or is advised when a modal verb follows: "the offices will be rebuilt" is a report, "we will come" a plan.
const SPEAKERS: [&str; 3] = ["i", "we", "you"];
const MODALS: [&str; 6] = ["will", "would", "could", "can", "may", "might"];
/// Verbs that begin a request.
const REQUESTS: [&str; 40] = [
    "make", "keep", "take", "put", "use", "add", "check", "ask", "call", "write", "read", "start",
    "stop", "go", "get", "give", "bring", "buy", "wear", "wash", "clean", "cut", "turn", "open",
    "close", "leave", "set", "look", "talk", "tell", "avoid", "remember", "think", "visit", "book",
    "pack", "plan", "pay", "save", "help",
];

fn bears_reasons(body: &str) -> bool {
    let words = words(body);
    words
        .first()
        .is_some_and(|w| REQUESTS.contains(&w.as_str()))
        || words.iter().any(|w| WISHES.contains(&w.as_str()))
        || words
            .windows(2)
            .any(|pair| SPEAKERS.contains(&pair[0].as_str()) && MODALS.contains(&pair[1].as_str()))
}

fn fitness(body: &str, bears_reasons: bool) -> f32 {
    let words = words(body);
    let greeting = [
        "thank", "thanks", "hello", "hi", "sorry", "welcome", "bye", "regards",
    ];
    let mut fitness = 1.0;
    if bears_reasons {
        fitness += 0.5;
    }
    if words.iter().any(|w| greeting.contains(&w.as_str())) {
        fitness -= 0.8;
    }
    fitness -= 0.02 * words.len().saturating_sub(12) as f32;
    fitness - 0.1 * body.matches(',').count() as f32
}
