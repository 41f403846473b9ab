//! Plugins, as the operator looks at them, installs and enables them.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::admin::{finish, operator};
use super::args::{Component, Plugin, REGISTRY_SCHEME, RegistryLogin, TenantPlugin};
use super::output::{Failure, Outcome, say};
use super::packing;
use super::server::{connect_plugins, open_command_core};
use super::{
    plugin_hooks, plugin_log, plugin_rollout, plugin_status, plugin_trust, plugin_uninstall, recorder,
    registry, workshop,
};
use crate::config::Config;
use crate::domain::actor::{Actor, Locale};
use crate::domain::manifest::Manifest;
use crate::domain::package::Package;
use crate::files::{self, NamedFile};
use crate::ops::Core;
use crate::ops::plugins::enablement::{self, EnablementPatch, NewEnablement};
use crate::ops::plugins::sheet::InstallSheet;
use crate::ops::plugins::{Inspected, catalogue, packages, usage, usage_export};
use crate::plugin;

/// The largest file of settings that is read.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// `hospes plugin …`.
pub(super) async fn run(command: Plugin) -> Outcome {
    match command {
        Plugin::Inspect { component, json, language } => {
            inspect(&bytes_of(&component)?, (!json).then_some(language))
        }
        Plugin::Keygen { to } => packing::keygen(&to),
        Plugin::Pack { component, manifest, out } => packing::pack(&component, &manifest, &out),
        Plugin::Sign { package, key, embed } => packing::sign(&package, &key, embed.as_deref()),
        Plugin::Verify { package, key } => packing::verify(&package, key.as_deref()),
        Plugin::Trust(command) => plugin_trust::run(command).await,
        Plugin::Rollout(command) => plugin_rollout::run(command).await,
        Plugin::Install { component, login, settings } => {
            let fetched = match address_of(&component) {
                Some(address) => Some(registry::fetch(address, &login).await?),
                None => None,
            };
            let core = open(&settings.load()?).await?;
            match fetched {
                Some((bytes, signatures)) => install_one(&core, bytes, &signatures).await?,
                None => install(&core, &component).await?,
            }
            finish(&core).await
        }
        Plugin::Push { package, address, login } => push(&package, &address, &login).await,
        Plugin::OfTenant(command) => run_for_tenant(command).await,
        Plugin::Departure(command) => plugin_uninstall::run(command).await,
        Plugin::Recorder(command) => Box::pin(recorder::run(command)).await,
        Plugin::Workshop(command) => Box::pin(workshop::run(command)).await,
    }
}

async fn run_for_tenant(command: TenantPlugin) -> Outcome {
    match command {
        TenantPlugin::List { words, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            list(&core, &operator(&core, &tenant).await?, &words.join(" ")).await?;
            finish(&core).await
        }
        TenantPlugin::Enable {
            name,
            tenant,
            version,
            grants,
            all_grants,
            backfill,
            settings_file,
            settings,
        } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let settings = settings_file.as_deref().map(read_json).transpose()?;
            let grants = (!all_grants).then_some(grants);
            enable(&core, &actor, &name, NewEnablement { version, grants, settings, backfill }).await?;
            finish(&core).await
        }
        TenantPlugin::Disable { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            enablement::disable(&core, &actor, &name, None).await?;
            say(format_args!("disabled {name}; its data stays"))?;
            finish(&core).await
        }
        TenantPlugin::Grants { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            show_grants(&core, &operator(&core, &tenant).await?, &name).await?;
            finish(&core).await
        }
        TenantPlugin::Logs { name, tenant, follow, lines, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            plugin_log::tell(&core, &actor, &name, lines, follow).await?;
            finish(&core).await
        }
        TenantPlugin::Status { name, tenant, settings } => {
            let core = open(&settings.load()?).await?;
            plugin_status::tell(&core, &operator(&core, &tenant).await?, &name).await?;
            finish(&core).await
        }
        TenantPlugin::Hooks { name, tenant, rules, settings } => {
            let core = open(&settings.load()?).await?;
            plugin_hooks::run(&core, &operator(&core, &tenant).await?, &name, &rules).await?;
            finish(&core).await
        }
        TenantPlugin::Usage { tenant, all_tenants, out, from, to, settings } => {
            let core = open(&settings.load()?).await?;
            let days = usage::Days { from, to };
            match all_tenants {
                true => write_usage(&core, days, out.as_deref()).await?,
                false => say_usage(&core, &operator(&core, &tenant).await?, &days).await?,
            }
            finish(&core).await
        }
        TenantPlugin::Settings { name, tenant, set, settings } => {
            let core = open(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            show_settings(&core, &actor, &name, set.as_deref()).await?;
            finish(&core).await
        }
    }
}

async fn say_usage(core: &Core, actor: &Actor, days: &usage::Days) -> Outcome {
    usage::export(core, actor, days).await?.lines().try_for_each(say)
}

/// Writes what the plugins of all tenants have used, piece by piece.
async fn write_usage(core: &Arc<Core>, days: usage::Days, out: Option<&Path>) -> Outcome {
    let mut export = usage_export::begin(core, days);
    let mut file = out.map(NamedFile::at).transpose()?.map(|file| file.begin()).transpose()?;
    while let Some(lines) = export.next().await? {
        match &mut file {
            Some(file) => file.append(lines.as_bytes())?,
            None => lines.lines().try_for_each(say)?,
        }
    }
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(())
}

/// The core with its plugins, the bundled ones installed.
pub(super) async fn open(config: &Config) -> Outcome<Arc<Core>> {
    let core = open_command_core(config).await?;
    connect_plugins(&core, config)?;
    packages::install_bundled(&core).await?;
    Ok(core)
}

async fn enable(core: &Core, actor: &Actor, name: &str, new: NewEnablement) -> Outcome {
    let backfill = new.backfill;
    let enabled = enablement::enable(core, actor, name, new).await?;
    say(format_args!("enabled {name} {} with:", enabled.package_version))?;
    enabled.grants.0.with_parameters().try_for_each(|grant| say(format_args!("  {grant}")))?;
    if backfill {
        say("the tenant's history will be delivered to it by the running server")?;
    }
    Ok(())
}

/// The address in a registry that stands for a file.
fn address_of(component: &Component) -> Option<&str> {
    component.file.as_deref()?.to_str().filter(|file| file.starts_with(REGISTRY_SCHEME))
}

async fn push(package: &Path, address: &str, login: &RegistryLogin) -> Outcome {
    let bytes = files::read(package, files::COMPONENT_BYTES_MAX)?;
    let Manifest { name, version, publisher, .. } = plugin::inspect(Package::of(&bytes).component)?.manifest;
    let about = [("title", &name), ("version", &version), ("vendor", &publisher)];
    let about = about.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.clone()));
    let signatures = packing::detached_of(package)?.into_iter().collect();
    let pushed = registry::push(address, (bytes, signatures), about.into(), login).await?;
    say(format_args!("pushed {name} {version} to `{pushed}`"))
}

/// A file with the signatures beside it, or every package of a folder.
async fn install(core: &Core, component: &Component) -> Outcome {
    let folder = component.file.as_deref().map(|path| files::list_ending(path, ".wasm")).transpose()?;
    let Some(files) = folder.flatten() else {
        let detached = component.file.as_deref().map(packing::detached_of).transpose()?.flatten();
        return install_one(core, bytes_of(component)?, detached.as_slice()).await;
    };
    if files.is_empty() {
        return Err(Failure::usage("this folder has no .wasm files"));
    }
    for file in files {
        let bytes = files::read(&file, files::COMPONENT_BYTES_MAX)?;
        install_one(core, bytes, packing::detached_of(&file)?.as_slice()).await?;
    }
    Ok(())
}

async fn install_one(core: &Core, bytes: Vec<u8>, detached: &[String]) -> Outcome {
    let package = packages::install_signed(core, bytes, detached).await?;
    say(format_args!("installed {} {}", package.name, package.version))
}

fn bytes_of(component: &Component) -> Outcome<Vec<u8>> {
    let Component { file, bundled } = component;
    match (file, bundled) {
        (Some(file), _) => Ok(files::read(file, files::COMPONENT_BYTES_MAX)?),
        (None, Some(name)) => {
            let found = hospes_bundle::PLUGINS.iter().find(|plugin| plugin.name == name);
            let found = found.ok_or_else(|| {
                let names: Vec<&str> = hospes_bundle::PLUGINS.iter().map(|plugin| plugin.name).collect();
                Failure::usage(format!(
                    "no plugin `{name}` comes with the server; there is: {}",
                    names.join(", ")
                ))
            })?;
            Ok(found.component.to_vec())
        }
        (None, None) => Err(Failure::usage("name a file or --bundled")),
    }
}

/// The sheet in a language, or as JSON.
fn inspect(bytes: &[u8], language: Option<Locale>) -> Outcome {
    let size = bytes.len();
    let Inspected { digest, manifest, imports, exports } = plugin::inspect(bytes)?;
    let sheet = InstallSheet::of(&manifest, &imports, &exports);
    match language {
        Some(language) => {
            say(sheet.to_text(language))?;
            say(format_args!("{size} bytes, SHA-256 {digest}"))
        }
        None => say(format_args!("{:#}", json!({ "digest": digest, "size": size, "sheet": sheet }))),
    }
}

async fn list(core: &Core, actor: &Actor, query: &str) -> Outcome {
    for plugin in catalogue::list(core, actor, query).await? {
        let state = match &plugin.enablement {
            Some(enablement) => format!("{} {}", enablement.state, enablement.plugin_version),
            None => "not enabled".to_owned(),
        };
        say(format_args!("{:<24} {:<10} {:<20} {}", plugin.name, plugin.version, state, plugin.description))?;
    }
    Ok(())
}

async fn show_grants(core: &Core, actor: &Actor, name: &str) -> Outcome {
    let plugin = catalogue::find(core, actor, name).await?.summary;
    let granted = plugin.enablement.map(|enablement| enablement.grants).unwrap_or_default();
    for asked in plugin.grants {
        let name = asked.grant.name;
        say(format_args!("{}", asked.grant))?;
        say(format_args!("  {}", asked.reason))?;
        match granted.iter().find(|granted| granted.name == name) {
            Some(granted) => say(format_args!("  granted: {granted}"))?,
            None => say("  not granted")?,
        }
    }
    Ok(())
}

async fn show_settings(core: &Core, actor: &Actor, name: &str, set: Option<&Path>) -> Outcome {
    let settings = match set {
        Some(path) => {
            let patch = EnablementPatch { settings: Some(read_json(path)?), ..EnablementPatch::default() };
            enablement::change(core, actor, name, patch, None).await?.settings
        }
        None => enablement::find(core, actor, name).await?.settings,
    };
    say(format_args!("{:#}", settings.0))
}

pub(super) fn read_json(path: &Path) -> Outcome<Value> {
    let text = files::read_text(path, SETTINGS_BYTES_MAX)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::failed(format!("`{}` is not JSON: {error}", path.display())))
}
