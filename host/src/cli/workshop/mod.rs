//! What a plugin's author works with: a new crate, its compilation, its checks and tests, and a local
//! host that takes every edit.
//!
//! Nothing here is needed to run a server.

pub(super) mod args;
mod build;
mod check;
mod dev;
mod new;
mod rehearsal;
mod sources;
mod template;

use args::Workshop;

use super::admin::make_up_password;
use super::output::{Failure, Outcome};
use crate::domain::actor::{Actor, Locale};
use crate::domain::money::Currency;
use crate::domain::permission::Role;
use crate::domain::tenant::NewTenant;
use crate::domain::token::NewToken;
use crate::domain::user::Password;
use crate::ops::{Core, tenants, tokens};

/// `hospes plugin new`, `build`, `check`, `test`, `dev`.
pub(super) async fn run(command: Workshop) -> Outcome {
    match command {
        Workshop::New { folder, parts, publisher } => new::run(folder, parts, &publisher),
        Workshop::Build { project, out } => build::run(&project.folder, out),
        Workshop::Check { path, json } => check::run(&path, json),
        Workshop::Test { project, arguments } => build::test(&project.folder, &arguments),
        Workshop::Dev { project, data, listen } => dev::run(&project.folder, data, listen).await,
        Workshop::Rehearse { component, cache } => rehearsal::run(&component, cache.as_deref()).await,
    }
}

/// A tenant in English, UTC and US dollars; answers who may do everything in it.
async fn make_tenant(core: &Core, (slug, name): (&str, &str)) -> Outcome<Actor> {
    let new = NewTenant {
        slug: slug.to_owned(),
        name: name.to_owned(),
        locale: Locale::En,
        time_zone: "UTC".to_owned(),
        currency: Currency::parse("USD").expect("three capital letters"),
        owner_login: "owner".to_owned(),
        owner_name: "Owner".to_owned(),
        owner_password: Password::new(make_up_password(&*core.ids)),
    };
    let (tenant, _) = tenants::create(core, new).await?;
    Ok(Actor::operator(tenant.id))
}

/// A token of an owner that does not expire.
async fn make_token(core: &Core, actor: &Actor, name: &str) -> Outcome<String> {
    let new = NewToken {
        name: name.to_owned(),
        roles: vec![Role::Owner],
        permissions: None,
        org_unit_id: None,
        expires_at: None,
    };
    let made = tokens::create(core, actor, new).await?;
    made.secret.ok_or_else(|| Failure::failed("the token was made before"))
}
