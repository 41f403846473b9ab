//! What a publisher does with a package: keys, manifests, signatures. No database is opened.

use std::path::{Path, PathBuf};

use super::output::{Failure, Outcome, say};
use crate::domain::package::{MANIFEST_SECTION, Package, SIGNATURE_SECTION, with_section};
use crate::domain::rights::Rights;
use crate::domain::trust::{PublicKey, SecretKey, Signature, Statement};
use crate::files::{self, NamedFile};
use crate::ids::{Ids as _, RandomIds};
use crate::plugin;

/// The largest file of a key or a signature that is read.
const KEY_BYTES_MAX: u64 = 4 << 10;

/// Writes a new secret key, and its public half beside it.
pub(super) fn keygen(to: &Path) -> Outcome {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    RandomIds::default().fill_secret(&mut *seed);
    let key = SecretKey::of_seed(*seed);
    let beside = beside(to, ".pub");
    NamedFile::at(to)?.create_secret(zeroize::Zeroizing::new(key.to_pem()).as_bytes())?;
    NamedFile::at(&beside)?.create(key.public().to_pem().as_bytes())?;
    say(format_args!(
        "the key {} is in `{}`, its public half in `{}`",
        key.public().id(),
        to.display(),
        beside.display()
    ))
}

/// Puts a manifest into a component that has none.
pub(super) fn pack(component: &Path, manifest: &Path, out: &Path) -> Outcome {
    let bytes = files::read(component, files::COMPONENT_BYTES_MAX)?;
    let manifest = files::read_text(manifest, crate::domain::manifest::MANIFEST_BYTES_MAX as u64)?;
    let package = with_section(&bytes, MANIFEST_SECTION, manifest.as_bytes());
    let inspected = plugin::inspect(&package)?;
    NamedFile::at(out)?.create(&package)?;
    let (name, version) = (&inspected.manifest.name, &inspected.manifest.version);
    say(format_args!("packed {name} {version} into `{}`", out.display()))
}

/// Signs a package beside it, or in a copy of it.
pub(super) fn sign(package: &Path, key: &Path, embed: Option<&Path>) -> Outcome {
    let pem = zeroize::Zeroizing::new(files::read_text(key, KEY_BYTES_MAX)?);
    let key: SecretKey = pem.parse().map_err(Failure::failed)?;
    let file = files::read(package, files::COMPONENT_BYTES_MAX)?;
    let signature = with_statement(&file, |statement| key.sign(statement))?.to_string();
    let to = match embed {
        Some(to) => {
            NamedFile::at(to)?.create(&with_section(&file, SIGNATURE_SECTION, signature.as_bytes()))?;
            to.to_owned()
        }
        None => {
            let to = beside(package, ".sig");
            // That of an earlier build holds no more.
            NamedFile::at(&to)?.replace(signature.as_bytes())?;
            to
        }
    };
    say(format_args!("signed with {} in `{}`", key.public().id(), to.display()))
}

/// Says who has signed a package; fails if nobody has, or a signature does not hold.
pub(super) fn verify(package: &Path, key: Option<&Path>) -> Outcome {
    let wanted = key.map(read_public).transpose()?;
    let file = files::read(package, files::COMPONENT_BYTES_MAX)?;
    let mut texts: Vec<String> = Package::of(&file).signatures()?.into_iter().map(str::to_owned).collect();
    texts.extend(detached_of(package)?);
    let mut signers = Vec::new();
    for text in texts {
        let signature: Signature = text.parse()?;
        if !with_statement(&file, |statement| signature.holds_for(statement))? {
            return Err(Failure::failed(format!(
                "the signature of {} is not of this package",
                signature.key.id()
            )));
        }
        signers.push(signature.key);
    }
    match wanted {
        Some(wanted) if !signers.contains(&wanted) => {
            Err(Failure::failed(format!("{} has not signed this package", wanted.id())))
        }
        None if signers.is_empty() => Err(Failure::failed("nobody has signed this package")),
        Some(_) | None => signers.iter().try_for_each(|key| say(format_args!("signed with {}", key.id()))),
    }
}

/// The public key in a file.
pub(super) fn read_public(path: &Path) -> Outcome<PublicKey> {
    files::read_text(path, KEY_BYTES_MAX)?.parse().map_err(Failure::failed)
}

/// The signature beside a package, if there is one.
pub(super) fn detached_of(package: &Path) -> Outcome<Option<String>> {
    let file = NamedFile::at(&beside(package, ".sig"))?;
    let text = file.exists().then(|| files::read_text(file.path(), KEY_BYTES_MAX)).transpose()?;
    Ok(text)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn with_statement<T>(file: &[u8], then: impl FnOnce(&Statement<'_>) -> T) -> Outcome<T> {
    let found = plugin::inspect(Package::of(file).component)?;
    let rights = Rights::of(&found.manifest, &found.imports, &found.exports);
    Ok(then(&Statement {
        name: &found.manifest.name,
        version: &found.manifest.version,
        publisher: &found.manifest.publisher,
        digest: &found.digest,
        rights: &rights,
    }))
}
