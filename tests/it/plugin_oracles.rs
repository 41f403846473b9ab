//! What must hold whatever a plugin does: a neighbour on the same server is served all the while, and the
//! server is there afterwards. How long it waited is told, and never a reason to fail.
#![expect(clippy::print_stderr, reason = "tells how the neighbour was served")]

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hospes::domain::actor::Actor;
use hospes::domain::event::Subject;
use hospes::ops::plugins::Plugins as _;
use hospes::plugin::PluginHost;
use hospes_tests::{Engine, Harness, guests};
use tokio::task::JoinHandle;

use crate::plugin_rig::Rig;

/// How often the neighbour asks.
const LOOK: Duration = Duration::from_millis(20);
/// Longer than a busy machine takes for one panel by far.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rig under attack. Its neighbour asks for a panel again and again; if one was not served, the test fails
/// when it ends.
pub(crate) struct Besieged {
    rig: Rig,
    neighbour: Neighbour,
    asking: JoinHandle<()>,
}

#[derive(Clone)]
struct Neighbour {
    host: Arc<PluginHost>,
    actor: Actor,
    target: Subject,
    /// Why it was not served.
    complaints: Arc<Mutex<Vec<String>>>,
    /// How long it waited each time.
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl Neighbour {
    async fn ask(&self) {
        let asked = Instant::now();
        let panels = self.host.panels(&self.actor, "customer", self.target.clone());
        let complaint = match tokio::time::timeout(PATIENCE, panels).await {
            Ok(Ok(panels)) if panels.is_empty() => Some("there is no panel".to_owned()),
            Ok(Ok(panels)) => panels.into_iter().find_map(|panel| panel.failure),
            Ok(Err(error)) => Some(error.to_string()),
            Err(elapsed) => Some(elapsed.to_string()),
        };
        self.waits.lock().unwrap().push(asked.elapsed());
        self.complaints.lock().unwrap().extend(complaint);
    }
}

impl Harness for Besieged {
    async fn start(engine: Engine) -> Option<Self> {
        Some(Self::of(Rig::start(engine).await?).await)
    }
}

impl Besieged {
    /// Lets the neighbour of a rig ask.
    pub(crate) async fn of(rig: Rig) -> Self {
        rig.enable_for(&rig.neighbour, guests::STAMPS).await;
        let customer = rig.customer_of(&rig.neighbour).await;
        let neighbour = Neighbour {
            host: Arc::clone(&rig.host),
            actor: rig.neighbour.clone(),
            target: Subject::Customer(customer),
            complaints: Arc::default(),
            waits: Arc::default(),
        };
        neighbour.ask().await;
        let asking = tokio::spawn({
            let neighbour = neighbour.clone();
            async move {
                loop {
                    neighbour.ask().await;
                    tokio::time::sleep(LOOK).await;
                }
            }
        });
        Self { rig, neighbour, asking }
    }
}

impl Deref for Besieged {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl DerefMut for Besieged {
    fn deref_mut(&mut self) -> &mut Rig {
        &mut self.rig
    }
}

impl Drop for Besieged {
    fn drop(&mut self) {
        let is_asking = !self.asking.is_finished();
        self.asking.abort();
        let mut waits = self.neighbour.waits.lock().map(|waits| waits.clone()).unwrap_or_default();
        waits.sort_unstable();
        let p99 = waits.get(waits.len() * 99 / 100);
        eprintln!(
            "the neighbour was served {} times, p99 {:?}",
            waits.len(),
            p99.copied().unwrap_or_default()
        );
        if !std::thread::panicking() {
            let complaints = self.neighbour.complaints.lock().unwrap();
            assert!(is_asking && complaints.is_empty(), "the neighbour was not served: {complaints:?}");
        }
    }
}
