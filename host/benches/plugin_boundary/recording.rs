//! What the flight recorder costs the runs that it records.

use std::collections::BTreeMap;
use std::sync::Arc;

use hospes::domain::point::Point;
use hospes::domain::recording::{Keep, RecordingRules};
use hospes::ops::plugins::enablement::{self, EnablementPatch};
use hospes::ops::plugins::{JobAck, JobChunk, Plugins, recordings};
use tokio::runtime::Runtime;

use crate::support::{Contender, compare, rate};
use crate::{Host, nothing};

const PLUGIN: &str = "probe";
const JOBS: usize = 200;
/// Runs after which recordings are sealed and written, as the server does every few seconds.
const WRITTEN: usize = 100;

/// A job that reads a value and writes two: recorded, recorded if it fails, and not recorded.
pub(crate) fn compare_recordings(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>) {
    let kept = |keep: Keep| {
        move || {
            runtime.block_on(set(host, keep));
            rate(JOBS, || runtime.block_on(run_jobs(host, plugins)))
        }
    };
    compare(
        "a job reads a value and writes two, durably, and every run is kept as a recording",
        "jobs",
        None,
        vec![
            Contender::new("every run is recorded", kept(Keep::All)),
            Contender::new("failures are recorded", kept(Keep::Failures)),
            Contender::new("nothing is recorded", kept(Keep::Off)),
        ],
    );
    compare(
        "the same, and what fails is kept as a recording",
        "jobs",
        None,
        vec![
            Contender::new("failures are recorded", kept(Keep::Failures)),
            Contender::new("nothing is recorded", kept(Keep::Off)),
        ],
    );
}

async fn set(host: &Host, keep: Keep) {
    let rules = RecordingRules(BTreeMap::from([(Point::Jobs, keep)]));
    let patch = EnablementPatch { recording: Some(rules), ..EnablementPatch::default() };
    enablement::change(&host.core, &host.actor, PLUGIN, patch, None).await.unwrap();
}

async fn run_jobs(host: &Host, plugins: &Arc<dyn Plugins>) {
    for number in 1..=JOBS {
        let ack: JobAck = Arc::new(|_tx, _cursor| nothing());
        let chunk = JobChunk { job: "tick".to_owned(), due_at: host.core.now(), cursor: None, attempt: 1 };
        plugins.run_job(&host.actor.tenant, PLUGIN, chunk, ack).await.unwrap();
        if number % WRITTEN == 0 {
            recordings::write_down(&host.core).await.unwrap();
        }
    }
}
