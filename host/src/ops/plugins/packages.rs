//! Packages: the versions of plugins that this host has. The operator's business.

use super::trust;
use crate::db::plugins::{self, Package};
use crate::db::{Json, Tx};
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::package::{Package as File, SIGNATURES_MAX};
use crate::domain::trust::{Signature, TrustPolicy};
use crate::error::{Error, Result};
use crate::ops::Core;

/// What vouches for a package.
#[derive(Clone, Debug)]
enum Voucher {
    /// The server's own bytes: whoever trusts the one trusts the other.
    Bundle,
    /// Its signatures, by the operator's policy.
    Signatures(TrustPolicy, Vec<Signature>),
}

/// Installs a file, or finds that it is installed already: a component, and behind it the signatures
/// that it may have.
///
/// # Errors
/// As for [`install_signed`].
pub async fn install(core: &Core, file: Vec<u8>) -> Result<Package> {
    install_signed(core, file, &[]).await
}

/// As [`install`], with further signatures, each the text of a `.sig` file.
///
/// A version never changes, and the next one has a higher number and the same publisher.
///
/// # Errors
/// `Invalid` with every fault of the component and for a signature of something else, `Conflict`
/// for a version that has other bytes, `Refused` for one that is older than what is there, of
/// another publisher, or not vouched for as the policy asks.
pub async fn install_signed(core: &Core, file: Vec<u8>, detached: &[String]) -> Result<Package> {
    let (package, component, mut texts) = read(core, &file).await?;
    texts.extend_from_slice(detached);
    if texts.len() > SIGNATURES_MAX {
        return Err(Error::plain("", FaultCode::too_many(SIGNATURES_MAX)));
    }
    let signatures = trust::read_signatures(&package, &texts)?;
    put(core, package, component, Voucher::Signatures(core.trust, signatures)).await
}

/// Installs a component that its author is editing, as a version of its own that comes after the
/// one that it names and after every earlier edit: `1.0.0` becomes `1.0.0+dev.1764000000000`.
///
/// # Errors
/// As for [`install`].
pub async fn install_edit(core: &Core, file: Vec<u8>) -> Result<Package> {
    let (mut package, component, _) = read(core, &file).await?;
    let own = order(&package.version);
    let mut version = own.ok_or_else(|| Error::internal("the manifest's version was checked"))?;
    let edit = format!("dev.{}", core.now().as_micros() / 1_000);
    version.build = semver::BuildMetadata::new(&edit).map_err(Error::internal)?;
    package.version = version.to_string();
    package.manifest.0.version = package.version.clone();
    put(core, package, component, Voucher::Signatures(core.trust, Vec::new())).await
}

/// What a file says, its component, and the signatures behind it.
async fn read(core: &Core, file: &[u8]) -> Result<(Package, Vec<u8>, Vec<String>)> {
    let parts = File::of(file);
    let texts = parts.signatures()?.into_iter().map(str::to_owned).collect();
    let component = parts.component.to_vec();
    let inspected = core.plugins()?.inspect(component.clone()).await?;
    let package = Package {
        name: inspected.manifest.name.clone(),
        version: inspected.manifest.version.clone(),
        digest: inspected.digest,
        size: i64::try_from(component.len()).unwrap_or(i64::MAX),
        manifest: Json(inspected.manifest),
        imports: Json(inspected.imports),
        exports: Json(inspected.exports),
        installed_at: core.now(),
    };
    Ok((package, component, texts))
}

async fn put(core: &Core, package: Package, component: Vec<u8>, voucher: Voucher) -> Result<Package> {
    let state = (package, component, voucher);
    core.db
        .write_host(state, |tx, (package, component, voucher)| {
            Box::pin(async move {
                match plugins::find_package(tx, &package.name, &package.version).await? {
                    Some(known) if known.digest == package.digest => return Ok(known),
                    Some(_) => return Err(other_bytes(package)),
                    None => check_succession(tx, package).await?,
                }
                if let Voucher::Signatures(policy, signatures) = voucher {
                    trust::admit(tx, *policy, package, signatures).await?;
                }
                if plugins::insert_package(tx, package, component).await? {
                    Ok(package.clone())
                } else {
                    Err(other_bytes(package))
                }
            })
        })
        .await
}

/// Versions only go up, and a plugin stays its publisher's: an old version, or a stranger's of the
/// same name, must not come in as an upgrade.
async fn check_succession(tx: &mut Tx, package: &Package) -> Result<()> {
    let Some(newest) = newest(plugins::versions_of(tx, &package.name).await?) else { return Ok(()) };
    if newest.manifest.0.publisher != package.manifest.0.publisher {
        let publisher = newest.manifest.0.publisher.clone();
        return Err(Error::refused(Reason::OtherPublisher { publisher }));
    }
    if order(&newest.version) >= order(&package.version) {
        return Err(Error::refused(Reason::OlderVersion { version: newest.version }));
    }
    Ok(())
}

fn newest(versions: Vec<Package>) -> Option<Package> {
    versions.into_iter().max_by(|one, other| order(&one.version).cmp(&order(&other.version)))
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
        let (package, component, _) = read(core, bundled.component).await?;
        match put(core, package, component, Voucher::Bundle).await {
            Ok(package) => tracing::debug!(package.name, package.version, "a bundled plugin is installed"),
            // A development build may differ from the released version of the same number.
            Err(Error::Conflict { message, .. }) => {
                tracing::warn!(message, "a bundled plugin differs from the installed one");
            }
            Err(Error::Refused { message, .. }) => {
                tracing::info!(message, "a bundled plugin gives way to the installed one");
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
    newest(versions).ok_or_else(|| match version {
        Some(version) => Error::not_found(RecordKind::Plugin, format!("{name} {version}")),
        None => Error::not_found(RecordKind::Plugin, name),
    })
}

/// The order of semantic versions. What is stored was checked, so a version that
/// cannot be read does not occur; it would come first.
pub(crate) fn order(version: &str) -> Option<semver::Version> {
    semver::Version::parse(version).ok()
}
