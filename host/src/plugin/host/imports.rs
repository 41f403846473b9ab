//! Every import of the contract in one table: all that a guest calls passes here, in a run that is
//! recorded, in one that is not, and in a replay.
//!
//! What a function does stands in the file of its interface; what is heard and answered is noted here,
//! and a replay answers from those notes with the same types.

use hospes_bindings::hospes::plugin as contract;
use wasmtime::component::{HasSelf, Linker};

use self::contract::types::Error;
use super::{Abort, Answered, Invocation, Refusal};
use crate::plugin::recorder::mask;
use crate::plugin::replay::Player;

/// A function that guests import.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugin) struct Import {
    /// Such as `kv.get-many`.
    pub(in crate::plugin) name: &'static str,
    pub(in crate::plugin) kind: Kind,
}

/// What a function is for, as far as a replay must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Kind {
    /// Tells what the head of a recording knows: who runs, when, and how it is set.
    Tells,
    /// Says a line.
    Says,
    /// Reads.
    Reads,
    /// Has others do something: their servers, or other plugins.
    Asks,
    /// Writes what is committed with the invocation.
    Writes,
}

/// What a host function has answered, as the bindings want it.
trait Answer<R> {
    fn told(self) -> wasmtime::Result<R>;
}

impl<T> Answer<Result<T, Error>> for Answered<T> {
    fn told(self) -> wasmtime::Result<Result<T, Error>> {
        match self {
            Ok(value) => Ok(Ok(value)),
            Err(Refusal::Told(error)) => Ok(Err(error)),
            Err(Refusal::Ended(abort)) => Err(wasmtime::Error::new(abort)),
        }
    }
}

impl<T> Answer<T> for Result<T, Abort> {
    fn told(self) -> wasmtime::Result<T> {
        self.map_err(wasmtime::Error::new)
    }
}

macro_rules! imports {
    ($($interface:ident {
        $($kind:ident $name:literal $method:ident($($arg:ident: $type:ty),*) -> $returns:ty = $own:ident;)*
    })*) => {$(
        impl contract::$interface::Host for Invocation {
            $(async fn $method(&mut self, $($arg: $type),*) -> wasmtime::Result<$returns> {
                let heard = self.hear(Import { name: $name, kind: Kind::$kind }, || ($(&$arg,)*));
                let answered = self.$own($($arg),*).await.told();
                self.note(heard, &answered);
                answered
            })*
        }

        impl contract::$interface::Host for Player {
            $(async fn $method(&mut self, $($arg: $type),*) -> wasmtime::Result<$returns> {
                self.answer(Import { name: $name, kind: Kind::$kind }, &($(&$arg,)*))
            })*
        }
    )*};
}

imports! {
    context {
        Tells "context.get" get() -> contract::context::Invocation = context_get;
        Tells "context.random" random(length: u32) -> Vec<u8> = context_random;
    }
    customers {
        Reads "customers.get-many" get_many(ids: Vec<String>)
            -> Result<Vec<Option<contract::types::Entity>>, Error> = customers_get;
        Reads "customers.query" query(search: contract::customers::Search)
            -> Result<contract::types::EntityPage, Error> = customers_query;
        Writes "customers.create-many" create_many(bodies: Vec<String>)
            -> Result<Vec<String>, Error> = customers_create;
        Writes "customers.update-many" update_many(patches: Vec<contract::customers::Patch>)
            -> Result<(), Error> = customers_update;
        Writes "customers.set-fields" set_fields(values: Vec<contract::customers::FieldValue>)
            -> Result<(), Error> = customers_set_fields;
    }
    documents {
        Reads "documents.get-many" get_many(keys: Vec<contract::documents::Key>)
            -> Result<Vec<Option<contract::documents::Stored>>, Error> = documents_get;
        Writes "documents.put-many" put_many(puts: Vec<contract::documents::Put>)
            -> Result<(), Error> = documents_put;
        Writes "documents.delete-many" delete_many(keys: Vec<contract::documents::Key>)
            -> Result<(), Error> = documents_delete;
        Reads "documents.query" query(search: contract::documents::Search)
            -> Result<contract::documents::Page, Error> = documents_query;
    }
    files {
        Reads "files.read-many" read_many(names: Vec<String>)
            -> Result<Vec<Option<Vec<u8>>>, Error> = files_read;
        Writes "files.write-many" write_many(files: Vec<contract::files::File>)
            -> Result<(), Error> = files_write;
        Writes "files.delete-many" delete_many(names: Vec<String>) -> Result<(), Error> = files_delete;
        Reads "files.query" query(search: contract::files::Search)
            -> Result<contract::files::Page, Error> = files_query;
    }
    kv {
        Reads "kv.get-many" get_many(keys: Vec<String>)
            -> Result<Vec<Option<contract::kv::Entry>>, Error> = kv_get;
        Writes "kv.set-many" set_many(entries: Vec<contract::kv::Entry>) -> Result<(), Error> = kv_set;
        Writes "kv.delete-many" delete_many(keys: Vec<String>) -> Result<(), Error> = kv_delete;
    }
    log {
        Says "log.write" write(level: contract::log::Level, message: String) -> () = log_write;
    }
    orders {
        Reads "orders.get-many" get_many(ids: Vec<String>)
            -> Result<Vec<Option<contract::types::Entity>>, Error> = orders_get;
        Reads "orders.query" query(search: contract::orders::Search)
            -> Result<contract::types::EntityPage, Error> = orders_query;
    }
    settings {
        Tells "settings.get" get() -> Result<String, Error> = settings_get;
    }
    timeline {
        Writes "timeline.append-many" append_many(entries: Vec<contract::timeline::Entry>)
            -> Result<(), Error> = timeline_append;
        Reads "timeline.query" query(search: contract::timeline::Search)
            -> Result<contract::types::EntityPage, Error> = timeline_query;
    }
}

type Requests = Vec<contract::http::Request>;
type Sent = Result<super::http::Sent, Error>;

const SEND: Import = Import { name: "http.send-many", kind: Kind::Asks };

/// No function of the contract: a line that an interpreter has printed.
pub(in crate::plugin) const PRINT: Import = Import { name: "log.print", kind: Kind::Says };

/// By itself, because a recording has no header that may be a secret.
impl contract::http::Host for Invocation {
    async fn send_many(&mut self, requests: Requests) -> wasmtime::Result<Sent> {
        let heard = self.hear(SEND, || (mask::requests(&requests),));
        let answered = self.http_send(requests).await.told();
        if heard.is_some() {
            let is_masked = answered.as_ref().is_ok_and(mask::has_secrets);
            let shown = answered.as_ref().map(mask::answers).map_err(|_told_below| ());
            match (shown, &answered) {
                (Ok(shown), _) => self.note(heard, &Ok(shown)),
                (Err(()), ended) => self.note(heard, ended),
            }
            self.note_masked(is_masked);
        }
        answered
    }
}

impl contract::http::Host for Player {
    async fn send_many(&mut self, requests: Requests) -> wasmtime::Result<Sent> {
        self.answer(SEND, &(mask::requests(&requests),))
    }
}

impl contract::types::Host for Invocation {}
impl contract::types::Host for Player {}

/// Links everything but calls to other plugins, which need the caller's store.
macro_rules! link {
    ($linker:ident, $data:ty) => {
        link!(@each $linker, $data,
            context, customers, documents, files, http, kv, log, orders, settings, timeline, types)
    };
    (@each $linker:ident, $data:ty, $($interface:ident),*) => {$(
        contract::$interface::add_to_linker::<_, HasSelf<$data>>($linker, |data| data)?;
    )*};
}

/// The host's side of every import.
pub(in crate::plugin) fn link(linker: &mut Linker<Invocation>) -> wasmtime::Result<()> {
    link!(linker, Invocation);
    super::plugins::link(linker)
}

/// A recording's side of every import.
pub(in crate::plugin) fn link_player(linker: &mut Linker<Player>) -> wasmtime::Result<()> {
    link!(linker, Player);
    super::plugins::link_player(linker)
}

/// As the bindings want it, for the one function that is linked by hand.
pub(super) fn told<T>(answered: Answered<T>) -> wasmtime::Result<Result<T, Error>> {
    answered.told()
}
