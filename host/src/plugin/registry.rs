//! What runs for whom: compiled components by digest, and each tenant's plugins.
//!
//! Both are caches over the database. A change is seen at once by the process
//! that makes it and within [`FOLLOW`] by every other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hospes_bindings::exports::hospes::plugin as exports;
use moka::future::Cache;
use serde_json::Value;
use wasmtime::component::{Component, InstancePre, Linker};

use super::artifact::Artifacts;
use super::canary::{Canary, Side, Trial};
use super::engine::Sandbox;
use super::gate::Gate;
use super::invocation::Invocation;
use crate::clock::Timestamp;
use crate::db::canaries::{self, RunningCanary};
use crate::db::plugins::{self, Package, TenantFacts};
use crate::db::shadows::{self, RunningShadow};
use crate::db::{Db, Tx, models};
use crate::domain::actor::{Actor, Locale};
use crate::domain::code::{FaultCode, RecordKind};
use crate::domain::grant::{Grant, Grants};
use crate::domain::hook_modes::HookModes;
use crate::domain::ids::TenantId;
use crate::domain::manifest::{Manifest, Tier};
use crate::domain::permission::Permission;
use crate::domain::recording::RecordingRules;
use crate::domain::schema::Schema;
use crate::domain::sight::{Fields, Looker, Sight};
use crate::error::{Error, Result};

/// How long another server's change may stay unseen; below the promised 5 seconds.
const FOLLOW: Duration = Duration::from_secs(3);
/// Plugins of tenants that are remembered, a tenant's all together; a tenant without any counts as one.
const ENABLED_MAX: u64 = 50_000;
/// Compiled components that stay loaded.
const COMPONENTS_MAX: u64 = 256;
/// Interpreters that stay loaded: each is some 50 MiB of machine code.
const INTERPRETERS_MAX: u64 = 16;

/// A component that is ready to be instantiated, and where it can be called.
pub(super) struct Loaded<T: 'static = Invocation> {
    pub(super) pre: InstancePre<T>,
    pub(super) lifecycle: Option<exports::lifecycle::GuestIndices>,
    pub(super) events: Option<exports::events::GuestIndices>,
    pub(super) hooks: Option<exports::hooks::GuestIndices>,
    pub(super) actions: Option<exports::actions::GuestIndices>,
    pub(super) panels: Option<exports::panels::GuestIndices>,
    pub(super) jobs: Option<exports::jobs::GuestIndices>,
    pub(super) scoring: Option<exports::scoring::GuestIndices>,
    pub(super) routes: Option<exports::routes::GuestIndices>,
    pub(super) steps: Option<exports::steps::GuestIndices>,
    pub(super) functions: Option<exports::functions::GuestIndices>,
}

impl<T: Send> Loaded<T> {
    /// Links a component and finds where it can be called.
    pub(super) fn link(linker: &Linker<T>, component: &Component) -> Result<Self> {
        let pre = linker.instantiate_pre(component).map_err(super::engine::internal)?;
        let exported = |name: &str| {
            let name = format!("hospes:plugin/{name}@1.0.0");
            component.get_export_index(None, &name).is_some()
        };
        macro_rules! point {
            ($name:ident) => {
                if exported(stringify!($name)) {
                    Some(exports::$name::GuestIndices::new(&pre).map_err(super::engine::internal)?)
                } else {
                    None
                }
            };
        }
        Ok(Self {
            lifecycle: point!(lifecycle),
            events: point!(events),
            hooks: point!(hooks),
            actions: point!(actions),
            panels: point!(panels),
            jobs: point!(jobs),
            scoring: point!(scoring),
            routes: point!(routes),
            steps: point!(steps),
            functions: point!(functions),
            pre,
        })
    }
}

/// Schemas of what goes in and comes out.
#[derive(Debug)]
pub(super) struct InOut {
    pub(super) input: Schema,
    pub(super) output: Schema,
}

/// Schemas of a route, as far as its manifest has them.
#[derive(Debug)]
pub(super) struct RouteSchemas {
    pub(super) input: Option<Schema>,
    pub(super) output: Option<Schema>,
}

/// A package's manifest with its schemas compiled.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) manifest: Manifest,
    pub(super) actions: HashMap<String, Schema>,
    /// In the order of the manifest.
    pub(super) routes: Vec<RouteSchemas>,
    pub(super) steps: HashMap<String, InOut>,
    pub(super) functions: HashMap<String, InOut>,
}

impl Facts {
    pub(super) fn new(manifest: Manifest) -> Result<Self> {
        let mut actions = HashMap::new();
        for action in &manifest.actions {
            actions.insert(action.name.clone(), compile(&action.input)?);
        }
        let mut routes = Vec::with_capacity(manifest.routes.len());
        for route in &manifest.routes {
            let input = route.input.as_ref().map(compile).transpose()?;
            let output = route.output.as_ref().map(compile).transpose()?;
            routes.push(RouteSchemas { input, output });
        }
        let mut steps = HashMap::new();
        for step in &manifest.steps {
            let schemas = InOut { input: compile(&step.input)?, output: compile(&step.output)? };
            steps.insert(step.name.clone(), schemas);
        }
        let mut functions = HashMap::new();
        for function in &manifest.functions {
            let schemas = InOut { input: compile(&function.input)?, output: compile(&function.output)? };
            functions.insert(function.name.clone(), schemas);
        }
        Ok(Self { manifest, actions, routes, steps, functions })
    }
}

fn compile(schema: &Value) -> Result<Schema> {
    Schema::compile(schema).map_err(Error::internal)
}

/// A plugin as one tenant has enabled it.
#[derive(Clone, Debug)]
pub(super) struct Enabled {
    pub(super) tenant: TenantId,
    pub(super) plugin: Arc<str>,
    pub(super) package_version: String,
    pub(super) digest: String,
    /// The version of the enablement; absent while the plugin is being enabled.
    pub(super) version: Option<i64>,
    /// Of which generation this is: see [`Gate`].
    pub(super) generation: u64,
    pub(super) grants: Grants,
    /// The permissions over core records that the grants stand for.
    pub(super) permissions: Arc<[Permission]>,
    /// JSON text, valid by the schema.
    pub(super) settings: Arc<str>,
    /// Which of its runs are recorded.
    pub(super) recording: RecordingRules,
    /// What the tenant has decided about saves whose hook fails.
    pub(super) on_failure: HookModes,
    pub(super) facts: Arc<Facts>,
    pub(super) home: Arc<Home>,
    /// What runs beside it, with its effects discarded.
    pub(super) shadow: Option<Arc<Shadow>>,
    /// What a part of the records meets instead.
    pub(super) canary: Option<Arc<Canary>>,
    /// Of which canary it is one of the two versions, if of any.
    pub(super) trial: Option<Trial>,
}

/// A version in the shadow of the enabled one.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) enabled: Arc<Enabled>,
    /// When it was started; which of a plugin's shadows this is.
    pub(super) started_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

impl Enabled {
    /// What a grant opens of the records that it is about, for somebody; nothing, if it is not given.
    pub(super) fn sight<'a>(&'a self, grant: Grant, actor: &'a Actor) -> Option<Sight<'a>> {
        let (record, parameters) = (grant.record()?, self.grants.parameters(grant)?);
        let looker = Looker { parameters, plugin: &self.plugin, actor };
        Some(Sight::new(record, looker, &self.home.fields))
    }

    /// Whether a grant over several kinds of records opens this one.
    pub(super) fn opens_entity(&self, grant: Grant, entity: &str) -> bool {
        self.grants.parameters(grant).is_some_and(|parameters| parameters.entities.contains(entity))
    }

    /// Whether the grant to call other plugins is for this one.
    pub(super) fn may_call(&self, plugin: &str) -> bool {
        self.grants
            .parameters(Grant::PluginsCall)
            .is_some_and(|parameters| parameters.plugins.contains(plugin))
    }
}

/// What plugins are told of the tenant, and how its fields are classed.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) locale: Locale,
    pub(super) time_zone: String,
    pub(super) currency: String,
    pub(super) fields: Fields,
}

pub(super) fn permissions_of(grants: &Grants) -> Arc<[Permission]> {
    grants.iter().filter_map(|grant| grant.permission()).collect()
}

/// The caches.
pub(super) struct Registry {
    db: Db,
    sandbox: Arc<Sandbox>,
    artifacts: Artifacts,
    components: Cache<String, Arc<Loaded>>,
    interpreters: Cache<String, Arc<Loaded>>,
    facts: Cache<String, Arc<Facts>>,
    tenants: Cache<TenantId, Arc<[Arc<Enabled>]>>,
    gate: Arc<Gate>,
}

impl Registry {
    pub(super) fn new(db: Db, sandbox: Arc<Sandbox>, artifacts: Artifacts, gate: Arc<Gate>) -> Self {
        let weigh = |_: &TenantId, plugins: &Arc<[Arc<Enabled>]>| u32::try_from(plugins.len().max(1));
        let tenants = Cache::builder()
            .weigher(move |tenant, plugins| weigh(tenant, plugins).unwrap_or(u32::MAX))
            .max_capacity(ENABLED_MAX)
            .time_to_live(FOLLOW)
            .build();
        Self {
            db,
            sandbox,
            artifacts,
            components: Cache::new(COMPONENTS_MAX),
            interpreters: Cache::new(INTERPRETERS_MAX),
            facts: Cache::new(COMPONENTS_MAX),
            tenants,
            gate,
        }
    }

    /// The plugins that run for a tenant, by name.
    pub(super) async fn of_tenant(&self, tenant: &TenantId) -> Result<Arc<[Arc<Enabled>]>> {
        if let Some(known) = self.tenants.get(tenant).await {
            return Ok(known);
        }
        loop {
            let before = self.gate.generation();
            let read = self.read_tenant(tenant);
            let read = self.tenants.try_get_with(tenant.clone(), read).await;
            let read = read.map_err(|error: Arc<Error>| (*error).clone())?;
            if self.gate.generation() == before {
                return Ok(read);
            }
            // Something has changed while it was read, perhaps this.
            self.tenants.invalidate(tenant).await;
        }
    }

    /// One plugin of a tenant, if it is enabled.
    pub(super) async fn find(&self, tenant: &TenantId, plugin: &str) -> Result<Option<Arc<Enabled>>> {
        let all = self.of_tenant(tenant).await?;
        Ok(all.iter().find(|one| &*one.plugin == plugin).cloned())
    }

    /// Forgets what is known of a tenant, because it has changed.
    pub(super) async fn forget(&self, tenant: &TenantId) {
        self.gate.advance();
        self.tenants.invalidate(tenant).await;
    }

    /// Forgets what is known of every tenant, because a version has been stopped or let run again.
    pub(super) fn forget_all(&self) {
        self.gate.advance();
        self.tenants.invalidate_all();
    }

    async fn read_tenant(&self, tenant: &TenantId) -> Result<Arc<[Arc<Enabled>]>> {
        let generation = self.gate.generation();
        let mut reader = self.db.read(tenant).await?;
        let rows = plugins::list_running(&mut reader, tenant).await?;
        if rows.is_empty() {
            return Ok(Arc::new([]));
        }
        let home = Arc::new(read_home(&mut reader, tenant).await?);
        let shadows = shadows::running(&mut reader, tenant).await?;
        let canaries = canaries::running(&mut reader, tenant).await?;
        drop(reader);
        let mut beside = HashMap::with_capacity(shadows.len());
        for row in shadows {
            beside.insert(row.plugin.clone(), self.shadow(tenant, row, &home, generation).await?);
        }
        let mut tried: HashMap<String, RunningCanary> =
            canaries.into_iter().map(|row| (row.plugin.clone(), row)).collect();
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let facts = self.facts(&row.digest, &row.plugin, &row.package_version).await?;
            let grants = row.grants.0.and(&facts.manifest.wanted());
            let tried = tried.remove(&row.plugin);
            let mut enabled = Enabled {
                tenant: tenant.clone(),
                shadow: beside.remove(&row.plugin),
                canary: None,
                trial: None,
                plugin: row.plugin.into(),
                package_version: row.package_version,
                digest: row.digest,
                version: Some(row.version),
                generation,
                permissions: permissions_of(&grants),
                grants,
                settings: row.settings.into(),
                recording: row.recording.0,
                on_failure: row.on_failure.0,
                facts,
                home: Arc::clone(&home),
            };
            if let Some(tried) = tried {
                self.add_canary(&mut enabled, tried).await?;
            }
            all.push(Arc::new(enabled));
        }
        Ok(all.into())
    }

    /// Puts a canary next to the enabled version; it never has more than that is granted.
    async fn add_canary(&self, live: &mut Enabled, row: RunningCanary) -> Result<()> {
        let RunningCanary { plugin, canary_version, share, grants, settings, started_at, digest } = row;
        let facts = self.facts(&digest, &plugin, &canary_version).await?;
        let grants = grants.0.and(&live.grants).and(&facts.manifest.wanted());
        live.trial = Some(Trial { started_at, side: Side::Live });
        let enabled = Arc::new(Enabled {
            package_version: canary_version,
            digest,
            permissions: permissions_of(&grants),
            grants,
            settings: settings.into(),
            facts,
            shadow: None,
            trial: Some(Trial { started_at, side: Side::Canary }),
            ..live.clone()
        });
        live.canary = Some(Arc::new(Canary { enabled, share: share.0 }));
        Ok(())
    }

    async fn shadow(
        &self,
        tenant: &TenantId,
        row: RunningShadow,
        home: &Arc<Home>,
        generation: u64,
    ) -> Result<Arc<Shadow>> {
        let RunningShadow { plugin, shadow_version, grants, settings, started_at, ends_at, digest } = row;
        let facts = self.facts(&digest, &plugin, &shadow_version).await?;
        let grants = grants.0.and(&facts.manifest.wanted());
        let enabled = Arc::new(Enabled {
            tenant: tenant.clone(),
            plugin: plugin.into(),
            package_version: shadow_version,
            digest,
            version: None,
            generation,
            permissions: permissions_of(&grants),
            grants,
            settings: settings.into(),
            // Its effects are never real, so that there is nothing to explain with a recording.
            recording: RecordingRules::default(),
            on_failure: HookModes::default(),
            facts,
            home: Arc::clone(home),
            shadow: None,
            canary: None,
            trial: None,
        });
        Ok(Arc::new(Shadow { enabled, started_at, ends_at }))
    }

    async fn facts(&self, digest: &str, name: &str, version: &str) -> Result<Arc<Facts>> {
        if let Some(known) = self.facts.get(digest).await {
            return Ok(known);
        }
        let mut reader = self.db.read_host().await?;
        let package = plugins::find_package(&mut reader, name, version).await?;
        drop(reader);
        let package = package.ok_or_else(|| Error::not_found(RecordKind::Plugin, name))?;
        let facts = Arc::new(Facts::new(package.manifest.0)?);
        self.facts.insert(digest.to_owned(), Arc::clone(&facts)).await;
        Ok(facts)
    }

    /// A package as a tenant is about to enable it.
    pub(super) async fn candidate(&self, tenant: &TenantId, package: &Package) -> Result<Enabled> {
        let facts = self.facts(&package.digest, &package.name, &package.version).await?;
        let generation = self.gate.generation();
        let mut reader = self.db.read(tenant).await?;
        let home = read_home(&mut reader, tenant).await?;
        drop(reader);
        Ok(Enabled {
            tenant: tenant.clone(),
            plugin: package.name.as_str().into(),
            package_version: package.version.clone(),
            digest: package.digest.clone(),
            version: None,
            generation,
            grants: Grants::default(),
            permissions: Arc::new([]),
            settings: "{}".into(),
            recording: RecordingRules::default(),
            on_failure: HookModes::default(),
            facts,
            home: Arc::new(home),
            shadow: None,
            canary: None,
            trial: None,
        })
    }

    fn components(&self, tier: Tier) -> &Cache<String, Arc<Loaded>> {
        match tier {
            Tier::Compiled => &self.components,
            Tier::Interpreter => &self.interpreters,
        }
    }

    /// The component of a plugin, from memory, the artefact cache, or its compiler.
    pub(super) async fn loaded(&self, enabled: &Enabled) -> Result<Arc<Loaded>> {
        let (digest, tier) = (enabled.digest.as_str(), enabled.facts.manifest.tier);
        let components = self.components(tier);
        if let Some(loaded) = components.get(digest).await {
            return Ok(loaded);
        }
        let load = self.load(digest, tier);
        components.try_get_with(digest.to_owned(), load).await.map_err(|error: Arc<Error>| (*error).clone())
    }

    async fn load(&self, digest: &str, tier: Tier) -> Result<Arc<Loaded>> {
        let engine = self.sandbox.engine_of(tier);
        if let Some(component) = self.artifacts.load(engine, digest) {
            return self.link(&component, tier).map(Arc::new);
        }
        let mut reader = self.db.read_host().await?;
        let bytes = plugins::read_component(&mut reader, digest).await?;
        drop(reader);
        if super::artifact::digest(&bytes) != digest {
            return Err(Error::internal(format!("the stored bytes of component {digest} are not its own")));
        }
        let component = self.artifacts.compile(engine, digest, bytes).await?;
        self.link(&component, tier).map(Arc::new)
    }

    /// Compiles and links bytes that are not stored yet, so that a package that
    /// cannot run is refused when it is installed.
    pub(super) async fn try_out(&self, digest: &str, tier: Tier, bytes: Vec<u8>) -> Result<()> {
        let components = self.components(tier);
        if components.contains_key(digest) {
            return Ok(());
        }
        let engine = self.sandbox.engine_of(tier);
        let component = match self.artifacts.load(engine, digest) {
            Some(component) => component,
            None => self.artifacts.compile(engine, digest, bytes).await?,
        };
        let loaded = self.link(&component, tier).map_err(|error| {
            let Error::Internal(cause) = error else { return error };
            Error::plain("", FaultCode::NotLinkable { reason: cause.to_string() })
        })?;
        components.insert(digest.to_owned(), Arc::new(loaded)).await;
        Ok(())
    }

    fn link(&self, component: &Component, tier: Tier) -> Result<Loaded> {
        let linker = self.sandbox.linker(component, tier).map_err(super::engine::internal)?;
        Loaded::link(&linker, component)
    }
}

async fn read_home(reader: &mut Tx, tenant: &TenantId) -> Result<Home> {
    let facts = plugins::tenant_facts(reader, tenant).await?;
    let TenantFacts { locale, time_zone, currency } =
        facts.ok_or_else(|| Error::not_found(RecordKind::Tenant, tenant))?;
    let fields = Fields::of(models::find(reader, tenant).await?);
    Ok(Home { locale: Locale::from_tag(&locale), time_zone, currency, fields })
}
