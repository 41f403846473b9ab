//! `timeline`.

use hospes_bindings::hospes::plugin::timeline::{Entry, Host, Search};
use hospes_bindings::hospes::plugin::types::{EntityPage, Error};

use super::{Invocation, answer};
use crate::domain::grant::Grant;

impl Host for Invocation {
    async fn append_many(&mut self, entries: Vec<Entry>) -> wasmtime::Result<Result<(), Error>> {
        answer(self.pending(Grant::TimelineWrite, entries.len()))
    }
    async fn query(&mut self, _search: Search) -> wasmtime::Result<Result<EntityPage, Error>> {
        answer(self.pending(Grant::TimelineRead, 1))
    }
}
