//! Scores of many customers at once, by columns of numbers.
//!
//! ```
//! use hospes_sdk::scoring::{Scores, Slice};
//!
//! fn score(slice: &Slice) -> hospes_sdk::Result<Scores> {
//!     let orders = slice.column("orders")?;
//!     // Not-a-number goes through: who has no value has no score.
//!     let loyalty = orders.iter().map(|orders| orders * 10.0).collect();
//!     Ok(Scores::new(loyalty).because("many_orders", orders.to_vec()))
//! }
//! ```

pub use crate::bindings::scoring::exports::hospes::plugin::scoring::{Column, Scores, Slice};
use crate::{Error, Result};

impl Slice {
    /// The ids of the records, in the order of every column.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.lines()
    }

    /// The number of records.
    pub fn rows(&self) -> usize {
        match self.columns.first() {
            Some(column) => column.values.len(),
            None => self.ids().count(),
        }
    }

    /// The numbers of declared columns, one record after another: the fastest way through several.
    ///
    /// ```
    /// # use hospes_sdk::scoring::{Scores, Slice};
    /// fn average(slice: &Slice) -> hospes_sdk::Result<Scores> {
    ///     let records = slice.records(["spend", "orders"])?;
    ///     Ok(Scores::new(records.map(|[spend, orders]| spend / orders.max(1.0)).collect()))
    /// }
    /// ```
    pub fn records<const N: usize>(&self, names: [&str; N]) -> Result<impl Iterator<Item = [f64; N]>> {
        let rows = self.rows();
        let mut columns = [&[][..]; N];
        for (column, name) in columns.iter_mut().zip(names) {
            // All of one length that is known before the first record: nothing is checked in between.
            *column = &self.column(name)?[..rows];
        }
        Ok((0..rows).map(move |row| columns.map(|column| column[row])))
    }

    /// A declared column, one number for each id; not-a-number where there is none.
    pub fn column(&self, name: &str) -> Result<&[f64]> {
        let found = self.columns.iter().find(|column| column.name == name);
        found
            .map(|column| column.values.as_slice())
            .ok_or_else(|| Error::NotFound(format!("column `{name}`")))
    }
}

impl Scores {
    /// Scores in the order of the ids; not-a-number for a record that has none.
    pub fn new(values: Vec<f64>) -> Self {
        Self { values, reasons: Vec::new() }
    }

    /// The same scores, and how much a declared reason has moved each.
    #[must_use]
    pub fn because(mut self, reason: &str, weights: Vec<f64>) -> Self {
        self.reasons.push(Column { name: reason.to_owned(), values: weights });
        self
    }
}
