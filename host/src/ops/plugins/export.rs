//! Everything that a plugin keeps for a tenant, as lines of JSON: for whoever uninstalls it, and for
//! whoever wants to see what it has.
//!
//! It is read in pages, each as it is by then: of a plugin that is disabled, which writes nothing more,
//! this is one state. Credentials are not in it, nor what the host notes about the plugin: log,
//! recordings, denials, usage. The last line counts the others, so that half an export is known as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::enablement;
use super::uninstall::field_of;
use crate::blobs;
use crate::db::documents::Owner;
use crate::db::plugin_data::{self, Fielded};
use crate::db::plugins::Enablement;
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::ids::TenantId;
use crate::domain::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::{Core, access, audit, require};

/// The version of the form, in the first line.
const FORM: u32 = 1;
/// Documents or small values of one page.
const ROWS_MAX: u32 = 100;
/// Records of one page, of which some have the plugin's fields.
const RECORDS_MAX: u32 = 500;
/// Bytes of a file in one line; a multiple of three, so that the pieces' base64 has no padding in between.
const PIECE_BYTES: usize = 192 * 1_024;

/// What comes next.
enum Place {
    Head(Box<Enablement>),
    Documents { collection: String, key: String },
    Entries { after: String },
    Values { kind: Fielded, after: String },
    Files { after: String },
    Schedules,
    End,
    Over,
}

/// An export under way; holds a page at a time.
pub struct Export {
    core: Arc<Core>,
    tenant: TenantId,
    plugin: String,
    place: Place,
    counts: BTreeMap<&'static str, u64>,
}

/// Begins to export what a plugin keeps, enabled or not. The audit log tells of it.
///
/// # Errors
/// `Forbidden`: plugins keep what they have seen with rights over all records; `NotFound` for a plugin
/// that was never enabled, or is purged.
pub async fn begin(core: &Arc<Core>, actor: &Actor, plugin: &str) -> Result<Export> {
    require(actor, Permission::PluginWrite)?;
    let row = enablement::find(core, actor, plugin).await?;
    let now = core.now();
    let changes = json!({ "version": row.package_version });
    let entry = Entry::new(&*core.ids, now, "plugin.export", "plugin", plugin, changes);
    let noted = core.db.write(&actor.tenant, (actor.clone(), now, entry), |tx, (actor, now, entry)| {
        Box::pin(async move {
            access::recheck(tx, actor, Permission::PluginWrite, *now).await?;
            audit::append(tx, actor, *now, entry).await
        })
    });
    noted.await?;
    Ok(Export {
        core: Arc::clone(core),
        tenant: actor.tenant.clone(),
        plugin: plugin.to_owned(),
        place: Place::Head(Box::new(row)),
        counts: BTreeMap::new(),
    })
}

impl Export {
    /// The next lines, each with its line feed; nothing when there are no more.
    ///
    /// # Errors
    /// Those of the database and of the folder of files; what there is until then is not all.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let place = std::mem::replace(&mut self.place, Place::Over);
            let (lines, place) = match place {
                Place::Head(row) => (vec![self.head(*row)], Place::documents()),
                Place::Documents { collection, key } => self.documents(&collection, &key).await?,
                Place::Entries { after } => self.entries(&after).await?,
                Place::Values { kind, after } => self.values(kind, &after).await?,
                Place::Files { after } => self.file(&after).await?,
                Place::Schedules => (self.schedules().await?, Place::End),
                Place::End => (vec![json!({ "kind": "end", "lines": self.counts })], Place::Over),
                Place::Over => return Ok(None),
            };
            self.place = place;
            if !lines.is_empty() {
                return Ok(Some(written(&lines)?));
            }
        }
    }

    fn owner(&self) -> Owner<'_> {
        Owner { tenant: &self.tenant, plugin: &self.plugin }
    }

    fn count(&mut self, kind: &'static str, lines: &[Value]) {
        *self.counts.entry(kind).or_default() += lines.len() as u64;
    }

    fn head(&self, row: Enablement) -> Value {
        json!({
            "kind": "plugin", "form": FORM, "plugin": row.plugin, "version": row.package_version,
            "state": row.state, "grants": row.grants.0, "settings": row.settings.0,
            "recording": row.recording.0, "purge_at": row.purge_at, "exported_at": self.core.now(),
        })
    }

    async fn documents(&mut self, collection: &str, key: &str) -> Result<(Vec<Value>, Place)> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let rows = plugin_data::documents(&mut reader, self.owner(), (collection, key), ROWS_MAX).await?;
        drop(reader);
        let place = rows.last().map_or_else(Place::entries, |last| Place::Documents {
            collection: last.collection.clone(),
            key: last.key.clone(),
        });
        let mut lines = Vec::with_capacity(rows.len());
        for row in rows {
            let body: Value = serde_json::from_str(&row.body).map_err(Error::internal)?;
            lines.push(json!({
                "kind": "document", "collection": row.collection, "key": row.key,
                "subject_kind": row.subject_kind, "subject_id": row.subject_id, "version": row.version,
                "updated_at": row.updated_at, "body": body,
            }));
        }
        self.count("document", &lines);
        Ok((lines, place))
    }

    async fn entries(&mut self, after: &str) -> Result<(Vec<Value>, Place)> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let rows = plugin_data::entries(&mut reader, self.owner(), after, ROWS_MAX).await?;
        drop(reader);
        let place = rows.last().map_or_else(
            || Place::Values { kind: Fielded::Customer, after: String::new() },
            |last| Place::Entries { after: last.key.clone() },
        );
        let line = |row: plugin_data::EntryRow| {
            let value = BASE64_STANDARD.encode(&row.value);
            json!({ "kind": "kv", "key": row.key, "value": value, "expires_at": row.expires_at })
        };
        let lines: Vec<Value> = rows.into_iter().map(line).collect();
        self.count("kv", &lines);
        Ok((lines, place))
    }

    async fn values(&mut self, kind: Fielded, after: &str) -> Result<(Vec<Value>, Place)> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let rows = plugin_data::records(&mut reader, &self.tenant, (kind, after), RECORDS_MAX).await?;
        drop(reader);
        let place = match (rows.last(), kind) {
            (Some(last), kind) => Place::Values { kind, after: last.id.clone() },
            (None, Fielded::Customer) => Place::Values { kind: Fielded::Order, after: String::new() },
            (None, Fielded::Order) => Place::Files { after: String::new() },
        };
        let mut lines = Vec::new();
        for row in rows {
            let Some(kept) = row.kept else { continue };
            let kept: Map<String, Value> = serde_json::from_str(&kept).map_err(Error::internal)?;
            for (name, value) in kept.get("fields").and_then(Value::as_object).into_iter().flatten() {
                if let Some(field) = field_of(name, &self.plugin) {
                    let entity = kind.entity().as_str();
                    lines.push(json!({
                        "kind": "field", "entity": entity, "id": row.id, "field": field, "value": value,
                    }));
                }
            }
        }
        self.count("field", &lines);
        Ok((lines, place))
    }

    /// The next file: what it is called, and its content in pieces.
    async fn file(&mut self, after: &str) -> Result<(Vec<Value>, Place)> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let found = plugin_data::files(&mut reader, self.owner(), after, 1).await?.pop();
        drop(reader);
        let Some(file) = found else { return Ok((Vec::new(), Place::Schedules)) };
        let owner = blobs::Owner { tenant: self.tenant.clone(), plugin: self.plugin.clone() };
        let size = u64::try_from(file.size).map_err(Error::internal)?;
        let content = self.core.blobs.read(owner, vec![(file.blob, size)]).await?.pop().unwrap_or_default();
        let head = json!({
            "kind": "file", "name": file.name, "size": file.size, "modified_at": file.modified_at,
        });
        let pieces = content.chunks(PIECE_BYTES).enumerate().map(|(number, piece)| {
            let content = BASE64_STANDARD.encode(piece);
            let offset = number * PIECE_BYTES;
            json!({ "kind": "file_piece", "name": file.name, "offset": offset, "content": content })
        });
        let pieces: Vec<Value> = pieces.collect();
        self.count("file", std::slice::from_ref(&head));
        self.count("file_piece", &pieces);
        let lines = std::iter::once(head).chain(pieces).collect();
        Ok((lines, Place::Files { after: file.name }))
    }

    async fn schedules(&mut self) -> Result<Vec<Value>> {
        let mut reader = self.core.db.read(&self.tenant).await?;
        let rows = plugin_data::schedules(&mut reader, self.owner()).await?;
        drop(reader);
        let line = |row: plugin_data::ScheduleRow| json!({ "kind": "schedule", "job": row.job, "schedule": row.schedule, "due_at": row.due_at });
        let lines: Vec<Value> = rows.into_iter().map(line).collect();
        self.count("schedule", &lines);
        Ok(lines)
    }
}

impl Place {
    const fn documents() -> Self {
        Self::Documents { collection: String::new(), key: String::new() }
    }

    const fn entries() -> Self {
        Self::Entries { after: String::new() }
    }
}

fn written(lines: &[Value]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(Error::internal)?;
        text.push(b'\n');
    }
    Ok(text)
}
