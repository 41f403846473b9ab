//! Commands on the database as a whole: migrate, backup, restore; and the API's description.

use std::path::Path;

use super::output::{Failure, Outcome, say};
use super::server;
use crate::config::{Config, DatabaseUrl};
use crate::db::backup::{self, Existing};
use crate::db::{self, Db};
use crate::files::DataFolder;
use crate::http;

/// `hospes migrate`.
pub(super) async fn migrate(config: &Config) -> Outcome {
    let database = match (&config.database, &config.database_owner) {
        (DatabaseUrl::Sqlite(_), _) => {
            DataFolder::open(&config.data)?;
            server::database(config)
        }
        (DatabaseUrl::Postgres(_), Some(owner)) => {
            db::Config::Postgres(db::PostgresConfig::new(owner.expose()))
        }
        (DatabaseUrl::Postgres(_), None) => {
            return Err(Failure::usage(
                "PostgreSQL's tables are changed by the role that owns them: set `database.owner_url` \
                 (HOSPES_DATABASE_OWNER_URL)",
            ));
        }
    };
    let applied = Db::migrate(&database).await?;
    if applied.is_empty() {
        return say("the database is up to date");
    }
    applied.iter().try_for_each(|name| say(format_args!("applied {name}")))
}

/// `hospes backup`.
pub(super) async fn backup(config: &Config, to: &Path) -> Outcome {
    let copy = backup::backup(sqlite_file(config)?, to).await?;
    say(format_args!("wrote and checked {} ({} bytes)", to.display(), copy.bytes))
}

/// `hospes restore`.
pub(super) async fn restore(config: &Config, from: &Path, replace: bool) -> Outcome {
    let file = sqlite_file(config)?;
    DataFolder::open(&config.data)?;
    let existing = if replace { Existing::Replace } else { Existing::Keep };
    let restored = backup::restore(from, file, existing).await?;
    let rows: u64 = restored.rows.values().sum();
    say(format_args!("{} is now what {} holds: {rows} rows", file.display(), from.display()))
}

fn sqlite_file(config: &Config) -> Outcome<&Path> {
    match &config.database {
        DatabaseUrl::Sqlite(file) => Ok(file),
        DatabaseUrl::Postgres(_) => Err(Failure::usage(
            "this is for the embedded database; back PostgreSQL up with its own tools: pg_dump and pg_restore \
             for a copy, pg_basebackup with WAL archiving for any point in time",
        )),
    }
}

/// `hospes openapi`.
pub(super) fn openapi() -> Outcome {
    say(http::openapi().to_pretty_json().map_err(Failure::failed)?)
}
