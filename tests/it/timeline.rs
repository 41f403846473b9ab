//! The timeline through the API: contacts and behaviour, writing twice, filters, and nobody else's entries.

use hospes::domain::permission::Role;
use hospes_tests::{TestApp, both_engines};
use serde_json::{Value, json};

fn call() -> Value {
    json!({
        "channel": "phone", "direction": "inbound", "summary": "Asks for the receipt", "outcome": "resolved",
        "duration_s": 90, "content": "Hello?\nHere is Lin.", "occurred_at": "2026-02-01T08:00:00Z",
    })
}

/// A server, and the addresses of a customer of `acme`.
struct Shop {
    app: TestApp,
    customer: String,
}

impl hospes_tests::Harness for Shop {
    async fn start(engine: hospes_tests::Engine) -> Option<Self> {
        let app = TestApp::start(engine).await?;
        let customer = format!("/api/v1/customers/{}", app.acme.customer("Lin").await.id);
        Some(Self { app, customer })
    }
}

impl Shop {
    fn interactions(&self) -> String {
        format!("{}/interactions", self.customer)
    }

    fn behaviours(&self) -> String {
        format!("{}/behaviours", self.customer)
    }

    async fn summaries(&self, query: &str) -> Vec<String> {
        let page = self.app.owner.get(&format!("{}/timeline?{query}", self.customer)).await.expect(200).body;
        let items = page["items"].as_array().unwrap().iter();
        items.map(|entry| entry["summary"].as_str().unwrap().to_owned()).collect()
    }
}

both_engines! {
    async fn a_contact_is_noted_as_it_was(shop: Shop) {
        let owner = &shop.app.owner;
        let made = owner.post(&shop.interactions(), call()).await.expect(201).body;
        for (name, value) in call().as_object().unwrap() {
            let shown = if name == "occurred_at" { &json!("2026-02-01T08:00:00.000000Z") } else { value };
            assert_eq!(&made[name], shown, "{name}");
        }
        assert_eq!((&made["category"], &made["kind"]), (&json!("interaction"), &json!("interaction")));
        assert!(made.get("agent_id").is_none(), "a token is nobody: {made}");
        let listed = owner.get(&format!("{}/timeline", shop.customer)).await.expect(200).body;
        assert_eq!(listed["items"], json!([made]));
    }

    async fn whoever_notes_a_contact_had_it(shop: Shop) {
        let user = shop.app.acme.user("ada", &[Role::Admin]).await;
        let ada = shop.app.acme.sign_in("ada").await;
        let made = ada.post(&shop.interactions(), call()).await.expect(201).body;
        assert_eq!(made["agent_id"], json!(user.id));
        let mut of_another = call();
        of_another["agent_id"] = json!(shop.app.acme.user.id);
        assert_eq!(ada.post(&shop.interactions(), &of_another).await.expect(201).body["agent_id"], of_another["agent_id"]);
        of_another["agent_id"] = json!(format!("usr_{}", "0".repeat(26)));
        let refused = ada.post(&shop.interactions(), &of_another).await.expect(422);
        assert_eq!(refused.faults(), ["/agent_id unknown_reference"]);
    }

    async fn behaviour_needs_no_words(shop: Shop) {
        let new = json!({"type": "add_to_cart", "object": "COF-LAT", "device": "ios", "details": {"pieces": 2}});
        let made = shop.app.owner.post(&shop.behaviours(), new).await.expect(201).body;
        assert_eq!((&made["category"], &made["kind"]), (&json!("behaviour"), &json!("add_to_cart")));
        assert_eq!((&made["summary"], &made["details"]), (&json!(""), &json!({"pieces": 2})));
        assert_eq!(made["occurred_at"], made["created_at"], "now, unless it says when");
    }

    async fn every_fault_is_told_at_once(shop: Shop) {
        let with = |name: &str, value: Value| {
            let mut entry = call();
            entry[name] = value;
            entry
        };
        let deep = (0..9).fold(json!(1), |inner, _| json!({"a": inner}));
        for (name, value) in [
            ("summary", json!("")),
            ("summary", json!("汉".repeat(167))),
            ("summary", json!("x".repeat(501))),
            ("channel", json!("x".repeat(101))),
            ("outcome", json!("x".repeat(101))),
            ("direction", json!("sideways")),
            ("duration_s", json!(-1)),
            ("duration_s", json!(604_801)),
            ("content", json!("x".repeat(20_001))),
            ("details", deep),
            ("details", json!({"a": "x".repeat(17_000)})),
            ("occurred_at", json!("yesterday")),
            ("source", json!("cc")),
            ("mood", json!("angry")),
        ] {
            let refused = shop.app.owner.post(&shop.interactions(), with(name, value)).await.expect(422);
            // A source alone lacks its id.
            let pointer = if name == "source" { "/external_id" } else { name };
            assert!(refused.faults().iter().all(|fault| fault.contains(pointer)), "{name}: {refused}");
        }
        let several = json!({"channel": "", "direction": "inbound", "summary": " ", "duration_s": 700_000});
        let refused = shop.app.owner.post(&shop.interactions(), several).await.expect(422);
        assert!(refused.faults().len() >= 2, "{refused}");
        for bad in ["Browse", "1st", "a b", ""] {
            shop.app.owner.post(&shop.behaviours(), json!({"type": bad})).await.expect(422);
        }
        assert!(shop.summaries("").await.is_empty());
        for good in [with("duration_s", json!(0)), with("duration_s", json!(604_800)), with("summary", json!("汉".repeat(166)))] {
            shop.app.owner.post(&shop.interactions(), good).await.expect(201);
        }
    }

    async fn what_a_source_states_twice_is_there_once(shop: Shop) {
        let owner = &shop.app.owner;
        let mut stated = call();
        stated["source"] = json!("cc");
        stated["external_id"] = json!("1");
        let made = owner.post(&shop.interactions(), &stated).await.expect(201).body;
        stated["summary"] = json!("Said otherwise");
        assert_eq!(owner.post(&shop.interactions(), &stated).await.expect(200).body, made);
        assert_eq!(shop.summaries("").await, ["Asks for the receipt"]);
        let audit = owner.get("/api/v1/audit?entity=timeline").await.expect(200).body;
        assert_eq!(audit["items"].as_array().unwrap().len(), 1, "and noted once");

        let other = shop.app.acme.customer("Wang").await;
        let elsewhere = owner.post(&format!("/api/v1/customers/{}/interactions", other.id), &stated).await;
        assert_eq!(elsewhere.code(), (409, "external_id_taken"));
        stated["source"] = json!("plugin:probe");
        let reserved = owner.post(&shop.interactions(), &stated).await.expect(422);
        assert_eq!(reserved.faults(), ["/source reserved"]);
    }

    async fn a_list_shows_the_latest_first_and_what_it_is_asked_for(shop: Shop) {
        let owner = &shop.app.owner;
        for (day, channel) in [(3, "phone"), (1, "mail"), (2, "phone")] {
            let mut entry = call();
            entry["channel"] = json!(channel);
            entry["summary"] = json!(format!("call {day}"));
            entry["occurred_at"] = json!(format!("2026-02-0{day}T00:00:00Z"));
            owner.post(&shop.interactions(), entry).await.expect(201);
        }
        let visit = json!({"type": "visit", "summary": "visit 2", "channel": "web", "occurred_at": "2026-02-02T12:00:00Z"});
        owner.post(&shop.behaviours(), visit).await.expect(201);
        assert_eq!(shop.summaries("").await, ["call 3", "visit 2", "call 2", "call 1"]);
        assert_eq!(shop.summaries("category=behaviour").await, ["visit 2"]);
        assert_eq!(shop.summaries("kind=visit").await, ["visit 2"]);
        assert_eq!(shop.summaries("channel=phone").await, ["call 3", "call 2"]);
        assert_eq!(shop.summaries("since=2026-02-02T00:00:00Z&until=2026-02-03T00:00:00Z").await, ["visit 2", "call 2"]);
        assert_eq!(shop.summaries("category=plugin").await, Vec::<String>::new());
        let page = owner.get(&format!("{}/timeline?limit=3", shop.customer)).await.expect(200).body;
        let rest = shop.summaries(&format!("cursor={}", page["next_cursor"].as_str().unwrap())).await;
        assert_eq!(rest, ["call 1"]);
        for bad in ["category=other", "since=now", "limit=0", "sort=id", "cursor=AAAA"] {
            owner.get(&format!("{}/timeline?{bad}", shop.customer)).await.expect(400);
        }
    }

    async fn another_tenants_customer_has_no_timeline(shop: Shop) {
        shop.app.owner.post(&shop.interactions(), call()).await.expect(201);
        let stranger = shop.app.tenant("other").await.owner;
        let missing = format!("/api/v1/customers/cus_{}", "0".repeat(26));
        for customer in [&shop.customer, &missing] {
            let timeline = stranger.get(&format!("{customer}/timeline")).await;
            assert_eq!(timeline.code(), (404, "not_found"));
            let contact = stranger.post(&format!("{customer}/interactions"), call()).await;
            assert_eq!(contact.code(), (404, "not_found"));
            let visit = stranger.post(&format!("{customer}/behaviours"), json!({"type": "visit"})).await;
            assert_eq!(visit.code(), (404, "not_found"));
        }
        assert_eq!(shop.summaries("").await.len(), 1);
    }

    async fn a_deleted_customers_timeline_is_missing_too(shop: Shop) {
        shop.app.owner.post(&shop.interactions(), call()).await.expect(201);
        shop.app.owner.delete(&shop.customer).await.expect(204);
        shop.app.owner.get(&format!("{}/timeline", shop.customer)).await.expect(404);
        shop.app.owner.post(&shop.interactions(), call()).await.expect(404);
    }
}
