//! Amounts of money.

use serde::{Deserialize, Serialize};

/// An amount in the currency's minor unit: `{"amount_minor": 1496, "currency": "USD"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Cents, fen, yen: whole numbers only.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

impl Money {
    /// An amount of a currency.
    pub fn new(amount_minor: i64, currency: &str) -> Self {
        Self { amount_minor, currency: currency.to_owned() }
    }

    /// For a person: `USD 14.96`.
    pub fn display(&self) -> String {
        let digits = minor_digits(&self.currency);
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let minor = self.amount_minor.unsigned_abs();
        if digits == 0 {
            return format!("{} {sign}{minor}", self.currency);
        }
        let unit = 10_u64.pow(digits);
        let width = digits as usize;
        format!("{} {sign}{}.{:0width$}", self.currency, minor / unit, minor % unit)
    }
}

/// How many decimals a currency has (ISO 4217, 2024).
fn minor_digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_follows_the_currency() {
        assert_eq!(Money::new(1496, "USD").display(), "USD 14.96");
        assert_eq!(Money::new(-5, "CNY").display(), "CNY -0.05");
        assert_eq!(Money::new(1496, "JPY").display(), "JPY 1496");
        assert_eq!(Money::new(1496, "KWD").display(), "KWD 1.496");
    }
}
