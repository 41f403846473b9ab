//! Grants: what a tenant lets a plugin do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

/// A set of grants.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Grants(u32);

impl Grants {
    /// Whether `grant` is in the set.
    #[must_use]
    pub const fn has(self, grant: Grant) -> bool {
        self.0 & (1 << grant as u32) != 0
    }

    /// The grants, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.iter().copied().filter(move |grant| self.has(*grant))
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in `self` and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is granted.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self(grants.into_iter().fold(0, |bits, grant| bits | (1 << grant as u32)))
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Grant::as_str)).finish()
    }
}

impl Serialize for Grants {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Grant>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_grants_reads_itself_back() {
        let some: Grants = [Grant::KvOwn, Grant::CustomersRead].into_iter().collect();
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"["customers:read","kv:own"]"#);
        assert_eq!(serde_json::from_str::<Grants>(&text).unwrap(), some);
    }

    #[test]
    fn sets_are_narrowed_by_one_another() {
        let asked: Grants = Grant::ALL.iter().copied().collect();
        let given: Grants = [Grant::OrdersRead].into_iter().collect();
        assert!(asked.and(given).has(Grant::OrdersRead));
        assert!(given.without(asked).is_empty());
    }
}
