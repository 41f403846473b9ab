//! What ends by itself: plugins that answer one another, and a plugin that is never available.

use hospes::domain::actor::CAUSE_DEPTH_MAX;
use hospes_tests::{Client, TestApp, both_engines, guests};
use serde_json::{Value, json};

async fn create(app: &TestApp, name: &str) -> String {
    let made = app.owner.post("/api/v1/customers", json!({"kind": "person", "name": name})).await.expect(201);
    made.body["id"].as_str().unwrap().to_owned()
}

async fn lane(client: &Client, plugin: &str) -> Value {
    let lanes = client.all("/api/v1/events/lanes").await;
    let consumer = format!("plugin:{plugin}");
    lanes.into_iter().find(|lane| lane["consumer"] == consumer.as_str()).expect("the plugin has a lane")
}

async fn dead_letters(client: &Client, plugin: &str) -> Vec<Value> {
    client.all(&format!("/api/v1/events/lanes/plugin:{plugin}/dead-letters")).await
}

async fn field(app: &TestApp, customer: &str, field: &str) -> Value {
    let customer = app.owner.get(&format!("/api/v1/customers/{customer}")).await.expect(200).body;
    customer["fields"][field].clone()
}

/// The events of the customer's feed, once all of them can be seen.
async fn depths(app: &TestApp, customer: &str) -> Vec<u64> {
    let subject = format!("customer/{customer}");
    let mut depths = Vec::new();
    let mut after = String::new();
    // Other databases of the same cluster may hold the horizon back for a moment.
    for _ in 0..500 {
        let page = app.owner.get(&format!("/api/v1/events?limit=200{after}")).await.expect(200).body;
        let mine =
            page["items"].as_array().unwrap().iter().filter(|event| event["subject"] == subject.as_str());
        depths.extend(mine.map(|event| event["causationdepth"].as_u64().unwrap()));
        if depths.contains(&u64::from(CAUSE_DEPTH_MAX)) {
            return depths;
        }
        after = format!("&after={}", page["next_cursor"].as_str().unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no event of the last depth is seen: {depths:?}");
}

both_engines! {
    async fn a_plugin_is_not_told_of_what_it_does_itself(app: TestApp) {
        // It sets a field at every event, and that is a change of the customer.
        let probe = app.enable(guests::PROBE).await;
        let ada = create(&app, "Ada").await;
        let report = app.run_jobs().await;
        assert_eq!((report.dispatch.handled, report.dispatch.dead), (1, 0));
        assert_eq!(field(&app, &ada, "probe.events").await, 1);
        assert_eq!(lane(&app.owner, &probe).await["waiting"], 0);
    }

    async fn two_plugins_that_answer_each_other_are_stopped_and_the_stop_is_a_dead_letter(app: TestApp) {
        let probe = app.enable(guests::PROBE).await;
        let other = app.enable(&guests::edited(guests::PROBE, "name = \"probe\"", "name = \"echo2\"")).await;
        let ada = create(&app, "Ada").await;
        let report = app.run_jobs().await;
        assert_eq!(report.dispatch.failed, 0, "what can never succeed is not tried again");
        let depths = depths(&app, &ada).await;
        assert_eq!(depths.iter().max(), Some(&u64::from(CAUSE_DEPTH_MAX)));

        let mut dead = dead_letters(&app.owner, &probe).await;
        dead.extend(dead_letters(&app.owner, &other).await);
        assert_eq!(u64::try_from(dead.len()).unwrap(), report.dispatch.dead);
        assert!(!dead.is_empty());
        for letter in &dead {
            assert_eq!((&letter["name"], &letter["attempts"]), (&json!("customer.updated"), &json!(1)));
            let error = letter["last_error"].as_str().unwrap();
            assert!(error.contains("more than 8 reactions away from its first cause"), "{error}");
        }
        // Whoever comes next is served.
        for plugin in [&probe, &other] {
            let lane = lane(&app.owner, plugin).await;
            assert_eq!((&lane["waiting"], &lane["failures"]), (&json!(0), &json!(0)), "{lane}");
        }
        let lin = create(&app, "Lin").await;
        app.run_jobs().await;
        assert!(field(&app, &lin, "probe.events").await.as_i64().unwrap() >= 1);
    }

    async fn a_plugin_that_is_never_available_delays_its_lane_and_then_only_the_event(app: TestApp) {
        let hostile = app.enable(guests::HOSTILE).await;
        let well = create(&app, "Ada").await;
        create(&app, "hostile: event fails").await;
        let late = create(&app, "Lin").await;
        let junk = async || {
            let kept = app.owner.all("/api/v1/plugins/hostile/collections/junk").await;
            kept.iter().map(|one| one["subject_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };

        // At first it is believed, and the whole lane waits: nothing counts against the event.
        let mut pauses = 0;
        while junk().await.is_empty() {
            app.run_jobs().await;
            let lane = lane(&app.owner, &hostile).await;
            if junk().await.is_empty() {
                pauses += 1;
                assert_eq!(lane["failures"], pauses, "{lane}");
                assert!(lane["last_error"].as_str().unwrap().contains("never available"), "{lane}");
                assert!(lane["retry_at"].is_string(), "{lane}");
            }
            assert!(pauses < 10, "the lane waits for ever");
            app.clock.advance_seconds(6 * 60);
        }
        assert_eq!(pauses, 4);
        // Then the others go on without it.
        let mut served = junk().await;
        served.sort();
        let mut expected = vec![well, late];
        expected.sort();
        assert_eq!(served, expected);
        let health = app.owner.get("/api/v1/plugins/hostile").await.expect(200).body;
        assert_eq!(health["last_failures"][0]["code"], "unavailable", "{health:#}");
        assert!(health["health"][0]["failures"].as_u64().unwrap() >= 5, "{health:#}");

        // And after its own attempts the event is a dead letter; nobody waits for it meanwhile.
        let mut dead = Vec::new();
        for _ in 0..10 {
            app.clock.advance_seconds(6 * 60 * 60);
            let next = create(&app, "Grace").await;
            app.run_jobs().await;
            assert!(junk().await.contains(&next), "the event holds up others");
            dead = dead_letters(&app.owner, &hostile).await;
            if !dead.is_empty() {
                break;
            }
        }
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0]["attempts"], 8, "{}", dead[0]);
        assert!(dead[0]["last_error"].as_str().unwrap().contains("never available"), "{}", dead[0]);
    }
}
