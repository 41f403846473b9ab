//! `customers`.

use hospes_bindings::hospes::plugin::customers::{FieldValue, Host, Patch, Search};
use hospes_bindings::hospes::plugin::types::{Entity, EntityPage, Error};

use super::{Access, Answered, Invocation, answer};
use crate::domain::grant::Grant;

impl Host for Invocation {
    async fn get_many(&mut self, ids: Vec<String>) -> wasmtime::Result<Result<Vec<Option<Entity>>, Error>> {
        answer(self.pending(Grant::CustomersRead, ids.len()))
    }
    async fn query(&mut self, search: Search) -> wasmtime::Result<Result<EntityPage, Error>> {
        answer(self.pending(Grant::CustomersRead, search.conditions.len()))
    }
    async fn create_many(&mut self, bodies: Vec<String>) -> wasmtime::Result<Result<Vec<String>, Error>> {
        answer(self.pending(Grant::CustomersWrite, bodies.len()))
    }
    async fn update_many(&mut self, patches: Vec<Patch>) -> wasmtime::Result<Result<(), Error>> {
        answer(self.pending(Grant::CustomersWrite, patches.len()))
    }
    async fn set_fields(&mut self, values: Vec<FieldValue>) -> wasmtime::Result<Result<(), Error>> {
        answer(self.pending(Grant::FieldsOwn, values.len()))
    }
}

impl Invocation {
    pub(super) fn pending<T>(&mut self, grant: Grant, count: usize) -> Answered<T> {
        self.enter(grant, "x", Access::Read(count), 500)?;
        Err(Error::Unavailable(String::new()).into())
    }
}
