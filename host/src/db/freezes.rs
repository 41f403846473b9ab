//! Rows of the times in which a tenant wants no upgrades.

use super::{Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::freeze::Freeze;
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    LIST = "
        SELECT starts_at, ends_at, reason
        FROM upgrade_freezes
        WHERE tenant = $1
        ORDER BY starts_at, seq
        LIMIT 50";
    DELETE = "DELETE FROM upgrade_freezes WHERE tenant = $1";
    INSERT = "
        INSERT INTO upgrade_freezes (tenant, seq, starts_at, ends_at, reason)
        VALUES ($1, $2, $3, $4, $5)";
}

/// The calendar, in the order of time.
pub(crate) async fn list(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<Freeze>> {
    let rows: Vec<(Timestamp, Timestamp, String)> = tx.fetch_all(LIST, args![tenant]).await?;
    let freeze = |(starts_at, ends_at, reason)| Freeze { starts_at, ends_at, reason };
    Ok(rows.into_iter().map(freeze).collect())
}

/// Puts a calendar in the place of the one that was there.
pub(crate) async fn replace(tx: &mut Tx, tenant: &TenantId, freezes: &[Freeze]) -> Result<()> {
    tx.execute(DELETE, args![tenant]).await?;
    for (seq, Freeze { starts_at, ends_at, reason }) in (0_u32..).zip(freezes) {
        tx.execute(INSERT, args![tenant, seq, *starts_at, *ends_at, reason]).await?;
    }
    Ok(())
}
