//! The same rule in four places: in a plugin of ours, native, behind a webhook on this machine, and,
//! in a crate of its own under `benches/extism`, in Extism.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]
#[expect(dead_code, reason = "the other benchmark has many clients")]
#[path = "../rest/client.rs"]
mod client;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::post;
use axum::{Json, Router};
use client::{Client, Request};
use hospes::db::Config;
use hospes::ops::plugins::enablement::{self, NewEnablement};
use hospes::ops::plugins::{HookedEntity, Save, packages};
use hospes::plugin::Sandbox;
use hospes_sdk::{Customer, Hooks as _};
use retail_membership::Membership;
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Contender, compare, rate};
use tokio::runtime::Runtime;

const RETAIL: &str = "retail-membership";
/// Saves of one round; native answers so fast that it gets more.
const SAVES: usize = 2_000;
const NATIVE_SAVES: usize = 50_000;

/// What a webhook is sent.
#[derive(Deserialize)]
struct Told {
    before: Customer,
    after: Customer,
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Arc::new(Sandbox::new().unwrap());
    let config = Config::Sqlite { file: folder.path().join("host.db") };
    let (core, actor, _token) = runtime.block_on(host::open(&config, &sandbox, &[]));
    let retail = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == RETAIL).unwrap().component;
    runtime.block_on(async {
        packages::install(&core, retail.to_vec()).await.unwrap();
        let new = NewEnablement { version: None, grants: None, settings: None, backfill: false };
        enablement::enable(&core, &actor, RETAIL, new).await.unwrap();
    });
    let plugins = core.plugins().unwrap();
    let (before, after) = (customer("Lin Xiaoman"), customer("Lin Xiaomei"));
    let texts = [before.to_string(), after.to_string()];

    let through_host = || {
        let save =
            || Save { entity: HookedEntity::Customer, before: Some(before.clone()), after: after.clone() };
        let saves: Vec<Save> = (0..SAVES).map(|_| save()).collect();
        rate(SAVES, || {
            runtime.block_on(async {
                for save in saves {
                    plugins.before_save(&actor, save).await.unwrap();
                }
            });
        })
    };
    let native = || {
        rate(NATIVE_SAVES, || {
            for _ in 0..NATIVE_SAVES {
                let [before, after] = [&texts[0], &texts[1]].map(|text| serde_json::from_str(text).unwrap());
                assert_eq!(Membership::before_save_customer(Some(before), after).unwrap(), None);
            }
        })
    };
    let address = start_webhook();
    let request = || {
        let body = format!(r#"{{"before":{before},"after":{after}}}"#);
        Request { method: "POST", path: "/hook".to_owned(), body }
    };
    let mut open = Client::connect(address, "none");
    let webhook = || {
        rate(SAVES, || {
            for _ in 0..SAVES {
                assert_eq!(open.send(&request()), b"null");
            }
        })
    };
    let fresh = || {
        rate(SAVES / 10, || {
            for _ in 0..SAVES / 10 {
                assert_eq!(Client::connect(address, "none").send(&request()), b"null");
            }
        })
    };
    compare(
        "a customer's save is looked at",
        "saves",
        None,
        vec![
            Contender::new("a plugin, in a fresh instance", through_host),
            Contender::new("native, with the decoding", native),
            Contender::new("loopback HTTP, connection kept open", webhook),
            Contender::new("loopback HTTP, a connection each", fresh),
        ],
    );
}

/// The rule as somebody else's server has it.
fn start_webhook() -> SocketAddr {
    async fn look(Json(Told { before, after }): Json<Told>) -> Json<Value> {
        Json(Membership::before_save_customer(Some(before), after).unwrap().unwrap_or_default())
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().route("/api/v1/hook", post(look))).await.unwrap();
        });
    });
    address
}

fn customer(name: &str) -> Value {
    json!({
        "id": "cus_0000000000000000000000bare", "version": 3, "kind": "person", "name": name,
        "lifecycle_stage": "growth", "tags": ["vip"],
        "contact_points": [{"kind": "email", "value": "xiaoman@example.com", "primary": true}],
        "identities": [{"source": "shop", "external_id": "C1"}], "preferences": {"language": "zh-CN"},
        "custom_fields": {}, "fields": {"retail-membership.points": 120, "retail-membership.tier": "silver"},
        "created_at": "2026-01-01T00:00:00.000000Z", "updated_at": "2026-02-01T00:00:00.000000Z",
    })
}
