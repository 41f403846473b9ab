//! How our own types stand in rows: ids and JSON as text, times as whole microseconds.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Type};

use crate::clock::Timestamp;
use crate::domain::ids::{
    AuditId, BlobId, CustomerId, EventId, ImportId, LogId, OrderId, OrgUnitId, ProductId, RecordingId,
    RefundId, SessionId, TenantId, TimelineId, TokenId, UserId, WebhookAttemptId, WebhookId, WebhookSecretId,
};

macro_rules! stored_as {
    ($stored:ty: $($type:ty => $convert:expr;)*) => {$(
        impl<DB: Database> Type<DB> for $type
        where
            $stored: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$stored as Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <$stored as Type<DB>>::compatible(ty)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $type
        where
            $stored: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let convert: fn($stored) -> Self = $convert;
                Ok(convert(<$stored as Decode<'r, DB>>::decode(value)?))
            }
        }
    )*};
}

stored_as! { i64:
    Timestamp => Timestamp::from_micros;
}

stored_as! { String:
    TenantId => Self::from_stored;
    OrgUnitId => Self::from_stored;
    UserId => Self::from_stored;
    SessionId => Self::from_stored;
    TokenId => Self::from_stored;
    CustomerId => Self::from_stored;
    ProductId => Self::from_stored;
    OrderId => Self::from_stored;
    RefundId => Self::from_stored;
    TimelineId => Self::from_stored;
    EventId => Self::from_stored;
    AuditId => Self::from_stored;
    ImportId => Self::from_stored;
    LogId => Self::from_stored;
    WebhookId => Self::from_stored;
    WebhookSecretId => Self::from_stored;
    WebhookAttemptId => Self::from_stored;
    BlobId => Self::from_stored;
    RecordingId => Self::from_stored;
}

/// A column of JSON text; where a row is shown as it is, the JSON itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

impl<DB: Database, T> Type<DB> for Json<T>
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <String as Type<DB>>::compatible(ty)
    }
}

impl<'r, DB: Database, T: DeserializeOwned> Decode<'r, DB> for Json<T>
where
    String: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <String as Decode<'r, DB>>::decode(value)?;
        Ok(Self(serde_json::from_str(&text)?))
    }
}
