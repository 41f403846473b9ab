//! Query strings and paths, as strict as bodies.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::ParameterIn;

use super::{HttpState, Problem, schema};
use crate::domain::check::escaped;
use crate::domain::code::{FaultCode, RecordKind};
use crate::error::{Error, Fault, Result};

/// Characters of a query string at most.
const QUERY_CHARS_MAX: usize = 8_192;

/// A query string that fits the parameters of `T` (`#[derive(Deserialize, IntoParams)]`
/// with `#[into_params(parameter_in = Query)]`).
///
/// Unknown and repeated parameters are refused. A list is a repeated parameter
/// (`tag=a&tag=b`) whose type is a `Vec`; a map is `fields[name]=value` with a
/// `BTreeMap<String, String>`. Enums need `#[param(inline)]`.
#[derive(Clone, Debug)]
pub struct ValidQuery<T>(pub T);

impl<T: IntoParams + DeserializeOwned + 'static> FromRequestParts<HttpState> for ValidQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> std::result::Result<Self, Problem> {
        let query = read::<T>(parts.uri.query().unwrap_or_default());
        query.map(Self).map_err(|error| Problem::from(error).of_query())
    }
}

/// One parameter of a path, typed. What does not read as a `T` is a record that does not exist.
#[derive(Clone, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<HttpState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> std::result::Result<Self, Problem> {
        let raw = RawPathParams::from_request_parts(parts, state).await;
        let raw: Vec<_> = raw.iter().flatten().map(|(_, value)| value.to_owned()).collect();
        let not_found = || Error::not_found(RecordKind::Record, raw.join("/"));
        if raw.iter().any(|value| value.contains('\0')) {
            return Err(not_found().into());
        }
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_refused| not_found().into())
    }
}

/// What the address says, which the body may repeat but not contradict.
pub(super) fn same_as_address(pointer: &str, stated: Option<String>, address: String) -> Result<String> {
    if stated.is_some_and(|stated| stated != address) {
        return Err(Error::invalid(pointer, FaultCode::ReadOnly, "differs from the address"));
    }
    Ok(address)
}

/// The parameters of a query string as they stand there, decoded.
pub(super) fn pairs_of(uri: &Uri) -> Result<Vec<(String, String)>> {
    let query = uri.query().unwrap_or_default();
    check_length(query)?;
    let pairs = pairs(query)?;
    let nul = pairs.iter().find(|(name, text)| name.contains('\0') || text.contains('\0'));
    match nul {
        Some((name, _)) => Err(Error::Invalid { faults: vec![fault(name, FaultCode::NulCharacter)] }),
        None => Ok(pairs),
    }
}

fn check_length(query: &str) -> Result<()> {
    if query.len() <= QUERY_CHARS_MAX {
        return Ok(());
    }
    Err(Error::plain("", FaultCode::too_long(QUERY_CHARS_MAX)))
}

fn read<T: IntoParams + DeserializeOwned + 'static>(query: &str) -> Result<T> {
    check_length(query)?;
    let schema = Arc::new(schema_of::<T>()?);
    let value = gather(query, schema.get("properties").unwrap_or(&Value::Null))?;
    schema::read_as::<QueryOf<T>, T>(schema_of::<T>, &value)
}

/// Tells a type as a query from the same type as a body in the cache of schemas.
struct QueryOf<T>(std::marker::PhantomData<T>);

/// The schema of an object with all the parameters of `T`.
fn schema_of<T: IntoParams>() -> Result<Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for parameter in T::into_params(|| Some(ParameterIn::Query)) {
        if parameter.required == Required::True {
            required.push(Value::from(parameter.name.as_str()));
        }
        let schema = serde_json::to_value(&parameter.schema).map_err(Error::internal)?;
        properties.insert(parameter.name, schema);
    }
    Ok(json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    }))
}

/// The query as an object whose values have the types that `properties` asks for.
fn gather(query: &str, properties: &Value) -> Result<Value> {
    let mut object = Map::new();
    let mut faults = Vec::new();
    for (name, text) in pairs(query)? {
        if name.contains('\0') || text.contains('\0') {
            faults.push(fault(&name, FaultCode::NulCharacter));
            continue;
        }
        let (name, key) =
            match name.split_once('[').and_then(|(name, rest)| Some((name, rest.strip_suffix(']')?))) {
                Some((outer, key)) => (outer.to_owned(), Some(key.to_owned())),
                None => (name, None),
            };
        let Some(wanted) = properties.get(&name) else {
            faults.push(fault(&name, FaultCode::UnknownParameter));
            continue;
        };
        let repeated = match key {
            Some(key) => insert_key(&mut object, &name, key, text),
            None if is(wanted, "array") => {
                let item = convert(&text, wanted.get("items").unwrap_or(&Value::Null));
                let items = object.entry(name.clone()).or_insert_with(|| json!([]));
                items.as_array_mut().is_none_or(|items| {
                    items.push(item);
                    false
                })
            }
            None => object.insert(name.clone(), convert(&text, wanted)).is_some(),
        };
        if repeated {
            faults.push(fault(&name, FaultCode::Repeated));
        }
    }
    if faults.is_empty() { Ok(Value::Object(object)) } else { Err(Error::Invalid { faults }) }
}

/// Puts `name[key]=text` into the map `name`; true if the key is there already.
fn insert_key(object: &mut Map<String, Value>, name: &str, key: String, text: String) -> bool {
    let map = object.entry(name.to_owned()).or_insert_with(|| json!({}));
    map.as_object_mut().is_none_or(|map| map.insert(key, Value::from(text)).is_some())
}

fn fault(name: &str, code: FaultCode) -> Fault {
    let name: String = name.chars().take(64).filter(|c| !c.is_control()).collect();
    Fault::plain(format!("/{}", escaped(&name)), code)
}

/// The text as the type that the schema asks for, or as text if it does not read as one.
fn convert(text: &str, wanted: &Value) -> Value {
    if is(wanted, "integer")
        && let Ok(number) = text.parse::<i64>()
    {
        return Value::from(number);
    }
    if is(wanted, "number")
        && let Some(number) = text.parse().ok().and_then(serde_json::Number::from_f64)
    {
        return Value::Number(number);
    }
    match text {
        "true" if is(wanted, "boolean") => Value::Bool(true),
        "false" if is(wanted, "boolean") => Value::Bool(false),
        _ => Value::from(text),
    }
}

/// Whether a schema is of a type, or of one of several.
fn is(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Name and value of each parameter, decoded.
fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    let malformed =
        || Error::invalid("", FaultCode::BadUtf8, "the query string is not UTF-8 in percent encoding");
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name).ok_or_else(malformed)?, decode(value).ok_or_else(malformed)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    decode_segment(&text.replace('+', " "))
}

/// A segment of a path, decoded; a plus stands for itself there.
pub(super) fn decode_segment(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct List {
        #[param(minimum = 1, maximum = 200)]
        limit: Option<u32>,
        active: Option<bool>,
        #[serde(default)]
        #[param(required = false)]
        tag: Vec<String>,
        #[serde(default)]
        #[param(required = false)]
        fields: BTreeMap<String, String>,
    }

    fn codes(query: &str) -> Vec<String> {
        match read::<List>(query) {
            Err(Error::Invalid { faults }) => {
                faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.code)).collect()
            }
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn parameters_are_read_as_their_types() {
        let list = read::<List>("limit=7&active=true&tag=a&tag=%E4%B8%AD+b&fields[p.x]=1").unwrap();
        let fields = BTreeMap::from([("p.x".to_owned(), "1".to_owned())]);
        let tag = vec!["a".to_owned(), "中 b".to_owned()];
        assert_eq!(list, List { limit: Some(7), active: Some(true), tag, fields });
    }

    #[test]
    fn unknown_repeated_and_malformed_parameters_are_refused() {
        assert_eq!(codes("x=1&limit=1&limit=2"), ["/x unknown_parameter", "/limit repeated"]);
        assert_eq!(codes("limit=0"), ["/limit too_small"]);
        assert_eq!(codes("limit=ten"), ["/limit wrong_type"]);
        assert_eq!(codes("active=yes"), ["/active wrong_type"]);
        assert_eq!(codes("limit=%zz"), [" bad_utf8"]);
        assert_eq!(codes("tag=%00"), ["/tag nul_character"]);
    }
}
