//! Users: the people who work for a tenant, and their sessions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::actor::Locale;
use super::check::Faults;
use super::ids::{OrgUnitId, SessionId, UserId};
use super::patch::Patch;
use super::permission::Role;
use crate::clock::Timestamp;
use crate::domain::code::FaultCode;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters of a login name at least.
pub const LOGIN_CHARS_MIN: usize = 2;
/// Characters of a login name at most.
pub const LOGIN_CHARS_MAX: usize = 100;
/// Characters of a password at least: ASVS asks for 8 and recommends more.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Characters of a password at most: hashing takes longer the more there are.
pub const PASSWORD_CHARS_MAX: usize = 200;

/// Passwords of the required length that everybody tries first.
const COMMON_PASSWORDS: &[&str] = &[
    "1234567890",
    "0123456789",
    "12345678910",
    "123456789a",
    "a123456789",
    "1q2w3e4r5t",
    "qwertyuiop",
    "password12",
    "password123",
    "password1234",
    "passw0rd123",
    "administrator",
    "changeme123",
    "letmein123",
    "iloveyou123",
    "welcome123",
    "1111111111",
    "0000000000",
    "88888888888",
    "woaini1314520",
    "q1w2e3r4t5",
    "abcdefghij",
    "abc1234567",
    "5201314520",
    "woaini520520",
    "admin123456",
    "hospes12345",
];

/// A password as it was typed in; never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password, for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether a person may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// They may.
    Active,
    /// They may not; their records stay.
    Disabled,
}

impl UserState {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    /// The state of a stored name.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        if text == "active" { Self::Active } else { Self::Disabled }
    }
}

/// A person who works for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    /// Their id.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Grows by one with every change.
    pub version: i64,
    /// What they type in at sign-in, in lower case.
    pub login: String,
    /// Their name.
    pub name: String,
    /// Whether they may sign in.
    pub state: UserState,
    /// What they are for the tenant; several add up.
    pub roles: Vec<Role>,
    /// The unit that "team" means for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub org_unit_id: Option<OrgUnitId>,
    /// Their language, if they have chosen one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// When they were added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When they were last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A person to add.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What they type in at sign-in: a name or mail address; upper and lower case are the same.
    #[schema(min_length = 2, max_length = 100, pattern = "^[A-Za-z0-9._@+-]+$")]
    pub login: String,
    /// Their name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The password to begin with.
    #[schema(value_type = String, min_length = 10, max_length = 200, format = Password)]
    pub password: Password,
    /// What they are for the tenant; nobody can give a right that they do not have.
    #[schema(min_items = 1, max_items = 9)]
    pub roles: Vec<Role>,
    /// The unit that "team" means for them.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 40)]
    pub org_unit_id: Option<OrgUnitId>,
    /// Their language.
    #[serde(default)]
    pub locale: Option<Locale>,
}

/// A change to a user (merge patch).
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// Their name.
    #[serde(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// `disabled` ends their sessions at once.
    #[serde(default)]
    #[schema(value_type = UserState, required = false)]
    pub state: Option<UserState>,
    /// What they are for the tenant.
    #[serde(default)]
    #[schema(value_type = Vec<Role>, required = false, min_items = 1, max_items = 9)]
    pub roles: Option<Vec<Role>>,
    /// The unit that "team" means for them.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 40)]
    pub org_unit_id: Patch<OrgUnitId>,
    /// Their language; null leaves it to the tenant.
    #[serde(default)]
    #[schema(value_type = Option<Locale>)]
    pub locale: Patch<Locale>,
}

/// A change to one's own record (merge patch): what needs nobody's leave.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfPatch {
    /// Their name.
    #[serde(default)]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Their language; null leaves it to the tenant.
    #[serde(default)]
    #[schema(value_type = Option<Locale>)]
    pub locale: Patch<Locale>,
}

/// A signed-in browser or client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// What the client called itself at sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The address that the client signed in from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When the person signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used, to within five minutes.
    #[schema(value_type = String, format = DateTime)]
    pub last_used_at: Timestamp,
    /// When it ends at the latest.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A login name in the form in which it is kept.
#[must_use]
pub fn fold_login(login: &str) -> String {
    login.to_ascii_lowercase()
}

/// Roles without repetition, in the order of their declaration.
#[must_use]
pub fn distinct(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort();
    roles.dedup();
    roles
}

/// Notes what is wrong with a login name.
pub fn check_login(faults: &mut Faults, pointer: &str, login: &str) {
    if login.chars().count() < LOGIN_CHARS_MIN {
        faults.plain(pointer, FaultCode::TooShort { min: LOGIN_CHARS_MIN.to_string() });
    }
    faults.optional_text(pointer, login, LOGIN_CHARS_MAX);
    if !login.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b)) {
        faults.plain(pointer, FaultCode::wrong_format("^[A-Za-z0-9._@+-]+$"));
    }
}

/// Notes what is wrong with a new password.
pub fn check_password(faults: &mut Faults, pointer: &str, password: &Password, login: &str) {
    let text = password.expose();
    let folded = text.to_lowercase();
    let chars = text.chars().count();
    if chars > PASSWORD_CHARS_MAX {
        faults.plain(pointer, FaultCode::too_long(PASSWORD_CHARS_MAX));
    }
    if chars < PASSWORD_CHARS_MIN {
        faults.plain(pointer, FaultCode::TooShort { min: PASSWORD_CHARS_MIN.to_string() });
    }
    if COMMON_PASSWORDS.contains(&folded.as_str()) || folded == login.to_lowercase() {
        faults.plain(pointer, FaultCode::CommonPassword);
    }
}
