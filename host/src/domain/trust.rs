//! Who vouches for a package: the keys of publishers, signatures over what a package is and may do, and
//! the operator's policy.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::code::{FaultCode, Reason};
use super::rights::Rights;
use crate::error::{Error, Fault, Result};

/// The first line of a statement: what is signed is never anything else than a statement.
const STATEMENT_HEAD: &str = "hospes package statement 1";
/// The first line of a signature.
const SIGNATURE_HEAD: &str = "hospes signature 1";
/// What stands before the 32 bytes of an Ed25519 key in a PKCS #8 file (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo file (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];

/// Which packages an operator lets into the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustPolicy {
    /// Those that a key of their publisher has signed which the operator has added.
    #[default]
    KnownPublishers,
    /// Those that are signed. The first key of a publisher is remembered, and no other counts after it.
    SignedOnly,
    /// All, for development. A signature that is there must hold all the same.
    UnsignedAllowed,
}

impl TrustPolicy {
    /// Every one, the strictest first.
    pub const ALL: &'static [Self] = &[Self::KnownPublishers, Self::SignedOnly, Self::UnsignedAllowed];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KnownPublishers => "known_publishers",
            Self::SignedOnly => "signed_only",
            Self::UnsignedAllowed => "unsigned_allowed",
        }
    }
}

/// The public half of a publisher's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The first half of the SHA-256 of the key, in hexadecimal: how people name it.
    #[must_use]
    pub fn id(&self) -> String {
        Sha256::digest(self.0).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key as OpenSSL writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI_PREFIX[..], &self.0[..]].concat())
    }

    /// The key in one line.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an Ed25519 {0} key in PEM, as `hospes plugin keygen` and `openssl genpkey` write it")]
pub struct NoKey(&'static str);

/// Reads a key in PEM, or its 32 bytes in base64.
impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = match unpem("PUBLIC KEY", text) {
            Some(bytes) => bytes.strip_prefix(&SPKI_PREFIX).map(<[u8]>::to_vec),
            None => STANDARD.decode(text.trim()).ok(),
        };
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Self);
        let is_point = |key: &Self| VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak());
        key.filter(is_point).ok_or(NoKey("public"))
    }
}

/// A publisher's key, with which packages are signed.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a seed, which must be secret.
    #[must_use]
    pub fn of_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The key as OpenSSL writes it; keep it secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PRIVATE KEY", &[&PKCS8_PREFIX[..], &self.0.to_bytes()[..]].concat())
    }

    /// Signs a statement.
    #[must_use]
    pub fn sign(&self, statement: &Statement<'_>) -> Signature {
        let value = self.0.sign(statement.to_string().as_bytes()).to_bytes();
        Signature { key: self.public(), value }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl FromStr for SecretKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = unpem("PRIVATE KEY", text);
        let seed = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.strip_prefix(&PKCS8_PREFIX)?).ok());
        seed.map(Self::of_seed).ok_or(NoKey("private"))
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
}

fn unpem(label: &str, text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

/// What a signature is made over: which bytes, under which name, and all that they may do.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The plugin's name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Who publishes it.
    pub publisher: &'a str,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: &'a str,
    /// What it asks for.
    pub rights: &'a Rights,
}

/// The canonical bytes: one line for each fact, in this order, the rights sorted, each line ended.
impl fmt::Display for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, publisher, digest, rights } = self;
        writeln!(f, "{STATEMENT_HEAD}\nname {name}\nversion {version}\npublisher {publisher}")?;
        writeln!(f, "digest sha256:{digest}")?;
        rights.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A signature with the key that it was made with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The public half of the key.
    pub key: PublicKey,
    value: [u8; 64],
}

impl Signature {
    /// Whether the key has signed this statement.
    #[must_use]
    pub fn holds_for(&self, statement: &Statement<'_>) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.value);
        let key = VerifyingKey::from_bytes(&self.key.0);
        key.is_ok_and(|key| key.verify_strict(statement.to_string().as_bytes(), &signature).is_ok())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.key.id())
    }
}

/// The text of a `.sig` file and of the section in a package.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = STANDARD.encode(self.value);
        write!(f, "{SIGNATURE_HEAD}\nkey {}\nvalue {value}\n", self.key.to_base64())
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let mut lines = text.lines();
            if lines.next()? != SIGNATURE_HEAD {
                return None;
            }
            let key = lines.next()?.strip_prefix("key ")?.parse().ok()?;
            let value = STANDARD.decode(lines.next()?.strip_prefix("value ")?).ok()?;
            let value = value.try_into().ok()?;
            lines.next().is_none().then_some(Self { key, value })
        };
        read().ok_or_else(|| Error::Invalid { faults: vec![Fault::plain("", FaultCode::BadSignature)] })
    }
}

/// How a host stands to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The operator has added it for this publisher.
    Known(String),
    /// It was the first that has signed for this publisher.
    FirstUse(String),
    /// It counts no more.
    Revoked,
    /// Nobody knows it.
    Unknown,
}

/// Why a package may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A key that the policy accepts has signed it.
    Signed,
    /// A key has signed it that is the publisher's first, and is remembered from now on.
    FirstUse(PublicKey),
    /// Nobody vouches for it, and the policy lets it in.
    Unsigned,
}

/// Judges a package of `publisher` by its signatures, all of which hold, and how the host stands to
/// their keys.
///
/// # Errors
/// [`Error::Refused`] with what is missing.
pub fn judge(
    policy: TrustPolicy,
    publisher: &str,
    signatures: &[(PublicKey, Standing)],
    has_keys: bool,
) -> Result<Verdict> {
    let mut refusal = None;
    for (key, standing) in signatures {
        let key_id = key.id();
        match standing {
            Standing::Known(of) if of == publisher => return Ok(Verdict::Signed),
            Standing::FirstUse(of) if of == publisher => match policy {
                TrustPolicy::SignedOnly | TrustPolicy::UnsignedAllowed => return Ok(Verdict::Signed),
                TrustPolicy::KnownPublishers => refusal = Some(Reason::UnknownKey { key: key_id }),
            },
            Standing::Known(of) | Standing::FirstUse(of) => {
                refusal = Some(Reason::WrongPublisher { key: key_id, publisher: of.clone() });
            }
            Standing::Revoked => refusal = Some(Reason::RevokedKey { key: key_id }),
            Standing::Unknown => match policy {
                TrustPolicy::SignedOnly if !has_keys => return Ok(Verdict::FirstUse(*key)),
                // In development a key that nobody knows is as good as none.
                TrustPolicy::UnsignedAllowed => {}
                TrustPolicy::SignedOnly | TrustPolicy::KnownPublishers => {
                    refusal = Some(Reason::UnknownKey { key: key_id });
                }
            },
        }
    }
    match (refusal, policy) {
        (Some(reason), _) => Err(Error::refused(reason)),
        (None, TrustPolicy::UnsignedAllowed) => Ok(Verdict::Unsigned),
        (None, TrustPolicy::KnownPublishers | TrustPolicy::SignedOnly) => {
            Err(Error::refused(Reason::Unsigned { policy: policy.as_str().to_owned() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::of_seed([seed; 32])
    }

    fn rights() -> Rights {
        Rights { imports: ["kv.get-many".to_owned()].into(), ..Rights::default() }
    }

    fn statement<'a>(version: &'a str, digest: &'a str, rights: &'a Rights) -> Statement<'a> {
        Statement { name: "coffee-club", version, publisher: "example", digest, rights }
    }

    #[test]
    fn the_canonical_bytes_are_these() {
        let rights = rights();
        assert_eq!(
            statement("1.0.0", "abc", &rights).to_string(),
            "hospes package statement 1\nname coffee-club\nversion 1.0.0\npublisher example\n\
             digest sha256:abc\nimport kv.get-many\n"
        );
    }

    #[test]
    fn a_signature_holds_for_its_statement_alone() {
        let (rights, none) = (rights(), Rights::default());
        let signature = key(1).sign(&statement("1.0.0", "abc", &rights));
        assert!(signature.holds_for(&statement("1.0.0", "abc", &rights)));
        assert!(!signature.holds_for(&statement("1.0.1", "abc", &rights)));
        assert!(!signature.holds_for(&statement("1.0.0", "abd", &rights)));
        assert!(!signature.holds_for(&statement("1.0.0", "abc", &none)));
        let other = Signature { key: key(2).public(), ..signature };
        assert!(!other.holds_for(&statement("1.0.0", "abc", &rights)));
        let read: Signature = signature.to_string().parse().unwrap();
        assert_eq!(read, signature);
        assert!("hospes signature 2\n".parse::<Signature>().is_err());
        assert!(format!("{signature}more\n").parse::<Signature>().is_err());
    }

    #[test]
    fn keys_are_written_as_openssl_writes_them() {
        let key = key(7);
        assert_eq!(key.to_pem().parse::<SecretKey>().unwrap().public(), key.public());
        assert_eq!(key.public().to_pem().parse(), Ok(key.public()));
        assert_eq!(key.public().to_base64().parse(), Ok(key.public()));
        // The test key of RFC 8410, section 10.
        let rfc = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert_eq!(rfc.parse::<SecretKey>().unwrap().public(), public.parse().unwrap());
        assert!("secret".parse::<SecretKey>().is_err());
        assert!(STANDARD.encode([0; 32]).parse::<PublicKey>().is_err());
    }

    fn judged(
        policy: TrustPolicy,
        standing: Option<Standing>,
        has_keys: bool,
    ) -> Result<Verdict, &'static str> {
        let signatures: Vec<_> = standing.map(|standing| (key(1).public(), standing)).into_iter().collect();
        judge(policy, "example", &signatures, has_keys).map_err(|error| error.reason().as_str())
    }

    #[test]
    fn the_policy_decides_who_comes_in() {
        use TrustPolicy::{KnownPublishers, SignedOnly, UnsignedAllowed};
        let known = || Some(Standing::Known("example".to_owned()));
        let first = || Some(Standing::FirstUse("example".to_owned()));
        let other = || Some(Standing::Known("other".to_owned()));
        for policy in TrustPolicy::ALL {
            assert_eq!(judged(*policy, known(), true), Ok(Verdict::Signed));
            assert_eq!(judged(*policy, other(), true), Err("wrong_publisher"));
            assert_eq!(judged(*policy, Some(Standing::Revoked), true), Err("revoked_key"));
        }
        assert_eq!(judged(KnownPublishers, first(), true), Err("unknown_key"));
        assert_eq!(judged(SignedOnly, first(), true), Ok(Verdict::Signed));
        assert_eq!(judged(KnownPublishers, Some(Standing::Unknown), false), Err("unknown_key"));
        assert_eq!(judged(SignedOnly, Some(Standing::Unknown), true), Err("unknown_key"));
        assert_eq!(
            judged(SignedOnly, Some(Standing::Unknown), false),
            Ok(Verdict::FirstUse(key(1).public()))
        );
        assert_eq!(judged(UnsignedAllowed, Some(Standing::Unknown), false), Ok(Verdict::Unsigned));
        assert_eq!(judged(KnownPublishers, None, true), Err("unsigned"));
        assert_eq!(judged(SignedOnly, None, false), Err("unsigned"));
        assert_eq!(judged(UnsignedAllowed, None, false), Ok(Verdict::Unsigned));
    }
}
