//! Endpoints of plugins: matched, checked, limited and described by the host.

use axum::http::{Method, StatusCode};
use hospes::domain::permission::Role;
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

const X: &str = "/api/v1/plugins/probe/x";

both_engines! {
    async fn a_route_reads_and_writes_what_is_the_plugins_own(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = &rig.app.owner;
        let put = owner.request(Method::PUT, &format!("{X}/notes/a%2Fb")).json(json!({ "text": "hi" })).await;
        assert_eq!((put.status, &put.body), (StatusCode::NO_CONTENT, &json!("")));
        let read = owner.get(&format!("{X}/notes/a%2Fb?style=b+c")).await;
        assert_eq!(read.status, StatusCode::OK, "{}", read.body);
        let note = json!({ "note": { "text": "hi", "size": 1 }, "style": "b c" });
        assert_eq!(read.body, note, "the default is filled in, and an encoded slash is no separator");
        // A plain segment is preferred to a parameter.
        assert_eq!(owner.get(&format!("{X}/notes/latest")).await.body, json!({ "latest": "a/b" }));

        let audit = owner.get("/api/v1/audit").await.body;
        let line = audit["items"].as_array().unwrap().iter().find(|line| line["action"] == "plugin.route");
        assert_eq!(line.unwrap()["changes"], json!({ "method": "PUT", "path": "/notes/{name}" }), "{audit}");
        assert_eq!(owner.delete(&format!("{X}/notes/a%2Fb")).await.status, StatusCode::NO_CONTENT);
        let gone = owner.get(&format!("{X}/notes/a%2Fb")).await;
        assert_eq!(gone.body["plugin_code"], "not_found", "{}", gone.body);
    }

    async fn a_request_takes_effect_once_for_one_key(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let path = format!("{X}/tallies/{}", rig.customer);
        for _ in 0..2 {
            let added = rig.app.owner.post(&path, json!({ "amount": 5 })).header("idempotency-key", "k").await;
            assert_eq!((added.status, &added.body), (StatusCode::CREATED, &json!({ "amount": 5 })));
        }
        let refused = rig.app.owner.post(&path, json!({ "amount": -6 })).await;
        assert_eq!(refused.body["plugin_code"], "too_few", "{}", refused.body);
        assert_eq!(rig.app.owner.post(&path, json!({ "amount": -5 })).await.body, json!({ "amount": 0 }));
    }

    async fn a_get_may_not_write(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let sneaky = rig.app.owner.get(&format!("{X}/sneaky")).await;
        assert_eq!(sneaky.body["plugin_code"], "denied", "{}", sneaky.body);
        assert_eq!(rig.act("probe", "peek", json!({ "keys": ["sneaky"] })).await.unwrap().body, json!([null]));
    }

    async fn what_the_manifest_refuses_does_not_reach_the_plugin(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let owner = &rig.app.owner;
        let put = async |body: Value| owner.request(Method::PUT, &format!("{X}/notes/n")).json(&body).await.faults();
        assert_eq!(put(json!({ "text": 1 })).await, ["/text wrong_type"]);
        let mut faults = put(json!({ "more": 1 })).await;
        faults.sort();
        assert_eq!(faults, ["/more unknown_field", "/text required"]);
        let query = owner.get(&format!("{X}/notes/n?style=a&style=b&colour=red")).await;
        assert_eq!(query.faults(), ["/style repeated", "/colour unknown_parameter"]);
        let empty = owner.request(Method::PUT, &format!("{X}/notes/n")).await;
        assert_eq!(empty.faults(), [" required"]);
        let text = owner.request(Method::PUT, &format!("{X}/notes/n")).body("text/plain", "{}".to_owned()).await;
        assert_eq!(text.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let twice = owner.request(Method::PUT, &format!("{X}/notes/n"));
        let twice = twice.body("application/json", r#"{"text":"a","text":"b"}"#.to_owned()).await;
        assert_eq!(twice.status, StatusCode::BAD_REQUEST);
        let giant = json!({ "text": "a", "more": "x".repeat(300 << 10) });
        assert!(put(giant).await.contains(&" too_many_bytes".to_owned()));
        for path in ["notes", "notes/", "notes/n/m", "no-such", "notes/%00", "notes/%ff", "../plugins"] {
            let missing = owner.get(&format!("{X}/{path}")).await;
            assert_eq!(missing.status, StatusCode::NOT_FOUND, "{path}: {}", missing.body);
        }
        assert_eq!(owner.post(&format!("{X}/notes/n"), json!({})).await.status, StatusCode::NOT_FOUND);
    }

    async fn what_a_plugin_may_not_answer_is_its_failure(rig: Rig) {
        rig.enable(guests::PROBE).await;
        for path in ["teapot", "liar"] {
            let answer = rig.app.owner.get(&format!("{X}/{path}")).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{path}: {}", answer.body);
            assert_eq!(answer.body["plugin_code"], "response", "{}", answer.body);
        }
    }

    async fn a_route_is_for_the_roles_that_its_manifest_names(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let put = async |role: Role| {
            let client = rig.app.acme.token(&[role]).await;
            let answer = client.request(Method::PUT, &format!("{X}/notes/n")).json(json!({ "text": "a" })).await;
            (answer.status, answer.body["code"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(put(Role::Manager).await.0, StatusCode::NO_CONTENT);
        assert_eq!(put(Role::Integration).await, (StatusCode::FORBIDDEN, "role".to_owned()));
        assert_eq!(put(Role::Analyst).await, (StatusCode::FORBIDDEN, "forbidden".to_owned()));
        assert_eq!(rig.app.get(&format!("{X}/notes/n")).await.status, StatusCode::UNAUTHORIZED);
        // The other tenant has not enabled the plugin.
        assert_eq!(rig.there.owner.get(&format!("{X}/notes/n")).await.status, StatusCode::NOT_FOUND);
    }

    async fn the_description_of_the_api_has_the_tenants_own_routes(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let address = "/api/v1/tenant/openapi.json";
        let document = rig.app.owner.get(address).header("accept-language", "zh-CN").await.body;
        let note = &document["paths"]["/api/v1/plugins/probe/x/notes/{name}"];
        assert_eq!(note["get"]["parameters"][1]["name"], "style", "{note}");
        assert_eq!(note["put"]["requestBody"]["content"]["application/json"]["schema"]["required"], json!(["text"]));
        assert_eq!(note["put"]["x-roles"], json!(["manager", "owner"]));
        assert_eq!(note["put"]["tags"], json!(["probe"]));
        assert!(document["paths"]["/api/v1/customers"].is_object(), "the core's paths are there too");
        let elsewhere = rig.there.owner.get(address).await.body;
        assert!(!elsewhere.to_string().contains("/plugins/probe/x"), "nobody else has it");
        let core = rig.app.owner.get("/api/v1/openapi.json").await.body;
        assert!(!core.to_string().contains("/plugins/probe/x"));
        assert_eq!(rig.app.get(address).await.status, StatusCode::UNAUTHORIZED);
    }
}
