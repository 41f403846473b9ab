//! The current records in the order in which history is replayed: customer by customer, each in the order of time.

use super::backfills::Cursor;
use super::{Tx, args, statements};
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    CUSTOMERS = "
        SELECT id AS cursor_customer, CAST($3 AS BIGINT) AS cursor_at, id AS cursor_id
        FROM customers
        WHERE tenant = $1
          AND id > $2
          AND deleted_at IS NULL
        ORDER BY id
        LIMIT $4";
    ORDERS = "
        SELECT customer_id AS cursor_customer, ordered_at AS cursor_at, id AS cursor_id
        FROM orders
        WHERE tenant = $1
          AND (customer_id, ordered_at, id) > ($2, $3, $4)
        ORDER BY customer_id, ordered_at, id
        LIMIT $5";
    TIMELINE = "
        SELECT customer_id AS cursor_customer, occurred_at AS cursor_at, id AS cursor_id
        FROM timeline
        WHERE tenant = $1
          AND (customer_id, occurred_at, id) > ($2, $3, $4)
          AND (category = 'interaction') = $6
        ORDER BY customer_id, occurred_at, id
        LIMIT $5";
}

/// A kind of record that history consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Customer,
    Order,
    Interaction,
    Behaviour,
}

impl Kind {
    /// The kind whose records an event tells of when they are new.
    pub(crate) fn of_event(name: &str) -> Option<Self> {
        match name {
            "customer.created" => Some(Self::Customer),
            "order.created" => Some(Self::Order),
            "interaction.created" => Some(Self::Interaction),
            "behaviour.created" => Some(Self::Behaviour),
            _ => None,
        }
    }
}

/// The records of one kind after `after`. A customer comes before all that happened to them.
pub(crate) async fn next(
    tx: &mut Tx,
    tenant: &TenantId,
    kind: Kind,
    after: &Cursor,
    limit: u32,
) -> Result<Vec<Cursor>> {
    let Cursor { customer, at, id } = after;
    match kind {
        Kind::Customer => tx.fetch_all(CUSTOMERS, args![tenant, customer, i64::MIN, limit]).await,
        Kind::Order => tx.fetch_all(ORDERS, args![tenant, customer, *at, id, limit]).await,
        Kind::Interaction => tx.fetch_all(TIMELINE, args![tenant, customer, *at, id, limit, true]).await,
        Kind::Behaviour => tx.fetch_all(TIMELINE, args![tenant, customer, *at, id, limit, false]).await,
    }
}
