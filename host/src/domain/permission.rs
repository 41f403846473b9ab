//! Who may do what: roles, permissions and the scope of records that a role reaches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
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
        /// Follow the change feed.
        EventRead = "event:read",
        /// Replay dead letters.
        EventWrite = "event:write",
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

impl Role {
    /// How far this role's `permission` reaches; `None` if the role lacks it.
    #[must_use]
    pub fn reach(self, permission: Permission) -> Option<RecordScope> {
        use Permission as P;
        use RecordScope::{All, Own, Team};
        let everyday_read = matches!(
            permission,
            P::TenantRead | P::OrgUnitRead | P::UserRead | P::ProductRead | P::FieldRead
        );
        match self {
            Self::Owner => Some(All),
            Self::Admin => (permission != P::TenantWrite || self == Self::Owner).then_some(All),
            Self::Manager => match permission {
                P::CustomerRead
                | P::CustomerWrite
                | P::CustomerDelete
                | P::OrderRead
                | P::OrderWrite
                | P::TimelineRead
                | P::TimelineWrite
                | P::PluginAct => Some(Team),
                P::ProductWrite | P::PluginRead | P::ImportRead | P::ImportWrite | P::EventRead => Some(All),
                _ => everyday_read.then_some(All),
            },
            Self::Agent => match permission {
                P::CustomerRead
                | P::CustomerWrite
                | P::OrderRead
                | P::TimelineRead
                | P::TimelineWrite
                | P::PluginAct => Some(Team),
                _ => everyday_read.then_some(All),
            },
            Self::Sales => match permission {
                P::CustomerRead
                | P::CustomerWrite
                | P::OrderRead
                | P::OrderWrite
                | P::TimelineRead
                | P::TimelineWrite
                | P::PluginAct => Some(Own),
                _ => everyday_read.then_some(All),
            },
            Self::Marketing => match permission {
                P::CustomerRead | P::CustomerWrite | P::OrderRead | P::TimelineRead => Some(All),
                _ => everyday_read.then_some(All),
            },
            Self::Analyst => match permission {
                P::CustomerRead
                | P::OrderRead
                | P::TimelineRead
                | P::EventRead
                | P::PluginRead
                | P::ImportRead => Some(All),
                _ => everyday_read.then_some(All),
            },
            Self::Auditor => match permission {
                P::AuditRead | P::TokenRead | P::PluginRead | P::EventRead | P::ImportRead => Some(All),
                _ => everyday_read.then_some(All),
            },
            Self::Integration => match permission {
                P::CustomerRead
                | P::CustomerWrite
                | P::ProductWrite
                | P::OrderRead
                | P::OrderWrite
                | P::TimelineRead
                | P::TimelineWrite
                | P::EventRead
                | P::ImportRead
                | P::ImportWrite
                | P::PluginAct => Some(All),
                _ => everyday_read.then_some(All),
            },
        }
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
