//! One invocation from its beginning to its commit: rights, slot, call, metering,
//! breaker, log, and the rerun after a conflict.

use std::sync::Arc;
use std::time::Instant;

use hospes_bindings::hospes::plugin::types;
use metrics::counter;

use super::PluginHost;
use super::buffer::Buffer;
use super::call::{Answer, Call, Details, Failure, invoke};
use super::commit::{Commit, is_stale};
use super::gate::Refused;
use super::invocation::{Beginning, Invocation, Line, Log};
use super::registry::Enabled;
use super::shadow::Told;
use crate::db::plugins::{LogLine, add_denials, append_log};
use crate::db::{Json, canaries};
use crate::domain::actor::{Actor, Cause, Principal};
use crate::domain::code::FailureCode;
use crate::domain::ids::{LogId, TenantId};
use crate::domain::permission::{Permission, Role};
use crate::domain::point::Point;
use crate::error::{Error, Fault, Result};
use crate::metrics::{PLUGIN_DENIALS, PLUGIN_RERUNS, plugin_label};
use crate::ops::Core;
use crate::ops::plugins::{Ack, Denial, PointHealth, rates};

/// How often an invocation is run: once, and again after a conflict.
pub(super) const ATTEMPTS_MAX: u32 = 4;

/// From an answer to what shall be committed with its effects.
pub(super) type AckFor = Arc<dyn Fn(&Answer) -> Option<Ack> + Send + Sync>;

/// What becomes of an invocation's writes.
#[derive(Clone)]
pub(super) enum Effects {
    /// The extension point has none.
    None,
    /// They are committed, together with an acknowledgement if there is one.
    Commit(AckFor),
}

impl Effects {
    /// Commits with `ack`, whatever the answer.
    pub(super) fn with(ack: Ack) -> Self {
        Self::Commit(Arc::new(move |_| Some(Arc::clone(&ack))))
    }
}

impl PluginHost {
    /// What an invocation of `enabled` for `actor` begins with.
    pub(super) fn begin(&self, enabled: &Arc<Enabled>, actor: Actor, point: Point) -> Result<Beginning> {
        let core = self.core()?;
        let now = core.now();
        let seed = core.ids.next(now);
        let seed = u64::try_from(seed & u128::from(u64::MAX)).expect("masked to 64 bits");
        let gate = Arc::clone(&self.gate);
        let host = self.own.upgrade().ok_or_else(|| Error::unavailable("the server has stopped"))?;
        Ok(Beginning {
            core,
            gate,
            host,
            enabled: Arc::clone(enabled),
            actor,
            origin: None,
            point,
            may_write: point.may_write(),
            is_shadow: false,
            items: 1,
            attempt: 0,
            now,
            seed,
            keep: self.recorder.decide(enabled, point),
        })
    }

    /// Runs `call` and commits its effects.
    pub(super) async fn run(&self, beginning: Beginning, call: Call, effects: Effects) -> Result<Answer> {
        let enabled = Arc::clone(&beginning.enabled);
        for attempt in 1..=ATTEMPTS_MAX {
            let Some((answer, commit)) = self.prepare(&beginning, &call, attempt, &effects).await? else {
                continue;
            };
            let Some(commit) = commit else { return Ok(answer) };
            let written =
                beginning.core.db.write(&enabled.tenant, commit, |tx, commit| Box::pin(commit.apply(tx)));
            match written.await {
                Ok(()) => return Ok(answer),
                Err(error) if is_stale(&error) => self.note_rerun(&enabled).await?,
                Err(error) => return Err(error),
            }
        }
        Err(conflicts(&enabled))
    }

    /// Runs the guest once: its answer and what is to be committed, if anything
    /// is; nothing if what it read has changed meanwhile and it must run again.
    pub(super) async fn prepare(
        &self,
        beginning: &Beginning,
        call: &Call,
        attempt: u32,
        effects: &Effects,
    ) -> Result<Option<(Answer, Option<Commit>)>> {
        let enabled = &beginning.enabled;
        self.check_breaker(beginning)?;
        let loaded = self.registry.loaded(enabled).await?;
        let slot = self.sandbox.slot(enabled).await?;
        let started = Instant::now();
        let invocation = Invocation::new(beginning, attempt);
        let (mut invocation, outcome) = Box::pin(invoke(&loaded, invocation, call)).await;
        drop(slot);
        invocation.took(started.elapsed());
        self.measure(&invocation, outcome.as_ref().err());
        self.tell_refusals(&invocation).await;
        match outcome {
            Ok(answer) => {
                let commit = self.finish(invocation, &answer, effects).await?;
                Ok(Some((answer, commit)))
            }
            Err(Failure::Stale) => {
                self.note_rerun(enabled).await?;
                Ok(None)
            }
            Err(failure) => Err(self.fail(invocation, failure).await),
        }
    }

    /// What a finished invocation wants to commit, its log included.
    async fn finish(
        &self,
        invocation: Invocation,
        answer: &Answer,
        effects: &Effects,
    ) -> Result<Option<Commit>> {
        let Invocation { core, enabled, buffer, log, now, point, .. } = invocation;
        let lines = lines(&core, &enabled, &log, point);
        let ack = match effects {
            Effects::None => None,
            Effects::Commit(ack) => ack(answer),
        };
        if matches!(effects, Effects::None) || (ack.is_none() && buffer.is_clean()) {
            self.write_log(&enabled, lines).await;
            self.write_callee_logs(buffer).await;
            return Ok(None);
        }
        let told = enabled.shadow.is_some().then(|| Told::of(&buffer));
        let mut commit = Commit::new((&enabled, lines), now, buffer);
        commit.told = told;
        commit.ack = ack;
        commit.keep_files(&core).await?;
        Ok(Some(commit))
    }

    /// Counts a conflict, after which the invocation runs again if it still may.
    pub(super) async fn note_rerun(&self, enabled: &Enabled) -> Result<()> {
        counter!(PLUGIN_RERUNS, "plugin" => plugin_label(&enabled.plugin)).increment(1);
        self.still_enabled(enabled).await
    }

    /// After a conflict: if it is the enablement that has changed, the invocation
    /// has lost its rights and must not simply run again under the old ones.
    async fn still_enabled(&self, enabled: &Enabled) -> Result<()> {
        let Some(version) = enabled.version else { return Ok(()) };
        let core = self.core()?;
        let mut reader = core.db.read(&enabled.tenant).await?;
        let now = crate::db::plugins::find_enablement(&mut reader, &enabled.tenant, &enabled.plugin).await?;
        drop(reader);
        if now.is_some_and(|now| now.version == version) {
            return Box::pin(self.still_tried(enabled)).await;
        }
        self.forget(&enabled.tenant, &enabled.plugin).await;
        Err(rights_changed(enabled))
    }

    /// The same for the new version of a canary: its records meet the enabled version from now on.
    async fn still_tried(&self, enabled: &Enabled) -> Result<()> {
        let Some(since) = enabled.canary_since() else { return Ok(()) };
        let core = self.core()?;
        let mut reader = core.db.read(&enabled.tenant).await?;
        let running = canaries::running(&mut reader, &enabled.tenant).await?;
        drop(reader);
        if running.iter().any(|row| *row.plugin == *enabled.plugin && row.started_at == since) {
            return Ok(());
        }
        self.registry.forget(&enabled.tenant).await;
        Err(Error::unavailable(Overtaken {
            plugin: Arc::clone(&enabled.plugin),
            what: "its canary has ended",
        }))
    }

    /// Counts and logs a failure, and answers it as the caller's error.
    pub(super) async fn fail(&self, invocation: Invocation, failure: Failure) -> Error {
        let Invocation { core, enabled, mut log, now, point, usage, buffer, .. } = invocation;
        let plugin = enabled.plugin.to_string();
        let key = (enabled.tenant.clone(), enabled.health_name(), point);
        let is_failure = super::canary::is_failure(point, Some(&failure));
        let mut opens = false;
        let error = match failure {
            Failure::Stopped { code, message, details } => {
                let Details { description, backtrace } = *details;
                log.lines.push(Line::failure(code.as_str(), description, backtrace));
                opens = self.breakers.failed(key, usage, now);
                if opens && has_breaker(point) {
                    let seconds = super::breaker::OPEN_SECONDS;
                    let message =
                        format!("{} is paused for {seconds} s after repeated failures", point.as_str());
                    log.lines.push(Line::failure("paused", message, Vec::new()));
                }
                tracing::warn!(tenant = %enabled.tenant, plugin, point = point.as_str(), %code, "a plugin failed");
                Error::PluginFailed { plugin, code, message }
            }
            Failure::Refused(told) => {
                self.breakers.finished(key, usage);
                refusal(plugin, told)
            }
            Failure::Rejected(told) => {
                self.breakers.finished(key, usage);
                rejection(plugin, told)
            }
            Failure::Host(error) => error,
            Failure::Stale => Error::unavailable("a conflict"),
        };
        self.write_log(&enabled, lines(&core, &enabled, &log, point)).await;
        self.write_callee_logs(buffer).await;
        if is_failure && enabled.canary_since().is_some() {
            Box::pin(self.report_failure(&enabled, &error.to_string(), opens)).await;
        }
        error
    }

    /// Writes what plugins that were called have logged, if nothing else of them is committed.
    async fn write_callee_logs(&self, buffer: Buffer) {
        for callee in buffer.callees.into_values() {
            self.write_log(&callee.enabled, callee.log).await;
        }
    }

    /// Writes lines of a run that commits nothing else. A log that cannot be
    /// written must not turn a finished run into a failed one.
    async fn write_log(&self, enabled: &Enabled, lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        let Ok(core) = self.core() else { return };
        let state = (enabled.tenant.clone(), Arc::clone(&enabled.plugin), lines);
        let written = core.db.write(&enabled.tenant, state, |tx, (tenant, plugin, lines)| {
            Box::pin(append_log(tx, tenant, plugin, lines, super::commit::LOG_KEEP))
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, plugin = %enabled.plugin, "cannot write a plugin's log");
        }
    }

    /// Counts what was refused to a run, and tells of rates that it has used up. Both stay if the run is
    /// undone.
    pub(super) async fn tell_refusals(&self, invocation: &Invocation) {
        let Invocation { core, enabled, reached, .. } = invocation;
        self.write_denials(enabled, invocation.denied()).await;
        for rate in reached {
            if let Err(error) = rates::tell(core, &enabled.tenant, rate).await {
                self.gate.untell(enabled, rate.grant);
                tracing::warn!(%error, plugin = %enabled.plugin, "cannot tell that a rate is used up");
            }
        }
    }

    /// Counts what was refused. Many refusals become few rows; the plugin's resource adds those that
    /// are not written yet.
    pub(super) async fn write_denials(
        &self,
        enabled: &Enabled,
        denied: impl Iterator<Item = (Refused, u64)>,
    ) {
        let Ok(core) = self.core() else { return };
        let now = core.now();
        let due = denied.filter_map(|(what, times)| {
            let labels = [("plugin", plugin_label(&enabled.plugin)), ("grant", what.0.as_str().into())];
            counter!(PLUGIN_DENIALS, &labels).increment(times);
            let count = self.gate.count_denied(enabled, what, times, now);
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let (grant, function) = (what.0.to_string(), what.1.to_owned());
            (count > 0).then_some(Denial { grant, function, count, last_at: now })
        });
        let due: Vec<Denial> = due.collect();
        if due.is_empty() {
            return;
        }
        let state = (enabled.tenant.clone(), Arc::clone(&enabled.plugin), due);
        let written = core.db.write(&enabled.tenant, state, |tx, (tenant, plugin, due)| {
            Box::pin(add_denials(tx, tenant, plugin, due))
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, plugin = %enabled.plugin, "cannot write what a plugin was denied");
        }
    }

    fn check_breaker(&self, beginning: &Beginning) -> Result<()> {
        let Beginning { enabled, point, now, .. } = beginning;
        if !has_breaker(*point) || self.breakers.allows(&enabled.tenant, &enabled.health_name(), *point, *now)
        {
            return Ok(());
        }
        let plugin = enabled.plugin.to_string();
        let message = "it is paused after repeated failures".to_owned();
        Err(Error::PluginFailed { plugin, code: FailureCode::Paused, message })
    }

    pub(super) fn measure(&self, invocation: &Invocation, failure: Option<&Failure>) {
        let outcome = match failure {
            None => "ok",
            Some(Failure::Stopped { code, .. }) => code.as_str(),
            Some(Failure::Refused(_) | Failure::Rejected(_)) => "refused",
            Some(Failure::Stale) => "stale",
            Some(Failure::Host(_)) => "host",
        };
        let usage = invocation.usage;
        self.meter.count(invocation, matches!(failure, Some(Failure::Stopped { .. })));
        self.canary_counts.count(invocation, failure);
        if failure.is_none() {
            let key = (invocation.enabled.tenant.clone(), invocation.enabled.health_name(), invocation.point);
            self.breakers.finished(key, usage);
        }
        self.calls.count(&invocation.enabled.plugin, invocation.point, (outcome, usage));
    }

    /// The health of a plugin's extension points in this process.
    pub(super) fn points(&self, tenant: &TenantId, plugin: &str) -> Vec<PointHealth> {
        let points = Point::ALL.iter().map(|point| {
            let health = self.breakers.health(tenant, plugin, *point);
            let [p50_us, p99_us] = health.recent.percentiles([50, 99]);
            PointHealth {
                point: point.as_str(),
                runs: health.runs,
                failures: health.failures,
                failures_in_a_row: health.in_a_row,
                fuel: health.fuel,
                last_fuel: health.last_fuel,
                p50_us,
                p99_us,
                fuel_budget: health.fuel_budget,
                passed_over: health.passed_over,
                paused_until: health.open_until.filter(|_| has_breaker(*point)),
            }
        });
        points.filter(|health| health.runs > 0 || health.passed_over > 0).collect()
    }
}

/// What was known of a plugin when an invocation began is no longer so: nothing of it is committed.
#[derive(Debug, thiserror::Error)]
#[error("`{plugin}` was overtaken while it ran: {what}")]
pub(super) struct Overtaken {
    plugin: Arc<str>,
    what: &'static str,
}

impl Overtaken {
    /// Whether an invocation ended so. Who begins it anew meets what is known by now.
    pub(super) fn is(error: &Error) -> bool {
        matches!(error, Error::Unavailable(cause) if cause.is::<Self>())
    }
}

/// An invocation that has lost the rights with which it began.
pub(super) fn rights_changed(enabled: &Enabled) -> Error {
    Error::unavailable(Overtaken { plugin: Arc::clone(&enabled.plugin), what: "its rights have changed" })
}

/// An invocation met a conflict at every attempt.
pub(super) fn conflicts(enabled: &Enabled) -> Error {
    Error::unavailable(format!("`{}` met a conflict {ATTEMPTS_MAX} times", enabled.plugin))
}

/// Events and jobs have their own backoff, lane by lane.
fn has_breaker(point: Point) -> bool {
    !matches!(point, Point::Events | Point::Jobs)
}

/// The lines of a run as they are kept.
pub(super) fn lines(core: &Core, enabled: &Enabled, log: &Log, point: Point) -> Vec<LogLine> {
    if log.lines.is_empty() && log.dropped == 0 {
        return Vec::new();
    }
    let now = core.now();
    let line = |line: &Line| LogLine {
        id: LogId::new(&*core.ids, now),
        at: now,
        point: point.as_str().to_owned(),
        level: line.level.to_owned(),
        code: line.code.map(str::to_owned),
        message: line.message.clone(),
        plugin_version: Some(enabled.package_version.clone()),
        backtrace: (!line.backtrace.is_empty()).then(|| Json(line.backtrace.clone())),
    };
    let mut lines: Vec<LogLine> = log.lines.iter().map(line).collect();
    if log.dropped > 0 {
        let message = format!("{} more lines were dropped", log.dropped);
        lines.push(line(&Line { level: "warn", code: Some("log_limit"), message, backtrace: Vec::new() }));
    }
    lines
}

/// The actor as whom a plugin acts of its own accord.
pub(super) fn plugin_actor(enabled: &Enabled, cause: Option<Cause>) -> Actor {
    Actor {
        tenant: enabled.tenant.clone(),
        principal: Principal::Plugin(Arc::clone(&enabled.plugin)),
        // The widest role, of which only the grants' permissions are left.
        roles: vec![Role::Owner],
        allowed: Some(Arc::clone(&enabled.permissions)),
        org_unit: None,
        locale: enabled.home.locale,
        via_plugin: Some(Arc::clone(&enabled.plugin)),
        cause,
        request_id: None,
        once: None,
    }
}

/// A person or token acting through a plugin: never more than either may.
pub(super) fn user_actor(actor: &Actor, enabled: &Enabled) -> Actor {
    let allowed = match &actor.allowed {
        None => Arc::clone(&enabled.permissions),
        Some(own) => {
            let both = enabled.permissions.iter().copied().filter(|permission| own.contains(permission));
            both.collect::<Arc<[Permission]>>()
        }
    };
    Actor { allowed: Some(allowed), via_plugin: Some(Arc::clone(&enabled.plugin)), ..actor.clone() }
}

/// The longest text of a plugin that people read, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;
const FAULTS_MAX: usize = 50;

fn faults_of(told: Vec<types::Fault>) -> Vec<Fault> {
    let fault = |told: types::Fault| {
        let message = super::invocation::clean(&told.message, MESSAGE_BYTES_MAX);
        Fault::of_plugin(super::invocation::clean(&told.pointer, 500), code_of(&told.code), message)
    };
    told.into_iter().take(FAULTS_MAX).map(fault).collect()
}

/// A plugin's code, if it is one: lower case and at most 64 bytes.
fn code_of(told: &str) -> String {
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !told.is_empty() && told.len() <= 64 && told.bytes().all(is_code) {
        told.to_owned()
    } else {
        "rejected".to_owned()
    }
}

pub(super) fn rejection(plugin: String, told: types::Rejection) -> Error {
    let (code, message, faults) = told_by_guest(told);
    Error::PluginRejected { plugin, code, message, faults }
}

/// Code, message and faults of a guest's rejection, cut to what people are shown.
pub(super) fn told_by_guest(told: types::Rejection) -> (String, String, Vec<Fault>) {
    let message = super::invocation::clean(&told.message, MESSAGE_BYTES_MAX);
    (code_of(&told.code), message, faults_of(told.faults))
}

/// What a plugin's own refusal is for the caller of the API.
fn refusal(plugin: String, told: types::Error) -> Error {
    let reject = |code: &str, message: String| Error::PluginRejected {
        plugin: plugin.clone(),
        code: code.to_owned(),
        message: super::invocation::clean(&message, MESSAGE_BYTES_MAX),
        faults: Vec::new(),
    };
    match told {
        types::Error::Rejected(told) => rejection(plugin, told),
        types::Error::Invalid(faults) => Error::PluginRejected {
            plugin,
            code: "invalid".to_owned(),
            message: "the input is wrong".to_owned(),
            faults: faults_of(faults),
        },
        types::Error::NotFound(what) => reject("not_found", format!("not found: {what}")),
        types::Error::Conflict(what) => reject("conflict", what),
        types::Error::Denied(what) => reject("denied", format!("the plugin lacks a right: {what}")),
        types::Error::Limit(what) => reject("limit", format!("a limit is reached: {what}")),
        types::Error::Unavailable(what) => {
            let reason = super::invocation::clean(&what, MESSAGE_BYTES_MAX);
            Error::PluginFailed { plugin, message: reason.clone(), code: FailureCode::Unavailable { reason } }
        }
    }
}
