//! Packages: the versions of plugins that this host has. The operator's business.

use crate::db::Json;
use crate::db::plugins::{self, Package};
use crate::domain::code::{Reason, RecordKind};
use crate::error::{Error, Result};
use crate::ops::Core;

/// Installs a component, or finds that it is installed already.
///
/// A version never changes: other bytes under the same version are refused.
///
/// # Errors
/// `Invalid` with every fault of the component, `Conflict` for a version that has other bytes.
pub async fn install(core: &Core, bytes: Vec<u8>) -> Result<Package> {
    let inspected = core.plugins()?.inspect(bytes.clone()).await?;
    let package = Package {
        name: inspected.manifest.name.clone(),
        version: inspected.manifest.version.clone(),
        digest: inspected.digest,
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        manifest: Json(inspected.manifest),
        imports: Json(inspected.imports),
        exports: Json(inspected.exports),
        installed_at: core.now(),
    };
    let state = (package, bytes);
    core.db
        .write_host(state, |tx, (package, bytes)| {
            Box::pin(async move {
                if plugins::insert_package(tx, package, bytes).await? {
                    return Ok(package.clone());
                }
                match plugins::find_package(tx, &package.name, &package.version).await? {
                    Some(known) if known.digest == package.digest => Ok(known),
                    Some(_) | None => Err(other_bytes(package)),
                }
            })
        })
        .await
}

fn other_bytes(package: &Package) -> Error {
    let Package { name, version, .. } = package;
    let message = format!(
        "version {version} of `{name}` is installed with other bytes; a version never changes, so raise its number"
    );
    Error::conflict(Reason::VersionExists, message)
}

/// Installs the plugins that ship with the product; those that are there already are left alone.
///
/// # Errors
/// As for [`install`].
pub async fn install_bundled(core: &Core) -> Result<()> {
    for bundled in hospes_bundle::PLUGINS {
        match install(core, bundled.component.to_vec()).await {
            Ok(package) => tracing::debug!(package.name, package.version, "a bundled plugin is installed"),
            // A development build may differ from the released version of the same number.
            Err(Error::Conflict { message, .. }) => {
                tracing::warn!(message, "a bundled plugin differs from the installed one");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// All packages, by name and version.
///
/// # Errors
/// Those of the database.
pub async fn list(core: &Core) -> Result<Vec<Package>> {
    let mut reader = core.db.read_host().await?;
    plugins::list_packages(&mut reader).await
}

/// One version of a plugin; the newest, if none is named.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(core: &Core, name: &str, version: Option<&str>) -> Result<Package> {
    let mut reader = core.db.read_host().await?;
    let mut versions = plugins::versions_of(&mut reader, name).await?;
    drop(reader);
    if let Some(version) = version {
        versions.retain(|package| package.version == version);
    }
    let newest = versions.into_iter().max_by(|one, other| order(&one.version).cmp(&order(&other.version)));
    newest.ok_or_else(|| match version {
        Some(version) => Error::not_found(RecordKind::Plugin, format!("{name} {version}")),
        None => Error::not_found(RecordKind::Plugin, name),
    })
}

/// The order of semantic versions. What is stored was checked, so a version that
/// cannot be read does not occur; it would come first.
pub(crate) fn order(version: &str) -> Option<semver::Version> {
    semver::Version::parse(version).ok()
}
