//! The product as a server has it, with one tenant in it: the machine's clock, random
//! ids, the plugin host and its metrics.

use std::sync::Arc;

use hospes::clock::SystemClock;
use hospes::db::{Config, Db};
use hospes::domain::actor::{Actor, Locale};
use hospes::domain::ids::TenantId;
use hospes::domain::money::Currency;
use hospes::domain::permission::Role;
use hospes::domain::tenant::NewTenant;
use hospes::domain::token::NewToken;
use hospes::domain::user::Password;
use hospes::ids::RandomIds;
use hospes::metrics::Metrics;
use hospes::ops::{Core, access, events, tenants, tokens};
use hospes::plugin::{Artifacts, PluginHost, Sandbox};
use hospes::vault::{KEY_BYTES, Vault};

/// Opens the product on a database; answers what use cases work with, who owns a token
/// with all rights in the one tenant, and the token. Somebody subscribes to the events
/// `told`, so that each of them has a delivery.
pub(crate) async fn open(
    config: &Config,
    sandbox: &Arc<Sandbox>,
    told: &[&str],
) -> (Arc<Core>, Actor, String) {
    drop(Metrics::start());
    let db = Db::open(config).await.unwrap();
    let mut core = Core::new(db, Arc::new(SystemClock), Arc::new(RandomIds::default()));
    // Without a key nothing is recorded.
    core.vault = Vault::new([7; KEY_BYTES], None);
    let core = Arc::new(core);
    PluginHost::connect(&core, Arc::clone(sandbox), Artifacts::new(None, [0; 32]));
    let operator = Actor::operator(make_tenant(&core).await);
    let told: Vec<String> = told.iter().map(|name| (*name).to_owned()).collect();
    let state = (operator.tenant.clone(), told, core.now());
    let subscribed = core.db.write(&operator.tenant, state, |tx, (tenant, told, at)| {
        Box::pin(events::subscribe(tx, tenant, "bench:subscriber", told, *at))
    });
    subscribed.await.unwrap();
    let new = NewToken {
        name: "bench".to_owned(),
        roles: vec![Role::Owner],
        permissions: None,
        org_unit_id: None,
        expires_at: None,
    };
    let token = tokens::create(&core, &operator, new).await.unwrap().secret.unwrap();
    let actor = access::by_token(&core, &token).await.unwrap().actor.clone();
    (core, actor, token)
}

async fn make_tenant(core: &Core) -> TenantId {
    let new = NewTenant {
        slug: "bench".to_owned(),
        name: "Bench".to_owned(),
        locale: Locale::En,
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::parse("CNY").unwrap(),
        owner_login: "owner".to_owned(),
        owner_name: "Owner".to_owned(),
        owner_password: Password::new("correct horse battery"),
    };
    let (tenant, _owner) = tenants::create(core, new).await.unwrap();
    tenant.id
}
