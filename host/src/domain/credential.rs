//! Secrets that machines carry: session cookies and bearer tokens.
//!
//! The text is `<prefix>_<id>_<secret>`. The id finds the row, the row keeps only a
//! hash of the secret; 256 random bits need no slow hash.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ids::Ids;

/// What a bearer token begins with, so that scanners of leaked secrets know it.
pub const TOKEN_PREFIX: &str = "hsp";
/// What the value of a session's cookie begins with.
pub const SESSION_PREFIX: &str = "hss";

const HEX: &[u8; 16] = b"0123456789abcdef";
const SECRET_BYTES: usize = 32;
const ID_BODY_CHARS: usize = 26;

/// A credential that a client has presented.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// The id with its kind's prefix, such as `tok_…`.
    pub id: String,
    hash: String,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Presented").field(&self.id).finish()
    }
}

impl Presented {
    /// Reads `<prefix>_<id>_<secret>`, whose id is of the kind `kind`.
    #[must_use]
    pub fn parse(prefix: &str, kind: &str, text: &str) -> Option<Self> {
        let (body, secret) = text.strip_prefix(prefix)?.strip_prefix('_')?.split_once('_')?;
        let plain = body.len() == ID_BODY_CHARS && body.bytes().all(|b| b.is_ascii_alphanumeric());
        let secret_fits = (1..=64).contains(&secret.len());
        (plain && secret_fits).then(|| Self { id: format!("{kind}_{body}"), hash: hash(secret) })
    }

    /// Whether the secret is the one that was kept as `stored`; takes the same time either way.
    #[must_use]
    pub fn matches(&self, stored: &str) -> bool {
        self.hash.as_bytes().ct_eq(stored.as_bytes()).into()
    }

    /// A key for caches that does not give the secret away.
    #[must_use]
    pub fn cache_key(&self) -> String {
        format!("{}:{}", self.id, self.hash)
    }
}

/// A new secret for the credential `id`: the text to show once, and the hash to keep.
#[must_use]
pub fn mint(ids: &dyn Ids, prefix: &str, id: &str) -> (String, String) {
    let mut secret = [0; SECRET_BYTES];
    ids.fill_secret(&mut secret);
    let secret = BASE64_URL_SAFE_NO_PAD.encode(secret);
    let (_, body) = id.split_once('_').expect("typed ids have a prefix");
    (format!("{prefix}_{body}_{secret}"), hash(&secret))
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    // Every request passes through here: formatting byte by byte would take longer than the hash.
    digits.map(|digit| char::from(HEX[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::ids::TokenId;
    use crate::ids::RandomIds;

    #[test]
    fn a_minted_credential_matches_its_hash_and_no_other() {
        let ids = RandomIds::default();
        let id = TokenId::new(&ids, Timestamp::default());
        let (text, stored) = mint(&ids, TOKEN_PREFIX, id.as_str());
        let presented = Presented::parse(TOKEN_PREFIX, TokenId::PREFIX, &text).unwrap();
        assert_eq!(presented.id, id.as_str());
        assert!(presented.matches(&stored));
        assert!(!presented.matches(&mint(&ids, TOKEN_PREFIX, id.as_str()).1));
        assert!(Presented::parse(SESSION_PREFIX, "ses", &text).is_none());
    }
}
