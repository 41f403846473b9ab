//! Commands on the database as a whole: migrate, backup, restore; and the API's description.

use super::output::{Failure, Outcome, say};
use super::server;
use crate::config::{Config, DatabaseUrl};
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

/// `hospes openapi`.
pub(super) fn openapi() -> Outcome {
    say(http::openapi().to_pretty_json().map_err(Failure::failed)?)
}
