//! Typed ids: a prefix that names the kind and 26 characters that sort by time.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::ids::Ids;

/// Crockford's base 32 in lower case, whose order is that of the bytes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of an id after its prefix and underscore: 128 bits, five each.
const BODY_LENGTH: usize = 26;

/// What all typed ids have in common.
pub trait TypedId {
    /// The id as text.
    fn as_str(&self) -> &str;
}

/// A text that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id that begins with `{prefix}_`")]
pub struct InvalidId {
    prefix: &'static str,
}

/// The id `value` of a kind.
pub(crate) fn encode(prefix: &str, value: u128) -> String {
    let mut text = String::with_capacity(prefix.len() + 1 + BODY_LENGTH);
    text.push_str(prefix);
    text.push('_');
    for position in (0..BODY_LENGTH).rev() {
        let digit = (value >> (position * 5)) & 31;
        text.push(char::from(ALPHABET[usize::try_from(digit).expect("five bits fit")]));
    }
    text
}

fn is_valid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|body| body.len() == BODY_LENGTH && body.bytes().all(|b| ALPHABET.contains(&b)))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// What an id of this kind begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, greater than every earlier one of `ids`.
            #[must_use]
            pub fn new(ids: &dyn Ids, now: Timestamp) -> Self {
                Self(encode($prefix, ids.next(now)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes an id that the database has kept, where it was valid when it was written.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_valid($prefix, text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { prefix: $prefix })
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl TypedId for $name {
            fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

ids! {
    /// A company that uses the server; owns everything below.
    TenantId = "ten";
    /// A region, store or department of a tenant.
    OrgUnitId = "org";
    /// A person who works for a tenant.
    UserId = "usr";
    /// A signed-in browser or client of a user.
    SessionId = "ses";
    /// A bearer token of an integration.
    TokenId = "tok";
    /// A person or company that a tenant serves.
    CustomerId = "cus";
    /// A thing or service that a tenant sells.
    ProductId = "prd";
    /// A purchase.
    OrderId = "ord";
    /// Money given back for an order.
    RefundId = "ref";
    /// A contact with a customer, or something that a customer did.
    TimelineId = "tml";
    /// Something that has happened in a tenant's data.
    EventId = "evt";
    /// A line of the audit log.
    AuditId = "aud";
    /// An import job.
    ImportId = "imp";
    /// An address that is told what happens.
    WebhookId = "whk";
    /// A secret that a webhook's deliveries are signed with.
    WebhookSecretId = "whs";
    /// An attempt to tell a webhook of an event.
    WebhookAttemptId = "wha";
    /// A line of a plugin's log.
    LogId = "log";
    /// The content of a plugin's file.
    BlobId = "blb";
    /// What a run of a plugin was, so that it can be run again.
    RecordingId = "rec";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SequentialIds;

    #[test]
    fn ids_sort_as_they_were_made() {
        let ids = SequentialIds::default();
        let made: Vec<_> = (0..100).map(|i| CustomerId::new(&ids, Timestamp::from_micros(i * 700))).collect();
        let mut sorted = made.clone();
        sorted.sort();
        assert_eq!(made, sorted);
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = CustomerId::new(&SequentialIds::default(), Timestamp::default());
        assert!(id.as_str().parse::<CustomerId>().is_ok());
        assert!(id.as_str().parse::<OrderId>().is_err());
        assert!("cus_short".parse::<CustomerId>().is_err());
    }
}
