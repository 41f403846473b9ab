//! Customers by the ids that other systems know them by.

use std::collections::{BTreeSet, HashMap};

use super::CustomerRow;
use crate::db::filter::{Select, by_source};
use crate::db::{Tx, args};
use crate::domain::actor::Visibility;
use crate::domain::customer::{Customer, Identity};
use crate::domain::ids::{CustomerId, TenantId};
use crate::error::Result;

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
        let mut select = Select::new(
            concat!(
                "SELECT ",
                columns!(),
                " FROM identities i JOIN customers c ON c.tenant = i.tenant AND c.id = i.customer_id
                WHERE c.deleted_at IS NULL AND i.tenant = ? AND i.source = ?"
            ),
            args![tenant, source],
        );
        select.push_visible(visibility);
        select.push_list(" AND i.external_id IN", external_ids);
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
        let mut select = Select::new(
            "SELECT i.external_id, i.customer_id
            FROM identities i
            JOIN customers c ON c.tenant = i.tenant AND c.id = i.customer_id
            WHERE c.deleted_at IS NULL AND i.tenant = ? AND i.source = ?",
            args![tenant, source],
        );
        select.push_visible(visibility);
        select.push_list(" AND i.external_id IN", external_ids);
        let rows: Vec<IdentityRow> = select.fetch_all(tx).await?;
        found.extend(rows.into_iter().map(|IdentityRow { external_id, customer_id }| {
            (Identity { source: source.to_owned(), external_id }, customer_id)
        }));
    }
    Ok(found)
}
