//! Numbers in words: what a score means, for a person who has not read the method.

use visa_score::Score;

use super::{ADDED, HEADING, REMOVED, Style};

/// A score in four lines.
pub(crate) fn score(style: &Style, score: &Score) -> String {
    let c = &score.consistency;
    let v = &score.value;
    let row = |name: &str, words: &str, numbers: &str| format!("  {name:<8} {words}  {numbers}\n");
    let dot = style.sign("·", "-");
    let mut out = row(
        "meaning",
        &format!(
            "{}: {}",
            meaning(c.mean()),
            directions(c.forward, c.backward)
        ),
        &format!(
            "({:.2} {dot} forward {:.2}, backward {:.2})",
            c.mean(),
            c.forward,
            c.backward
        ),
    );
    out.push_str(&row(
        "values",
        &progress(v.progress),
        &format!(
            "(distance {:.2}, cosine {:+.2}, movement {:+.2})",
            v.l2, v.cosine, v.movement
        ),
    ));
    if score.guards.is_empty() {
        out.push_str(&row(
            "guards",
            "numbers, dates, names, negations, quotations, URLs and code intact",
            "",
        ));
    }
    for violation in &score.guards {
        out.push_str(&row(
            "guards",
            &style.paint(REMOVED, style.sign("✗", "x")),
            &super::printable(&violation.detail),
        ));
    }
    let total = format!("{:.2}", score.total);
    out.push_str(&row(
        "total",
        &style.paint(if score.total > 0.5 { ADDED } else { HEADING }, &total),
        "",
    ));
    out.lines().map(|l| format!("{}\n", l.trim_end())).collect()
}

/// How well the meaning is kept, by the mean consistency.
pub(crate) fn meaning(mean: f32) -> &'static str {
    match mean {
        m if m >= 0.85 => "meaning kept",
        m if m >= 0.6 => "meaning mostly kept",
        m if m > 0.3 => "meaning loosely kept",
        _ => "meaning not kept",
    }
}

/// What the two directions of consistency say: forward falls with inventions, backward with omissions.
pub(crate) fn directions(forward: f32, backward: f32) -> &'static str {
    match (forward >= 0.6, backward >= 0.6) {
        (true, true) => "nothing invented, nothing dropped",
        (false, true) => "something is new",
        (true, false) => "something is missing",
        (false, false) => "something is new and something is missing",
    }
}

/// How far the values have come, by the progress 1 − L2(after)/L2(before).
pub(crate) fn progress(progress: f32) -> String {
    let percent = (progress * 100.0).round();
    match percent {
        p if p >= 95.0 => "values at the target".to_string(),
        p if p >= 1.0 => format!("values {p:.0} % of the way to the target"),
        p if p > -1.0 => "values not moved".to_string(),
        p => format!("values {:.0} % further from the target", -p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_word() {
        let check = |p, expected: &str| assert_eq!(progress(p), expected);
        check(1.0, "values at the target");
        check(0.62, "values 62 % of the way to the target");
        check(0.0, "values not moved");
        check(-0.25, "values 25 % further from the target");
        assert_eq!(meaning(0.9), "meaning kept");
        assert_eq!(meaning(0.3), "meaning not kept");
        assert_eq!(directions(0.9, 0.1), "something is missing");
    }
}
