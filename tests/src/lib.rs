//! What the tests stand on: a database of their own for each, on both engines, and
//! the whole server behind its router.
//!
//! A test is written once and runs twice, see [`both_engines!`].

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a harness starts clusters, copies databases and says why a test is passed over"
)]

mod app;
mod cluster;
mod db;
mod golden;
pub mod guests;
mod people;
mod proxy;
mod receiver;
mod request;

pub use app::{BEGINNING, JobsReport, SECRETS_KEY, SecondServer, TestApp};
pub use cluster::{Cluster, PostgresUrls};
pub use db::{Engine, Harness, TestDb, new_postgres};
pub use golden::assert_golden;
pub use people::{PASSWORD, TestTenant, new_tenant};
pub use proxy::Proxy;
pub use receiver::{Received, Receiver, Reply};
pub use request::{Client, TestRequest, TestResponse};

/// Declares tests that run on both engines: `name::sqlite` and `name::postgres`.
///
/// The argument is anything that is a [`Harness`]. Where there is no PostgreSQL to be
/// found, the second prints a line and passes, except in CI.
///
/// ```text
/// both_engines! {
///     async fn a_customer_can_be_read_back(app: TestApp) { … }
/// }
/// ```
#[macro_export]
macro_rules! both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($harness:ident: $type:ty) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports, reason = "a test may need nothing of its file")]
            use super::*;

            $(#[$meta])*
            async fn body($harness: $type) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let harness = <$type as $crate::Harness>::start($crate::Engine::Sqlite).await;
                body(harness.expect("SQLite is always there")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(harness) = <$type as $crate::Harness>::start($crate::Engine::Postgres).await {
                    body(harness).await;
                }
            }
        }
    )+};
}
