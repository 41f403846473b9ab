//! Hashing of passwords: slow on purpose, so off the request threads and only a few at once.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::Core;
use crate::domain::user::Password;
use crate::error::{Error, Result};

/// Hashes that are computed at once: each takes 19 MiB.
const HASHES_MAX: usize = 4;
const SALT_BYTES: usize = 16;
/// Of no password, with the parameters of today: signing in as nobody takes as long as
/// with a wrong password.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGZvciBubw$\
                            m3v6h3zC6oTgYzmVIZiGXHK2h0wJw0oZ2x8vXH2kYy4";

/// Limits the hashing of a server; part of [`Core`].
pub struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HASHES_MAX)))
    }
}

/// The hash of a password, in the form in which it is kept (Argon2id, 19 MiB, 2 passes).
///
/// # Errors
/// [`Error::Internal`] if the hash cannot be computed.
pub async fn hash(core: &Core, password: &Password) -> Result<String> {
    let mut salt = [0; SALT_BYTES];
    core.ids.fill_secret(&mut salt);
    let password = password.clone();
    run(core, move || {
        let hash: PasswordHash = Argon2::default()
            .hash_password_with_salt(password.expose().as_bytes(), &salt)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(hash.to_string())
    })
    .await
}

/// Whether `password` is the one that was kept as `stored`; never, but as slowly, if there is none.
///
/// # Errors
/// [`Error::Internal`] if what is kept is no hash.
pub async fn verify(core: &Core, password: &Password, stored: Option<String>) -> Result<bool> {
    let password = password.clone();
    run(core, move || {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| NOBODYS_HASH.to_owned());
        let stored = PasswordHash::new(&stored).map_err(|error| Error::internal(error.to_string()))?;
        let matches = Argon2::default().verify_password(password.expose().as_bytes(), &stored).is_ok();
        Ok(matches && exists)
    })
    .await
}

/// Whether a password was kept with other parameters than those of today.
#[must_use]
pub fn is_outdated(stored: &str) -> bool {
    parameters(stored) != parameters(NOBODYS_HASH)
}

/// What stands before salt and hash: algorithm, version and costs.
fn parameters(stored: &str) -> Option<&str> {
    stored.rsplitn(3, '$').nth(2)
}

async fn run<T: Send + 'static>(core: &Core, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let permit = Arc::clone(&core.passwords.0).acquire_owned().await.map_err(Error::internal)?;
    let done = tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(permit);
        outcome
    });
    done.await.map_err(Error::internal)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hash_has_the_parameters_of_today() {
        let today: PasswordHash = Argon2::default().hash_password_with_salt(b"x", &[7; SALT_BYTES]).unwrap();
        assert!(!is_outdated(&today.to_string()), "mend NOBODYS_HASH: {today}");
        assert!(is_outdated(&today.to_string().replace("t=2", "t=1")));
        assert!(is_outdated("no hash at all"));
    }
}
