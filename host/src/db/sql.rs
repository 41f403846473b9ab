//! Statements as named constants, and the arguments that they are run with.

use crate::clock::Timestamp;
use crate::domain::ids::TypedId;

/// The text of a statement; `$1` stands for the first argument on both engines.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Sql {
    /// One text for both engines.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }

    /// Two texts, for the few statements in which the dialects really differ;
    /// a comment beside each says why.
    #[must_use]
    pub const fn split(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    /// A text for PostgreSQL alone: what SQLite is asked instead stands beside it.
    #[must_use]
    pub const fn postgres_alone(text: &'static str) -> Self {
        Self { sqlite: "", postgres: text }
    }

    /// The text for SQLite; empty if SQLite is never asked so.
    #[must_use]
    pub const fn sqlite(self) -> &'static str {
        self.sqlite
    }

    /// The text for PostgreSQL.
    #[must_use]
    pub const fn postgres(self) -> &'static str {
        self.postgres
    }
}

/// Declares a module's statements: a private constant each, and `STATEMENTS`,
/// which `db/catalogue.rs` collects so that a test prepares every one on both engines.
///
/// ```ignore
/// statements! {
///     FIND = "SELECT id, name FROM users WHERE tenant = $1 AND id = $2";
///     // SQLite has one writer and no row locks.
///     CLAIM = split("UPDATE …", "UPDATE … FOR UPDATE SKIP LOCKED");
/// }
/// ```
macro_rules! statements {
    ($($rest:tt)*) => {
        $crate::db::sql::statements_munch! { [] $($rest)* }
    };
}
pub(crate) use statements;

macro_rules! statements_munch {
    ([$($name:ident)*]) => {
        /// Every statement of this module, for the catalogue's test.
        pub(in crate::db) const STATEMENTS: &[(&str, $crate::db::Sql)] = &[$((stringify!($name), $name)),*];
    };
    ([$($names:ident)*] $(#[$meta:meta])* $name:ident = split($sqlite:expr, $postgres:expr $(,)?); $($rest:tt)*) => {
        $(#[$meta])*
        const $name: $crate::db::Sql = $crate::db::Sql::split($sqlite, $postgres);
        $crate::db::sql::statements_munch! { [$($names)* $name] $($rest)* }
    };
    ([$($names:ident)*] $(#[$meta:meta])* $name:ident = postgres($text:expr $(,)?); $($rest:tt)*) => {
        $(#[$meta])*
        const $name: $crate::db::Sql = $crate::db::Sql::postgres_alone($text);
        $crate::db::sql::statements_munch! { [$($names)* $name] $($rest)* }
    };
    ([$($names:ident)*] $(#[$meta:meta])* $name:ident = $text:expr; $($rest:tt)*) => {
        $(#[$meta])*
        const $name: $crate::db::Sql = $crate::db::Sql::new($text);
        $crate::db::sql::statements_munch! { [$($names)* $name] $($rest)* }
    };
}
pub(crate) use statements_munch;

/// One argument. A missing value keeps its type, which PostgreSQL insists on.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// Text, also JSON and ids.
    Text(Option<String>),
    /// A whole number, also a time in microseconds.
    Int(Option<i64>),
    /// A truth value.
    Bool(Option<bool>),
    /// A floating-point number.
    Float(Option<f64>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

macro_rules! arg_from {
    ($($type:ty => $variant:ident($value:ident => $convert:expr);)*) => {$(
        impl From<$type> for Arg {
            fn from($value: $type) -> Self {
                Self::$variant(Some($convert))
            }
        }

        impl From<Option<$type>> for Arg {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $convert))
            }
        }
    )*};
}

arg_from! {
    String => Text(value => value);
    &String => Text(value => value.clone());
    &str => Text(value => value.to_owned());
    i64 => Int(value => value);
    i32 => Int(value => i64::from(value));
    u32 => Int(value => i64::from(value));
    Timestamp => Int(value => value.as_micros());
    bool => Bool(value => value);
    f64 => Float(value => value);
    Vec<u8> => Bytes(value => value);
    &[u8] => Bytes(value => value.to_vec());
    serde_json::Value => Text(value => value.to_string());
    &serde_json::Value => Text(value => value.to_string());
}

impl<T: TypedId> From<&T> for Arg {
    fn from(id: &T) -> Self {
        Self::Text(Some(id.as_str().to_owned()))
    }
}

impl<T: TypedId> From<Option<&T>> for Arg {
    fn from(id: Option<&T>) -> Self {
        Self::Text(id.map(|id| id.as_str().to_owned()))
    }
}

/// The arguments of a statement, in the order of `$1`, `$2`, …
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::db::Arg::from($value)),*]
    };
}
pub(crate) use args;
