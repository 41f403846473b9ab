//! Recordings of plugins' runs: sealed with the keys of the customers whom they are about, shown to
//! whoever may see them, and shared with a partner by an explicit act alone.

mod keep;
mod keys;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use keep::{COUNT_MAX, DAYS_KEPT, TOTAL_BYTES_MAX, purge, write_down};
pub use keys::forget_customer;

use crate::clock::Timestamp;
pub use crate::db::recordings::RecordingRow;
use crate::db::recordings::{self, Filter};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::ids::{CustomerId, RecordingId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::recording_file::{self, Form};
use crate::error::{Error, Result};
use crate::ops::{Core, access, audit, require};
use crate::vault::{self, Lock};

/// Bytes of what is noted of one run. A run that has more is kept without the rest, and cannot be replayed.
pub const BYTES_MAX: usize = 4 << 20;
/// Customers whom one recording may be about.
pub const CUSTOMERS_MAX: usize = 1_000;

/// Characters of whom a recording is shared with.
const RECIPIENT_CHARS_MAX: usize = 200;

/// A recording that is not kept yet.
#[derive(Clone, Debug)]
pub struct NewRecording {
    /// Its id.
    pub id: RecordingId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The extension point.
    pub point: &'static str,
    /// When the run began.
    pub at: Timestamp,
    /// 1 for the first run, more when a conflict or a failure has repeated it.
    pub attempt: i64,
    /// `ok`, `refused`, `stale`, `host`, or the code of a failure.
    pub outcome: String,
    /// Fuel that it has burnt.
    pub fuel: i64,
    /// Calls of the host.
    pub calls: i64,
    /// Whether there is not all of it.
    pub truncated: bool,
    /// Whom it is about.
    pub customers: Vec<CustomerId>,
    /// All of it, as JSON.
    pub body: Vec<u8>,
}

/// What a server has recorded since it was last asked.
#[derive(Debug, Default)]
pub struct Taken {
    /// The recordings, in the order in which the runs have ended.
    pub recordings: Vec<NewRecording>,
    /// How many there was no room for, by tenant and plugin.
    pub dropped: BTreeMap<(TenantId, String), i64>,
}

/// The customers whose ids are in a text, each once and in order.
#[must_use]
pub fn customers_in(text: &str) -> Vec<CustomerId> {
    let is_part = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let found = text.match_indices("cus_").filter_map(|(at, prefix)| {
        let rest = text.as_bytes().get(at + prefix.len()..)?;
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        text.get(at..at + prefix.len() + length)?.parse().ok()
    });
    found.collect::<BTreeSet<CustomerId>>().into_iter().collect()
}

/// Which recordings to list.
#[derive(Clone, Debug, Default)]
pub struct RecordingFilter {
    /// Of this plugin.
    pub plugin: Option<String>,
    /// Of this extension point.
    pub point: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
}

/// A page of recordings, and how many there was no room for.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RecordingPage {
    /// The recordings, the latest first.
    pub items: Vec<RecordingRow>,
    /// What to send as `cursor` for the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Runs of the plugin, or of all, that should have been recorded since the beginning and were not,
    /// because there was no room for them.
    pub dropped: i64,
}

/// How a recording is shared.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShare {
    /// The key that the file is sealed with: 32 random bytes in base64, chosen for this one file. It is
    /// told to the recipient by another way than the file, and is kept nowhere.
    #[schema(min_length = 44, max_length = 44)]
    pub key: String,
    /// Whom it is for; it stands in the audit log.
    #[schema(min_length = 1, max_length = 200)]
    pub recipient: String,
}

/// Recordings, the latest first.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor.
pub async fn list(
    core: &Core,
    actor: &Actor,
    filter: &RecordingFilter,
    page: &PageRequest,
) -> Result<RecordingPage> {
    require(actor, Permission::RecordingRead)?;
    // No id is greater than this text.
    let before: String = page.after()?.unwrap_or_else(|| "~".to_owned());
    let filter = Filter {
        plugin: filter.plugin.as_deref().unwrap_or_default(),
        point: filter.point.as_deref().unwrap_or_default(),
        outcome: filter.outcome.as_deref().unwrap_or_default(),
    };
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = recordings::list(&mut reader, &actor.tenant, filter, &before, page.fetch()).await?;
    let dropped = recordings::drops(&mut reader, &actor.tenant, filter.plugin).await?;
    let Page { items, next_cursor } = Page::of(page, rows, |row| row.id.to_string());
    Ok(RecordingPage { items, next_cursor, dropped })
}

/// One recording, without what the plugin has seen.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn find(core: &Core, actor: &Actor, id: &RecordingId) -> Result<RecordingRow> {
    require(actor, Permission::RecordingRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = recordings::find(&mut reader, &actor.tenant, id).await?;
    found.ok_or_else(|| Error::not_found(RecordKind::Recording, id))
}

/// The file of a recording, with all that the plugin has seen. The audit log tells of it.
///
/// # Errors
/// `Forbidden`, `NotFound`; `Gone` if a customer whom it is about was erased.
pub async fn download(core: &Core, actor: &Actor, id: &RecordingId) -> Result<Vec<u8>> {
    let row = find(core, actor, id).await?;
    let body = open(core, actor, &row).await?;
    note(core, actor, Permission::RecordingRead, ("recording.download", &row), None).await?;
    Ok(recording_file::write(Form::Plain, &body))
}

/// The file of a recording for somebody else, sealed with a key that was chosen for it. The audit log
/// tells of it.
///
/// # Errors
/// Those of [`download`]; `Invalid` for a key that is none.
pub async fn share(core: &Core, actor: &Actor, id: &RecordingId, share: &NewShare) -> Result<Vec<u8>> {
    require(actor, Permission::RecordingWrite)?;
    let mut faults = Faults::default();
    faults.text("/recipient", &share.recipient, RECIPIENT_CHARS_MAX);
    let key = vault::parse_key(&share.key);
    if key.is_none() {
        faults.plain("/key", FaultCode::wrong_format("32 bytes in base64"));
    }
    faults.finish()?;
    let lock = Lock::with(key.unwrap_or_default());
    let row = find(core, actor, id).await?;
    let body = open(core, actor, &row).await?;
    let sealed = lock.seal(&*core.ids, FILE, &body)?;
    let recipient = Some(share.recipient.as_str());
    note(core, actor, Permission::RecordingWrite, ("recording.share", &row), recipient).await?;
    Ok(recording_file::write(Form::Sealed, &sealed))
}

/// What a shared file is sealed as.
const FILE: &str = "hospes-recording";

/// The recording in a file, as JSON.
///
/// # Errors
/// `Invalid`, with why it cannot be read: it is none, damaged, or sealed with another key.
pub fn open_file(file: &[u8], key: Option<&str>) -> Result<Vec<u8>> {
    let refused = |reason: &str| Error::plain("", FaultCode::NotReplayable { reason: reason.to_owned() });
    let (form, body) = recording_file::read(file).map_err(|why| refused(&why.to_string()))?;
    match (form, key.map(vault::parse_key)) {
        (Form::Plain, _) => Ok(body.to_vec()),
        (Form::Sealed, None) => Err(refused("it is sealed: the key is needed that was chosen for it")),
        (Form::Sealed, Some(key)) => {
            let opened = key.and_then(|key| Lock::with(key).open(FILE, body));
            opened.ok_or_else(|| refused("it is sealed with another key"))
        }
    }
}

/// Removes a recording.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn delete(core: &Core, actor: &Actor, id: &RecordingId) -> Result<()> {
    require(actor, Permission::RecordingWrite)?;
    let row = find(core, actor, id).await?;
    note(core, actor, Permission::RecordingWrite, ("recording.delete", &row), None).await
}

async fn open(core: &Core, actor: &Actor, row: &RecordingRow) -> Result<Vec<u8>> {
    let lock = keys::lock_of(core, &actor.tenant, &row.customers.0).await?.ok_or_else(erased)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    let sealed = recordings::read(&mut reader, &actor.tenant, &row.id).await?;
    drop(reader);
    lock.open(row.id.as_str(), &sealed).ok_or_else(erased)
}

fn erased() -> Error {
    let message = "a customer whom this recording is about was erased: nobody can read it any more";
    Error::Gone { code: Reason::RecordingErased, message: message.to_owned() }
}

/// Writes an audit line, and does what it tells of.
async fn note(
    core: &Core,
    actor: &Actor,
    permission: Permission,
    (action, row): (&'static str, &RecordingRow),
    recipient: Option<&str>,
) -> Result<()> {
    let now = core.now();
    let mut changes = json!({ "plugin": row.plugin, "point": row.point });
    if let Some(recipient) = recipient {
        changes["recipient"] = json!(recipient);
    }
    let entry = Entry::new(&*core.ids, now, action, "recording", &row.id, changes);
    let state = (actor.clone(), row.id.clone(), permission, now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, id, permission, now, entry)| {
            Box::pin(async move {
                access::recheck(tx, actor, *permission, *now).await?;
                if entry.action == "recording.delete" && !recordings::delete(tx, &actor.tenant, id).await? {
                    return Err(Error::not_found(RecordKind::Recording, id));
                }
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await
}

/// Without a key of the operator's nothing is recorded, because nothing could be sealed.
pub(in crate::ops::plugins) fn check_key(core: &Core) -> Result<()> {
    if core.vault.has_key() {
        return Ok(());
    }
    let message = "the operator has not set `secrets.key`, without which nothing is recorded";
    Err(Error::Refused { code: Reason::SecretsKeyMissing, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_found_wherever_their_ids_stand() {
        let id = |digit: &str| format!("cus_{}", digit.repeat(26));
        let text =
            format!(r#"{{"a":"{}","b":"{{\"id\":\"{}\"}}","c":"cus_no {}x"}}"#, id("1"), id("2"), id("3"));
        let found: Vec<String> = customers_in(&text).iter().map(ToString::to_string).collect();
        assert_eq!(found, [id("1"), id("2")]);
    }
}
