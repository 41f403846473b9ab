//! A plan that knows the file's columns, and what it makes of a record.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::RowFault;
use super::lines::{self, Grouped};
use super::mapping::{FieldSource, OrderRows, Unnamed};
use super::object::{NotRead, Object, Raw};
use super::plan::{Plan, PlannedField, sources};
use super::reader::{Content, Field, Record};
use super::row::{ReadRow, Refused, Row, RowIdentity, Value, hex, row_key};
use super::targets::{EXTERNAL_ID, EXTERNAL_ID_CHARS_MAX, Kind};
use super::values;
use crate::domain::code::RowCode;
use crate::domain::money::{Currency, Money};

/// A plan for a file whose columns are known.
#[derive(Clone, Debug)]
pub struct Bound {
    pub(super) plan: Plan,
    /// Where each column of CSV stands; empty for NDJSON, whose rows name their own.
    pub(super) places: HashMap<String, usize>,
    pub(super) columns: usize,
}

impl Bound {
    /// Whether the rows are lines of orders.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        self.plan.mapping.order_rows == OrderRows::Lines
    }

    /// Puts rows together to orders; `seen` are the last lines of orders of earlier batches, by key.
    #[must_use]
    pub fn group(&self, rows: &[ReadRow], seen: &HashMap<String, u64>) -> Grouped {
        lines::group(rows, seen, |target| self.column_of(target))
    }

    /// What becomes of contact points that the file does not name.
    #[must_use]
    pub fn contact_points(&self) -> Unnamed {
        self.plan.mapping.contact_points
    }

    /// What becomes of tags that the file does not name.
    #[must_use]
    pub fn tags(&self) -> Unnamed {
        self.plan.mapping.tags
    }

    /// How many columns a row of CSV must have; 0 for NDJSON.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values of a record.
    ///
    /// # Errors
    /// Every fault of the row.
    pub fn row(&self, record: Record) -> ReadRow {
        let line = record.line;
        let raw = self.raw_row(record)?;
        let mut row = Row { line, identity: None, values: BTreeMap::new() };
        let mut faults = Vec::new();
        let mut currency = None;
        let (mut is_told, mut lacks_currency) = (false, false);
        let fields = &self.plan.fields;
        // Amounts are read by the row's currency, so that comes first.
        let is_currency = |field: &&PlannedField| field.kind == Kind::Currency;
        for field in fields.iter().filter(is_currency).chain(fields.iter().filter(|f| !is_currency(f))) {
            match self.value(field, &raw, currency) {
                Ok(Some(Planned::Identity(identity))) => row.identity = Some(identity),
                Ok(Some(Planned::Currency(found))) => currency = Some(found),
                Ok(Some(Planned::Value(value))) => drop(row.values.insert(field.name.clone(), value)),
                Ok(None) => {}
                // Amounts of an unknown currency have no fault of their own.
                Err((RowCode::UnknownCurrency, _)) if field.kind == Kind::Money => lacks_currency = true,
                Err((code, value)) => {
                    is_told |= field.kind == Kind::Currency;
                    faults.push(row_fault(line, field, &code, &value));
                }
            }
        }
        if lacks_currency && !is_told {
            // What a row may do without, it may not beside an amount.
            let field = fields.iter().find(is_currency);
            faults.extend(field.map(|field| row_fault(line, field, &RowCode::Required, "")));
        }
        if faults.is_empty() { Ok(row) } else { Err(Refused { identity: row.identity, faults }) }
    }

    /// The columns that feed a target, for a fault that was found later; `None` for a constant.
    #[must_use]
    pub fn column_of(&self, target: &str) -> Option<String> {
        let field = self.plan.fields.iter().find(|field| field.name == target)?;
        let column = sources(&field.source).collect::<Vec<_>>().join(" + ");
        (!column.is_empty()).then_some(column)
    }

    fn raw_row(&self, record: Record) -> Result<RawRow, RowFault> {
        match record.content {
            Content::Csv(fields) if fields.len() == self.columns => Ok(RawRow::Csv(fields)),
            Content::Csv(fields) => {
                let (found, wanted) = (fields.len().to_string(), self.columns.to_string());
                let column = fields.len().min(self.columns) + 1;
                let fault = RowFault::new(record.line, &RowCode::ColumnCount { found, wanted });
                Err(fault.in_column(column.to_string()))
            }
            Content::Json(text) => Object::read(&text).map(RawRow::Json).map_err(|not_read| {
                let NotRead { code, reason, column } = not_read;
                RowFault::of_json(record.line, &code, &reason).in_column(column.to_string()).with_value(&text)
            }),
        }
    }

    /// The value of one field, or what is wrong with it and what stood there.
    fn value(
        &self,
        field: &PlannedField,
        raw: &RawRow,
        currency: Option<Currency>,
    ) -> Result<Option<Planned>, (RowCode, String)> {
        let PlannedField { name, kind, required, source } = field;
        if name == EXTERNAL_ID {
            return self.identity(source, raw).map(|identity| Some(Planned::Identity(identity)));
        }
        let text = match self.text(source, raw)? {
            text if text.is_empty() => source.default.clone().unwrap_or_default(),
            text => source.values.get(&text).cloned().unwrap_or(text),
        };
        if text.is_empty() {
            return if *required { Err((RowCode::Required, String::new())) } else { Ok(None) };
        }
        self.typed(&text, *kind, currency).map(Some).map_err(|code| (code, text))
    }

    fn typed(&self, text: &str, kind: Kind, currency: Option<Currency>) -> Result<Planned, RowCode> {
        let mapping = &self.plan.mapping;
        Ok(Planned::Value(match kind {
            Kind::Text(chars_max) => Value::Text(bounded(text, chars_max)?.to_owned()),
            Kind::Choice(choices) if choices.contains(&text) => Value::Text(text.to_owned()),
            Kind::Choice(choices) => {
                return Err(RowCode::NotAllowed { options: choices.join(", ") });
            }
            Kind::Currency => {
                return Currency::parse(text).map(Planned::Currency).ok_or(RowCode::UnknownCurrency);
            }
            Kind::Money => {
                let currency = currency.ok_or(RowCode::UnknownCurrency)?;
                let amount_minor = values::money(text, currency.exponent(), &mapping.money)?;
                Value::Money(Money { amount_minor, currency })
            }
            Kind::Time => Value::Time(values::time(text, &mapping.time, &self.plan.zone)?),
            Kind::Integer(minimum, maximum) => Value::Integer(values::integer(text, minimum, maximum)?),
        }))
    }

    /// The joined text of a field's columns, without blanks around each.
    fn text(&self, source: &FieldSource, raw: &RawRow) -> Result<String, (RowCode, String)> {
        if let Some(constant) = &source.constant {
            return Ok(constant.clone());
        }
        let separator = source.separator.as_deref().unwrap_or(" ");
        let mut joined = String::new();
        for column in sources(source) {
            let text = self.column_text(column, raw)?;
            if !joined.is_empty() && !text.is_empty() {
                joined.push_str(separator);
            }
            joined.push_str(&text);
        }
        Ok(joined)
    }

    fn column_text(&self, column: &str, raw: &RawRow) -> Result<String, (RowCode, String)> {
        let found = match raw {
            RawRow::Csv(fields) => match self.places.get(column).and_then(|place| fields.get(*place)) {
                Some(Field::Text(text)) => Raw::Text(text.trim().to_owned()),
                Some(Field::Undecodable(encoding)) => Raw::Undecodable(encoding.title()),
                None => Raw::Missing,
            },
            RawRow::Json(object) => object.find(column),
        };
        let wrong = |code| Err((code, String::new()));
        match found {
            Raw::Missing => Ok(String::new()),
            Raw::Text(text) if text.contains('\0') => wrong(RowCode::BadCharacter),
            Raw::Text(text) => Ok(text),
            Raw::Undecodable(encoding) => wrong(RowCode::BadEncoding { encoding: encoding.to_owned() }),
            Raw::Compound => wrong(RowCode::NotOneValue),
        }
    }

    fn identity(&self, source: &FieldSource, raw: &RawRow) -> Result<RowIdentity, (RowCode, String)> {
        let mut parts = Vec::new();
        for column in sources(source) {
            let text = self.column_text(column, raw)?;
            parts.push(source.values.get(&text).cloned().unwrap_or(text));
        }
        if parts.iter().all(String::is_empty) {
            return Err((RowCode::Required, String::new()));
        }
        if source.column.is_some() && !source.occurrence {
            let id = parts.concat();
            return match bounded(&id, EXTERNAL_ID_CHARS_MAX) {
                Ok(_) => Ok(RowIdentity::Given(id)),
                Err(code) => Err((code, id)),
            };
        }
        let joined = parts.iter().map(|part| escape_part(part)).collect::<Vec<_>>().join("|");
        let key = row_key(&joined);
        // Room for the number of the occurrence stays.
        let short = joined.chars().count() <= EXTERNAL_ID_CHARS_MAX - 20;
        let base = if short { joined } else { format!("sha256:{}", hex(&Sha256::digest(joined.as_bytes()))) };
        if !source.occurrence {
            return Ok(RowIdentity::Given(base));
        }
        Ok(RowIdentity::Numbered { base, key })
    }
}

/// What a field of a row turns into.
enum Planned {
    Value(Value),
    Currency(Currency),
    Identity(RowIdentity),
}

enum RawRow {
    Csv(Vec<Field>),
    Json(Object),
}

fn row_fault(line: u64, field: &PlannedField, code: &RowCode, value: &str) -> RowFault {
    let column = sources(&field.source).collect::<Vec<_>>().join(" + ");
    let fault = RowFault::new(line, code).about(&field.name);
    let fault = if column.is_empty() { fault } else { fault.in_column(column) };
    if value.is_empty() { fault } else { fault.with_value(value) }
}

fn bounded(text: &str, chars_max: usize) -> Result<&str, RowCode> {
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Err(RowCode::TooLong { max: chars_max.to_string() });
    }
    Ok(text)
}

/// A part of an external id, so that no two lists of parts join to the same text.
fn escape_part(part: &str) -> String {
    part.replace('%', "%25").replace('|', "%7C").replace('#', "%23")
}
