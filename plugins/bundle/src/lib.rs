//! The first-party plugins as components, compiled by this crate's build script
//! and embedded. It knows nothing of the host: the host installs these bytes as
//! it installs a partner's.

/// A plugin that ships with the product.
#[derive(Debug, Clone, Copy)]
pub struct BundledPlugin {
    /// The name in its manifest.
    pub name: &'static str,
    /// The whole package: a component with its manifest inside.
    pub component: &'static [u8],
}

/// Every plugin that ships with the product.
pub const PLUGINS: &[BundledPlugin] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wasmparser::{Parser, Payload};

    use super::*;

    fn custom_sections(component: &[u8], name: &str) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            if let Payload::CustomSection(section) = payload.unwrap()
                && section.name() == name
            {
                found.push(section.data().to_vec());
            }
        }
        found
    }

    #[test]
    fn every_plugin_carries_its_manifest_once() {
        for plugin in PLUGINS {
            let manifests = custom_sections(plugin.component, "hospes:manifest");
            assert_eq!(manifests.len(), 1, "{}", plugin.name);
            let text = String::from_utf8(manifests.concat()).unwrap();
            assert!(text.contains(&format!("name = {:?}", plugin.name)));
            let versions = custom_sections(plugin.component, "hospes:sdk-version");
            assert_eq!(versions, [env!("CARGO_PKG_VERSION").as_bytes()]);
        }
    }

    #[test]
    fn a_plugin_imports_nothing_but_the_contract() {
        for plugin in PLUGINS {
            let mut imports = BTreeSet::new();
            let mut depth = 0;
            for payload in Parser::new(0).parse_all(plugin.component) {
                let payload = payload.unwrap();
                if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
                    depth += 1;
                } else if let Payload::End(_) = payload {
                    depth -= 1;
                } else if let Payload::ComponentImportSection(section) = payload
                    && depth == 0
                {
                    let names = section.into_iter().map(|import| import.unwrap().name.name);
                    imports.extend(names.map(str::to_owned));
                }
            }
            assert!(imports.contains("hospes:plugin/types@1.0.0"), "{imports:?}");
            for import in imports {
                assert!(import.starts_with("hospes:plugin/"), "{} imports {import}", plugin.name);
            }
        }
    }
}
