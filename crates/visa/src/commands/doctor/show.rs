//! The report as a person reads it.

use std::fmt::Write;

use super::Report;
use crate::settings::{Origin, Setting};
use crate::view::wrap::paragraph;
use crate::view::{ADDED, DIM, HEADING, REMOVED, Style};

pub(super) fn report(style: &Style, report: &Report) -> String {
    let mut out = format!(
        "{}\n\n",
        style.paint(HEADING, &format!("visa {}", report.version))
    );
    let mut row = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<12} {text}");
    };
    let system = &report.system;
    row("system", &format!("{} {}", system.os, system.arch));
    let cores = if system.cores == 1 {
        "1 core".into()
    } else {
        format!("{} cores", system.cores)
    };
    row(
        "processor",
        &format!("{}, {cores}", system.cpu.as_deref().unwrap_or("unknown")),
    );
    let isa = match &system.isa {
        Ok(isa) => format!("{isa}{}", if system.bf16 { ", bf16 products" } else { "" }),
        Err(problem) => problem.clone(),
    };
    row("kernels", &isa);
    if let (Some(all), Some(free)) = (system.memory_bytes, system.available_bytes) {
        row(
            "memory",
            &format!("{}, {} available", bytes(all), bytes(free)),
        );
    }
    out.push_str(&view_models(style, report));
    let mut row = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<12} {text}");
    };
    let endpoint = &report.endpoint;
    row(
        "endpoint",
        endpoint
            .url
            .as_deref()
            .unwrap_or("none; rewrites are made here"),
    );
    if endpoint.url.is_some() {
        row(
            "",
            &format!(
                "model {}",
                endpoint
                    .model
                    .as_deref()
                    .unwrap_or("not named; set VISA_ENDPOINT_MODEL")
            ),
        );
    }
    row("key", endpoint.key_variable.unwrap_or("none set"));
    let changed: Vec<&Setting> = report
        .settings
        .iter()
        .filter(|s| s.origin != Origin::Default)
        .collect();
    let file = report
        .settings_file
        .as_ref()
        .map_or("no file".to_string(), |f| f.display().to_string());
    row(
        "settings",
        &format!("{file}; {} changed from the defaults", changed.len()),
    );
    for setting in changed {
        row(
            "",
            &format!(
                "{} = {} ({:?})",
                setting.name, setting.value, setting.origin
            )
            .to_lowercase(),
        );
    }
    out.push_str(&format!("\n{}\n", style.paint(HEADING, "advice")));
    if report.advice.is_empty() {
        let sign = style.paint(ADDED, style.sign("✓", "+"));
        let _ = writeln!(
            out,
            "  {sign} everything works; try: visa rewrite --persona \"a careful planner\" \"Let us go.\""
        );
    }
    for line in &report.advice {
        let line = paragraph(line, 4, style.width);
        let _ = write!(out, "  {} {}", style.sign("•", "*"), line.trim_start());
    }
    out
}

fn view_models(style: &Style, report: &Report) -> String {
    let mut out = format!("\n{}\n", style.paint(HEADING, "models"));
    for model in &report.models {
        let (sign, words) = match (&model.problem, model.seconds) {
            (None, Some(seconds)) => (
                style.paint(ADDED, style.sign("✓", "+")),
                format!("{} in {seconds:.2} s", bytes(model.bytes)),
            ),
            _ if model.path.is_none() => (
                style.paint(REMOVED, style.sign("✗", "x")),
                "missing".to_string(),
            ),
            _ => (
                style.paint(REMOVED, style.sign("✗", "x")),
                "not usable".to_string(),
            ),
        };
        let path = model
            .path
            .as_ref()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "  {sign} {:<10} {words:<20} {}",
            model.name,
            style.paint(DIM, &path)
        );
    }
    let total: u64 = report.models.iter().map(|m| m.bytes).sum();
    if total > 0 {
        let _ = writeln!(out, "    {:<10} {}", "together", bytes(total));
    }
    if report.models.iter().any(|m| m.path.is_none()) || report.models.is_empty() {
        let _ = writeln!(out, "  looked in");
        for place in &report.places {
            let exists = if place.exists { "" } else { ", not there" };
            let _ = writeln!(
                out,
                "    {} ({}{exists})",
                place.path.display(),
                place.reason
            );
        }
    }
    out.push('\n');
    out
}

fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n >= 1e9 => format!("{:.1} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.1} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        n => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(45_400_000), "45.4 MB");
        assert_eq!(bytes(2_000_000_000), "2.0 GB");
    }
}
