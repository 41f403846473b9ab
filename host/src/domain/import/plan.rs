//! A mapping that was checked against its entity.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::bound::Bound;
use super::mapping::{
    FIELDS_MAX, FieldSource, Format, JOINED_COLUMNS_MAX, Mapping, OrderRows, REPLACED_VALUES_MAX, Unnamed,
};
use super::targets::{CUSTOM_FIELD_PREFIX, EXTERNAL_ID, Kind, Target, targets};
use super::{ImportEntity, RowFault};
use crate::domain::check::escaped;
use crate::domain::code::{FaultCode, RowCode};
use crate::error::Fault;

/// A mapping that fits its entity.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) mapping: Mapping,
    pub(super) zone: TimeZone,
    pub(super) fields: Vec<PlannedField>,
}

#[derive(Clone, Debug)]
pub(super) struct PlannedField {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) source: FieldSource,
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
            faults.push(Fault::new("/time/time_zone", FaultCode::BadTimeZone, message));
            TimeZone::UTC
        });
        check_options(&mapping, &mut faults);
        check_entity(entity, &mapping, &mut faults);
        let mut fields = Vec::with_capacity(mapping.fields.len());
        for (name, source) in &mapping.fields {
            let pointer = format!("/fields/{}", escaped(name));
            check_source(source, name, &mapping, &pointer, &mut faults);
            match target(entity, mapping.order_rows, name) {
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
                    let code = RowCode::DuplicateColumn { name: column.to_owned() };
                    faults.push(RowFault::new(1, &code).in_column(column));
                }
                (None, _) => {
                    let code = RowCode::MissingColumn { name: column.to_owned() };
                    faults.push(RowFault::new(1, &code).in_column(column));
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

pub(super) fn sources(source: &FieldSource) -> impl Iterator<Item = &str> {
    let several = source.columns.iter().flatten().map(String::as_str);
    source.column.as_deref().into_iter().chain(several)
}

fn target(entity: ImportEntity, order_rows: OrderRows, name: &str) -> Option<(Kind, bool)> {
    let has_fields =
        matches!(entity, ImportEntity::Customers | ImportEntity::Products | ImportEntity::Orders);
    if has_fields && name.strip_prefix(CUSTOM_FIELD_PREFIX).is_some_and(|rest| !rest.is_empty()) {
        return Some((Kind::Text(4_000), false));
    }
    let target = targets(entity).iter().find(|target| target.name == name)?;
    Some((target.kind, is_required(target, order_rows)))
}

/// Whether a mapping must feed a target and every row must have it. Lines have amounts, which make the total.
fn is_required(target: &Target, order_rows: OrderRows) -> bool {
    match (order_rows, target.name) {
        (OrderRows::Lines, "total") => false,
        (OrderRows::Lines, "line.sku" | "line.amount") => true,
        (OrderRows::Lines | OrderRows::Orders, _) => target.required,
    }
}

fn unknown_target(entity: ImportEntity, name: &str, pointer: &str) -> Fault {
    let known = super::target_names(entity).join(", ");
    let message = format!("{} have no field `{name}`; there are {known}", entity.as_str());
    Fault::new(pointer, FaultCode::UnknownField, message)
}

fn check_options(mapping: &Mapping, faults: &mut Vec<Fault>) {
    if mapping.fields.len() > FIELDS_MAX {
        faults.push(Fault::plain("/fields", FaultCode::too_many(FIELDS_MAX)));
    }
    let decimal = mapping.money.decimal.as_char();
    if mapping.money.grouping.is_some_and(|grouping| grouping.as_char() == decimal) {
        let message = "the mark between groups cannot be the decimal mark";
        faults.push(Fault::new("/money/grouping", FaultCode::Ambiguous, message));
    }
    if mapping.time.format.as_deref().is_some_and(|format| !is_time_format(format)) {
        let message = "not a format such as `%d/%m/%Y %H:%M`";
        faults.push(Fault::new("/time/format", FaultCode::wrong_format("%d/%m/%Y %H:%M"), message));
    }
}

/// Options that only rows of one entity have.
fn check_entity(entity: ImportEntity, mapping: &Mapping, faults: &mut Vec<Fault>) {
    if mapping.order_rows == OrderRows::Lines {
        if entity != ImportEntity::Orders {
            faults.push(Fault::new("/order_rows", FaultCode::NotHere, "only orders have lines"));
        }
        if mapping.fields.get(EXTERNAL_ID).is_some_and(|source| source.occurrence) {
            let message = "the lines of an order share its external id, and cannot be numbered";
            faults.push(Fault::new("/fields/external_id/occurrence", FaultCode::NotHere, message));
        }
    }
    if entity != ImportEntity::Customers {
        if mapping.contact_points == Unnamed::Replace {
            let message = "only customers have contact points";
            faults.push(Fault::new("/contact_points", FaultCode::NotHere, message));
        }
        if mapping.tags == Unnamed::Replace {
            faults.push(Fault::new("/tags", FaultCode::NotHere, "only customers have tags"));
        }
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
    let mut add = |suffix: &str, code: FaultCode, message: &str| {
        faults.push(Fault::new(format!("{pointer}{suffix}"), code, message));
    };
    let stated = [column.is_some(), columns.is_some(), constant.is_some()];
    if stated.iter().filter(|one| **one).count() != 1 {
        add("", FaultCode::OneSource, "needs exactly one of `column`, `columns` and `constant`");
    }
    if values.len() > REPLACED_VALUES_MAX {
        add(
            "/values",
            FaultCode::too_many(REPLACED_VALUES_MAX),
            &format!("must have at most {REPLACED_VALUES_MAX} values"),
        );
    }
    let message = format!("must have 1 to {JOINED_COLUMNS_MAX} columns");
    match columns.as_ref().map_or(1, Vec::len) {
        0 => add("/columns", FaultCode::TooFew { min: "1".to_owned() }, &message),
        1..=JOINED_COLUMNS_MAX => {}
        _ => add("/columns", FaultCode::too_many(JOINED_COLUMNS_MAX), &message),
    }
    let is_external_id = name == EXTERNAL_ID;
    if *occurrence && (!is_external_id || constant.is_some()) {
        add("/occurrence", FaultCode::NotHere, "only the columns of `external_id` can be numbered");
    }
    if is_external_id && constant.is_some() {
        add("/constant", FaultCode::NotHere, "the same external id for every row would be one record");
    }
    if separator.is_some() && (columns.is_none() || is_external_id) {
        add("/separator", FaultCode::NotHere, "only joined columns have one, and `external_id` its own");
    }
    if mapping.format == Format::Csv && !mapping.csv.header {
        for column in sources(source) {
            if column.parse::<usize>().ok().is_none_or(|number| number == 0) {
                let message = format!("without a header columns are 1, 2, …; not `{column}`");
                add("", FaultCode::BadColumn, &message);
            }
        }
    }
}

fn check_required(entity: ImportEntity, mapping: &Mapping, faults: &mut Vec<Fault>) {
    let is_required = |target: &&Target| is_required(target, mapping.order_rows);
    for target in targets(entity).iter().filter(is_required) {
        if !mapping.fields.contains_key(target.name) {
            let pointer = format!("/fields/{}", target.name);
            faults.push(Fault::new(pointer, FaultCode::Required, "this field must be mapped"));
        }
    }
    let has_line = mapping.fields.keys().any(|name| name.starts_with("line."));
    if has_line && mapping.order_rows == OrderRows::Orders && !mapping.fields.contains_key("line.sku") {
        faults.push(Fault::new(
            "/fields/line.sku",
            FaultCode::Required,
            "a line needs a product: a column or a constant",
        ));
    }
    let feeds_money =
        |target: &&Target| target.kind == Kind::Money && mapping.fields.contains_key(target.name);
    if targets(entity).iter().any(|target| feeds_money(&target)) && !mapping.fields.contains_key("currency") {
        let message = "amounts need a currency: a column or a constant such as `CNY`";
        if faults.iter().all(|fault| fault.pointer != "/fields/currency") {
            faults.push(Fault::new("/fields/currency", FaultCode::Required, message));
        }
    }
}
