//! The exact value of a number.

/// A number's exact value: digits without zeros at the ends, times a power of ten.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decimal {
    digits: String,
    exponent: i64,
}

impl Decimal {
    pub(crate) fn new(digits: &str, exponent: i64) -> Self {
        let trimmed = digits.trim_end_matches('0');
        let exponent = exponent + (digits.len() - trimmed.len()) as i64;
        let digits = trimmed.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            Decimal {
                digits: "0".into(),
                exponent: 0,
            }
        } else {
            Decimal { digits, exponent }
        }
    }

    pub(super) fn from_u64(value: u64) -> Self {
        Decimal::new(&value.to_string(), 0)
    }

    /// Reads `1,234.50`; several points (`1.2.3`) are a version and stay as written.
    pub(super) fn from_numeral(numeral: &str) -> Option<Self> {
        let plain: String = numeral
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        match plain.split_once('.') {
            None => Some(Decimal::new(&plain, 0)),
            Some((_, fraction)) if fraction.contains('.') => None,
            Some((whole, fraction)) => Some(Decimal::new(
                &format!("{whole}{fraction}"),
                -(fraction.len() as i64),
            )),
        }
    }

    pub(super) fn scaled(&self, power: i64) -> Self {
        Decimal::new(&self.digits, self.exponent + power)
    }

    pub(super) fn negative(mut self) -> Self {
        self.digits.insert(0, '-');
        self
    }

    pub(crate) fn key(&self) -> String {
        if self.exponent == 0 {
            self.digits.clone()
        } else {
            format!("{}e{}", self.digits, self.exponent)
        }
    }
}
