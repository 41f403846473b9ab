//! Cron schedules of plugins, and jobs that leave out what was slept through.

use hospes::domain::permission::Role;
use hospes::jobs::schedules::Report;
use hospes_tests::{both_engines, guests};
use serde_json::{Value, json};

use crate::plugin_rig::Rig;

impl Rig {
    /// What the probe keeps under these keys.
    async fn peek(&self, keys: &[&str]) -> Value {
        self.act("probe", "peek", json!({ "keys": keys })).await.unwrap().body
    }

    /// When a job of the probe is due.
    async fn due(&self, job: &str) -> String {
        // A token of the beginning has expired by some of these times.
        let owner = self.app.acme.token(&[Role::Owner]).await;
        let details = owner.get("/api/v1/plugins/probe").await.body;
        let jobs = details["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|one| one["name"] == job).unwrap();
        job["due_at"].as_str().unwrap_or_default().to_owned()
    }
}

both_engines! {
    async fn a_cron_job_goes_by_the_tenants_clocks_through_their_changes(rig: Rig) {
        rig.enable(guests::PROBE).await;
        assert_eq!(rig.due("half-past-two").await, "2026-03-01T18:30:00.000000Z");
        // The tenant moves, and what waits moves with it.
        rig.app.owner.patch("/api/v1/tenant", json!({ "time_zone": "Europe/Berlin" })).await.expect(200);
        assert_eq!(rig.due("half-past-two").await, "2026-03-02T01:30:00.000000Z");
        assert_eq!(rig.due("tick").await, "2026-03-01T08:15:00.000000Z");

        // On 29 March half past two is skipped, and on 25 October it comes twice.
        let days = [
            ("2026-03-28T01:30:00Z", "2026-03-29T01:00:00.000000Z"),
            ("2026-03-29T01:00:00Z", "2026-03-30T00:30:00.000000Z"),
            ("2026-10-24T00:30:00Z", "2026-10-25T00:30:00.000000Z"),
            ("2026-10-25T00:30:00Z", "2026-10-26T01:30:00.000000Z"),
        ];
        for (now, next) in days {
            rig.app.set_time(now);
            rig.app.run_jobs().await;
            assert_eq!(rig.due("half-past-two").await, next);
        }
        assert_eq!(rig.peek(&["half-past-two"]).await, json!([12]), "four runs of three chunks");
    }

    async fn missed_times_are_made_up_for_once_or_left_out(rig: Rig) {
        rig.enable(guests::PROBE).await;
        assert_eq!(rig.due("at-noon").await, "2026-03-02T04:00:00.000000Z");
        rig.app.set_time("2026-03-05T04:05:01Z");
        let report = rig.app.run_jobs().await.schedules;
        assert_eq!(report, Report { finished: 3, failed: 0, skipped: 1 });
        assert_eq!(rig.peek(&["at-noon", "half-past-two"]).await, json!([null, 3]));
        assert_eq!(rig.due("at-noon").await, "2026-03-06T04:00:00.000000Z");

        rig.app.set_time("2026-03-06T04:05:00Z");
        assert_eq!(rig.app.run_jobs().await.schedules.skipped, 0);
        assert_eq!(rig.peek(&["at-noon"]).await, json!([3]));
    }

    async fn a_job_is_run_before_its_time_when_somebody_wants_it(rig: Rig) {
        const RUN: &str = "/api/v1/plugins/probe/jobs/at-noon/run";
        rig.app.owner.post(RUN, json!({})).await.expect(404);
        rig.enable(guests::PROBE).await;
        assert_eq!(rig.app.run_jobs().await.schedules.finished, 0);
        let due = rig.app.owner.post(RUN, json!({})).await.expect(202).body;
        assert_eq!(due, json!({ "name": "at-noon", "due_at": rig.core.now(), "last_error": null }));
        // It is due once, however often it is said.
        rig.app.owner.post(RUN, json!({})).await.expect(202);
        assert_eq!(rig.app.run_jobs().await.schedules, Report { finished: 1, ..Report::default() });
        assert_eq!(rig.app.run_jobs().await.schedules.finished, 0);
        assert_eq!(rig.peek(&["at-noon"]).await, json!([3]));
        assert_eq!(rig.due("at-noon").await, "2026-03-02T04:00:00.000000Z", "its schedule goes on");
        let audit = rig.app.owner.get("/api/v1/audit").await.body;
        let lines = audit["items"].as_array().unwrap().iter();
        let told: Vec<_> = lines.filter(|line| line["action"] == "plugin.run_job").collect();
        assert_eq!((told.len(), &told[0]["changes"]), (1, &json!({ "job": "at-noon" })), "{audit}");

        let missing = rig.app.owner.post("/api/v1/plugins/probe/jobs/never/run", json!({})).await;
        assert_eq!(missing.expect(404).body["code"], "not_found");
        rig.there.owner.post(RUN, json!({})).await.expect(404);
        let agent = rig.app.acme.token(&[Role::Agent]).await;
        agent.post(RUN, json!({})).await.expect(403);
        rig.app.owner.delete("/api/v1/plugins/probe/enablement").await.expect(204);
        rig.app.owner.post(RUN, json!({})).await.expect(404);
    }
}
