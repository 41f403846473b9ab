//! Tenants: the companies that use the server.

use serde::{Deserialize, Serialize};

use super::actor::Locale;
use super::check::Faults;
use super::ids::TenantId;
use super::money::Currency;
use super::user::{self, Password};
use crate::clock::Timestamp;
use crate::domain::code::FaultCode;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters of a slug.
pub const SLUG_CHARS_MAX: usize = 63;

/// A company that uses the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tenant {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TenantId,
    /// Grows by one with every change.
    pub version: i64,
    /// Its short name at sign-in; never changes.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// The language of those who have not chosen one.
    pub locale: Locale,
    /// IANA name of the time zone in which its days begin.
    pub time_zone: String,
    /// ISO 4217 code of the currency that it reports in.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A tenant that the operator makes, with its first owner.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Short name at sign-in: lower-case letters, digits and hyphens.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// The language of those who have not chosen one.
    pub locale: Locale,
    /// IANA name of the time zone.
    pub time_zone: String,
    /// ISO 4217 code.
    pub currency: Currency,
    /// What the first owner types in at sign-in.
    pub owner_login: String,
    /// The first owner's name.
    pub owner_name: String,
    /// The first owner's password.
    pub owner_password: Password,
}

impl NewTenant {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        let slug_ok = (2..=SLUG_CHARS_MAX).contains(&self.slug.len())
            && self.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !self.slug.starts_with('-')
            && !self.slug.ends_with('-');
        if !slug_ok {
            faults.add(
                "/slug",
                FaultCode::wrong_format("^[a-z0-9][a-z0-9-]*[a-z0-9]$"),
                "must have 2 to 63 lower-case letters, digits and inner hyphens",
            );
        }
        faults.text("/name", &self.name, NAME_CHARS_MAX);
        check_time_zone(&mut faults, &self.time_zone);
        user::check_login(&mut faults, "/owner_login", &self.owner_login);
        faults.text("/owner_name", &self.owner_name, user::NAME_CHARS_MAX);
        user::check_password(&mut faults, "/owner_password", &self.owner_password, &self.owner_login);
        faults
    }
}

/// A change to a tenant (merge patch).
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    /// Its name.
    #[serde(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// The language of those who have not chosen one.
    #[serde(default)]
    #[schema(value_type = Locale, required = false)]
    pub locale: Option<Locale>,
    /// IANA name of the time zone, such as `Asia/Shanghai`.
    #[serde(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 64)]
    pub time_zone: Option<String>,
    /// ISO 4217 code of the currency that it reports in.
    #[serde(default)]
    #[schema(value_type = String, required = false, pattern = "^[A-Z]{3}$")]
    pub currency: Option<Currency>,
}

impl TenantPatch {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        if let Some(name) = &self.name {
            faults.text("/name", name, NAME_CHARS_MAX);
        }
        if let Some(time_zone) = &self.time_zone {
            check_time_zone(&mut faults, time_zone);
        }
        faults
    }

    /// The tenant as it will be.
    #[must_use]
    pub fn apply(self, before: Tenant, now: Timestamp) -> Tenant {
        let Self { name, locale, time_zone, currency } = self;
        Tenant {
            version: before.version + 1,
            name: name.unwrap_or(before.name),
            locale: locale.unwrap_or(before.locale),
            time_zone: time_zone.unwrap_or(before.time_zone),
            currency: currency.unwrap_or(before.currency),
            updated_at: now,
            ..before
        }
    }
}

fn check_time_zone(faults: &mut Faults, name: &str) {
    // The library also reads POSIX rules and is lenient about case; a name with a slash, or UTC, is IANA's.
    let known = jiff::tz::TimeZone::get(name).is_ok_and(|zone| zone.iana_name() == Some(name));
    if !known {
        faults.plain("/time_zone", FaultCode::BadTimeZone);
    }
}
