//! Grants: what a tenant lets a plugin do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::code::{Code, Params};
use super::field_class::RecordKind;
use super::parameters::Parameters;
use super::permission::Permission;

macro_rules! grants {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// One thing that a plugin asks for and a tenant grants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Grant {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Grant {
            /// Every one, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in manifests, the API and messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

grants! {
    /// Read customers; receive `customer.*` events.
    CustomersRead = "customers:read",
    /// Create and change customers.
    CustomersWrite = "customers:write",
    /// Read orders; receive `order.*` events.
    OrdersRead = "orders:read",
    /// Read the timeline; receive `interaction.*` and `behaviour.*` events.
    TimelineRead = "timeline:read",
    /// Add entries to the timeline.
    TimelineWrite = "timeline:write",
    /// Set its own declared fields.
    FieldsOwn = "fields:own",
    /// Keep documents in its own collections.
    DocumentsOwn = "documents:own",
    /// Keep small values of the tenant.
    KvOwn = "kv:own",
    /// Read its settings.
    SettingsOwn = "settings:own",
    /// Keep files of its own.
    FilesOwn = "files:own",
    /// Have the host send requests to other hosts.
    HttpSend = "http:send",
    /// Call functions of other plugins.
    PluginsCall = "plugins:call",
    /// Let other plugins call its functions.
    PluginsServe = "plugins:serve",
    /// See and change the save of a customer.
    HooksCustomer = "hooks:customer",
    /// See and change the save of an order.
    HooksOrder = "hooks:order",
}

impl Grant {
    /// The permission over core records that it stands for; `None` if it is
    /// about the plugin's own things only.
    #[must_use]
    pub const fn permission(self) -> Option<Permission> {
        match self {
            Self::CustomersRead => Some(Permission::CustomerRead),
            Self::CustomersWrite => Some(Permission::CustomerWrite),
            Self::OrdersRead => Some(Permission::OrderRead),
            Self::TimelineRead => Some(Permission::TimelineRead),
            Self::TimelineWrite => Some(Permission::TimelineWrite),
            Self::FieldsOwn
            | Self::DocumentsOwn
            | Self::KvOwn
            | Self::SettingsOwn
            | Self::FilesOwn
            | Self::HttpSend
            | Self::PluginsCall
            | Self::PluginsServe
            | Self::HooksCustomer
            | Self::HooksOrder => None,
        }
    }

    /// The records whose fields it opens, class by class.
    #[must_use]
    pub const fn record(self) -> Option<RecordKind> {
        match self {
            Self::CustomersRead | Self::CustomersWrite | Self::HooksCustomer => Some(RecordKind::Customer),
            Self::OrdersRead | Self::HooksOrder => Some(RecordKind::Order),
            Self::TimelineRead => Some(RecordKind::TimelineEntry),
            Self::TimelineWrite
            | Self::FieldsOwn
            | Self::DocumentsOwn
            | Self::KvOwn
            | Self::SettingsOwn
            | Self::FilesOwn
            | Self::HttpSend
            | Self::PluginsCall
            | Self::PluginsServe => None,
        }
    }

    /// The kinds of records among which a tenant may choose; none if there is but one.
    #[must_use]
    pub fn entities(self) -> &'static [&'static str] {
        if self == Self::TimelineRead { &["behaviour", "interaction", "plugin"] } else { &[] }
    }

    /// Whether it has such a parameter; every grant has a rate.
    #[must_use]
    pub fn takes(self, parameter: &str) -> bool {
        match parameter {
            "classes" | "fields" => self.record().is_some(),
            "entities" => !self.entities().is_empty(),
            "hosts" => self == Self::HttpSend,
            "plugins" => self == Self::PluginsCall,
            _ => parameter == "rate",
        }
    }
}

// Written out, because the derive does not see names that a macro passes on.
impl utoipa::PartialSchema for Grant {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("One thing that a plugin asks for and a tenant grants."))
            .enum_values(Some(Self::ALL.iter().map(|grant| grant.as_str())))
            .into()
    }
}

impl utoipa::ToSchema for Grant {
    fn name() -> std::borrow::Cow<'static, str> {
        "Grant".into()
    }
}

impl Code for Grant {
    const FAMILY: &'static str = "grant";

    fn as_str(&self) -> &'static str {
        Self::as_str(*self)
    }

    fn params(&self) -> Params {
        Params::new()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown grant `{0}`")]
pub struct UnknownGrant(pub String);

impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(text: &str) -> Result<Self, UnknownGrant> {
        let found = Self::ALL.iter().copied().find(|grant| grant.as_str() == text);
        found.ok_or_else(|| UnknownGrant(text.to_owned()))
    }
}

/// A grant with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Granted {
    /// The grant.
    pub name: Grant,
    /// How far it goes.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

/// `orders:read classes=basic,financial`.
impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = self.parameters.to_string();
        if parameters.is_empty() { self.name.fmt(f) } else { write!(f, "{} {parameters}", self.name) }
    }
}

/// A set of grants, each with its parameters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<Grant, Parameters>);

impl Grants {
    /// Whether `grant` is in the set.
    #[must_use]
    pub fn has(&self, grant: Grant) -> bool {
        self.0.contains_key(&grant)
    }

    /// The parameters of `grant`, if it is in the set.
    #[must_use]
    pub fn parameters(&self, grant: Grant) -> Option<&Parameters> {
        self.0.get(&grant)
    }

    /// Adds a grant; the last parameters count.
    pub fn insert(&mut self, grant: Grant, parameters: Parameters) {
        self.0.insert(grant, parameters);
    }

    /// The grants, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = Grant> {
        self.0.keys().copied()
    }

    /// The grants with their parameters, in the order of their declaration.
    pub fn with_parameters(&self) -> impl Iterator<Item = Granted> {
        self.0.iter().map(|(name, parameters)| Granted { name: *name, parameters: parameters.clone() })
    }

    /// Those that are in both, on parameters that go no further than either.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let shared = self.0.iter().filter_map(|(grant, parameters)| {
            let others = other.0.get(grant)?;
            Some((*grant, parameters.and(*grant, others)))
        });
        Self(shared.collect())
    }

    /// Those that are in `self` and not in `other`, whatever their parameters.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let alone = self.0.iter().filter(|(grant, _)| !other.has(**grant));
        Self(alone.map(|(grant, parameters)| (*grant, parameters.clone())).collect())
    }

    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Grants on no parameters in particular, for comparing names.
impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self(grants.into_iter().map(|grant| (grant, Parameters::default())).collect())
    }
}

impl FromIterator<Granted> for Grants {
    fn from_iter<I: IntoIterator<Item = Granted>>(grants: I) -> Self {
        Self(grants.into_iter().map(|Granted { name, parameters }| (name, parameters)).collect())
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.with_parameters().map(|granted| granted.to_string())).finish()
    }
}

impl Serialize for Grants {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.with_parameters())
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Granted>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::field_class::FieldClass;

    #[test]
    fn a_set_of_grants_reads_itself_back() {
        let parameters = Parameters { classes: [FieldClass::Basic].into(), ..Parameters::default() };
        let mut some: Grants = [Grant::KvOwn].into_iter().collect();
        some.insert(Grant::CustomersRead, parameters);
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(
            text,
            r#"[{"name":"customers:read","parameters":{"classes":["basic"]}},{"name":"kv:own"}]"#
        );
        assert_eq!(serde_json::from_str::<Grants>(&text).unwrap(), some);
    }

    #[test]
    fn sets_are_narrowed_by_one_another() {
        let asked: Grants = Grant::ALL.iter().copied().collect();
        let given: Grants = [Grant::OrdersRead].into_iter().collect();
        assert!(asked.and(&given).has(Grant::OrdersRead));
        assert!(given.without(&asked).is_empty());
    }
}
