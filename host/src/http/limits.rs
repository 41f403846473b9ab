//! Requests per second of a token or person, and of a whole tenant.
//!
//! Each server counts for itself. A burst may be as large as a window's quota; after
//! it the quota comes back evenly.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::problem::ProblemKind;
use super::{HttpState, Problem};
use crate::domain::actor::Actor;
use crate::domain::code::Reason;
use crate::domain::ids::TenantId;

/// After this many requests the counters of those who have been quiet are dropped: so many more than
/// there are senders at a time is the most that is kept.
const SWEEP_REQUESTS: u32 = 10_000;
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// So many requests in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in a window.
    pub requests: NonZeroU32,
    /// Length of the window.
    pub seconds: NonZeroU32,
}

impl RateLimit {
    /// `requests` in `seconds`; at least one each.
    #[must_use]
    pub const fn new(requests: u32, seconds: u32) -> Self {
        const fn at_least_one(value: u32) -> NonZeroU32 {
            match NonZeroU32::new(value) {
                Some(value) => value,
                None => NonZeroU32::MIN,
            }
        }
        Self { requests: at_least_one(requests), seconds: at_least_one(seconds) }
    }

    fn quota(self) -> Quota {
        let window = Duration::from_secs(u64::from(self.seconds.get()));
        let period = (window / self.requests.get()).max(Duration::from_nanos(1));
        Quota::with_period(period).expect("a period above zero").allow_burst(self.requests)
    }
}

type Limiter<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// The counters of a server.
pub(super) struct Limits {
    principal: (RateLimit, Limiter<String>),
    tenant: (RateLimit, Limiter<TenantId>),
    requests: AtomicU32,
}

impl Limits {
    pub(super) fn new(principal: RateLimit, tenant: RateLimit) -> Self {
        Self {
            principal: (principal, limiter(principal)),
            tenant: (tenant, limiter(tenant)),
            requests: AtomicU32::new(0),
        }
    }

    fn sweep(&self) {
        if self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_REQUESTS) {
            self.principal.1.retain_recent();
            self.tenant.1.retain_recent();
        }
    }
}

fn limiter<K: Clone + Eq + Hash>(limit: RateLimit) -> Limiter<K> {
    RateLimiter::keyed(limit.quota()).with_middleware::<StateInformationMiddleware>()
}

/// What a client may still do, for the `RateLimit-*` headers of every answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    limit: u32,
    remaining: u32,
    reset_s: u32,
}

impl Rate {
    pub(super) fn write(self, headers: &mut HeaderMap) {
        let Self { limit, remaining, reset_s } = self;
        for (name, value) in [(LIMIT, limit), (REMAINING, remaining), (RESET, reset_s)] {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

/// Counts a request of `actor`; answers the tighter of the two limits.
pub(super) fn check(state: &HttpState, actor: &Actor) -> (Rate, Result<(), Problem>) {
    let limits = &state.limits;
    limits.sweep();
    let principal = format!("{}:{}", actor.tenant, actor.principal.id());
    let (own, refused) = count(&limits.principal, &principal);
    if refused.is_err() {
        return (own, refused);
    }
    let (all, refused) = count(&limits.tenant, &actor.tenant);
    if refused.is_err() || all.remaining < own.remaining { (all, refused) } else { (own, Ok(())) }
}

fn count<K: Clone + Eq + Hash>(
    (limit, limiter): &(RateLimit, Limiter<K>),
    key: &K,
) -> (Rate, Result<(), Problem>) {
    let full = limit.requests.get();
    match limiter.check_key(key) {
        Ok(snapshot) => {
            let remaining = snapshot.remaining_burst_capacity();
            let used = u64::from(full.saturating_sub(remaining));
            let reset_s = (used * u64::from(limit.seconds.get())).div_ceil(u64::from(full));
            let reset_s = u32::try_from(reset_s).unwrap_or(u32::MAX);
            (Rate { limit: full, remaining, reset_s }, Ok(()))
        }
        Err(not_until) => {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let reset_s = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            let reason = Reason::TooManyRequests {
                limit: limit.requests.to_string(),
                seconds: limit.seconds.to_string(),
            };
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, ProblemKind::TooManyRequests, reason);
            (Rate { limit: full, remaining: 0, reset_s }, Err(problem.retry_after(reset_s)))
        }
    }
}
