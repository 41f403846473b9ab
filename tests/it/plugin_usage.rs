//! What plugins use, counted for billing.

use std::sync::Arc;

use hospes::domain::permission::Role;
use hospes::ops::plugins::{actions, usage, usage_export};
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

const USAGE: &str = "/api/v1/plugin-usage";

async fn add(rig: &Rig) {
    rig.act("probe", "add", json!({ "amount": 1 })).await.unwrap();
}

async fn rows(rig: &Rig) -> Vec<Value> {
    let rows = rig.app.owner.all(USAGE).await;
    rows.into_iter().filter(|row| row["point"] == "actions").collect()
}

both_engines! {
    async fn what_a_plugin_uses_is_summed_by_day_and_extension_point(rig: Rig) {
        rig.enable(guests::PROBE).await;
        add(&rig).await;
        assert_eq!(rows(&rig).await, Vec::<Value>::new());
        usage::write_down(&rig.core).await.unwrap();
        let once = rows(&rig).await;
        let [first] = once.as_slice() else { panic!("{once:?}") };
        assert_eq!((&first["day"], &first["plugin"], &first["calls"], &first["failures"]), (&json!("2026-03-01"), &json!("probe"), &json!(1), &json!(0)));
        assert!(first["fuel"].as_i64().unwrap() > 1_000 && first["duration_us"].as_i64().unwrap() > 0, "{first}");
        assert!(first["rows_written"].as_i64().unwrap() > 0 && first["bytes"].as_i64().unwrap() > 0, "{first}");

        // The same work burns the same fuel: the sum is what a partner has measured, times two.
        add(&rig).await;
        usage::write_down(&rig.core).await.unwrap();
        let second = rows(&rig).await[0].clone();
        assert_eq!(second["calls"], 2);
        rig.act("probe", "refuse", json!({})).await.unwrap_err();
        usage::write_down(&rig.core).await.unwrap();
        assert_eq!((&rows(&rig).await[0]["calls"], &rows(&rig).await[0]["failures"]), (&json!(3), &json!(0)));

        rig.clock.advance_seconds(16 * 60 * 60);
        add(&rig).await;
        usage::write_down(&rig.core).await.unwrap();
        let days: Vec<_> = rows(&rig).await.iter().map(|row| row["day"].clone()).collect();
        assert_eq!(days, ["2026-03-01", "2026-03-02"]);
        let last = rig.app.owner.all(&format!("{USAGE}?from=2026-03-02&to=2026-03-02")).await;
        assert!(!last.is_empty() && last.iter().all(|row| row["day"] == "2026-03-02"), "{last:?}");
        assert_eq!(rig.app.owner.get(&format!("{USAGE}?from=today")).await.status.as_u16(), 400);
    }

    async fn a_run_that_breaks_off_is_paid_for_and_counted_as_a_failure(rig: Rig) {
        rig.enable(guests::HOSTILE).await;
        rig.act("hostile", "trap", json!({})).await.unwrap_err();
        usage::write_down(&rig.core).await.unwrap();
        let rows = rows(&rig).await;
        assert_eq!((&rows[0]["calls"], &rows[0]["failures"]), (&json!(1), &json!(1)));
        assert!(rows[0]["fuel"].as_i64().unwrap() > 0);
    }

    async fn two_servers_add_to_one_sum(rig: Rig) {
        rig.enable(guests::PROBE).await;
        let other = rig.second_server();
        add(&rig).await;
        let target = hospes::domain::event::Subject::Customer(rig.customer.clone());
        let input = json!({ "amount": 1 });
        actions::run(&other, &rig.actor, ("probe", "add"), target, input).await.unwrap();
        let (here, there) = tokio::join!(usage::write_down(&rig.core), usage::write_down(&other));
        assert!(here.unwrap() > 0 && there.unwrap() > 0);
        assert_eq!(rows(&rig).await[0]["calls"], 2);
        // What is written is not written again.
        assert_eq!(usage::write_down(&rig.core).await.unwrap(), 0);
    }

    async fn the_export_is_csv_of_ones_own_tenant(rig: Rig) {
        rig.enable(guests::PROBE).await;
        add(&rig).await;
        usage::write_down(&rig.core).await.unwrap();
        let export = format!("{USAGE}/export");
        let answer = rig.app.owner.get(&export).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/csv; charset=utf-8"));
        let rows = rig.app.owner.all(USAGE).await;
        let text = usage::export(&rig.core, &rig.actor, &usage::Days::default()).await.unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), rows.len() + 1);
        assert!(lines[0].starts_with("day,plugin,plugin_version,point,calls,"), "{text}");
        let actions = rows.iter().find(|row| row["point"] == "actions").unwrap();
        let line = format!("2026-03-01,probe,1.0.0,actions,1,0,{},", actions["fuel"]);
        assert!(lines.iter().any(|known| known.starts_with(&line)), "{line}\n{text}");

        assert_eq!(rig.there.owner.all(USAGE).await, Vec::<Value>::new());
        let agent = rig.app.acme.token(&[Role::Agent]).await;
        assert_eq!(agent.get(&export).await.code(), (403, "forbidden"));
    }

    async fn the_operators_export_has_all_tenants_with_the_publishers_of_what_they_used(rig: Rig) {
        rig.enable(guests::PROBE).await;
        rig.enable_for(&rig.neighbour, guests::HOSTILE).await;
        let there = rig.customer_of(&rig.neighbour).await;
        add(&rig).await;
        let target = hospes::domain::event::Subject::Customer(there);
        actions::run(&rig.core, &rig.neighbour, ("hostile", "behave"), target, json!({})).await.unwrap();
        rig.clock.advance_seconds(24 * 60 * 60);
        add(&rig).await;
        usage::write_down(&rig.core).await.unwrap();

        let all = async |days: usage::Days| {
            let mut export = usage_export::begin(&rig.core, days);
            let mut pieces = Vec::new();
            while let Some(piece) = export.next().await.unwrap() {
                assert!(piece.ends_with("\r\n") && piece.matches('\n').count() <= 1_000);
                pieces.push(piece);
            }
            assert_eq!(export.next().await.unwrap(), None);
            pieces.concat()
        };
        let text = all(usage::Days::default()).await;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("tenant,tenant_slug,day,plugin,plugin_version,publisher,point,calls,failures,fuel,"), "{text}");
        let is_there = |start: &str| lines.iter().any(|line| line.starts_with(start));
        let (here, there) = (&rig.actor.tenant, &rig.neighbour.tenant);
        assert!(is_there(&format!("{here},acme,2026-03-01,probe,1.0.0,hospes-tests,actions,1,0,")), "{text}");
        assert!(is_there(&format!("{here},acme,2026-03-02,probe,1.0.0,hospes-tests,actions,1,0,")), "{text}");
        assert!(is_there(&format!("{there},there,2026-03-01,hostile,1.0.0,hospes-tests,actions,1,0,")), "{text}");
        // The sums are those that each tenant sees for itself.
        let own = rig.app.owner.all(USAGE).await.len() + rig.there.owner.all(USAGE).await.len();
        assert_eq!(lines.len(), own + 1);
        let day = Some("2026-03-02".to_owned());
        let text = all(usage::Days { from: day.clone(), to: day }).await;
        assert!(text.lines().skip(1).all(|line| line.contains(",2026-03-02,")) && !text.contains(there.as_str()));
    }

    async fn rows_are_kept_for_a_year_and_a_month(rig: Rig) {
        use hospes::jobs::retention::{Policy, Retention};

        rig.enable(guests::PROBE).await;
        add(&rig).await;
        usage::write_down(&rig.core).await.unwrap();
        let retention = Retention::new(Arc::clone(&rig.core), Policy::default(), tokio_util::sync::CancellationToken::new());
        rig.clock.advance_seconds(usage::DAYS_KEPT * 24 * 60 * 60);
        assert_eq!(retention.run_once().await.unwrap().usage, 0);
        rig.clock.advance_seconds(24 * 60 * 60);
        assert!(retention.run_once().await.unwrap().usage > 0);
        let text = usage::export(&rig.core, &rig.actor, &usage::Days::default()).await.unwrap();
        assert_eq!(text.lines().count(), 1, "nothing is left but the head: {text}");
    }
}
