//! The rights of a package: what its bytes and its manifest ask for, as one value that is signed,
//! shown and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::contract::import_grant;
use super::grant::Grants;
use super::manifest::{Manifest, OnFailure};
use super::parameters::Parameters;

/// Everything that a package asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Grants on the parameters that it asks for.
    pub grants: Grants,
    /// Functions that its bytes import, `interface.function`.
    pub imports: BTreeSet<String>,
    /// Extension points that its bytes export.
    pub exports: BTreeSet<String>,
    /// Events that it listens to.
    pub events: BTreeSet<String>,
    /// Records whose saves it sees first, and what its failure does to the save.
    pub hooks: BTreeMap<String, OnFailure>,
}

/// What a right is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RightKind {
    /// A grant, or its parameters.
    Grant,
    /// An imported function.
    Import,
    /// An extension point.
    Export,
    /// An event.
    Event,
    /// A hook on the saves of a kind of record.
    Hook,
}

/// One right that a version has and another has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RightsChange {
    /// What it is about.
    pub kind: RightKind,
    /// The grant, function, extension point, event or record.
    pub name: String,
    /// Which part of it, if it is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// `customers:read classes=personal`.
impl fmt::Display for RightsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(f, "{} {part}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How the rights of two versions differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RightsDiff {
    /// What the newer version has and the older has not: somebody must agree to it.
    pub wider: Vec<RightsChange>,
    /// What the older version has and the newer has not.
    pub narrower: Vec<RightsChange>,
}

impl RightsDiff {
    /// Whether the newer version has nothing that the older has not.
    #[must_use]
    pub fn is_narrowing(&self) -> bool {
        self.wider.is_empty()
    }
}

impl Rights {
    /// The rights of a package.
    #[must_use]
    pub fn of(manifest: &Manifest, imports: &[String], exports: &[String]) -> Self {
        let hooks = manifest.hooks.iter().map(|hook| (hook.entity.as_str().to_owned(), hook.on_failure));
        Self {
            grants: manifest.wanted(),
            imports: imports.iter().cloned().collect(),
            exports: exports.iter().cloned().collect(),
            events: manifest.events.subscribe.iter().cloned().collect(),
            hooks: hooks.collect(),
        }
    }

    /// One line for each right, sorted: what a signature is made over.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { grants, imports, exports, events, hooks } = self;
        let mut lines: Vec<String> = grants.with_parameters().map(|grant| format!("grant {grant}")).collect();
        lines.extend(imports.iter().map(|name| format!("import {name}")));
        lines.extend(exports.iter().map(|name| format!("export {name}")));
        lines.extend(events.iter().map(|name| format!("event {name}")));
        lines.extend(hooks.iter().map(|(name, on_failure)| format!("hook {name} {}", on_failure.as_str())));
        lines.sort_unstable();
        lines
    }

    /// How the rights of `newer` differ from these.
    #[must_use]
    pub fn diff(&self, newer: &Self) -> RightsDiff {
        RightsDiff { wider: newer.beyond(self), narrower: self.beyond(newer) }
    }

    /// What these have and `others` have not.
    fn beyond(&self, others: &Self) -> Vec<RightsChange> {
        let Self { grants, imports, exports, events, hooks } = self;
        let change = |kind, name: &str, part| RightsChange { kind, name: name.to_owned(), part };
        let mut beyond = Vec::new();
        for granted in grants.with_parameters() {
            let name = granted.name.as_str();
            match others.grants.parameters(granted.name) {
                None => beyond.push(change(RightKind::Grant, name, None)),
                Some(parameters) => {
                    let parts = Parameters::beyond(&granted.parameters, granted.name, parameters).into_iter();
                    beyond.extend(parts.map(|(member, value)| {
                        change(RightKind::Grant, name, Some(format!("{member}={value}")))
                    }));
                }
            }
        }
        // What needs no grant, such as the log, opens nothing.
        let opens = |name: &&String| {
            name.split_once('.')
                .is_some_and(|(interface, function)| import_grant(interface, function).is_some())
        };
        for (kind, own, other) in [
            (RightKind::Import, imports.iter().filter(opens).collect::<Vec<_>>(), &others.imports),
            (RightKind::Export, exports.iter().collect(), &others.exports),
            (RightKind::Event, events.iter().collect(), &others.events),
        ] {
            beyond.extend(
                own.into_iter().filter(|name| !other.contains(*name)).map(|name| change(kind, name, None)),
            );
        }
        for (name, on_failure) in hooks {
            match others.hooks.get(name) {
                None => beyond.push(change(RightKind::Hook, name, None)),
                // A failure that stops a save is more power than one that lets it through.
                Some(OnFailure::Allow) if *on_failure == OnFailure::Refuse => {
                    beyond.push(change(RightKind::Hook, name, Some("on_failure=refuse".to_owned())));
                }
                Some(OnFailure::Allow | OnFailure::Refuse) => {}
            }
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::Faults;
    use crate::domain::grant::Grant;
    use crate::domain::parameters::GrantRequest;

    fn rights(grants: &[&str], imports: &[&str]) -> Rights {
        let mut asked = Grants::default();
        for text in grants {
            let request: GrantRequest = text.parse().unwrap();
            let GrantRequest { name, parameters } = request;
            asked.insert(name, parameters.asked(name, "", &mut Faults::default()));
        }
        let imports = imports.iter().map(ToString::to_string).collect();
        Rights { grants: asked, imports, ..Rights::default() }
    }

    fn names(changes: &[RightsChange]) -> Vec<String> {
        let name = |change: &RightsChange| match &change.part {
            Some(part) => format!("{}: {part}", change.name),
            None => change.name.clone(),
        };
        changes.iter().map(name).collect()
    }

    #[test]
    fn a_new_import_widens_even_if_its_grant_was_asked_for_before() {
        let old = rights(&["customers:read"], &["customers.get-many"]);
        let new = rights(&["customers:read"], &["customers.get-many", "customers.query", "log.write"]);
        let diff = old.diff(&new);
        assert_eq!(names(&diff.wider), ["customers.query"]);
        assert!(!diff.is_narrowing());
        assert!(new.diff(&old).is_narrowing());
        assert_eq!(names(&new.diff(&old).narrower), ["customers.query"]);
    }

    #[test]
    fn terms_are_compared_part_by_part() {
        let old = rights(&["customers:read classes=contact rate=10/minute", "kv:own"], &[]);
        let new = rights(&["customers:read classes=personal rate=20/minute", "orders:read"], &[]);
        let diff = old.diff(&new);
        assert_eq!(
            names(&diff.wider),
            ["customers:read: classes=personal", "customers:read: rate=20/minute", "orders:read"]
        );
        assert_eq!(names(&diff.narrower), ["customers:read: classes=contact", "kv:own"]);
    }

    #[test]
    fn a_hook_that_stops_saves_is_wider_than_one_that_does_not() {
        let hooked =
            |on_failure| Rights { hooks: [("customer".to_owned(), on_failure)].into(), ..Rights::default() };
        let (allow, refuse) = (hooked(OnFailure::Allow), hooked(OnFailure::Refuse));
        assert_eq!(names(&allow.diff(&refuse).wider), ["customer: on_failure=refuse"]);
        assert!(refuse.diff(&allow).is_narrowing());
        assert_eq!(names(&Rights::default().diff(&allow).wider), ["customer"]);
    }

    #[test]
    fn the_lines_name_every_right_once() {
        let rights = rights(&["customers:read classes=contact"], &["customers.get-many"]);
        assert_eq!(
            rights.lines(),
            ["grant customers:read classes=basic,contact", "import customers.get-many"]
        );
        assert!(rights.grants.has(Grant::CustomersRead));
    }
}
