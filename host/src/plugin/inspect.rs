//! Reads a component's bytes before anything is compiled: what it imports, what
//! it exports and what its manifest says, and whether they fit together.

use std::collections::BTreeSet;

use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wasmtime::Engine;

use super::engine::Shape;
use super::host::wasi;
use crate::domain::code::FaultCode;
use crate::domain::contract::{IMPORTS, TYPE_INTERFACES, event_grant, point_of_export};
use crate::domain::grant::{Grant, Grants};
use crate::domain::manifest::{ColumnSource, Manifest, Tier};
use crate::domain::point::Point;
use crate::error::{Error, Fault, Result};

/// The largest component of a tier, in bytes.
#[must_use]
pub const fn component_bytes_max(tier: Tier) -> usize {
    Shape::of(tier).component_bytes
}

/// The custom section that holds the manifest.
const MANIFEST_SECTION: &str = "hospes:manifest";
const PACKAGE: &str = "hospes:plugin/";
const WASM_PAGE_BYTES: u64 = 65_536;

/// What the bytes of a component say.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) manifest: Manifest,
    /// `interface.function`, sorted.
    pub(super) imports: Vec<String>,
    /// Extension points, sorted.
    pub(super) exports: Vec<String>,
}

/// Reads and checks a component.
///
/// # Errors
/// [`Error::Invalid`] with every fault that its author must mend.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected> {
    check_kind(bytes)?;
    let scan = scan(bytes)?;
    let mut faults = Vec::new();
    let manifest = read_manifest(&scan.manifests, &mut faults);
    let tier = manifest.as_ref().map_or(Tier::default(), |manifest| manifest.tier);
    scan.check(bytes.len(), tier, &mut faults);
    let mut imports = BTreeSet::new();
    let mut exports = BTreeSet::new();
    let types = Validator::new_with_features(features())
        .validate_all(bytes)
        .map_err(|error| Error::plain("", FaultCode::NotValid { reason: error.to_string() }))?;
    for name in &scan.imports {
        let item = types.as_ref().component_item_for_import(name).map(|item| item.ty);
        let functions = match item {
            Some(ComponentEntityType::Instance(id)) => {
                let exports = &types[id].exports;
                let is_function = |ty| matches!(ty, ComponentEntityType::Func(_));
                exports
                    .iter()
                    .filter(|(_, item)| is_function(item.ty))
                    .map(|(name, _)| name.clone())
                    .collect()
            }
            _ => Vec::new(),
        };
        if tier == Tier::Interpreter && wasi::interface_of(name).is_some() {
            // It is no right: what the host has behind it gives nothing.
            continue;
        }
        check_import(name, &functions, &mut imports, &mut faults);
    }
    // What is exported beyond, by a newer SDK or by a tool for its own ends, is never called.
    let points = scan.exports.iter().filter_map(|name| interface_of(name).and_then(point_of_export));
    exports.extend(points.map(|point| point.as_str().to_owned()));
    if let Some(manifest) = &manifest {
        compare(manifest, &imports, &exports, &mut faults);
    }
    match manifest {
        Some(manifest) if faults.is_empty() => Ok(Inspected {
            manifest,
            imports: imports.into_iter().collect(),
            exports: exports.into_iter().collect(),
        }),
        _ => Err(Error::Invalid { faults }),
    }
}

fn check_kind(bytes: &[u8]) -> Result<()> {
    // How much less it is if no interpreter, its manifest says.
    let most = component_bytes_max(Tier::Interpreter);
    if bytes.len() > most {
        return Err(Error::plain("", FaultCode::too_many_bytes(most)));
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(Error::plain("", FaultCode::Precompiled));
    }
    if Parser::is_core_wasm(bytes) {
        return Err(Error::plain("", FaultCode::CoreModule));
    }
    if !Parser::is_component(bytes) {
        return Err(Error::plain("", FaultCode::NotAComponent));
    }
    Ok(())
}

/// What our engine's profile has on, as far as bytes can use it.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::GC_TYPES
}

#[derive(Default)]
struct Scan<'a> {
    imports: Vec<String>,
    exports: Vec<String>,
    manifests: Vec<&'a [u8]>,
    instances: u32,
    memories: u32,
    tables: u32,
    /// The most pages with which a memory begins.
    pages: u64,
}

impl Scan<'_> {
    /// Whether a component of so many bytes stays within what its tier may have.
    fn check(&self, bytes: usize, tier: Tier, faults: &mut Vec<Fault>) {
        let shape = Shape::of(tier);
        if bytes > shape.component_bytes {
            faults.push(Fault::plain("", FaultCode::too_many_bytes(shape.component_bytes)));
        }
        let most = shape.memory_bytes as u64 / WASM_PAGE_BYTES;
        if self.pages > most {
            let (pages, max) = (self.pages.to_string(), most.to_string());
            faults.push(Fault::plain("", FaultCode::Memory { pages, max }));
        }
        let mut bound = |what: &str, count: u32, most: usize| {
            if usize::try_from(count).is_ok_and(|count| count > most) {
                let (part, count, max) = (what.to_owned(), count.to_string(), most.to_string());
                faults.push(Fault::plain("", FaultCode::TooManyParts { part, count, max }));
            }
        };
        // Instances that only bundle imports have no code and are not counted by the engine either;
        // this is a ceiling over what a component may ask for, the engine's own limit is lower.
        bound("core instances", self.instances, shape.core_instances * 8);
        bound("memories", self.memories, shape.memories);
        bound("tables", self.tables, shape.tables);
    }
}

/// Walks over all sections. Nested modules and components count for the
/// manifest and the limits; only the outermost imports and exports count.
#[expect(clippy::wildcard_enum_match_arm, reason = "most kinds of sections say nothing that is asked here")]
fn scan(bytes: &[u8]) -> Result<Scan<'_>> {
    let mut found = Scan::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(malformed)?;
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                found.manifests.push(section.data());
            }
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import.map_err(malformed)?;
                    found.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(malformed)?;
                    found.exports.push(export.name.name.to_owned());
                }
            }
            Payload::InstanceSection(section) => found.instances += section.count(),
            Payload::TableSection(section) => found.tables += section.count(),
            Payload::MemorySection(section) => {
                found.memories += section.count();
                for memory in section {
                    let memory = memory.map_err(malformed)?;
                    found.pages = found.pages.max(memory.initial);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn malformed(error: impl ToString) -> Error {
    Error::plain("", FaultCode::Malformed { reason: error.to_string() })
}

/// `kv` of `hospes:plugin/kv@1.0.0`; `None` for another package or major version.
fn interface_of(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    version.starts_with("1.").then_some(interface)
}

fn check_import(name: &str, functions: &[String], imports: &mut BTreeSet<String>, faults: &mut Vec<Fault>) {
    let mut refuse = |what: &str| {
        let hint = if name.starts_with("wasi:") {
            "; build for wasm32-unknown-unknown, which imports nothing of WASI, or declare the tier `interpreter`"
        } else {
            ""
        };
        let message = format!("imports `{what}`, which this host does not offer{hint}");
        faults.push(Fault::new("", FaultCode::UnknownImport { import: what.to_owned() }, message));
    };
    let Some(interface) = interface_of(name) else { return refuse(name) };
    let known = IMPORTS.iter().any(|import| import.interface == interface);
    if !known && !TYPE_INTERFACES.contains(&interface) {
        return refuse(name);
    }
    for function in functions {
        let known = IMPORTS.iter().any(|one| one.interface == interface && one.function == function);
        if known {
            imports.insert(format!("{interface}.{function}"));
        } else {
            refuse(&format!("{name}#{function}"));
        }
    }
}

fn read_manifest(sections: &[&[u8]], faults: &mut Vec<Fault>) -> Option<Manifest> {
    let section = match sections {
        [one] => *one,
        [] => {
            faults.push(Fault::plain("", FaultCode::NoManifest));
            return None;
        }
        several => {
            faults.push(Fault::plain("", FaultCode::SeveralManifests { count: several.len().to_string() }));
            return None;
        }
    };
    let Ok(text) = std::str::from_utf8(section) else {
        faults.push(Fault::plain("", FaultCode::ManifestNotText));
        return None;
    };
    match Manifest::parse(text) {
        Ok(manifest) => Some(manifest),
        Err(wrong) => {
            faults.extend(wrong.into_iter().map(|mut fault| {
                fault.message.insert_str(0, "plugin.toml: ");
                fault
            }));
            None
        }
    }
}

/// Whether what the manifest says and what the bytes do is the same.
fn compare(
    manifest: &Manifest,
    imports: &BTreeSet<String>,
    exports: &BTreeSet<String>,
    faults: &mut Vec<Fault>,
) {
    let mut say = |code: FaultCode, message: String| faults.push(Fault::new("", code, message));
    let wanted = manifest.wanted();
    let needs = needs(manifest, imports);
    for (grant, why) in &needs {
        if !wanted.has(*grant) {
            let code = FaultCode::MissingGrant { grant: grant.to_string() };
            say(code, format!("{why}, but does not ask for the grant `{grant}`"));
        }
    }
    let needed: Grants = needs.iter().map(|(grant, _)| *grant).collect();
    for grant in wanted.without(&needed).iter() {
        let code = FaultCode::IdleGrant { grant: grant.to_string() };
        say(code, format!("asks for the grant `{grant}`, which nothing in it needs"));
    }
    for point in Point::ALL.iter().filter(|point| **point != Point::Lifecycle) {
        match (manifest.declares(*point), exports.contains(point.as_str())) {
            (true, false) => {
                let code = FaultCode::MissingExport { export: point.to_string() };
                say(code, format!("declares {point}, but does not export `{point}`"));
            }
            (false, true) => {
                let code = FaultCode::IdleExport { export: point.to_string() };
                say(code, format!("exports `{point}`, but its manifest declares none"));
            }
            (true, true) | (false, false) => {}
        }
    }
}

/// The grants that bytes and manifest need, each with why.
fn needs(manifest: &Manifest, imports: &BTreeSet<String>) -> Vec<(Grant, String)> {
    let mut needs = Vec::new();
    for import in IMPORTS {
        let name = format!("{}.{}", import.interface, import.function);
        if let Some(grant) = import.grant.filter(|_| imports.contains(&name)) {
            needs.push((grant, format!("imports `{name}`")));
        }
    }
    for event in &manifest.events.subscribe {
        needs.extend(event_grant(event).map(|grant| (grant, format!("subscribes to `{event}`"))));
    }
    for hook in &manifest.hooks {
        needs.push((hook.entity.hook_grant(), format!("declares a hook on `{}`", hook.entity.as_str())));
    }
    if !manifest.fields.is_empty() {
        needs.push((Grant::FieldsOwn, "declares fields".to_owned()));
    }
    for scoring in &manifest.scoring {
        for column in &scoring.columns {
            let grant = match column.source {
                ColumnSource::Pointer(_) | ColumnSource::Field(_) => Grant::CustomersRead,
                ColumnSource::Orders(_) => Grant::OrdersRead,
            };
            needs.push((
                grant,
                format!("declares the column `{}` of the scoring `{}`", column.name, scoring.name),
            ));
        }
    }
    if let Some(function) = manifest.functions.first() {
        needs.push((Grant::PluginsServe, format!("declares the function `{}`", function.name)));
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(bytes: &[u8]) -> String {
        match inspect(bytes) {
            Err(Error::Invalid { faults }) => faults[0].code.to_string(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn what_is_no_component_is_refused_by_name() {
        assert_eq!(code_of(b"not wasm at all"), "not_a_component");
        assert_eq!(code_of(b""), "not_a_component");
        assert_eq!(code_of(b"\0asm\x01\0\0\0"), "core_module");
        assert_eq!(code_of(&vec![0; component_bytes_max(Tier::Interpreter) + 1]), "too_many_bytes");
        assert_eq!(code_of(b"\0asm\x0d\0\x01\0"), "no_manifest");
        assert_eq!(code_of(b"\0asm\x0d\0\x01\0\x07\xff"), "malformed");
    }

    #[test]
    fn machine_code_is_refused() {
        let code = Engine::default().precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(code_of(&code), "precompiled");
    }

    #[test]
    fn every_import_of_the_contract_is_in_the_table() {
        let wit = [
            "context",
            "log",
            "settings",
            "kv",
            "documents",
            "customers",
            "orders",
            "timeline",
            "files",
            "http",
            "plugins",
        ];
        let interfaces: BTreeSet<_> = IMPORTS.iter().map(|import| import.interface).collect();
        assert_eq!(interfaces, wit.into_iter().collect());
    }
}
