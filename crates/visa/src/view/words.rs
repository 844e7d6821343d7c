//! Numbers in words: what a score means, for a person who has not read the method.

use visa_score::Score;

use super::wrap::paragraph;
use super::{DIM, Style};

/// A score in a line each for meaning, values, guards and total.
pub(crate) fn score(style: &Style, score: &Score) -> String {
    let c = &score.consistency;
    let v = &score.value;
    let row = |name: &str, words: &str| {
        // Hung under the first word, so that narrow terminals can read it.
        let words = paragraph(words, 12, style.width);
        let name = style.paint(DIM, &format!("{name:<8}"));
        format!("  {name}  {}", words.trim_start())
    };
    let sides = format!("forward {:.2}, backward {:.2}", c.forward, c.backward);
    let kept = format!("{}{}", meaning(c.mean()), directions(c.forward, c.backward));
    let mut out = row("meaning", &format!("{kept} ({:.2}: {sides})", c.mean()));
    let numbers = format!("distance {:.2}, direction {:+.2}", v.l2, v.movement);
    out.push_str(&row(
        "values",
        &format!("{} ({numbers})", progress(v.progress)),
    ));
    if score.guards.is_empty() {
        let intact = "numbers, dates, names, negations, quotations, URLs, code intact";
        out.push_str(&row("guards", intact));
    }
    for violation in &score.guards {
        let sign = style.sign("✗", "x");
        out.push_str(&row("guards", &format!("{sign} {}", violation.detail)));
    }
    out.push_str(&row("total", &format!("{:.2} of 1", score.total)));
    out
}

/// How well the meaning is kept, by the mean consistency.
pub(crate) fn meaning(mean: f32) -> &'static str {
    match mean {
        m if m >= 0.85 => "kept",
        m if m >= 0.6 => "mostly kept",
        m if m > 0.3 => "loosely kept",
        _ => "not kept",
    }
}

/// What the two directions of consistency say: forward falls with inventions, backward with omissions.
pub(crate) fn directions(forward: f32, backward: f32) -> &'static str {
    match (forward >= 0.6, backward >= 0.6) {
        (true, true) => "",
        (false, true) => ", something is new",
        (true, false) => ", something is missing",
        (false, false) => ", something is new and something is missing",
    }
}

/// How far the values have come, by the progress 1 − L2(after)/L2(before).
pub(crate) fn progress(progress: f32) -> String {
    let percent = (progress * 100.0).round();
    match percent {
        p if p >= 95.0 => "at the target".to_string(),
        p if p >= 1.0 => format!("{p:.0} % of the way to the target"),
        p if p > -1.0 => "not moved".to_string(),
        p => format!("{:.0} % further from the target", -p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_word() {
        let check = |p, expected: &str| assert_eq!(progress(p), expected);
        check(1.0, "at the target");
        check(0.62, "62 % of the way to the target");
        check(0.0, "not moved");
        check(-0.25, "25 % further from the target");
        assert_eq!(meaning(0.9), "kept");
        assert_eq!(meaning(0.3), "not kept");
        assert_eq!(directions(0.9, 0.1), ", something is missing");
    }
}
