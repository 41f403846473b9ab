//! Customers by the ids that other systems know them by.

use std::collections::{BTreeSet, HashMap};

use super::CustomerRow;
use crate::db::filter::{Select, by_source, keys};
use crate::db::{Arg, Sql, Tx};
use crate::domain::actor::Visibility;
use crate::domain::customer::{Customer, Identity};
use crate::domain::ids::{CustomerId, TenantId};
use crate::error::Result;

/// What is known of customers `c` with identities `i`, as with [`by_keys!`](crate::db::filter::by_keys);
/// the arguments are the keys, the tenant and the source.
macro_rules! by_identities {
    ($($columns:tt)+) => {
        Sql::split(
            concat!(
                "SELECT ", $($columns)+, " FROM identities i
                JOIN customers c ON c.tenant = i.tenant AND c.id = i.customer_id
                WHERE i.external_id IN (SELECT value FROM json_each(?))
                  AND i.tenant = ?
                  AND i.source = ?
                  AND c.deleted_at IS NULL"
            ),
            concat!(
                "SELECT ", $($columns)+, " FROM json_array_elements_text(CAST(? AS JSON)) AS keys (value)
                CROSS JOIN LATERAL (
                    SELECT i.*
                    FROM identities i
                    WHERE i.external_id = keys.value
                      AND i.tenant = ?
                      AND i.source = ?
                    LIMIT 1) i
                CROSS JOIN LATERAL (
                    SELECT c.*
                    FROM customers c
                    WHERE c.tenant = i.tenant
                      AND c.id = i.customer_id
                    LIMIT 1) c
                WHERE c.deleted_at IS NULL"
            ),
        )
    };
}

/// The customers that other systems know so, if they are visible; the caller bounds the number of identities.
pub(crate) async fn find_by_identities<'a>(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    identities: impl Iterator<Item = &'a Identity>,
) -> Result<HashMap<Identity, Customer>> {
    let mut found = HashMap::new();
    let known = identities.map(|Identity { source, external_id }| (source.as_str(), external_id.as_str()));
    for (source, external_ids) in by_source(known) {
        let args = vec![keys(external_ids), Arg::from(tenant), Arg::from(source)];
        let mut select = Select::new_split(tx, by_identities!(columns!()), args);
        select.push_visible(visibility);
        let rows: Vec<CustomerRow> = select.fetch_all(tx).await?;
        for customer in rows.into_iter().map(Customer::from) {
            for identity in customer.identities.iter().filter(|identity| identity.source == source) {
                found.insert(identity.clone(), customer.clone());
            }
        }
    }
    Ok(found)
}

/// The ids of the customers that other systems know so, if they are visible; the caller bounds their number.
pub(crate) async fn find_identities(
    tx: &mut Tx,
    tenant: &TenantId,
    visibility: &Visibility,
    identities: &BTreeSet<(&str, &str)>,
) -> Result<HashMap<Identity, CustomerId>> {
    #[derive(sqlx::FromRow)]
    struct IdentityRow {
        external_id: String,
        customer_id: CustomerId,
    }

    let mut found = HashMap::new();
    for (source, external_ids) in by_source(identities.iter().copied()) {
        let args = vec![keys(external_ids), Arg::from(tenant), Arg::from(source)];
        let mut select = Select::new_split(tx, by_identities!("i.external_id, i.customer_id"), args);
        select.push_visible(visibility);
        let rows: Vec<IdentityRow> = select.fetch_all(tx).await?;
        found.extend(rows.into_iter().map(|IdentityRow { external_id, customer_id }| {
            (Identity { source: source.to_owned(), external_id }, customer_id)
        }));
    }
    Ok(found)
}
