//! Columns of scoring as JSON, which has no not-a-number: it is `null` there.

use hospes_bindings::exports::hospes::plugin::scoring::{Column, Slice};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Shown {
    ids: String,
    columns: Vec<(String, Vec<Option<f64>>)>,
}

/// Writes a slice.
pub(in crate::plugin) fn serialize<S: Serializer>(slice: &Slice, serializer: S) -> Result<S::Ok, S::Error> {
    let number = |value: &f64| (!value.is_nan()).then_some(*value);
    let columns = slice.columns.iter();
    let columns = columns.map(|one| (one.name.clone(), one.values.iter().map(number).collect()));
    Shown { ids: slice.ids.clone(), columns: columns.collect() }.serialize(serializer)
}

/// Reads what [`serialize`] has written.
pub(in crate::plugin) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slice, D::Error> {
    let Shown { ids, columns } = Shown::deserialize(deserializer)?;
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let columns = columns.into_iter();
    let columns =
        columns.map(|(name, values)| Column { name, values: values.into_iter().map(number).collect() });
    Ok(Slice { ids, columns: columns.collect() })
}
