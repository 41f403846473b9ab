//! Who may do what: roles, permissions and the scope of records that a role reaches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $type {
            /// Every one, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the API, the database and the documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        // By hand: the derive does not see names that a macro has put into attributes.
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(Self::ALL.iter().map(|one| one.as_str())))
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|one| one.as_str() == text)
                    .ok_or_else(|| UnknownName(text.to_owned()))
            }
        }
    };
}

/// A role or permission that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown name `{0}`")]
pub struct UnknownName(pub String);

names! {
    /// What a person or token is for a tenant. A person may have several.
    Role {
        /// Founder of the tenant: everything, also ending it.
        Owner = "owner",
        /// Runs the tenant's set-up: users, fields, plugins.
        Admin = "admin",
        /// Leads a unit: all of its records.
        Manager = "manager",
        /// Serves customers: interactions and tickets of the unit.
        Agent = "agent",
        /// Sells: the customers that they own.
        Sales = "sales",
        /// Plans campaigns: reads customers, changes tags and segments.
        Marketing = "marketing",
        /// Reads everything but personal secrets, to evaluate it.
        Analyst = "analyst",
        /// Reads the audit log and the configuration.
        Auditor = "auditor",
        /// A machine that feeds records.
        Integration = "integration",
    }
}

names! {
    /// One thing that an operation needs to be allowed to do.
    Permission {
        /// See the tenant's own record.
        TenantRead = "tenant:read",
        /// Change the tenant's own record.
        TenantWrite = "tenant:write",
        /// See org units.
        OrgUnitRead = "org_unit:read",
        /// Change org units.
        OrgUnitWrite = "org_unit:write",
        /// See users.
        UserRead = "user:read",
        /// Change users, their roles and sessions.
        UserWrite = "user:write",
        /// See bearer tokens.
        TokenRead = "token:read",
        /// Make and revoke bearer tokens.
        TokenWrite = "token:write",
        /// See customers.
        CustomerRead = "customer:read",
        /// Make and change customers.
        CustomerWrite = "customer:write",
        /// Remove customers.
        CustomerDelete = "customer:delete",
        /// See products.
        ProductRead = "product:read",
        /// Make and change products.
        ProductWrite = "product:write",
        /// See orders.
        OrderRead = "order:read",
        /// Make and change orders, and refund them.
        OrderWrite = "order:write",
        /// See interactions and behaviour events.
        TimelineRead = "timeline:read",
        /// Add interactions and behaviour events.
        TimelineWrite = "timeline:write",
        /// See the definitions of custom fields.
        FieldRead = "field:read",
        /// Change the definitions of custom fields.
        FieldWrite = "field:write",
        /// See plugins, their state, log and settings.
        PluginRead = "plugin:read",
        /// Enable, disable and configure plugins, and grant them rights.
        PluginWrite = "plugin:write",
        /// Press the buttons of plugins.
        PluginAct = "plugin:act",
        /// See and read recordings of plugins' runs, with everything that the plugins have seen.
        RecordingRead = "recording:read",
        /// Share recordings with others, and remove them.
        RecordingWrite = "recording:write",
        /// Follow the change feed.
        EventRead = "event:read",
        /// Replay dead letters.
        EventWrite = "event:write",
        /// See webhooks, and how the attempts to tell them went.
        WebhookRead = "webhook:read",
        /// Make, change, test and remove webhooks.
        WebhookWrite = "webhook:write",
        /// See import jobs.
        ImportRead = "import:read",
        /// Make import jobs.
        ImportWrite = "import:write",
        /// Read the audit log.
        AuditRead = "audit:read",
    }
}

/// How far a permission reaches over records that have an owner; the later, the wider.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RecordScope {
    /// Records that the person owns.
    Own,
    /// Records of the person's org unit and the units below it, and their own.
    Team,
    /// Every record of the tenant.
    All,
}

/// What everybody who works for a tenant needs to find their way.
const EVERYBODY: &[(Permission, RecordScope)] = &[
    (Permission::TenantRead, RecordScope::All),
    (Permission::OrgUnitRead, RecordScope::All),
    (Permission::UserRead, RecordScope::All),
    (Permission::ProductRead, RecordScope::All),
    (Permission::FieldRead, RecordScope::All),
];

const MANAGER: &[(Permission, RecordScope)] = &[
    (Permission::CustomerRead, RecordScope::Team),
    (Permission::CustomerWrite, RecordScope::Team),
    (Permission::CustomerDelete, RecordScope::Team),
    (Permission::OrderRead, RecordScope::Team),
    (Permission::OrderWrite, RecordScope::Team),
    (Permission::TimelineRead, RecordScope::Team),
    (Permission::TimelineWrite, RecordScope::Team),
    (Permission::PluginAct, RecordScope::Team),
    (Permission::ProductWrite, RecordScope::All),
    (Permission::PluginRead, RecordScope::All),
];

const AGENT: &[(Permission, RecordScope)] = &[
    (Permission::CustomerRead, RecordScope::Team),
    (Permission::CustomerWrite, RecordScope::Team),
    (Permission::OrderRead, RecordScope::Team),
    (Permission::TimelineRead, RecordScope::Team),
    (Permission::TimelineWrite, RecordScope::Team),
    (Permission::PluginAct, RecordScope::Team),
];

const SALES: &[(Permission, RecordScope)] = &[
    (Permission::CustomerRead, RecordScope::Own),
    (Permission::CustomerWrite, RecordScope::Own),
    (Permission::OrderRead, RecordScope::Own),
    (Permission::OrderWrite, RecordScope::Own),
    (Permission::TimelineRead, RecordScope::Own),
    (Permission::TimelineWrite, RecordScope::Own),
    (Permission::PluginAct, RecordScope::Own),
];

const MARKETING: &[(Permission, RecordScope)] = &[
    (Permission::CustomerRead, RecordScope::All),
    (Permission::CustomerWrite, RecordScope::All),
    (Permission::OrderRead, RecordScope::All),
    (Permission::TimelineRead, RecordScope::All),
];

const ANALYST: &[(Permission, RecordScope)] = &[
    (Permission::CustomerRead, RecordScope::All),
    (Permission::OrderRead, RecordScope::All),
    (Permission::TimelineRead, RecordScope::All),
    (Permission::PluginRead, RecordScope::All),
    (Permission::EventRead, RecordScope::All),
    (Permission::ImportRead, RecordScope::All),
];

const AUDITOR: &[(Permission, RecordScope)] = &[
    (Permission::AuditRead, RecordScope::All),
    (Permission::TokenRead, RecordScope::All),
    (Permission::PluginRead, RecordScope::All),
    (Permission::ImportRead, RecordScope::All),
    (Permission::WebhookRead, RecordScope::All),
];

const INTEGRATION: &[(Permission, RecordScope)] = &[
    (Permission::CustomerRead, RecordScope::All),
    (Permission::CustomerWrite, RecordScope::All),
    (Permission::ProductWrite, RecordScope::All),
    (Permission::OrderRead, RecordScope::All),
    (Permission::OrderWrite, RecordScope::All),
    (Permission::TimelineRead, RecordScope::All),
    (Permission::TimelineWrite, RecordScope::All),
    (Permission::PluginAct, RecordScope::All),
    (Permission::EventRead, RecordScope::All),
    (Permission::ImportRead, RecordScope::All),
    (Permission::ImportWrite, RecordScope::All),
    (Permission::WebhookRead, RecordScope::All),
    (Permission::WebhookWrite, RecordScope::All),
];

impl Role {
    /// How far this role's `permission` reaches; `None` if the role lacks it.
    #[must_use]
    pub fn reach(self, permission: Permission) -> Option<RecordScope> {
        let table = match self {
            // They differ in one thing: only an owner makes and unmakes owners.
            Self::Owner | Self::Admin => return Some(RecordScope::All),
            Self::Manager => MANAGER,
            Self::Agent => AGENT,
            Self::Sales => SALES,
            Self::Marketing => MARKETING,
            Self::Analyst => ANALYST,
            Self::Auditor => AUDITOR,
            Self::Integration => INTEGRATION,
        };
        let row = EVERYBODY.iter().chain(table).find(|(held, _)| *held == permission);
        row.map(|(_, scope)| *scope)
    }
}

/// How far the widest of `roles` reaches with `permission`; `None` if none has it.
#[must_use]
pub fn widest_reach(roles: &[Role], permission: Permission) -> Option<RecordScope> {
    roles.iter().filter_map(|role| role.reach(permission)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_of_several_roles_counts() {
        let roles = [Role::Sales, Role::Marketing];
        assert_eq!(widest_reach(&roles, Permission::CustomerRead), Some(RecordScope::All));
        assert_eq!(widest_reach(&roles, Permission::OrderWrite), Some(RecordScope::Own));
        assert_eq!(widest_reach(&roles, Permission::UserWrite), None);
    }

    #[test]
    fn every_name_reads_itself_back() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
    }
}
