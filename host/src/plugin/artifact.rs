//! Compiled components: a cache in the data folder that may be deleted at any time.
//!
//! Machine code that is loaded is trusted, so a file counts only if a MAC under
//! the server's key says that this server wrote it, for this component and this
//! engine. Anything else is an incident: logged, and compiled again.

use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::sync::Arc;

use cap_std::fs::Dir;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::domain::code::FaultCode;
use crate::error::{Error, Result};

/// Compilations at once: a component's author must not be able to take every core.
const COMPILERS: usize = 1;
const MAC_BYTES: usize = 32;

/// The cache of compiled components.
pub struct Artifacts {
    dir: Option<Dir>,
    key: [u8; 32],
    compilers: Arc<Semaphore>,
}

impl Artifacts {
    /// A cache in `dir`, or none, authenticated with `key`.
    #[must_use]
    pub fn new(dir: Option<Dir>, key: [u8; 32]) -> Self {
        Self { dir, key, compilers: Arc::new(Semaphore::new(COMPILERS)) }
    }

    /// The compiled form of `digest`, if this server has written it.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let dir = self.dir.as_ref()?;
        let name = file_name(engine, digest);
        let file = match dir.read(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, name, "cannot read a compiled plugin: compiling it again");
                return None;
            }
        };
        let Some((mac, code)) = file.split_at_checked(MAC_BYTES) else {
            tracing::error!(name, "a compiled plugin is cut short: compiling it again");
            return None;
        };
        if self.mac(&name, code).verify_slice(mac).is_err() {
            tracing::error!(name, "a compiled plugin was not written by this server: compiling it again");
            return None;
        }
        // SAFETY: the MAC proves that these bytes came from `store`, which had them
        // from this engine's own compiler; they are a copy that nobody changes.
        #[expect(unsafe_code, reason = "loading machine code that this server compiled itself")]
        let component = unsafe { Component::deserialize(engine, code) };
        component.inspect_err(|error| tracing::error!(%error, name, "a compiled plugin does not load")).ok()
    }

    /// Compiles `bytes` in a thread of its own and keeps the result.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the compiler refuses it.
    pub(super) async fn compile(&self, engine: &Engine, digest: &str, bytes: Vec<u8>) -> Result<Component> {
        let permit = Arc::clone(&self.compilers).acquire_owned().await.map_err(Error::unavailable)?;
        // Somebody else may have compiled it while this waited.
        if let Some(component) = self.load(engine, digest) {
            return Ok(component);
        }
        let engine_there = engine.clone();
        let work = move || {
            let _permit = permit;
            Component::from_binary(&engine_there, &bytes)
        };
        let component = tokio::task::spawn_blocking(work)
            .await
            .map_err(Error::internal)?
            .map_err(|error| Error::plain("", FaultCode::NotCompilable { reason: format!("{error:#}") }))?;
        self.store(engine, digest, &component);
        Ok(component)
    }

    fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let Some(dir) = &self.dir else { return };
        let name = file_name(engine, digest);
        let written = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| self.write(dir, &name, &code).map_err(|error| error.to_string()));
        // Can fail without harm: the component is compiled again at the next start.
        if let Err(error) = written {
            tracing::warn!(error, name, "cannot keep a compiled plugin");
        }
    }

    /// Writes beside and renames, so that a reader never sees half a file.
    fn write(&self, dir: &Dir, name: &str, code: &[u8]) -> std::io::Result<()> {
        let beside = format!("{name}.{}.new", std::process::id());
        let mut file = dir.create(&beside)?;
        file.write_all(&self.mac(name, code).finalize().into_bytes())?;
        file.write_all(code)?;
        drop(file);
        dir.rename(&beside, dir, name)
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a MAC takes a key of any length");
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }
}

/// The SHA-256 of a component, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Names the component, and the engine as far as its code depends on it.
fn file_name(engine: &Engine, digest: &str) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let engine = hex(&hasher.0.finalize());
    format!("{digest}-{}.cwasm", engine.get(..16).unwrap_or(&engine))
}

/// Feeds a hash into SHA-256, so that the name does not depend on the standard library.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    /// The smallest component: a preamble and nothing else.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[tokio::test]
    async fn a_changed_artifact_is_never_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let artifacts = Artifacts::new(Some(dir.try_clone().unwrap()), [7; 32]);
        let engine = Engine::default();
        let digest = digest(EMPTY);
        assert!(artifacts.load(&engine, &digest).is_none());
        artifacts.compile(&engine, &digest, EMPTY.to_vec()).await.unwrap();
        assert!(artifacts.load(&engine, &digest).is_some());

        let name = file_name(&engine, &digest);
        let good = dir.read(&name).unwrap();
        for position in (0..good.len()).step_by(good.len() / 200 + 1) {
            let mut bad = good.clone();
            bad[position] ^= 1;
            dir.write(&name, &bad).unwrap();
            assert!(artifacts.load(&engine, &digest).is_none(), "byte {position} was changed");
        }
        dir.write(&name, &good[..20]).unwrap();
        assert!(artifacts.load(&engine, &digest).is_none());
        dir.write(&name, &good).unwrap();
        let other_server = Artifacts::new(Some(dir), [8; 32]);
        assert!(other_server.load(&engine, &digest).is_none());
    }
}
