//! The table of rights: which grant stands behind every import, event and hook.
//!
//! `plugin/inspect.rs` reads it when a plugin is installed, and the catalogue shows it; there
//! is no other place that decides.

use super::grant::Grant;
use super::point::Point;

/// An imported function and the grant that it needs, if any.
pub(crate) struct Import {
    pub(crate) interface: &'static str,
    pub(crate) function: &'static str,
    pub(crate) grant: Option<Grant>,
}

const fn import(interface: &'static str, function: &'static str, grant: Option<Grant>) -> Import {
    Import { interface, function, grant }
}

/// Every function that a plugin may import.
pub(crate) const IMPORTS: &[Import] = &[
    import("context", "get", None),
    import("context", "random", None),
    import("log", "write", None),
    import("settings", "get", Some(Grant::SettingsOwn)),
    import("kv", "get-many", Some(Grant::KvOwn)),
    import("kv", "set-many", Some(Grant::KvOwn)),
    import("kv", "delete-many", Some(Grant::KvOwn)),
    import("documents", "get-many", Some(Grant::DocumentsOwn)),
    import("documents", "put-many", Some(Grant::DocumentsOwn)),
    import("documents", "delete-many", Some(Grant::DocumentsOwn)),
    import("documents", "query", Some(Grant::DocumentsOwn)),
    import("customers", "get-many", Some(Grant::CustomersRead)),
    import("customers", "query", Some(Grant::CustomersRead)),
    import("customers", "create-many", Some(Grant::CustomersWrite)),
    import("customers", "update-many", Some(Grant::CustomersWrite)),
    import("customers", "set-fields", Some(Grant::FieldsOwn)),
    import("orders", "get-many", Some(Grant::OrdersRead)),
    import("orders", "query", Some(Grant::OrdersRead)),
    import("timeline", "append-many", Some(Grant::TimelineWrite)),
    import("timeline", "query", Some(Grant::TimelineRead)),
    import("files", "read-many", Some(Grant::FilesOwn)),
    import("files", "write-many", Some(Grant::FilesOwn)),
    import("files", "delete-many", Some(Grant::FilesOwn)),
    import("files", "query", Some(Grant::FilesOwn)),
    import("http", "send-many", Some(Grant::HttpSend)),
    import("plugins", "call", Some(Grant::PluginsCall)),
];

/// Interfaces that are only types.
pub(crate) const TYPE_INTERFACES: &[&str] = &["types"];

/// The extension point that an exported interface is.
pub(crate) fn point_of_export(interface: &str) -> Option<Point> {
    Point::ALL.iter().copied().find(|point| point.as_str() == interface)
}

/// The grant that an event of this name needs; `None` if there is no such event.
pub(crate) fn event_grant(name: &str) -> Option<Grant> {
    match name.split_once('.')?.0 {
        "customer" => Some(Grant::CustomersRead),
        "order" => Some(Grant::OrdersRead),
        "interaction" | "behaviour" => Some(Grant::TimelineRead),
        _ => None,
    }
}

/// The grant that an imported function needs, if any.
pub(crate) fn import_grant(interface: &str, function: &str) -> Option<Grant> {
    let import = IMPORTS.iter().find(|import| import.interface == interface && import.function == function);
    import.and_then(|import| import.grant)
}
