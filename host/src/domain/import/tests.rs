//! Mappings and rows, from the bytes of a file to typed values.

use proptest::prelude::*;
use serde_json::json;

use super::bound::Bound;
use super::encoding::Encoding;
use super::mapping::{Format, Mapping, OrderRows, Unnamed};
use super::plan::Plan;
use super::reader::{Content, Dialect, Field, Next, Position, Reader, Record};
use super::row::{Row, RowIdentity};
use super::{COLUMNS_MAX, ImportEntity, RowFault};
use crate::domain::actor::Locale;

fn mapping(value: serde_json::Value) -> Mapping {
    serde_json::from_value(value).unwrap()
}

fn orders(format: &str) -> Mapping {
    mapping(json!({
        "format": format,
        "time": {"time_zone": "America/New_York"},
        "fields": {
            "external_id": {"columns": ["who", "day"], "occurrence": true},
            "customer.external_id": {"column": "who"},
            "ordered_at": {"column": "day"},
            "currency": {"constant": "USD"},
            "total": {"column": "paid"},
            "channel": {"constant": "shop"},
            "status": {"column": "state", "default": "completed", "values": {"退货": "cancelled"}},
        },
    }))
}

fn bound(format: &str) -> Bound {
    let header = ["who", "day", "paid", "state"].map(str::to_owned);
    Plan::new(ImportEntity::Orders, orders(format), "UTC").unwrap().bind(&header).unwrap()
}

fn csv_row(fields: &[&str]) -> Result<Row, Vec<RowFault>> {
    let fields = fields.iter().map(|text| Field::Text((*text).to_owned())).collect();
    bound("csv").row(Record { line: 7, content: Content::Csv(fields) }).map_err(|refused| refused.faults)
}

fn json_row(line: &str) -> Result<Row, Vec<RowFault>> {
    let row = bound("ndjson").row(Record { line: 7, content: Content::Json(line.to_owned()) });
    row.map_err(|refused| refused.faults)
}

fn codes(faults: &[RowFault]) -> Vec<(&str, Option<&str>)> {
    faults.iter().map(|fault| (fault.code(), fault.column.as_deref())).collect()
}

#[test]
fn a_row_becomes_typed_values() {
    let row = csv_row(&["00004", "1997-01-01", " 29.33 ", "退货"]).unwrap();
    assert_eq!(row.text("customer.external_id"), Some("00004"));
    assert_eq!(row.money("total").unwrap().amount_minor, 2_933);
    assert_eq!(row.time("ordered_at").unwrap().to_string(), "1997-01-01T05:00:00.000000Z");
    assert_eq!(row.text("status"), Some("cancelled"));
    assert_eq!(row.identity.unwrap().external_id(2), "00004|1997-01-01#2");
}

#[test]
fn a_line_of_json_becomes_the_same_row_as_a_line_of_csv() {
    let csv = csv_row(&["00004", "1997-01-01", "29.33", ""]).unwrap();
    let json = json_row(r#"{"who":"00004","day":"1997-01-01","paid":29.33,"state":null,"more":[]}"#).unwrap();
    assert_eq!(csv, json);
}

#[test]
fn an_amount_needs_a_currency_where_a_row_may_do_without_one() {
    let mapping = mapping(json!({
        "format": "csv",
        "fields": {
            "external_id": {"column": "sku"}, "sku": {"column": "sku"}, "name": {"column": "sku"},
            "price": {"column": "price"}, "currency": {"column": "in"},
        },
    }));
    let header = ["sku", "price", "in"].map(str::to_owned);
    let bound = Plan::new(ImportEntity::Products, mapping, "UTC").unwrap().bind(&header).unwrap();
    let row = |price: &str, currency: &str| {
        let fields = ["LAT", price, currency].map(|text| Field::Text(text.to_owned())).to_vec();
        let row = bound.row(Record { line: 7, content: Content::Csv(fields) });
        row.map(|row| row.money("price").is_some()).map_err(|refused| refused.faults)
    };
    assert_eq!((row("9.90", "CNY"), row("", "CNY"), row("", "")), (Ok(true), Ok(false), Ok(false)));
    assert_eq!(codes(&row("9.90", "").unwrap_err()), [("required", Some("in"))]);
    assert_eq!(codes(&row("9.90", "yuan").unwrap_err()), [("unknown_currency", Some("in"))]);
}

#[test]
fn every_fault_of_a_row_is_told_with_its_column() {
    let faults = csv_row(&["", "yesterday", "1,5", "lost"]).unwrap_err();
    let mut found = codes(&faults);
    found.sort_unstable();
    let expected = [
        ("not_a_time", Some("day")),
        ("not_allowed", Some("state")),
        ("not_an_amount", Some("paid")),
        ("required", Some("who")),
    ];
    assert_eq!(found, expected);
    assert!(faults.iter().all(|fault| fault.line == 7));
}

#[test]
fn a_row_with_too_few_or_too_many_columns_names_the_first_that_differs() {
    assert_eq!(codes(&csv_row(&["1", "2"]).unwrap_err()), [("column_count", Some("3"))]);
    assert_eq!(codes(&csv_row(&["1", "2", "3", "4", "5"]).unwrap_err()), [("column_count", Some("5"))]);
}

#[test]
fn a_line_that_is_no_json_object_is_a_fault_with_its_place() {
    assert_eq!(codes(&json_row(r#"{"who":"#).unwrap_err()), [("bad_json", Some("7"))]);
    assert_eq!(json_row("[]").unwrap_err()[0].code(), "bad_json");
    assert_eq!(json_row(r#"{"who":"1","who":"2"}"#).unwrap_err()[0].code(), "bad_json");
    let compound = json_row(r#"{"who":{"a":1},"day":"1997-01-01","paid":1}"#).unwrap_err();
    assert_eq!(compound[0].code(), "not_one_value");
}

#[test]
fn why_a_line_is_no_json_object_is_told_in_the_language_of_the_reader() {
    let members: Vec<_> = (0..=COLUMNS_MAX).map(|number| format!("\"{number}\":0")).collect();
    for (line, english, chinese) in [
        (r#"{"who":"#, "EOF while parsing a value", "内容不完整"),
        (r#"{"who":1]"#, "expected `,` or `}`", "语法错误"),
        ("[]", "invalid type: sequence, expected an object", "该行是其他类型的值"),
        (r#"{"who":1,"who":2}"#, "`who` stands twice", "`who` 重复出现"),
        (&format!("{{{}}}", members.join(",")), "more than 1000 members", "成员超过 1000 个"),
    ] {
        let faults = json_row(line).unwrap_err();
        let told = [Locale::En, Locale::ZhCn].map(|locale| faults[0].wording.text(locale));
        let expected = [format!("not a JSON object: {english}"), format!("不是有效的 JSON 对象：{chinese}")];
        assert_eq!((told, faults[0].code()), (expected, "bad_json"));
    }
}

#[test]
fn what_cannot_be_decoded_names_the_encoding() {
    let told = |line: &str| json_row(line).unwrap_err()[0].wording.text(Locale::ZhCn);
    let line = r#"{"who":"\ud800","day":"1997-01-01","paid":1}"#;
    assert_eq!(told(line), "customer.external_id：含有无法按 UTF-16 编码读取的内容");
}

#[test]
fn a_json_pointer_reaches_into_a_line() {
    let mapping = mapping(json!({"format": "ndjson", "fields": {
        "external_id": {"column": "/customer/id"}, "name": {"column": "/customer/full~1name"},
    }}));
    let plan = Plan::new(ImportEntity::Customers, mapping, "UTC").unwrap().bind(&[]).unwrap();
    let line = r#"{"customer":{"id":17,"full/name":"王芳"}}"#;
    let row = plan.row(Record { line: 1, content: Content::Json(line.to_owned()) }).unwrap();
    assert_eq!(row.identity, Some(RowIdentity::Given("17".to_owned())));
    assert_eq!(row.text("name"), Some("王芳"));
}

#[test]
fn all_faults_of_a_mapping_are_told_at_once() {
    let mapping = mapping(json!({
        "format": "csv",
        "time": {"time_zone": "Mars/Olympus", "format": "%Q"},
        "money": {"grouping": "."},
        "fields": {
            "external_id": {"constant": "1"},
            "totals": {"column": "a"},
            "total": {"column": "a", "constant": "b"},
            "status": {"column": "a", "occurrence": true},
        },
    }));
    let faults = Plan::new(ImportEntity::Orders, mapping, "UTC").unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), &*fault.code)).collect();
    for expected in [
        ("/time/time_zone", "bad_time_zone"),
        ("/time/format", "wrong_format"),
        ("/money/grouping", "ambiguous"),
        ("/fields/external_id/constant", "not_here"),
        ("/fields/totals", "unknown_field"),
        ("/fields/total", "one_source"),
        ("/fields/status/occurrence", "not_here"),
        ("/fields/customer.external_id", "required"),
        ("/fields/ordered_at", "required"),
        ("/fields/currency", "required"),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
}

#[test]
fn a_file_of_lines_needs_an_amount_for_each_and_no_total() {
    let mut lines = orders("csv");
    lines.order_rows = OrderRows::Lines;
    let faults = Plan::new(ImportEntity::Orders, lines.clone(), "UTC").unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), &*fault.code)).collect();
    assert_eq!(
        found,
        [
            ("/fields/external_id/occurrence", "not_here"),
            ("/fields/line.sku", "required"),
            ("/fields/line.amount", "required"),
        ]
    );
    lines.fields.get_mut("external_id").unwrap().occurrence = false;
    let amount = lines.fields.remove("total").unwrap();
    lines.fields.insert("line.amount".to_owned(), amount.clone());
    lines.fields.insert("line.sku".to_owned(), amount);
    assert!(Plan::new(ImportEntity::Orders, lines.clone(), "UTC").is_ok());
    lines.contact_points = Unnamed::Replace;
    lines.tags = Unnamed::Replace;
    let faults = Plan::new(ImportEntity::Orders, lines, "UTC").unwrap_err();
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/contact_points", "/tags"]);
}

#[test]
fn a_column_that_the_file_lacks_or_has_twice_is_told_before_the_first_row() {
    let header = ["who", "who", "day", "paid"].map(str::to_owned);
    let plan = Plan::new(ImportEntity::Orders, orders("csv"), "UTC").unwrap();
    let faults = plan.bind(&header).unwrap_err();
    assert_eq!(codes(&faults), [("missing_column", Some("state")), ("duplicate_column", Some("who"))]);
}

#[test]
fn a_long_external_id_is_replaced_by_its_digest() {
    let long = "x".repeat(300);
    let id = csv_row(&[&long, "1997-01-01", "1", ""]).unwrap_err();
    assert_eq!(codes(&id), [("too_long", Some("who"))]);
    let mapping = mapping(json!({"format": "csv", "fields": {
        "external_id": {"columns": ["a", "b"]}, "name": {"constant": "n"},
    }}));
    let header = ["a", "b"].map(str::to_owned);
    let plan = Plan::new(ImportEntity::Customers, mapping, "UTC").unwrap().bind(&header).unwrap();
    let fields = vec![Field::Text(long), Field::Text("1".to_owned())];
    let row = plan.row(Record { line: 1, content: Content::Csv(fields) }).unwrap();
    let id = row.identity.unwrap().external_id(1);
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
}

#[test]
fn gb18030_is_read_field_by_field() {
    let (bytes, _, _) = encoding_rs::GB18030.encode("who,day,paid,state\n王芳,1997-01-01,1.5,退货\n");
    let mut bytes = bytes.into_owned();
    bytes.extend_from_slice(b"\xff,1997-01-01,1,\n");
    let dialect = Dialect { format: Format::Csv, encoding: Encoding::Gb18030, delimiter: b',' };
    let mut reader = Reader::new(dialect, Position::START);
    reader.feed(&bytes);
    reader.end();
    let mut rows = Vec::new();
    while let Next::Record(record) = reader.read() {
        rows.push(bound("csv").row(record.unwrap()));
    }
    assert_eq!(rows[1].as_ref().unwrap().text("customer.external_id"), Some("王芳"));
    assert_eq!(rows[2].as_ref().unwrap_err().faults[0].code(), "bad_encoding");
    assert!(rows[2].as_ref().unwrap_err().faults[0].wording.text(Locale::En).ends_with("GB18030"));
}

proptest! {
    #[test]
    fn different_columns_never_make_the_same_external_id(
        a in "[|#%a]{0,4}", b in "[|#%a]{0,4}", c in "[|#%a]{0,4}", d in "[|#%a]{0,4}",
    ) {
        let mapping = mapping(json!({"format": "csv", "fields": {
            "external_id": {"columns": ["a", "b"]}, "name": {"constant": "n"},
        }}));
        let header = ["a", "b"].map(str::to_owned);
        let plan = Plan::new(ImportEntity::Customers, mapping, "UTC").unwrap().bind(&header).unwrap();
        let id = |one: &str, two: &str| {
            let fields = [one, two].map(|text| Field::Text(text.to_owned())).to_vec();
            plan.row(Record { line: 1, content: Content::Csv(fields) }).ok().map(|row| row.identity)
        };
        if let (Some(first), Some(second)) = (id(&a, &b), id(&c, &d)) {
            prop_assert_eq!(first == second, (&a, &b) == (&c, &d));
        }
    }

    #[test]
    fn no_line_of_text_makes_a_plan_panic(text in "\\PC{0,60}") {
        drop(json_row(&text));
        drop(csv_row(&[&text, &text, &text, &text]));
    }
}
