//! A tenant's model of its records: the stages of a customer's life, and the fields of the tenant and of plugins.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::{Faults, escaped};
use super::field_class::FieldClass;
use super::permission::Role;
use crate::clock::Timestamp;
use crate::domain::code::{FaultCode, TypeName};

/// Stages of a lifecycle model.
pub const STAGES_MAX: usize = 30;
/// Fields of a tenant, its plugins' included.
pub const FIELDS_MAX: usize = 200;
/// Bytes of a stage's or field's name.
pub const FIELD_NAME_BYTES_MAX: usize = 50;
/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 100;
/// Choices of a field.
pub const CHOICES_MAX: usize = 100;
/// Bytes of a text value.
pub const TEXT_VALUE_BYTES_MAX: usize = 1_024;

/// A text for people in the two languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// English.
    #[schema(min_length = 1, max_length = 100)]
    pub en: String,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    #[schema(min_length = 1, max_length = 100)]
    pub zh_cn: String,
}

impl Label {
    /// A label in both languages.
    pub fn new(en: impl Into<String>, zh_cn: impl Into<String>) -> Self {
        Self { en: en.into(), zh_cn: zh_cn.into() }
    }

    fn check(&self, pointer: &str, faults: &mut Faults) {
        faults.text(&format!("{pointer}/en"), &self.en, LABEL_CHARS_MAX);
        faults.text(&format!("{pointer}/zh-CN"), &self.zh_cn, LABEL_CHARS_MAX);
    }
}

/// A stage of a customer's life with the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The name in records, `snake_case`.
    #[schema(min_length = 1, max_length = 50)]
    pub name: String,
    /// The name for people.
    pub label: Label,
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// At most 1,024 bytes.
    Text,
    /// A whole number.
    Integer,
    /// A number, neither infinite nor not-a-number.
    Number,
    /// True or false.
    Boolean,
    /// A point in time.
    Time,
    /// One of the field's choices.
    Choice,
}

impl FieldType {
    /// As texts call it.
    const fn type_name(self) -> TypeName {
        match self {
            Self::Text | Self::Choice => TypeName::Text,
            Self::Integer => TypeName::Integer,
            Self::Number => TypeName::Number,
            Self::Boolean => TypeName::Boolean,
            Self::Time => TypeName::Time,
        }
    }
}

/// A record that can have fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldEntity {
    /// A customer.
    Customer,
    /// A product.
    Product,
    /// An order.
    Order,
}

impl FieldEntity {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Product => "product",
            Self::Order => "order",
        }
    }
}

/// One value that a field of choices may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The value in records.
    #[schema(min_length = 1, max_length = 50)]
    pub value: String,
    /// The value for people.
    pub label: Label,
}

/// A field that a tenant has defined or a plugin has declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldDefinition {
    /// Empty for the tenant's own fields, else the plugin's name.
    #[serde(default)]
    pub namespace: String,
    /// The record that has the field.
    pub entity: FieldEntity,
    /// The name in records, `snake_case`; unique in its namespace and record.
    #[schema(min_length = 1, max_length = 50)]
    pub name: String,
    /// The type of its values; never changes.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The name for people.
    pub label: Label,
    /// Who may read a plugin's field beside owners and admins; whoever may read the record, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 9)]
    pub roles: Vec<Role>,
    /// How close it is to a person; plugins see it if their grants open the class.
    #[serde(default)]
    pub class: FieldClass,
    /// Whether a record must have a value; records from before keep lacking it until they are changed.
    #[serde(default)]
    pub required: bool,
    /// For texts: the most characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1024)]
    pub max_length: Option<u32>,
    /// For numbers: the least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// For numbers: the greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// For choices: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub choices: Vec<Choice>,
}

/// A field that a plugin's manifest declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDeclaration {
    /// The record that has the field.
    pub entity: FieldEntity,
    /// The name, without the plugin's.
    pub name: String,
    /// The type of its values; anything but a choice.
    pub kind: FieldType,
    /// The name for people.
    pub label: Label,
    /// Who may read it; whoever may read the record, if empty.
    pub roles: Vec<Role>,
    /// How close it is to a person.
    pub class: FieldClass,
}

impl FieldDeclaration {
    /// The definition in the namespace of `plugin`.
    #[must_use]
    pub fn into_definition(self, plugin: &str) -> FieldDefinition {
        let Self { entity, name, kind, label, roles, class } = self;
        FieldDefinition {
            namespace: plugin.to_owned(),
            entity,
            name,
            kind,
            label,
            roles,
            class,
            required: false,
            max_length: None,
            minimum: None,
            maximum: None,
            choices: Vec::new(),
        }
    }
}

/// A typed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A text or a choice.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A point in time.
    Time(Timestamp),
}

impl Scalar {
    /// The value as JSON; nothing for a number that JSON cannot write.
    #[must_use]
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Integer(number) => Value::from(*number),
            Self::Number(number) => Value::Number(serde_json::Number::from_f64(*number)?),
            Self::Boolean(truth) => Value::Bool(*truth),
            Self::Time(time) => Value::String(time.to_string()),
        })
    }

    /// How two values of one type compare; nothing if they are not of one type.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl FieldDefinition {
    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, entity: FieldEntity, namespace: &str, name: &str) -> bool {
        self.entity == entity && self.namespace == namespace && self.name == name
    }

    /// The name that filters and plugins use: `name`, or `plugin.name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        full_name(&self.namespace, &self.name)
    }

    /// Reads a value as JSON, in the one form in which it is kept; `Err` says what is wrong with it.
    ///
    /// # Errors
    /// A stable code and a text for a person.
    pub fn read(&self, value: &Value) -> Result<Scalar, (FaultCode, String)> {
        let wrong =
            |what: &str| Err((FaultCode::wrong_type(&[self.kind.type_name()]), format!("must be {what}")));
        let scalar = match (self.kind, value) {
            (FieldType::Text | FieldType::Choice, Value::String(text)) => Scalar::Text(text.clone()),
            (FieldType::Integer, Value::Number(number)) => match number.as_i64() {
                Some(number) => Scalar::Integer(number),
                None => return wrong("a whole number of 64 bits"),
            },
            (FieldType::Number, Value::Number(number)) => match number.as_f64() {
                Some(number) if number.is_finite() => Scalar::Number(number),
                _ => return wrong("a finite number"),
            },
            (FieldType::Boolean, Value::Bool(truth)) => Scalar::Boolean(*truth),
            (FieldType::Time, Value::String(text)) => match Timestamp::parse(text) {
                Some(time) => Scalar::Time(time),
                None => return wrong("a time in RFC 3339 such as 2026-01-31T08:00:00Z"),
            },
            (FieldType::Text | FieldType::Choice, _) => return wrong("a text"),
            (FieldType::Integer | FieldType::Number, _) => return wrong("a number"),
            (FieldType::Boolean, _) => return wrong("true or false"),
            (FieldType::Time, _) => return wrong("a time in RFC 3339 such as 2026-01-31T08:00:00Z"),
        };
        self.check_limits(&scalar)?;
        Ok(scalar)
    }

    /// Reads a value from the text of a query parameter.
    ///
    /// # Errors
    /// As for [`FieldDefinition::read`].
    pub fn read_text(&self, text: &str) -> Result<Scalar, (FaultCode, String)> {
        let value = match self.kind {
            FieldType::Text | FieldType::Choice | FieldType::Time => Value::from(text),
            FieldType::Integer | FieldType::Number | FieldType::Boolean => {
                serde_json::from_str(text).unwrap_or_else(|_not_json| Value::from(text))
            }
        };
        let unlimited = Self { max_length: None, minimum: None, maximum: None, ..self.clone() };
        unlimited.read(&value)
    }

    fn check_limits(&self, scalar: &Scalar) -> Result<(), (FaultCode, String)> {
        match scalar {
            Scalar::Text(text) => {
                if text.len() > TEXT_VALUE_BYTES_MAX {
                    return Err((
                        FaultCode::too_many_bytes(TEXT_VALUE_BYTES_MAX),
                        format!("must have at most {TEXT_VALUE_BYTES_MAX} bytes"),
                    ));
                }
                if text.contains('\0') {
                    return Err((FaultCode::BadCharacter, "must not contain control characters".to_owned()));
                }
                if let Some(max) = self.max_length
                    && u32::try_from(text.chars().count()).map_or(true, |count| count > max)
                {
                    return Err((FaultCode::too_long(max), format!("must have at most {max} characters")));
                }
                if self.kind == FieldType::Choice && !self.choices.iter().any(|one| one.value == *text) {
                    let choices: Vec<_> = self.choices.iter().map(|one| one.value.as_str()).collect();
                    let message = format!("must be one of {}", choices.join(", "));
                    return Err((FaultCode::not_allowed(choices), message));
                }
                Ok(())
            }
            #[expect(clippy::cast_precision_loss, reason = "limits are stated as such numbers")]
            Scalar::Integer(number) => self.check_range(*number as f64),
            Scalar::Number(number) => self.check_range(*number),
            Scalar::Boolean(_) | Scalar::Time(_) => Ok(()),
        }
    }

    fn check_range(&self, number: f64) -> Result<(), (FaultCode, String)> {
        if let Some(minimum) = self.minimum
            && number < minimum
        {
            let code = FaultCode::TooSmall { min: minimum.to_string() };
            return Err((code, format!("must be at least {minimum}")));
        }
        if let Some(maximum) = self.maximum
            && number > maximum
        {
            let code = FaultCode::TooLarge { max: maximum.to_string() };
            return Err((code, format!("must be at most {maximum}")));
        }
        Ok(())
    }

    /// Notes what is wrong with the definition itself.
    pub fn check(&self, pointer: &str, faults: &mut Faults) {
        faults.snake_case(&format!("{pointer}/name"), &self.name, FIELD_NAME_BYTES_MAX);
        self.label.check(&format!("{pointer}/label"), faults);
        let is_number = matches!(self.kind, FieldType::Integer | FieldType::Number);
        for (name, stated, fits) in [
            ("max_length", self.max_length.is_some(), self.kind == FieldType::Text),
            ("minimum", self.minimum.is_some(), is_number),
            ("maximum", self.maximum.is_some(), is_number),
            ("choices", !self.choices.is_empty(), self.kind == FieldType::Choice),
        ] {
            if stated && !fits {
                let message = "does not go with the field's type";
                faults.add(format!("{pointer}/{name}"), FaultCode::NotHere, message);
            }
        }
        if self.kind == FieldType::Choice && self.choices.is_empty() {
            faults.add(format!("{pointer}/choices"), FaultCode::Required, "a field of choices needs choices");
        }
        faults.count(&format!("{pointer}/choices"), self.choices.len(), CHOICES_MAX);
        for (index, choice) in self.choices.iter().enumerate() {
            let pointer = format!("{pointer}/choices/{index}");
            faults.text(&format!("{pointer}/value"), &choice.value, FIELD_NAME_BYTES_MAX);
            choice.label.check(&format!("{pointer}/label"), faults);
            if self.choices[..index].iter().any(|other| other.value == choice.value) {
                faults.add(pointer, FaultCode::NotUnique, format!("`{}` is a choice already", choice.value));
            }
        }
        if let (Some(minimum), Some(maximum)) = (self.minimum, self.maximum)
            && minimum > maximum
        {
            let code = FaultCode::TooSmall { min: minimum.to_string() };
            faults.add(format!("{pointer}/maximum"), code, "must not be below the minimum");
        }
    }
}

/// `name`, or `namespace.name`.
#[must_use]
pub fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// A tenant's stages and fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Model {
    /// Grows by one with every change; 0 for the model that nobody has changed yet.
    pub version: i64,
    /// The lifecycle; the first stage is that of a new customer.
    pub stages: Vec<Stage>,
    /// The fields of the tenant and of its plugins.
    pub fields: Vec<FieldDefinition>,
}

impl Default for Model {
    fn default() -> Self {
        let stages = [
            ("potential", "Potential", "潜在期"),
            ("growth", "Growth", "成长期"),
            ("maturity", "Maturity", "成熟期"),
            ("decline", "Decline", "衰退期"),
            ("lost", "Lost", "流失"),
        ];
        let stages =
            stages.map(|(name, en, zh_cn)| Stage { name: name.to_owned(), label: Label::new(en, zh_cn) });
        Self { version: 0, stages: stages.to_vec(), fields: Vec::new() }
    }
}

impl Model {
    /// The stage of a new customer.
    #[must_use]
    pub fn first_stage(&self) -> &str {
        self.stages.first().map_or("", |stage| stage.name.as_str())
    }

    /// The names of all stages.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().map(|stage| stage.name.as_str())
    }

    /// Whether there is such a stage.
    #[must_use]
    pub fn has_stage(&self, name: &str) -> bool {
        self.stage_names().any(|stage| stage == name)
    }

    /// The definition of a field.
    #[must_use]
    pub fn field(&self, entity: FieldEntity, namespace: &str, name: &str) -> Option<&FieldDefinition> {
        self.fields.iter().find(|field| field.is(entity, namespace, name))
    }

    /// The definition of a field by `name` or `plugin.name`.
    #[must_use]
    pub fn field_named(&self, entity: FieldEntity, full_name: &str) -> Option<&FieldDefinition> {
        let (namespace, name) = full_name.split_once('.').unwrap_or(("", full_name));
        self.field(entity, namespace, name)
    }

    /// Brings the tenant's own values of a record into their one form and notes what is wrong with them.
    ///
    /// A value that the record has already (`kept`) may outlive a definition that
    /// has become stricter, so that an unrelated change is not refused.
    pub fn settle_values(
        &self,
        entity: FieldEntity,
        values: &mut Map<String, Value>,
        kept: Option<&Map<String, Value>>,
        faults: &mut Faults,
    ) {
        settle("/custom_fields", values, kept, |name| self.field(entity, "", name), faults);
        let own = self.fields.iter().filter(|field| field.entity == entity && field.namespace.is_empty());
        for field in own.filter(|field| field.required) {
            if !values.contains_key(&field.name) {
                let pointer = format!("/custom_fields/{}", field.name);
                faults.add(pointer, FaultCode::Required, format!("`{}` is required", field.name));
            }
        }
    }

    /// The same with the plugins' values, which a hook may have set.
    pub fn settle_plugin_values(
        &self,
        entity: FieldEntity,
        values: &mut Map<String, Value>,
        kept: &Map<String, Value>,
        faults: &mut Faults,
    ) {
        let defined = |name: &str| {
            let (plugin, name) = name.split_once('.')?;
            self.field(entity, plugin, name)
        };
        settle("/fields", values, Some(kept), defined, faults);
    }
}

fn settle<'m>(
    member: &str,
    values: &mut Map<String, Value>,
    kept: Option<&Map<String, Value>>,
    defined: impl Fn(&str) -> Option<&'m FieldDefinition>,
    faults: &mut Faults,
) {
    for (name, value) in values.iter_mut() {
        if kept.and_then(|kept| kept.get(name)) == Some(&*value) {
            continue;
        }
        let pointer = format!("{member}/{}", escaped(name));
        match defined(name).map(|field| field.read(value)) {
            None => faults.add(pointer, FaultCode::UnknownField, format!("there is no field `{name}`")),
            Some(Err((code, message))) => faults.add(pointer, code, message),
            Some(Ok(scalar)) => *value = scalar.to_json().expect("only finite numbers are read"),
        }
    }
}

/// Notes what is wrong with a lifecycle model.
pub fn check_stages(stages: &[Stage], faults: &mut Faults) {
    faults.count("/stages", stages.len(), STAGES_MAX);
    if stages.is_empty() {
        faults.add("/stages", FaultCode::Required, "a lifecycle needs at least one stage");
    }
    for (index, stage) in stages.iter().enumerate() {
        let pointer = format!("/stages/{index}");
        faults.snake_case(&format!("{pointer}/name"), &stage.name, FIELD_NAME_BYTES_MAX);
        stage.label.check(&format!("{pointer}/label"), faults);
        if stages[..index].iter().any(|other| other.name == stage.name) {
            faults.add(pointer, FaultCode::NotUnique, format!("`{}` is a stage already", stage.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(kind: FieldType) -> FieldDefinition {
        let label = Label::new("Field", "字段");
        let (entity, class) = (FieldEntity::Customer, FieldClass::default());
        let declaration =
            FieldDeclaration { entity, name: "x".to_owned(), kind, label, roles: Vec::new(), class };
        declaration.into_definition("")
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (kind, value) in [
            (FieldType::Text, json!(1)),
            (FieldType::Integer, json!(1.5)),
            (FieldType::Integer, json!(u64::MAX)),
            (FieldType::Number, json!("1")),
            (FieldType::Boolean, json!("true")),
            (FieldType::Time, json!("yesterday")),
        ] {
            assert!(definition(kind).read(&value).is_err(), "{kind:?} {value}");
        }
    }

    #[test]
    fn times_are_kept_in_one_form() {
        let read = definition(FieldType::Time).read(&json!("2026-01-31T16:00:00+08:00")).unwrap();
        assert_eq!(read.to_json(), Some(json!("2026-01-31T08:00:00.000000Z")));
    }

    #[test]
    fn a_value_from_before_a_stricter_definition_may_stay() {
        let field = FieldDefinition { maximum: Some(5.0), ..definition(FieldType::Integer) };
        let model = Model { fields: vec![field], ..Model::default() };
        let mut values = json!({"x": 9}).as_object().unwrap().clone();
        let kept = values.clone();
        let mut faults = Faults::default();
        model.settle_values(FieldEntity::Customer, &mut values, Some(&kept), &mut faults);
        assert!(faults.is_empty());
        model.settle_values(FieldEntity::Customer, &mut values, None, &mut faults);
        assert!(!faults.is_empty());
    }

    #[test]
    fn limits_that_do_not_go_with_the_type_are_refused() {
        let mut faults = Faults::default();
        FieldDefinition { max_length: Some(5), ..definition(FieldType::Integer) }.check("", &mut faults);
        assert!(!faults.is_empty());
    }
}
