//! The floor: the same component in the same engine, a fresh instance a call, and host
//! functions that answer at once. No rights, no budget, no proof of what was read. What
//! the measured calls do not use is a trap.

use hospes::db::{Arg, Db, Sql};
use hospes::domain::ids::TenantId;
use hospes_bindings::exports::hospes::plugin as exports;
use hospes_bindings::hospes::plugin::{context, customers, documents, kv, log, settings, types};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Engine, Store};

const FIND_VALUE: Sql =
    Sql::new("SELECT value FROM plugin_kv WHERE tenant = $1 AND plugin = $2 AND key = $3");
const SET_VALUE: Sql = Sql::new(
    "INSERT INTO plugin_kv (tenant, plugin, key, value) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, plugin, key) DO UPDATE SET value = excluded.value",
);
/// Under which the floor keeps its values.
const PLUGIN: &str = "bare";

/// A component that is ready to be instantiated.
pub(crate) struct Guest {
    engine: Engine,
    pre: InstancePre<Bare>,
    events: exports::events::GuestIndices,
    hooks: exports::hooks::GuestIndices,
    jobs: exports::jobs::GuestIndices,
    scoring: Option<exports::scoring::GuestIndices>,
    settings: String,
    /// Where values are kept; without it nothing is.
    db: Option<(Db, TenantId)>,
}

/// An instance that scores.
pub(crate) struct Scorer {
    store: Store<Bare>,
    guest: exports::scoring::Guest,
}

impl Scorer {
    /// A slice of scores.
    pub(crate) async fn score(&mut self, scoring: &str, slice: &exports::scoring::Slice) {
        self.guest.call_score(&mut self.store, scoring, slice).await.unwrap().unwrap();
    }
}

/// The data of an instance's store.
struct Bare {
    settings: String,
    db: Option<(Db, TenantId)>,
    written: Vec<kv::Entry>,
}

impl Guest {
    pub(crate) fn new(engine: &Engine, bytes: &[u8], settings: &str, db: Option<(Db, TenantId)>) -> Self {
        let component = Component::new(engine, bytes).unwrap();
        let mut linker = Linker::new(engine);
        macro_rules! link {
            ($($interface:ident)*) => {$(
                $interface::add_to_linker::<_, HasSelf<_>>(&mut linker, |bare: &mut Bare| bare).unwrap();
            )*};
        }
        link!(context customers documents kv log settings types);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        Self {
            engine: engine.clone(),
            events: exports::events::GuestIndices::new(&pre).unwrap(),
            hooks: exports::hooks::GuestIndices::new(&pre).unwrap(),
            jobs: exports::jobs::GuestIndices::new(&pre).unwrap(),
            // Not every measured plugin has it.
            scoring: exports::scoring::GuestIndices::new(&pre).ok(),
            pre,
            settings: settings.to_owned(),
            db,
        }
    }

    fn store(&self) -> Store<Bare> {
        let bare = Bare { settings: self.settings.clone(), db: self.db.clone(), written: Vec::new() };
        let mut store = Store::new(&self.engine, bare);
        // The engine's code counts fuel and looks at the epoch; here neither ever ends.
        store.set_fuel(u64::MAX).unwrap();
        store.set_epoch_deadline(u64::MAX / 2);
        store
    }

    /// A customer's hook.
    pub(crate) async fn before_save(&self, save: &exports::hooks::Save) {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let guest = self.hooks.load(&mut store, &instance).unwrap();
        guest.call_before_save(&mut store, save).await.unwrap().unwrap();
    }

    /// A batch of events.
    pub(crate) async fn handle(&self, events: &[exports::events::Event]) {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let guest = self.events.load(&mut store, &instance).unwrap();
        guest.call_handle(&mut store, events).await.unwrap().unwrap();
    }

    /// A slice of scores, in a fresh instance.
    pub(crate) async fn score(&self, scoring: &str, slice: &exports::scoring::Slice) {
        let mut scorer = self.scorer().await;
        scorer.score(scoring, slice).await;
    }

    /// An instance that goes on living, for scores.
    pub(crate) async fn scorer(&self) -> Scorer {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let indices = self.scoring.as_ref().expect("the plugin scores");
        let guest = indices.load(&mut store, &instance).unwrap();
        Scorer { store, guest }
    }

    /// A chunk of a job, and one transaction for all that it has written.
    pub(crate) async fn run_job(&self, job: &str, due_at: i64) {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let guest = self.jobs.load(&mut store, &instance).unwrap();
        guest.call_run(&mut store, job, due_at, None).await.unwrap().unwrap();
        let written = store.into_data().written;
        let (db, tenant) = self.db.as_ref().expect("a job writes");
        let commit = db.write(tenant, (tenant.clone(), written), |tx, (tenant, written)| {
            Box::pin(async move {
                for kv::Entry { key, value, .. } in written {
                    let args =
                        vec![Arg::from(tenant), Arg::from(PLUGIN), Arg::from(key), Arg::from(&**value)];
                    tx.execute(SET_VALUE, args).await?;
                }
                Ok(())
            })
        });
        commit.await.unwrap();
    }
}

/// What a host function answers: nothing ever fails here.
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

impl types::Host for Bare {}

impl kv::Host for Bare {
    async fn get_many(&mut self, keys: Vec<String>) -> Answer<Vec<Option<kv::Entry>>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(entry) = self.written.iter().rev().find(|entry| entry.key == key) {
                found.push(Some(entry.clone()));
            } else if let Some((db, tenant)) = &self.db {
                let args = vec![Arg::from(tenant), Arg::from(PLUGIN), Arg::from(&*key)];
                let mut reader = db.read(tenant).await?;
                let row: Option<(Vec<u8>,)> = reader.fetch_optional(FIND_VALUE, args).await?;
                found.push(row.map(|(value,)| kv::Entry { key, value, expires_at: None }));
            } else {
                found.push(None);
            }
        }
        Ok(Ok(found))
    }

    async fn set_many(&mut self, entries: Vec<kv::Entry>) -> Answer<()> {
        self.written.extend(entries);
        Ok(Ok(()))
    }

    async fn delete_many(&mut self, _keys: Vec<String>) -> Answer<()> {
        Ok(Ok(()))
    }
}

impl context::Host for Bare {
    async fn get(&mut self) -> wasmtime::Result<context::Invocation> {
        Ok(context::Invocation {
            tenant: "ten_00000000000000000000000000".to_owned(),
            plugin: PLUGIN.to_owned(),
            plugin_version: "1.0.0".to_owned(),
            actor: context::Actor::Plugin,
            locale: "en".to_owned(),
            time_zone: "UTC".to_owned(),
            currency: "CNY".to_owned(),
            now: 1_790_000_000_000_000,
            attempt: 1,
        })
    }

    async fn random(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(vec![7; length as usize])
    }
}

impl settings::Host for Bare {
    async fn get(&mut self) -> Answer<String> {
        Ok(Ok(self.settings.clone()))
    }
}

impl log::Host for Bare {
    async fn write(&mut self, _level: log::Level, _message: String) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl documents::Host for Bare {
    async fn get_many(&mut self, keys: Vec<documents::Key>) -> Answer<Vec<Option<documents::Stored>>> {
        Ok(Ok(keys.iter().map(|_| None).collect()))
    }

    async fn put_many(&mut self, _puts: Vec<documents::Put>) -> Answer<()> {
        Ok(Ok(()))
    }

    async fn delete_many(&mut self, _keys: Vec<documents::Key>) -> Answer<()> {
        Ok(Ok(()))
    }

    async fn query(&mut self, _search: documents::Search) -> Answer<documents::Page> {
        Ok(Ok(documents::Page { documents: Vec::new(), cursor: None }))
    }
}

fn no_entities() -> types::EntityPage {
    types::EntityPage { entities: Vec::new(), cursor: None }
}

impl customers::Host for Bare {
    async fn get_many(&mut self, ids: Vec<String>) -> Answer<Vec<Option<types::Entity>>> {
        Ok(Ok(ids.iter().map(|_| None).collect()))
    }

    async fn query(&mut self, _search: customers::Search) -> Answer<types::EntityPage> {
        Ok(Ok(no_entities()))
    }

    async fn create_many(&mut self, _bodies: Vec<String>) -> Answer<Vec<String>> {
        Ok(Ok(Vec::new()))
    }

    async fn update_many(&mut self, _patches: Vec<customers::Patch>) -> Answer<()> {
        Ok(Ok(()))
    }

    async fn set_fields(&mut self, _values: Vec<customers::FieldValue>) -> Answer<()> {
        Ok(Ok(()))
    }
}
