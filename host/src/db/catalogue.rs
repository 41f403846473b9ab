//! Every statement of the host, so that a test can prepare each on both engines.

use super::Sql;

/// A module's name and its statements.
type Module = (&'static str, &'static [(&'static str, Sql)]);

/// One line for each module of `db/` that has statements.
const MODULES: &[Module] = &[
    ("access", super::access::STATEMENTS),
    ("audit", super::audit::STATEMENTS),
    ("backfills", super::backfills::STATEMENTS),
    ("credentials", super::credentials::STATEMENTS),
    ("customers", super::customers::STATEMENTS),
    ("deliveries", super::deliveries::STATEMENTS),
    ("documents", super::documents::STATEMENTS),
    ("feed", super::feed::STATEMENTS),
    ("field_values", super::field_values::STATEMENTS),
    ("freezes", super::freezes::STATEMENTS),
    ("history", super::history::STATEMENTS),
    ("files", super::files::STATEMENTS),
    ("idempotency", super::idempotency::STATEMENTS),
    ("imports", super::imports::STATEMENTS),
    ("kv", super::kv::STATEMENTS),
    ("lanes", super::lanes::STATEMENTS),
    ("models", super::models::STATEMENTS),
    ("moves", super::moves::STATEMENTS),
    ("outbox", super::outbox::STATEMENTS),
    ("org_units", super::org_units::STATEMENTS),
    ("canaries", super::canaries::STATEMENTS),
    ("plugin_data", super::plugin_data::STATEMENTS),
    ("plugins", super::plugins::STATEMENTS),
    ("recordings", super::recordings::STATEMENTS),
    ("schedules", super::schedules::STATEMENTS),
    ("steps", super::steps::STATEMENTS),
    ("sessions", super::sessions::STATEMENTS),
    ("shadows", super::shadows::STATEMENTS),
    ("tenants", super::tenants::STATEMENTS),
    ("tokens", super::tokens::STATEMENTS),
    ("trust", super::trust::STATEMENTS),
    ("usage", super::usage::STATEMENTS),
    ("users", super::users::STATEMENTS),
    ("webhooks", super::webhooks::STATEMENTS),
    ("orders", super::orders::STATEMENTS),
    ("products", super::products::STATEMENTS),
    ("timeline", super::timeline::STATEMENTS),
    ("trail", super::trail::STATEMENTS),
];

/// Every statement with its name, such as `audit::INSERT`.
pub fn statements() -> impl Iterator<Item = (String, Sql)> {
    MODULES.iter().flat_map(|(module, statements)| {
        statements.iter().map(move |(name, sql)| (format!("{module}::{name}"), *sql))
    })
}
