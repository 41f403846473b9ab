//! Credentials that a tenant keeps for the requests of a plugin: the host adds them, each for one
//! host alone, and the plugin never sees them.
//!
//! The secret goes in and is never shown again: not by the API, not in the audit log, not to the
//! plugin. It is sealed under the operator's key.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::packages;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::credentials::{self, CredentialRow};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::ids::TenantId;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{Core, access, audit, require};
use crate::outbound::{Target, is_header_name};
use crate::vault::{Opened, Place};

/// Credentials of one plugin of a tenant at most.
pub const CREDENTIALS_MAX: i64 = 32;
/// Bytes of a credential's value at least: a shorter one could not be told from what an answer has
/// of its own.
pub(crate) const VALUE_BYTES_MIN: usize = 8;
/// Bytes of a credential's name at most.
const NAME_BYTES_MAX: usize = 64;
/// The header in which a credential is sent, unless the tenant says otherwise.
const HEADER_DEFAULT: &str = "authorization";

/// A credential to keep.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// The only host to which it is sent: a name, with `:port` if it is not 443.
    #[schema(min_length = 1, max_length = 260)]
    pub host: String,
    /// The header in which it is sent; `authorization`, if absent.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    pub header: Option<String>,
    /// The header's whole value, such as `Bearer …`. It is never shown again. At least 8 characters,
    /// so that the host can tell whether an answer repeats it.
    #[schema(min_length = 8, max_length = 4000, format = Password)]
    pub value: String,
}

/// A credential, without what is secret.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CredentialView {
    /// The name by which the plugin asks for it.
    pub name: String,
    /// The only host to which it is sent.
    pub host: String,
    /// The header in which it is sent.
    pub header: String,
    /// When it was first set.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last set.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<CredentialRow> for CredentialView {
    fn from(row: CredentialRow) -> Self {
        let CredentialRow { name, host, header, sealed: _, created_at, updated_at } = row;
        Self { name, host, header, created_at, updated_at }
    }
}

/// The credentials of a plugin by name; a plugin has at most [`CREDENTIALS_MAX`].
///
/// # Errors
/// `Forbidden`; `NotFound` for a plugin that is not installed.
pub async fn list(core: &Core, actor: &Actor, plugin: &str) -> Result<Vec<CredentialView>> {
    require(actor, Permission::PluginRead)?;
    packages::find(core, plugin, None).await?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = credentials::list(&mut reader, (&actor.tenant, plugin), CREDENTIALS_MAX).await?;
    Ok(rows.into_iter().map(CredentialView::from).collect())
}

/// Keeps a credential, in the place of the one of its name.
///
/// # Errors
/// `Forbidden`; `NotFound` for a plugin that is not installed; `Invalid` with every fault; `Refused`
/// with `secrets_key_missing`; `Limit` if there are too many.
pub async fn put(
    core: &Core,
    actor: &Actor,
    (plugin, name): (&str, &str),
    new: NewCredential,
) -> Result<CredentialView> {
    require(actor, Permission::PluginWrite)?;
    packages::find(core, plugin, None).await?;
    let NewCredential { host, header, value } = new;
    let header = header.unwrap_or_else(|| HEADER_DEFAULT.to_owned()).to_ascii_lowercase();
    check(core, (name, &host, &header, &value))?;
    let now = core.now();
    let place = row_of(plugin, name);
    let place = Place { tenant: &actor.tenant, row: &place };
    let sealed = core.vault.seal(&*core.ids, place, value.as_bytes())?;
    let changes = json!({ "name": name, "host": host, "header": header });
    let entry = Entry::new(&*core.ids, now, "plugin.set_credential", "plugin", plugin, changes);
    let row = CredentialRow { name: name.to_owned(), host, header, sealed, created_at: now, updated_at: now };
    let put = Put { actor: actor.clone(), plugin: plugin.to_owned(), row, entry };
    let row = core.db.write(&actor.tenant, put, |tx, put| Box::pin(put.apply(tx))).await?;
    Ok(row.into())
}

fn check(core: &Core, (name, host, header, value): (&str, &str, &str, &str)) -> Result<()> {
    let mut faults = Faults::default();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        faults.plain("/name", FaultCode::wrong_format("a-z, 0-9, - and _"));
    }
    if let Err(fault) = Target::of_host(host, "/", core.outbound.reach()) {
        faults.plain("/host", fault.code());
    }
    if !is_header_name(header) || header == "cookie" {
        faults.plain("/header", FaultCode::Reserved);
    }
    if value.len() < VALUE_BYTES_MIN {
        faults.plain("/value", FaultCode::TooShort { min: VALUE_BYTES_MIN.to_string() });
    }
    if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) || value.trim() != value {
        faults.plain("/value", FaultCode::BadCharacter);
    }
    faults.finish()
}

fn row_of(plugin: &str, name: &str) -> String {
    format!("plugin_credentials/{plugin}/{name}")
}

struct Put {
    actor: Actor,
    plugin: String,
    row: CredentialRow,
    entry: Entry,
}

impl Put {
    async fn apply(&self, tx: &mut Tx) -> Result<CredentialRow> {
        let Self { actor, plugin, row, entry } = self;
        let owner = (&actor.tenant, plugin.as_str());
        crate::db::tenants::lock(tx, &actor.tenant).await?;
        access::recheck(tx, actor, Permission::PluginWrite, row.updated_at).await?;
        if credentials::count_others(tx, owner, &row.name).await? >= CREDENTIALS_MAX {
            let message = format!("a plugin has at most {CREDENTIALS_MAX} credentials; remove one first");
            let code = Reason::Credentials { max: CREDENTIALS_MAX.to_string() };
            return Err(Error::Limit { code, message, retry_after_s: 0 });
        }
        credentials::put(tx, owner, row).await?;
        audit::append(tx, actor, row.updated_at, entry).await?;
        let kept = credentials::find(tx, owner, &row.name).await?;
        kept.ok_or_else(|| Error::not_found(RecordKind::Credential, &row.name))
    }
}

/// Forgets a credential; requests with it are refused from then on.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn delete(core: &Core, actor: &Actor, (plugin, name): (&str, &str)) -> Result<()> {
    require(actor, Permission::PluginWrite)?;
    let now = core.now();
    let changes = json!({ "name": name });
    let entry = Entry::new(&*core.ids, now, "plugin.delete_credential", "plugin", plugin, changes);
    let state = (actor.clone(), plugin.to_owned(), name.to_owned(), now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, plugin, name, now, entry)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
                if !credentials::delete(tx, (&actor.tenant, plugin), name).await? {
                    return Err(Error::not_found(RecordKind::Credential, name));
                }
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await
}

/// A credential as the host sends it.
pub(crate) struct Sendable {
    /// The only host to which it may go.
    pub(crate) host: String,
    /// In which header.
    pub(crate) header: String,
    /// The header's value.
    pub(crate) value: Opened,
}

/// A credential of a plugin, opened; nothing if there is none of this name.
///
/// # Errors
/// `Unavailable` if the key that has sealed it is not there.
pub(crate) async fn open(
    core: &Core,
    (tenant, plugin): (&TenantId, &str),
    name: &str,
) -> Result<Option<Sendable>> {
    let mut reader = core.db.read(tenant).await?;
    let found = credentials::find(&mut reader, (tenant, plugin), name).await?;
    drop(reader);
    let Some(CredentialRow { name, host, header, sealed, .. }) = found else { return Ok(None) };
    let place = row_of(plugin, &name);
    let value = core.vault.open(Place { tenant, row: &place }, &sealed)?;
    Ok(Some(Sendable { host, header, value }))
}
