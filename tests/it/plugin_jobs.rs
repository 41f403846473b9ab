//! Plugins' schedules through the runner: when they are due, once, and what is made up for.

use axum::http::Method;
use hospes::domain::permission::Role;
use hospes::domain::tenant::NewTenant;
use hospes_tests::{Client, Engine, Harness, TestApp, TestTenant, both_engines, guests, new_tenant};
use serde_json::json;

/// A server, a tenant in Helsinki, where the clocks jump from 03:00 to 04:00 and back from 04:00 to
/// 03:00, and the probe, whose job `nightly` is due at 03:30 and whose job `tick` every quarter of an hour.
struct Nights {
    app: TestApp,
    helsinki: TestTenant,
}

impl Harness for Nights {
    async fn start(engine: Engine) -> Option<Self> {
        let app = TestApp::start(engine).await?;
        let zone = NewTenant { time_zone: "Europe/Helsinki".to_owned(), ..new_tenant("helsinki") };
        let helsinki = app.tenant_with(zone).await;
        hospes::ops::plugins::packages::install(&app.core, guests::PROBE.to_vec()).await.unwrap();
        Some(Self { app, helsinki })
    }
}

impl Nights {
    /// An owner whose token has not expired yet.
    async fn owner(&self) -> Client {
        self.helsinki.token(&[Role::Owner]).await
    }

    async fn enable(&self, at: &str) {
        self.app.set_time(at);
        self.owner().await.post("/api/v1/plugins/probe/enablement", json!({})).await.expect(201);
    }

    /// Runs what is due at each of these times.
    async fn pass(&self, times: &[&str]) {
        for time in times {
            self.app.set_time(time);
            assert_eq!(self.app.run_jobs().await.schedules.failed, 0);
        }
    }

    /// For when the runs of a job were due, in their order.
    async fn runs(&self, job: &str) -> Vec<String> {
        let lines = self.owner().await.all("/api/v1/plugins/probe/log").await;
        let prefix = format!("{job} was due at ");
        let due = lines.iter().filter_map(|line| line["message"].as_str().unwrap().strip_prefix(&prefix));
        let mut due: Vec<String> = due.map(str::to_owned).collect();
        due.sort();
        due
    }
}

both_engines! {
    async fn a_night_whose_hour_is_skipped_has_its_run_when_the_clocks_have_moved(nights: Nights) {
        nights.enable("2026-03-28T12:00:00Z").await;
        nights.pass(&["2026-03-29T00:59:59Z"]).await;
        assert!(nights.runs("nightly").await.is_empty());
        // 04:00, the first instant after 03:30 on the clocks of that day; then later that day, and the next.
        nights.pass(&["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:29:59Z"]).await;
        assert_eq!(nights.runs("nightly").await, ["2026-03-29T01:00:00.000000Z"]);
        nights.pass(&["2026-03-30T00:30:00Z"]).await;
        assert_eq!(nights.runs("nightly").await, ["2026-03-29T01:00:00.000000Z", "2026-03-30T00:30:00.000000Z"]);
    }

    async fn a_night_whose_hour_comes_twice_has_one_run(nights: Nights) {
        nights.enable("2026-10-24T12:00:00Z").await;
        // 03:30 in summer time, 03:30 in winter time, and just before the next night's.
        nights.pass(&["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:29:59Z"]).await;
        assert_eq!(nights.runs("nightly").await, ["2026-10-25T00:30:00.000000Z"]);
        nights.pass(&["2026-10-26T01:30:00Z"]).await;
        assert_eq!(nights.runs("nightly").await, ["2026-10-25T00:30:00.000000Z", "2026-10-26T01:30:00.000000Z"]);
    }

    async fn an_interval_keeps_its_step_through_both_changes_of_the_clocks(nights: Nights) {
        for (begin, day) in [("2026-03-29T00:20:00Z", "2026-03-29"), ("2026-10-25T00:20:00Z", "2026-10-25")] {
            nights.enable(begin).await;
            let quarters: Vec<String> =
                (2..=7).map(|quarter| format!("{day}T{:02}:{:02}:00.000000Z", quarter / 4, quarter % 4 * 15)).collect();
            for quarter in &quarters {
                // Twice, because looking again must not run again.
                nights.pass(&[quarter, quarter]).await;
            }
            let runs = nights.runs("tick").await;
            assert_eq!(runs[runs.len() - quarters.len()..], quarters);
            nights.owner().await.delete("/api/v1/plugins/probe/enablement").await.expect(204);
        }
    }

    async fn one_run_makes_up_for_all_that_were_missed(nights: Nights) {
        nights.enable("2026-06-01T12:00:00Z").await;
        nights.pass(&["2026-06-06T12:00:00Z"]).await;
        // The run is told for when the first of the missed ones was due.
        assert_eq!(nights.runs("nightly").await, ["2026-06-02T00:30:00.000000Z"]);
        assert_eq!(nights.runs("tick").await, ["2026-06-01T12:15:00.000000Z"]);
        nights.pass(&["2026-06-06T12:14:59Z"]).await;
        assert_eq!((nights.runs("tick").await.len(), nights.runs("nightly").await.len()), (1, 1));
        nights.pass(&["2026-06-06T12:15:00Z", "2026-06-07T00:30:00Z"]).await;
        let nightly = nights.runs("nightly").await;
        assert_eq!(nightly.last().unwrap(), "2026-06-07T00:30:00.000000Z");
        assert_eq!((nights.runs("tick").await.len(), nightly.len()), (3, 2));
    }

    async fn two_servers_that_look_at_once_run_a_job_once(nights: Nights) {
        nights.enable("2026-06-01T12:00:00Z").await;
        let second = nights.app.second_server();
        nights.app.set_time("2026-06-02T00:30:00Z");
        let (one, other) = tokio::join!(nights.app.schedules.run_once(), second.schedules.run_once());
        let (one, other) = (one.unwrap(), other.unwrap());
        // Half past two is due as well.
        assert_eq!((one.finished + other.finished, one.failed + other.failed), (3, 0));
        assert_eq!((nights.runs("nightly").await.len(), nights.runs("tick").await.len()), (1, 1));
    }

    async fn a_tenant_that_moves_has_its_nights_there_at_once(nights: Nights) {
        nights.enable("2026-06-01T12:00:00Z").await;
        let tenant = nights.owner().await.request(Method::PATCH, "/api/v1/tenant").header("if-match", "*");
        tenant.json(json!({"time_zone": "Asia/Shanghai"})).await.expect(200);
        nights.pass(&["2026-06-01T19:29:59Z"]).await;
        assert!(nights.runs("nightly").await.is_empty());
        nights.pass(&["2026-06-01T19:30:00Z", "2026-06-02T00:30:00Z"]).await;
        assert_eq!(nights.runs("nightly").await, ["2026-06-01T19:30:00.000000Z"]);
    }

    async fn a_disabled_plugins_jobs_do_not_run(nights: Nights) {
        nights.enable("2026-06-01T12:00:00Z").await;
        nights.owner().await.delete("/api/v1/plugins/probe/enablement").await.expect(204);
        nights.pass(&["2026-06-05T12:00:00Z"]).await;
        assert!(nights.runs("nightly").await.is_empty() && nights.runs("tick").await.is_empty());
    }
}
