//! How many requests there were and how long they took, by method, route and status.
//!
//! The handles of series are kept: to look one up in the recorder for every request costs more than
//! to count. There are as many as routes of ours have methods and statuses.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::metrics::{HTTP_REQUESTS, HTTP_RUNNING, HTTP_SECONDS};

/// The series of a server's requests.
#[derive(Default)]
pub(super) struct Meters {
    running: OnceLock<Gauge>,
    by_route: RwLock<HashMap<String, Vec<Series>>>,
}

/// The series of one route, method and status.
struct Series {
    method: &'static str,
    status: StatusCode,
    requests: Counter,
    seconds: Histogram,
}

impl Meters {
    /// Counts a request as running until what this answers is dropped.
    pub(super) fn begin(&self) -> Running {
        let running = self.running.get_or_init(|| gauge!(HTTP_RUNNING)).clone();
        running.increment(1.0);
        Running(running)
    }

    /// Counts a request that has been answered.
    pub(super) fn count(
        &self,
        (method, route): (&Method, Option<&MatchedPath>),
        status: StatusCode,
        taken: Duration,
    ) {
        let (method, route) = (known(method), route.map_or("unknown", MatchedPath::as_str));
        let is_it = |series: &&Series| series.method == method && series.status == status;
        {
            let kept = self.by_route.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(series) = kept.get(route).and_then(|of_route| of_route.iter().find(is_it)) {
                return series.count(taken);
            }
        }
        let new = Series::new(method, route, status);
        new.count(taken);
        let mut kept = self.by_route.write().unwrap_or_else(PoisonError::into_inner);
        let of_route = kept.entry(route.to_owned()).or_default();
        if !of_route.iter().any(|series| is_it(&series)) {
            of_route.push(new);
        }
    }
}

impl Series {
    fn new(method: &'static str, route: &str, status: StatusCode) -> Self {
        let (route, code) = (route.to_owned(), status.as_str().to_owned());
        let seconds = histogram!(HTTP_SECONDS, "method" => method, "route" => route.clone());
        let requests = counter!(HTTP_REQUESTS, "method" => method, "route" => route, "status" => code);
        Self { method, status, requests, seconds }
    }

    fn count(&self, taken: Duration) {
        self.seconds.record(taken.as_secs_f64());
        self.requests.increment(1);
    }
}

/// A client may make up methods; a series for each would have no end.
fn known(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// One of the requests that are being answered, also one whose client has gone away.
pub(super) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
