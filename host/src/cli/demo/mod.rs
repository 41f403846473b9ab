//! `hospes demo`: a made-up chain of bookshop cafés, served from a folder of its own.
//!
//! Everything goes in through the use cases, as the API's requests would.

mod catalogue;
mod generator;
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::admin::make_up_password;
use super::logs;
use super::output::{Failure, Outcome, say};
use super::server::{Server, stop_signal};
use crate::clock::Timestamp;
use crate::config::{self, Config, Sources};
use crate::domain::actor::{Actor, Locale};
use crate::domain::money::Currency;
use crate::domain::page::{PAGE_MAX, PageRequest};
use crate::domain::permission::Role;
use crate::domain::tenant::NewTenant;
use crate::domain::token::NewToken;
use crate::domain::user::Password;
use crate::error::Error;
use crate::files::{DataFolder, TemporaryFolder};
use crate::ops::plugins::enablement::{self, NewEnablement};
use crate::ops::users::UserFilter;
use crate::ops::{Core, dead_letters, tenants, tokens, users};

const SLUG: &str = "inkboat";
const PLUGIN: &str = "retail-membership";
/// The same chain in every run.
const SEED: u64 = 0x696e_6b62_6f61_7431;
/// How long the plugin may take over the history before the demo gives up.
const HISTORY_SECONDS_MAX: u64 = 120;
const TOKEN_NAME: &str = "demo";
const TOKEN_DAYS: i64 = 30;

/// Serves the demo until the signal to stop.
pub(super) async fn run(data: Option<PathBuf>, listen: SocketAddr) -> Outcome {
    let stop = stop_signal()?;
    let temporary = match data {
        Some(_) => None,
        None => Some(TemporaryFolder::create(crate::ids::Ids::next(
            &crate::ids::RandomIds::default(),
            Timestamp::default(),
        ))?),
    };
    let folder = match (&data, &temporary) {
        (Some(data), _) => data.as_path(),
        (None, Some(temporary)) => temporary.folder().path(),
        (None, None) => return Err(Failure::failed("the demo has no folder")),
    };
    let config = settings(folder, listen)?;
    logs::start(&config);
    DataFolder::open(folder)?;
    let server = Server::open(&config).await?;
    let core = Arc::clone(&server.app.core);
    let prepared = tokio::select! {
        prepared = prepare(&core) => prepared?,
        () = stop.cancelled() => {
            server.app.shutdown().await;
            core.db.close().await;
            return Ok(());
        }
    };
    let listening = server.listen().await?;
    prepared.tell(&listening.address(), data.as_deref())?;
    listening.run(stop).await
}

/// The settings of a demo: nothing of the machine's own server.
fn settings(folder: &Path, listen: SocketAddr) -> Outcome<Config> {
    let flags = BTreeMap::from([
        ("listen".to_owned(), listen.to_string()),
        ("data".to_owned(), folder.display().to_string()),
        ("log.filter".to_owned(), "warn".to_owned()),
        ("shutdown_grace_s".to_owned(), "5".to_owned()),
    ]);
    let sources = Sources { flags, ..Sources::default() };
    Ok(config::load(&sources)?)
}

/// What a visitor needs.
struct Prepared {
    password: String,
    token: String,
    /// The customer with the most orders.
    customer: String,
}

/// Fills an empty folder, or finds what an earlier run has left; a new password and token either way.
async fn prepare(core: &Arc<Core>) -> Outcome<Prepared> {
    let password = make_up_password(&*core.ids);
    let actor = match tenants::operator_of(core, SLUG).await {
        Ok(actor) => {
            reset_owner(core, &actor, &password).await?;
            revoke_earlier_tokens(core, &actor).await?;
            actor
        }
        Err(Error::NotFound { .. }) => fill(core, &password).await?,
        Err(error) => return Err(error.into()),
    };
    let expires_at = Some(core.now().plus_seconds(TOKEN_DAYS * 86_400));
    let roles = vec![Role::Admin];
    let new =
        NewToken { name: TOKEN_NAME.to_owned(), roles, permissions: None, org_unit_id: None, expires_at };
    let made = tokens::create(core, &actor, new).await?;
    let token = made.secret.ok_or_else(|| Failure::failed("the token was made before"))?;
    wait_for_history(core, &actor).await?;
    let customer = load::best_customer(core, &actor).await?;
    Ok(Prepared { password, token, customer })
}

async fn fill(core: &Arc<Core>, password: &str) -> Outcome<Actor> {
    say("making a chain of bookshop cafés with 300 customers and 3,000 orders ...")?;
    let owner = &catalogue::WORKERS[0];
    let new = NewTenant {
        slug: SLUG.to_owned(),
        name: catalogue::UNITS[0].name.to_owned(),
        locale: Locale::ZhCn,
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::parse("CNY").expect("three capital letters"),
        owner_login: owner.email.to_owned(),
        owner_name: owner.name.to_owned(),
        owner_password: Password::new(password),
    };
    let (tenant, _) = tenants::create(core, new).await?;
    let actor = Actor { locale: Locale::ZhCn, ..Actor::operator(tenant.id) };
    load::all(core, &actor, &generator::generate(SEED, core.now())).await?;
    let enable = NewEnablement { version: None, grants: None, settings: None, backfill: true };
    enablement::enable(core, &actor, PLUGIN, enable).await?;
    Ok(actor)
}

async fn reset_owner(core: &Core, actor: &Actor, password: &str) -> Outcome {
    let login = catalogue::WORKERS[0].email;
    let filter = UserFilter { login: Some(login.to_owned()), ..UserFilter::default() };
    let found = users::list(core, actor, &filter, &PageRequest::default()).await?;
    let owner = found.items.first().ok_or_else(|| Failure::failed(format!("user `{login}` not found")))?;
    Ok(users::reset_password(core, actor, &owner.id, Password::new(password)).await?)
}

/// The tokens of earlier runs in this folder: nobody needs them once there is a new one.
async fn revoke_earlier_tokens(core: &Core, actor: &Actor) -> Outcome {
    let mut page = PageRequest { limit: PAGE_MAX, cursor: None };
    loop {
        let found = tokens::list(core, actor, &page).await?;
        let earlier = found.items.iter();
        for token in earlier.filter(|token| token.name == TOKEN_NAME && token.revoked_at.is_none()) {
            tokens::revoke(core, actor, &token.id).await?;
        }
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            return Ok(());
        }
    }
}

/// Waits until the plugin has seen every order, so that the first look shows its points.
async fn wait_for_history(core: &Core, actor: &Actor) -> Outcome {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let consumer = format!("plugin:{PLUGIN}");
    let waiting = async {
        loop {
            let lane = dead_letters::lane_status(core, actor, &consumer).await?;
            let lane = lane.ok_or_else(|| Failure::failed(format!("{PLUGIN} does not listen")))?;
            let replayed = lane.backfill.as_ref().is_none_or(|backfill| backfill.state == "done");
            if replayed && lane.waiting == 0 {
                return Ok(lane.dead);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(HISTORY_SECONDS_MAX), waiting).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(dead)) => Err(Failure::failed(format!("{PLUGIN} has failed on {dead} events of the demo"))),
        Ok(Err(failure)) => Err(failure),
        Err(_elapsed) => {
            Err(Failure::failed(format!("{PLUGIN} has not seen all orders in {HISTORY_SECONDS_MAX} s")))
        }
    }
}

impl Prepared {
    fn tell(&self, address: &str, data: Option<&Path>) -> Outcome {
        let Self { password, token, customer } = self;
        let login = catalogue::WORKERS[0].email;
        let kept = match data {
            Some(folder) => format!("kept in {}", folder.display()),
            None => "gone when the server stops; --data FOLDER keeps it".to_owned(),
        };
        say(format_args!("ready at {address} (the API's pages: {address}/docs)"))?;
        say(format_args!("  data      {kept}"))?;
        say(format_args!("  sign in   tenant {SLUG}, login {login}, password {password}"))?;
        say(format_args!("  token     {token}"))?;
        say("try:")?;
        say(format_args!(
            "  curl -H 'Authorization: Bearer {token}' {address}/api/v1/customers/{customer}/overview"
        ))?;
        say(format_args!(
            "  curl -g -H 'Authorization: Bearer {token}' '{address}/api/v1/customers?fields[{PLUGIN}.tier]=gold&limit=5'"
        ))?;
        say("ctrl-c stops it")
    }
}
