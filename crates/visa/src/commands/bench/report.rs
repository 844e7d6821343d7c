//! How figures are shown: a line each, as soon as they are there.

use super::measure::Row;
use crate::args::Format;
use crate::exit::Failure;
use crate::output;

/// Writes rows in one form.
pub(super) struct Report {
    format: Format,
    written: usize,
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Self { format, written: 0 }
    }

    /// What a person should know before the figures.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        if self.format != Format::Text {
            return Ok(());
        }
        let isa = visa_kernels::isa::isa();
        let bf16 = if visa_kernels::isa::has_bf16() {
            "bf16 products"
        } else {
            "no bf16 products: f32 takes their place"
        };
        let threads = rayon::current_num_threads();
        output::write(&format!(
            "{isa:?}, {bf16}, {threads} threads\n{:<56} {:>10} {:<9} {:>6}  lowest – highest\n",
            "", "median", "", "peak"
        ))
    }

    pub(super) fn rows(&mut self, rows: &[Row]) -> Result<(), Failure> {
        for row in rows {
            let json = serde_json::to_string(row).map_err(|e| Failure::Input(e.into()))?;
            let text = match self.format {
                Format::Text => line(row),
                Format::Jsonl => json + "\n",
                Format::Json if self.written == 0 => format!("[\n{json}"),
                Format::Json => format!(",\n{json}"),
            };
            output::write(&text)?;
            self.written += 1;
        }
        output::flush()
    }

    /// Closes what is open.
    pub(super) fn end(&self) -> Result<(), Failure> {
        match (self.format, self.written) {
            (Format::Json, 0) => output::write("[]\n"),
            (Format::Json, _) => output::write("\n]\n"),
            _ => Ok(()),
        }
    }
}

fn line(row: &Row) -> String {
    let share = row
        .share_of_peak
        .map_or(String::new(), |s| format!("{:.0} %", 100.0 * s));
    format!(
        "{:<56} {:>10} {:<9} {share:>6}  {} – {}\n",
        row.name,
        short(row.value),
        row.unit,
        short(row.low),
        short(row.high)
    )
}

/// Three digits that count.
fn short(x: f64) -> String {
    let digits = if x >= 100.0 {
        0
    } else if x >= 10.0 {
        1
    } else {
        2
    };
    format!("{x:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_everything() {
        let row = Row {
            name: "prefill_tokens_per_s".into(),
            value: 12_345.6,
            unit: "tokens/s",
            share_of_peak: Some(0.314),
            low: 9.87,
            high: 54.321,
            rounds: 5,
        };
        let words: Vec<String> = line(&row).split_whitespace().map(String::from).collect();
        assert_eq!(
            words.join(" "),
            "prefill_tokens_per_s 12346 tokens/s 31 % 9.87 – 54.3"
        );
    }
}
