//! A checked mapping, and what it makes of a record: typed values by target, or the faults of the row.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::tz::TimeZone;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::mapping::{FIELDS_MAX, FieldSource, Format, JOINED_COLUMNS_MAX, Mapping, REPLACED_VALUES_MAX};
use super::reader::{Content, Field, Record};
use super::targets::{CUSTOM_FIELD_PREFIX, EXTERNAL_ID, EXTERNAL_ID_CHARS_MAX, Kind, Target, targets};
use super::values::{self, Wrong};
use super::{ImportEntity, RowFault};
use crate::clock::Timestamp;
use crate::domain::money::{Currency, Money};
use crate::error::Fault;

/// A mapping that fits its entity.
#[derive(Clone, Debug)]
pub struct Plan {
    mapping: Mapping,
    zone: TimeZone,
    fields: Vec<PlannedField>,
}

#[derive(Clone, Debug)]
struct PlannedField {
    name: String,
    kind: Kind,
    required: bool,
    source: FieldSource,
}

/// A plan for a file whose columns are known.
#[derive(Clone, Debug)]
pub struct Bound {
    plan: Plan,
    /// Where each column of CSV stands; empty for NDJSON, whose rows name their own.
    places: HashMap<String, usize>,
    columns: usize,
}

/// A row's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line on which its record begins.
    pub line: u64,
    /// How the row is known again.
    pub identity: Option<RowIdentity>,
    values: BTreeMap<String, Value>,
}

/// How a row is known again: an external id, or what one is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowIdentity {
    /// The external id itself.
    Given(String),
    /// Equal rows are numbered.
    Numbered {
        /// What the rows have in common.
        base: String,
        /// The same in 32 characters, to count by.
        key: String,
    },
}

impl RowIdentity {
    /// The external id of the `occurrence`-th row (from 1) that looks like this.
    #[must_use]
    pub fn external_id(&self, occurrence: u64) -> String {
        match self {
            Self::Given(id) => id.clone(),
            Self::Numbered { base, .. } => format!("{base}#{occurrence}"),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, also a choice, a custom field or tags.
    Text(String),
    /// An amount.
    Money(Money),
    /// A time.
    Time(Timestamp),
    /// A whole number.
    Integer(i64),
}

impl Row {
    /// The text of a target, if the row has one.
    #[must_use]
    pub fn text(&self, target: &str) -> Option<&str> {
        match self.values.get(target) {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Money(_) | Value::Time(_) | Value::Integer(_)) | None => None,
        }
    }

    /// The amount of a target, if the row has one.
    #[must_use]
    pub fn money(&self, target: &str) -> Option<Money> {
        match self.values.get(target) {
            Some(Value::Money(money)) => Some(*money),
            Some(Value::Text(_) | Value::Time(_) | Value::Integer(_)) | None => None,
        }
    }

    /// The time of a target, if the row has one.
    #[must_use]
    pub fn time(&self, target: &str) -> Option<Timestamp> {
        match self.values.get(target) {
            Some(Value::Time(time)) => Some(*time),
            Some(Value::Text(_) | Value::Money(_) | Value::Integer(_)) | None => None,
        }
    }

    /// The number of a target, if the row has one.
    #[must_use]
    pub fn integer(&self, target: &str) -> Option<i64> {
        match self.values.get(target) {
            Some(Value::Integer(number)) => Some(*number),
            Some(Value::Text(_) | Value::Money(_) | Value::Time(_)) | None => None,
        }
    }

    /// The tenant's own fields of the row, by name.
    pub fn custom_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(name, value)| match value {
            Value::Text(text) => Some((name.strip_prefix(CUSTOM_FIELD_PREFIX)?, text.as_str())),
            Value::Money(_) | Value::Time(_) | Value::Integer(_) => None,
        })
    }
}

impl Plan {
    /// Checks a mapping against its entity. `tenant_zone` is the time zone of a mapping that names none.
    ///
    /// # Errors
    /// Every fault at once, with pointers into the mapping.
    pub fn new(entity: ImportEntity, mapping: Mapping, tenant_zone: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let zone_name = mapping.time.time_zone.as_deref().unwrap_or(tenant_zone);
        let zone = TimeZone::get(zone_name).unwrap_or_else(|_unknown| {
            let message = format!("`{zone_name}` is not a time zone such as Asia/Shanghai");
            faults.push(Fault::new("/time/time_zone", "bad_time_zone", message));
            TimeZone::UTC
        });
        check_options(&mapping, &mut faults);
        let mut fields = Vec::with_capacity(mapping.fields.len());
        for (name, source) in &mapping.fields {
            let pointer = format!("/fields/{}", escape_pointer(name));
            check_source(source, name, &mapping, &pointer, &mut faults);
            match target(entity, name) {
                Some((kind, required)) => {
                    fields.push(PlannedField { name: name.clone(), kind, required, source: source.clone() });
                }
                None => faults.push(unknown_target(entity, name, &pointer)),
            }
        }
        check_required(entity, &mapping, &mut faults);
        if faults.is_empty() { Ok(Self { mapping, zone, fields }) } else { Err(faults) }
    }

    /// The mapping that this was made from.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Finds the plan's columns in a file: `header` are the names that the file gives its columns.
    ///
    /// # Errors
    /// Each column that the file lacks or has twice.
    pub fn bind(self, header: &[String]) -> Result<Bound, Vec<RowFault>> {
        if self.mapping.format == Format::Ndjson {
            return Ok(Bound { plan: self, places: HashMap::new(), columns: 0 });
        }
        let mut places = HashMap::new();
        let mut faults = Vec::new();
        for column in self.columns() {
            let mut found = header.iter().enumerate().filter(|(_, name)| name.as_str() == column);
            match (found.next(), found.next()) {
                (Some((place, _)), None) => drop(places.insert(column.to_owned(), place)),
                (Some(_), Some(_)) => {
                    let fault =
                        RowFault::new(1, "duplicate_column", "the file has this column more than once");
                    faults.push(fault.in_column(column));
                }
                (None, _) => {
                    let fault = RowFault::new(1, "missing_column", "the file has no such column");
                    faults.push(fault.in_column(column));
                }
            }
        }
        if faults.is_empty() { Ok(Bound { plan: self, places, columns: header.len() }) } else { Err(faults) }
    }

    /// The columns that the plan reads, each once.
    fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = self.fields.iter().flat_map(|field| sources(&field.source)).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

fn sources(source: &FieldSource) -> impl Iterator<Item = &str> {
    let several = source.columns.iter().flatten().map(String::as_str);
    source.column.as_deref().into_iter().chain(several)
}

fn escape_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn target(entity: ImportEntity, name: &str) -> Option<(Kind, bool)> {
    let custom = entity == ImportEntity::Customers
        && name.strip_prefix(CUSTOM_FIELD_PREFIX).is_some_and(|rest| !rest.is_empty());
    if custom {
        return Some((Kind::Text(4_000), false));
    }
    let Target { kind, required, .. } = targets(entity).iter().find(|target| target.name == name)?;
    Some((*kind, *required))
}

fn unknown_target(entity: ImportEntity, name: &str, pointer: &str) -> Fault {
    let known = super::target_names(entity).join(", ");
    let message = format!("{} have no field `{name}`; there are {known}", entity.as_str());
    Fault::new(pointer, "unknown_field", message)
}

fn check_options(mapping: &Mapping, faults: &mut Vec<Fault>) {
    if mapping.fields.len() > FIELDS_MAX {
        faults.push(Fault::new("/fields", "too_many", format!("must have at most {FIELDS_MAX} fields")));
    }
    let decimal = mapping.money.decimal.as_char();
    if mapping.money.grouping.is_some_and(|grouping| grouping.as_char() == decimal) {
        let message = "the mark between groups cannot be the decimal mark";
        faults.push(Fault::new("/money/grouping", "ambiguous", message));
    }
    if mapping.time.format.as_deref().is_some_and(|format| !is_time_format(format)) {
        let message = "not a format such as `%d/%m/%Y %H:%M`";
        faults.push(Fault::new("/time/format", "bad_format", message));
    }
}

/// Whether a format can write a time, and what it writes can be read with it.
fn is_time_format(format: &str) -> bool {
    let sample = jiff::civil::date(2001, 2, 3).at(4, 5, 6, 0).to_zoned(TimeZone::UTC).expect("exists in UTC");
    let written = jiff::fmt::strtime::format(format, &sample).ok();
    let read = written.and_then(|text| jiff::fmt::strtime::parse(format, text).ok());
    read.is_some_and(|read| read.to_date().is_ok() || read.to_timestamp().is_ok())
}

fn check_source(source: &FieldSource, name: &str, mapping: &Mapping, pointer: &str, faults: &mut Vec<Fault>) {
    let FieldSource { column, columns, constant, separator, default: _, values, occurrence } = source;
    let mut add = |suffix: &str, code: &'static str, message: String| {
        faults.push(Fault::new(format!("{pointer}{suffix}"), code, message));
    };
    let stated = [column.is_some(), columns.is_some(), constant.is_some()];
    if stated.iter().filter(|one| **one).count() != 1 {
        add("", "one_source", "needs exactly one of `column`, `columns` and `constant`".to_owned());
    }
    if values.len() > REPLACED_VALUES_MAX {
        add("/values", "too_many", format!("must have at most {REPLACED_VALUES_MAX} values"));
    }
    if columns.as_ref().is_some_and(|columns| columns.is_empty() || columns.len() > JOINED_COLUMNS_MAX) {
        add("/columns", "out_of_range", format!("must have 1 to {JOINED_COLUMNS_MAX} columns"));
    }
    let is_external_id = name == EXTERNAL_ID;
    if *occurrence && (!is_external_id || constant.is_some()) {
        add("/occurrence", "not_here", "only the columns of `external_id` can be numbered".to_owned());
    }
    if is_external_id && constant.is_some() {
        add("/constant", "not_here", "the same external id for every row would be one record".to_owned());
    }
    if separator.is_some() && (columns.is_none() || is_external_id) {
        add("/separator", "not_here", "only joined columns have one, and `external_id` its own".to_owned());
    }
    if mapping.format == Format::Csv && !mapping.csv.header {
        for column in sources(source) {
            if column.parse::<usize>().ok().is_none_or(|number| number == 0) {
                add("", "bad_column", format!("without a header columns are 1, 2, …; not `{column}`"));
            }
        }
    }
}

fn check_required(entity: ImportEntity, mapping: &Mapping, faults: &mut Vec<Fault>) {
    for target in targets(entity).iter().filter(|target| target.required) {
        if !mapping.fields.contains_key(target.name) {
            let pointer = format!("/fields/{}", target.name);
            faults.push(Fault::new(pointer, "required", "this field must be mapped"));
        }
    }
    let has_line = mapping.fields.keys().any(|name| name.starts_with("line."));
    if has_line && !mapping.fields.contains_key("line.sku") {
        faults.push(Fault::new(
            "/fields/line.sku",
            "required",
            "a line needs a product: a column or a constant",
        ));
    }
    let feeds_money =
        |target: &&Target| target.kind == Kind::Money && mapping.fields.contains_key(target.name);
    if targets(entity).iter().any(|target| feeds_money(&target)) && !mapping.fields.contains_key("currency") {
        let message = "amounts need a currency: a column or a constant such as `CNY`";
        if faults.iter().all(|fault| fault.pointer != "/fields/currency") {
            faults.push(Fault::new("/fields/currency", "required", message));
        }
    }
}

/// A value as it stands in a record, before it is looked at.
enum Raw {
    Missing,
    Text(String),
    Undecodable,
    /// A list or an object where one value belongs.
    Compound,
}

impl Bound {
    /// How many columns a row of CSV must have; 0 for NDJSON.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values of a record.
    ///
    /// # Errors
    /// Every fault of the row.
    pub fn row(&self, record: Record) -> Result<Row, Vec<RowFault>> {
        let line = record.line;
        let raw = self.raw_row(record).map_err(|fault| vec![fault])?;
        let mut row = Row { line, identity: None, values: BTreeMap::new() };
        let mut faults = Vec::new();
        let mut currency = None;
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
                Err((Wrong { code: "currency_unknown", .. }, _)) => {}
                Err((wrong, value)) => faults.push(row_fault(line, field, wrong, value)),
            }
        }
        if faults.is_empty() { Ok(row) } else { Err(faults) }
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
                let message = format!("the row has {} columns instead of {}", fields.len(), self.columns);
                let column = fields.len().min(self.columns) + 1;
                Err(RowFault::new(record.line, "column_count", message).in_column(column.to_string()))
            }
            Content::Json(text) => serde_json::from_str::<Object>(&text).map(RawRow::Json).map_err(|error| {
                let message = format!("not a JSON object: {}", json_message(&error));
                RowFault::new(record.line, "bad_json", message)
                    .in_column(error.column().to_string())
                    .with_value(&text)
            }),
        }
    }

    /// The value of one field, or what is wrong with it and what stood there.
    fn value(
        &self,
        field: &PlannedField,
        raw: &RawRow,
        currency: Option<Currency>,
    ) -> Result<Option<Planned>, (Wrong, String)> {
        let PlannedField { name, kind, required, source } = field;
        if name == EXTERNAL_ID {
            return self.identity(source, raw).map(|identity| Some(Planned::Identity(identity)));
        }
        let text = match self.text(source, raw)? {
            text if text.is_empty() => source.default.clone().unwrap_or_default(),
            text => source.values.get(&text).cloned().unwrap_or(text),
        };
        if text.is_empty() {
            let wrong = || (Wrong::new("required", "must not be empty"), String::new());
            return if *required { Err(wrong()) } else { Ok(None) };
        }
        self.typed(&text, *kind, currency).map(Some).map_err(|wrong| (wrong, text))
    }

    fn typed(&self, text: &str, kind: Kind, currency: Option<Currency>) -> Result<Planned, Wrong> {
        let mapping = &self.plan.mapping;
        Ok(Planned::Value(match kind {
            Kind::Text(chars_max) => Value::Text(bounded(text, chars_max)?.to_owned()),
            Kind::Choice(choices) if choices.contains(&text) => Value::Text(text.to_owned()),
            Kind::Choice(choices) => {
                return Err(Wrong::new("unknown_value", format!("must be one of {}", choices.join(", "))));
            }
            Kind::Currency => {
                let wrong = || Wrong::new("unknown_currency", "not an ISO 4217 code such as CNY");
                return Currency::parse(text).map(Planned::Currency).ok_or_else(wrong);
            }
            Kind::Money => {
                let unknown = || Wrong::new("currency_unknown", "the row's currency is wrong");
                let currency = currency.ok_or_else(unknown)?;
                let amount_minor = values::money(text, currency.exponent(), &mapping.money)?;
                Value::Money(Money { amount_minor, currency })
            }
            Kind::Time => Value::Time(values::time(text, &mapping.time, &self.plan.zone)?),
            Kind::Integer(minimum, maximum) => Value::Integer(values::integer(text, minimum, maximum)?),
        }))
    }

    /// The joined text of a field's columns, without blanks around each.
    fn text(&self, source: &FieldSource, raw: &RawRow) -> Result<String, (Wrong, String)> {
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

    fn column_text(&self, column: &str, raw: &RawRow) -> Result<String, (Wrong, String)> {
        let found = match raw {
            RawRow::Csv(fields) => match self.places.get(column).and_then(|place| fields.get(*place)) {
                Some(Field::Text(text)) => Raw::Text(text.trim().to_owned()),
                Some(Field::Undecodable) => Raw::Undecodable,
                None => Raw::Missing,
            },
            RawRow::Json(object) => object.find(column),
        };
        let wrong = |code, message: &str| Err((Wrong::new(code, message), String::new()));
        match found {
            Raw::Missing => Ok(String::new()),
            Raw::Text(text) if text.contains('\0') => wrong("bad_character", "holds a NUL character"),
            Raw::Text(text) => Ok(text),
            Raw::Undecodable => wrong("bad_encoding", "bytes that are no text in the file's encoding"),
            Raw::Compound => wrong("not_one_value", "a list or an object where one value belongs"),
        }
    }

    fn identity(&self, source: &FieldSource, raw: &RawRow) -> Result<RowIdentity, (Wrong, String)> {
        let mut parts = Vec::new();
        for column in sources(source) {
            let text = self.column_text(column, raw)?;
            parts.push(source.values.get(&text).cloned().unwrap_or(text));
        }
        if parts.iter().all(String::is_empty) {
            return Err((Wrong::new("required", "must not be empty"), String::new()));
        }
        if source.column.is_some() && !source.occurrence {
            let id = parts.concat();
            return match bounded(&id, EXTERNAL_ID_CHARS_MAX) {
                Ok(_) => Ok(RowIdentity::Given(id)),
                Err(wrong) => Err((wrong, id)),
            };
        }
        let joined = parts.iter().map(|part| escape_part(part)).collect::<Vec<_>>().join("|");
        let digest = hex(&Sha256::digest(joined.as_bytes()));
        // Room for the number of the occurrence stays.
        let short = joined.chars().count() <= EXTERNAL_ID_CHARS_MAX - 20;
        let base = if short { joined } else { format!("sha256:{digest}") };
        if !source.occurrence {
            return Ok(RowIdentity::Given(base));
        }
        Ok(RowIdentity::Numbered { base, key: digest.chars().take(32).collect() })
    }
}

/// What a field of a row turns into.
enum Planned {
    Value(Value),
    Currency(Currency),
    Identity(RowIdentity),
}

fn row_fault(line: u64, field: &PlannedField, wrong: Wrong, value: String) -> RowFault {
    let column = sources(&field.source).collect::<Vec<_>>().join(" + ");
    let fault = RowFault::new(line, wrong.code, format!("{}: {}", field.name, wrong.message));
    let fault = if column.is_empty() { fault } else { fault.in_column(column) };
    if value.is_empty() { fault } else { fault.with_value(&value) }
}

fn bounded(text: &str, chars_max: usize) -> Result<&str, Wrong> {
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Err(Wrong::new("too_long", format!("must have at most {chars_max} characters")));
    }
    Ok(text)
}

/// A part of an external id, so that no two lists of parts join to the same text.
fn escape_part(part: &str) -> String {
    part.replace('%', "%25").replace('|', "%7C").replace('#', "%23")
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// What is wrong with a line of JSON, without the place, which has a column of its own.
fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

enum RawRow {
    Csv(Vec<Field>),
    Json(Object),
}

/// A JSON object whose values are kept as they were written: an amount is never a float.
struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    fn find(&self, column: &str) -> Raw {
        match column.strip_prefix('/') {
            None => self.get(column).map_or(Raw::Missing, scalar),
            Some(path) => {
                let mut segments = path.split('/').map(|one| one.replace("~1", "/").replace("~0", "~"));
                let first = segments.next().unwrap_or_default();
                let mut found = self.get(&first).map(|value| value.get().to_owned());
                for segment in segments {
                    let object = found.and_then(|text| serde_json::from_str::<Self>(&text).ok());
                    found = object.and_then(|object| object.get(&segment).map(|v| v.get().to_owned()));
                }
                found.and_then(|text| RawValue::from_string(text).ok()).map_or(Raw::Missing, |v| scalar(&v))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

fn scalar(value: &RawValue) -> Raw {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') | None => Raw::Missing,
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => Raw::Text(text.trim().to_owned()),
            Err(_lone_surrogate) => Raw::Undecodable,
        },
        Some(b'[' | b'{') => Raw::Compound,
        Some(_) => Raw::Text(text.to_owned()),
    }
}

impl<'de> serde::Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.len() == super::COLUMNS_MAX {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format_args!("`{name}` stands twice")));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
