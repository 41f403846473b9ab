//! Secrets at rest: seals what the server must be able to read again, such as the keys that
//! webhooks are signed with.
//!
//! The key comes from the operator and is never in the database, so that neither a backup
//! nor a thief of the database can read what is sealed. What is sealed is bound to its
//! tenant and place: moved to another row, it cannot be opened.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::domain::code::Reason;
use crate::domain::ids::TenantId;
use crate::error::{Error, Result};
use crate::ids::Ids;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// The first byte of everything that is sealed in this way.
const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// The operator's keys: one that seals, and an older one that still opens.
#[derive(Default)]
pub struct Vault {
    keys: Vec<Key>,
}

struct Key {
    id: [u8; KEY_ID_BYTES],
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

/// What was sealed; it prints as nothing and is wiped when it is no longer needed.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened(Zeroizing<Vec<u8>>);

impl Opened {
    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(…)")
    }
}

/// Where something is sealed: whose it is, and its table, row and column.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The rest, such as `webhook_secrets/whs_…`.
    pub row: &'a str,
}

/// Reads a key as the operator has written it: 32 bytes in base64.
#[must_use]
pub fn parse_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let mut bytes = BASE64_STANDARD.decode(text).ok()?;
    let key = bytes.as_slice().try_into().ok();
    bytes.zeroize();
    key
}

impl Vault {
    /// A vault that seals with `current` and also opens what `previous` has sealed.
    #[must_use]
    pub fn new(current: [u8; KEY_BYTES], previous: Option<[u8; KEY_BYTES]>) -> Self {
        Self { keys: [Some(current), previous].into_iter().flatten().map(Key::new).collect() }
    }

    /// Whether the operator has given a key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Seals a secret for its place.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code `secrets_key_missing` without a key.
    pub fn seal(&self, ids: &dyn Ids, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys.first().ok_or_else(key_missing)?;
        let mut nonce = [0; NONCE_BYTES];
        ids.fill_secret(&mut nonce);
        let mut sealed = Vec::with_capacity(HEAD_BYTES + secret.len() + 16);
        sealed.push(FORMAT);
        sealed.extend(key.id);
        sealed.extend(nonce);
        let payload = Payload { msg: secret, aad: place.row.as_bytes() };
        let body = key.cipher(place.tenant).encrypt(&XNonce::from(nonce), payload);
        sealed.extend(body.map_err(|_too_long| Error::internal("a secret is too long to be sealed"))?);
        Ok(sealed)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the key that has sealed it is not there, and
    /// [`Error::Internal`] if it was changed or belongs to another place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Opened> {
        let damaged = || Error::internal(format!("the sealed secret of `{}` is damaged", place.row));
        let (head, body) = sealed.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
        let (format, rest) = head.split_first().ok_or_else(damaged)?;
        let (id, nonce) = rest.split_at_checked(KEY_ID_BYTES).ok_or_else(damaged)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_length| damaged())?;
        if *format != FORMAT {
            return Err(damaged());
        }
        let key = self.keys.iter().find(|key| key.id == id).ok_or_else(|| {
            Error::unavailable(format!("no `secrets.key` of this server has sealed `{}`", place.row))
        })?;
        let payload = Payload { msg: body, aad: place.row.as_bytes() };
        let opened = key.cipher(place.tenant).decrypt(&XNonce::from(nonce), payload);
        opened.map(|bytes| Opened(Zeroizing::new(bytes))).map_err(|_not_ours| damaged())
    }
}

/// A key that is not the operator's: made of others, or chosen for one file.
pub struct Lock(Zeroizing<[u8; KEY_BYTES]>);

impl Lock {
    /// A lock that all of `keys`, in this order, are needed to open.
    #[must_use]
    pub fn of(keys: &[Opened]) -> Self {
        let all = Zeroizing::new(keys.iter().flat_map(Opened::expose).copied().collect::<Vec<u8>>());
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        derive(&all, &[b"hospes/lock/1"], &mut *key);
        Self(key)
    }

    /// A lock with a key of its own.
    #[must_use]
    pub fn with(key: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Seals `plain` for the thing called `name`.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is too long.
    pub fn seal(&self, ids: &dyn Ids, name: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        ids.fill_secret(&mut nonce);
        let payload = Payload { msg: plain, aad: name.as_bytes() };
        let body = XChaCha20Poly1305::new((&*self.0).into()).encrypt(&XNonce::from(nonce), payload);
        let body = body.map_err(|_too_long| Error::internal("this is too long to be sealed"))?;
        Ok([&nonce[..], &body].concat())
    }

    /// Opens what was sealed for the thing called `name`; nothing if this is another lock, or it was changed.
    #[must_use]
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let payload = Payload { msg: body, aad: name.as_bytes() };
        XChaCha20Poly1305::new((&*self.0).into()).decrypt(&XNonce::from(nonce), payload).ok()
    }
}

/// Without a key nothing is kept that must be secret.
fn key_missing() -> Error {
    let message = "the operator has not set `secrets.key`, without which the server keeps no secrets";
    Error::Refused { code: Reason::SecretsKeyMissing, message: message.to_owned() }
}

impl Key {
    fn new(secret: [u8; KEY_BYTES]) -> Self {
        let mut id = [0; KEY_ID_BYTES];
        derive(&secret, &[b"hospes/vault/1/id"], &mut id);
        Self { id, secret: Zeroizing::new(secret) }
    }

    /// Each tenant has a key of its own, made from the operator's.
    fn cipher(&self, tenant: &TenantId) -> XChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        derive(&*self.secret, &[b"hospes/vault/1/tenant/", tenant.as_str().as_bytes()], &mut *key);
        XChaCha20Poly1305::new((&*key).into())
    }
}

fn derive(secret: &[u8], info: &[&[u8]], into: &mut [u8]) {
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(info, into)
        .expect("a key is shorter than what can be derived");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::SequentialIds;

    fn tenant(ids: &SequentialIds) -> TenantId {
        TenantId::new(ids, Timestamp::default())
    }

    #[test]
    fn a_secret_is_read_back_in_its_place_and_nowhere_else() {
        let ids = SequentialIds::default();
        let (mine, other) = (tenant(&ids), tenant(&ids));
        let vault = Vault::new([7; KEY_BYTES], None);
        let place = Place { tenant: &mine, row: "a/1" };
        let sealed = vault.seal(&ids, place, b"secret").unwrap();
        assert!(!sealed.windows(6).any(|six| six == b"secret"));
        assert_ne!(sealed, vault.seal(&ids, place, b"secret").unwrap());
        assert_eq!(vault.open(place, &sealed).unwrap().expose(), b"secret");
        assert_eq!(format!("{:?}", vault.open(place, &sealed).unwrap()), "Opened(…)");
        for wrong in [Place { tenant: &other, row: "a/1" }, Place { tenant: &mine, row: "a/2" }] {
            assert!(matches!(vault.open(wrong, &sealed), Err(Error::Internal(_))), "{wrong:?}");
        }
    }

    #[test]
    fn no_byte_of_a_sealed_secret_can_be_changed_or_left_out() {
        let ids = SequentialIds::default();
        let tenant = tenant(&ids);
        let place = Place { tenant: &tenant, row: "a/1" };
        let vault = Vault::new([7; KEY_BYTES], None);
        let sealed = vault.seal(&ids, place, b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open(place, &changed).is_err(), "byte {at}");
            assert!(vault.open(place, &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn the_key_can_be_changed_and_the_previous_one_still_opens() {
        let ids = SequentialIds::default();
        let tenant = tenant(&ids);
        let place = Place { tenant: &tenant, row: "a/1" };
        let old = Vault::new([7; KEY_BYTES], None).seal(&ids, place, b"old").unwrap();
        let vault = Vault::new([8; KEY_BYTES], Some([7; KEY_BYTES]));
        assert_eq!(vault.open(place, &old).unwrap().expose(), b"old");
        let new = vault.seal(&ids, place, b"new").unwrap();
        let vault = Vault::new([8; KEY_BYTES], None);
        assert_eq!(vault.open(place, &new).unwrap().expose(), b"new");
        assert!(matches!(vault.open(place, &old), Err(Error::Unavailable(_))));
    }

    #[test]
    fn without_a_key_nothing_is_sealed() {
        let ids = SequentialIds::default();
        let tenant = tenant(&ids);
        let place = Place { tenant: &tenant, row: "a/1" };
        let refused = Vault::default().seal(&ids, place, b"secret");
        assert!(matches!(refused, Err(Error::Refused { code: Reason::SecretsKeyMissing, .. })));
    }

    #[test]
    fn a_lock_of_several_keys_opens_with_all_of_them_alone() {
        let ids = SequentialIds::default();
        let key = |byte| Opened(Zeroizing::new(vec![byte; KEY_BYTES]));
        let sealed = Lock::of(&[key(1), key(2)]).seal(&ids, "a", b"plain").unwrap();
        assert_eq!(Lock::of(&[key(1), key(2)]).open("a", &sealed).unwrap(), b"plain");
        assert_eq!(Lock::of(&[key(1), key(2)]).open("b", &sealed), None);
        for others in [vec![key(1)], vec![key(2)], vec![key(1), key(3)], vec![key(2), key(1)], vec![]] {
            assert_eq!(Lock::of(&others).open("a", &sealed), None);
        }
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        assert_eq!(parse_key(&BASE64_STANDARD.encode([7; 32])), Some([7; 32]));
        for wrong in ["", "short", &BASE64_STANDARD.encode([7; 31]), &"z".repeat(64)] {
            assert_eq!(parse_key(wrong), None, "{wrong}");
        }
    }
}
