//! Trust in packages: publishers' keys, what they have signed, and versions that the operator stops.
//!
//! The operator's business: no tenant decides here, and every step is a line of the server's log.

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::plugins::Package;
use crate::db::trust as rows;
pub use crate::db::trust::{PublisherKey, Signer, StoppedVersion};
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::rights::Rights;
use crate::domain::trust::{PublicKey, Signature, Standing, Statement, TrustPolicy, Verdict, judge};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Characters of a publisher's name.
const PUBLISHER_CHARS_MAX: usize = 100;
/// Characters of the reason for which a version is stopped.
const REASON_CHARS_MAX: usize = 500;

/// The keys that the host knows, by publisher.
///
/// # Errors
/// Those of the database.
pub async fn list_keys(core: &Core) -> Result<Vec<PublisherKey>> {
    let mut reader = core.db.read_host().await?;
    rows::list_keys(&mut reader).await
}

/// Lets packages of `publisher` come in that `key` has signed.
///
/// # Errors
/// `Invalid` for a blank publisher, `Refused` for a key that is revoked or another publisher's.
pub async fn add_key(core: &Core, publisher: &str, key: &PublicKey) -> Result<PublisherKey> {
    let mut faults = Faults::default();
    faults.text("/publisher", publisher, PUBLISHER_CHARS_MAX);
    faults.finish()?;
    let row = key_row(publisher, key, "known", core.now());
    let added = core.db.write_host(row, |tx, row| Box::pin(async move { add(tx, row).await })).await?;
    tracing::info!(key = added.id, added.publisher, "a publisher's key is trusted");
    Ok(added)
}

async fn add(tx: &mut Tx, row: &PublisherKey) -> Result<PublisherKey> {
    if rows::insert_key(tx, row).await? {
        return Ok(row.clone());
    }
    let known = find_key(tx, &row.id).await?;
    if known.standing == "revoked" {
        return Err(Error::refused(Reason::RevokedKey { key: known.id }));
    }
    if known.publisher != row.publisher {
        return Err(Error::refused(Reason::WrongPublisher { key: known.id, publisher: known.publisher }));
    }
    rows::make_known(tx, &row.id).await?;
    find_key(tx, &row.id).await
}

async fn find_key(tx: &mut Tx, id: &str) -> Result<PublisherKey> {
    let found = rows::find_key(tx, id).await?;
    found.ok_or_else(|| Error::not_found(RecordKind::PublisherKey, id))
}

fn key_row(publisher: &str, key: &PublicKey, standing: &str, added_at: Timestamp) -> PublisherKey {
    PublisherKey {
        id: key.id(),
        publisher: publisher.to_owned(),
        body: key.to_base64(),
        standing: standing.to_owned(),
        added_at,
        revoked_at: None,
    }
}

/// Lets a key count no more, for ever. What it has signed before goes on running until it is stopped.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_key(core: &Core, id: &str) -> Result<()> {
    let state = (id.to_owned(), core.now());
    core.db
        .write_host(state, |tx, (id, now)| {
            Box::pin(async move {
                find_key(tx, id).await?;
                rows::revoke_key(tx, id, *now).await
            })
        })
        .await?;
    tracing::warn!(key = id, "a publisher's key is revoked");
    Ok(())
}

/// Stops a version for every tenant of every server. Nothing of it begins any more once a server
/// has read this, which it does within 5 seconds; what runs then can commit nothing.
///
/// # Errors
/// `NotFound` for a version that is not installed, `Invalid` for a blank reason.
pub async fn stop(core: &Core, name: &str, version: &str, reason: &str) -> Result<()> {
    let mut faults = Faults::default();
    faults.text("/reason", reason, REASON_CHARS_MAX);
    faults.finish()?;
    super::packages::find(core, name, Some(version)).await?;
    let stop =
        StoppedVersion { version: version.to_owned(), reason: reason.to_owned(), stopped_at: core.now() };
    let state = (name.to_owned(), stop);
    core.db
        .write_host(state, |tx, (name, stop)| Box::pin(async move { rows::put_stop(tx, name, stop).await }))
        .await?;
    core.plugins()?.stops_changed();
    tracing::warn!(plugin = name, version, reason, "a version of a plugin is stopped");
    Ok(())
}

/// Lets a stopped version run again. Does nothing if it is not stopped.
///
/// # Errors
/// `NotFound` for a version that is not installed.
pub async fn resume(core: &Core, name: &str, version: &str) -> Result<()> {
    super::packages::find(core, name, Some(version)).await?;
    let state = (name.to_owned(), version.to_owned());
    core.db
        .write_host(state, |tx, (name, version)| {
            Box::pin(async move { rows::delete_stop(tx, name, version).await })
        })
        .await?;
    core.plugins()?.stops_changed();
    tracing::warn!(plugin = name, version, "a version of a plugin may run again");
    Ok(())
}

/// The versions of a plugin that are stopped.
///
/// # Errors
/// Those of the database.
pub async fn stops(core: &Core, name: &str) -> Result<Vec<StoppedVersion>> {
    let mut reader = core.db.read_host().await?;
    rows::list_stops(&mut reader, name).await
}

/// Who has signed a version.
///
/// # Errors
/// Those of the database.
pub async fn signers(core: &Core, name: &str, version: &str) -> Result<Vec<Signer>> {
    let mut reader = core.db.read_host().await?;
    rows::list_signers(&mut reader, name, version).await
}

/// Refuses a version that is stopped.
///
/// # Errors
/// `Refused` with the operator's reason.
pub(super) async fn check_runs(core: &Core, package: &Package) -> Result<()> {
    let stops = stops(core, &package.name).await?;
    match stops.into_iter().find(|stop| stop.version == package.version) {
        Some(StoppedVersion { version, reason, .. }) => {
            Err(Error::refused(Reason::VersionStopped { version, reason }))
        }
        None => Ok(()),
    }
}

/// What a signature over a package is made over, given its rights.
#[must_use]
pub fn statement<'a>(package: &'a Package, rights: &'a Rights) -> Statement<'a> {
    Statement {
        name: &package.name,
        version: &package.version,
        publisher: &package.manifest.0.publisher,
        digest: &package.digest,
        rights,
    }
}

/// The signatures among `texts`, each of which must hold for the package.
///
/// # Errors
/// `Invalid` for a text that is none, or one that is of something else.
pub(super) fn read_signatures(package: &Package, texts: &[String]) -> Result<Vec<Signature>> {
    let rights = Rights::of(&package.manifest.0, &package.imports.0, &package.exports.0);
    let statement = statement(package, &rights);
    let mut signatures = Vec::with_capacity(texts.len());
    for text in texts {
        let signature: Signature = text.parse()?;
        if !signature.holds_for(&statement) {
            return Err(Error::plain("", FaultCode::BadSignature));
        }
        signatures.push(signature);
    }
    Ok(signatures)
}

/// Lets a package in by the policy, in the transaction that installs it, and keeps its signatures.
///
/// # Errors
/// `Refused` with what is missing.
pub(super) async fn admit(
    tx: &mut Tx,
    policy: TrustPolicy,
    package: &Package,
    signatures: &[Signature],
) -> Result<()> {
    let publisher = &package.manifest.0.publisher;
    let mut standings = Vec::with_capacity(signatures.len());
    for signature in signatures {
        standings.push((signature.key, standing(rows::find_key(tx, &signature.key.id()).await?)?));
    }
    let has_keys = rows::has_keys(tx, publisher).await?;
    if let Verdict::FirstUse(key) = judge(policy, publisher, &standings, has_keys)? {
        let row = key_row(publisher, &key, "first_use", package.installed_at);
        rows::insert_key(tx, &row).await?;
    }
    for signature in signatures {
        let text = signature.to_string();
        let version = (package.name.as_str(), package.version.as_str());
        rows::insert_signature(tx, version, (&signature.key.id(), &text)).await?;
    }
    Ok(())
}

fn standing(row: Option<PublisherKey>) -> Result<Standing> {
    let Some(PublisherKey { id, publisher, standing, .. }) = row else { return Ok(Standing::Unknown) };
    match standing.as_str() {
        "known" => Ok(Standing::Known(publisher)),
        "first_use" => Ok(Standing::FirstUse(publisher)),
        "revoked" => Ok(Standing::Revoked),
        other => Err(Error::internal(format!("the key {id} has the standing `{other}`, which there is not"))),
    }
}
