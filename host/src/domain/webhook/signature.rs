//! Signatures of deliveries, as Standard Webhooks 1.0 describes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::ids::Ids;

/// What a secret begins with, so that scanners of leaked secrets know it.
const PREFIX: &str = "whsec_";
/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A new secret, as it is shown once.
#[must_use]
pub fn mint(ids: &dyn Ids) -> String {
    let mut secret = [0; SECRET_BYTES];
    ids.fill_secret(&mut secret);
    format!("{PREFIX}{}", BASE64_STANDARD.encode(secret))
}

/// The key in a secret as it was shown; `None` if it is none.
#[must_use]
pub fn signing_key(secret: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()
}

/// The value of `webhook-signature`: one signature for each key, over the id, the time and the body.
#[must_use]
pub fn sign<'k>(
    keys: impl IntoIterator<Item = &'k [u8]>,
    (id, at): (&str, Timestamp),
    body: &[u8],
) -> String {
    let seconds = at.as_micros().div_euclid(1_000_000);
    let signature = |key: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a MAC takes a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    };
    let signatures: Vec<_> = keys.into_iter().map(signature).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RandomIds;

    #[test]
    fn the_published_vector_is_signed_as_published() {
        let key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_micros(1_614_265_330_000_000);
        let signed = sign([&*key], ("msg_p5jXN8AQM9LWM0D4loKWxJek", at), br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_key_signs_and_every_part_is_signed() {
        let at = Timestamp::from_micros(1_000_000);
        let [a, b] = [&[1_u8; 32][..], &[2; 32]];
        let both = sign([a, b], ("id", at), b"body");
        let alone = sign([a], ("id", at), b"body");
        assert_eq!(both, format!("{alone} {}", sign([b], ("id", at), b"body")));
        for other in [
            sign([a], ("di", at), b"body"),
            sign([a], ("id", at.plus_seconds(1)), b"body"),
            sign([a], ("id", at), b"bodx"),
        ] {
            assert_ne!(other, alone);
        }
    }

    #[test]
    fn a_secret_that_is_shown_is_read_back() {
        let ids = RandomIds::default();
        let secret = mint(&ids);
        assert_eq!(signing_key(&secret).unwrap().len(), SECRET_BYTES);
        assert_ne!(mint(&ids), secret);
        assert_eq!(signing_key("hsp_x"), None);
    }
}
