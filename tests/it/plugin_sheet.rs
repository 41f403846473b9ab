//! The install sheet of every first-party plugin, derived from its bytes.

use hospes::domain::actor::Locale;
use hospes::ops::plugins::sheet::InstallSheet;
use hospes::ops::plugins::{Inspected, packages};
use hospes_tests::{TestApp, assert_golden, both_engines, guests};

fn sheet(component: &[u8]) -> InstallSheet {
    let Inspected { manifest, imports, exports, .. } = hospes::plugin::inspect(component).unwrap();
    InstallSheet::of(&manifest, &imports, &exports)
}

#[test]
fn the_sheets_of_first_party_plugins_are_those_that_were_reviewed() {
    for plugin in hospes_bundle::PLUGINS {
        let sheet = sheet(plugin.component);
        assert_eq!(sheet.name, plugin.name);
        let path = format!("tests/golden/sheet-{}", plugin.name);
        let json = serde_json::to_string_pretty(&sheet).unwrap();
        assert_golden(&format!("{path}.json"), &format!("{json}\n"));
        assert_golden(&format!("{path}.en.md"), &sheet.to_text(Locale::En));
        assert_golden(&format!("{path}.zh-CN.md"), &sheet.to_text(Locale::ZhCn));
    }
}

/// If this fails after an update of dependencies, run the command that `plugin.toml` names, and copy its versions.
#[test]
fn a_bill_of_materials_names_the_versions_that_are_built_in() {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().unwrap();
    let locked: Vec<_> = lock["package"].as_array().unwrap().iter().collect();
    for plugin in hospes_bundle::PLUGINS {
        let sheet = sheet(plugin.component);
        assert!(sheet.license.is_some(), "{} has no licence", plugin.name);
        let components = sheet.sbom.expect("a first-party plugin says what it is built from").components;
        for component in components {
            assert!(component.license.is_some(), "{} has no licence", component.name);
            let is_same = |package: &&toml::Value| {
                package["name"].as_str() == Some(&component.name)
                    && package["version"].as_str() == Some(&component.version)
            };
            assert!(locked.iter().any(is_same), "{} {} is not built in", component.name, component.version);
        }
    }
}

both_engines! {
    async fn a_tenant_reads_the_sheet_before_it_enables_a_plugin(app: TestApp) {
        packages::install(&app.core, guests::SPY.to_vec()).await.unwrap();
        let answer = app.owner.get("/api/v1/plugins/spy/sheet").await;
        assert_eq!(answer.body, serde_json::to_value(sheet(guests::SPY)).unwrap());
        let text = app.owner.get("/api/v1/plugins/spy/sheet/text").header("accept-language", "zh-CN").await;
        assert_eq!(text.header("content-type"), "text/markdown; charset=utf-8");
        assert_eq!(text.body.as_str(), Some(sheet(guests::SPY).to_text(Locale::ZhCn).as_str()));
        let missing = app.owner.get("/api/v1/plugins/spy/sheet?version=9.9.9").await;
        assert_eq!(missing.status.as_u16(), 404);
    }

    async fn the_catalogue_is_searched_by_words(app: TestApp) {
        packages::install(&app.core, guests::SPY.to_vec()).await.unwrap();
        packages::install(&app.core, guests::PROBE.to_vec()).await.unwrap();
        let names = async |query: &str| {
            let found = app.owner.get(&format!("/api/v1/plugins?q={query}")).await;
            let items = found.body["items"].as_array().unwrap().clone();
            items.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("").await, ["probe", "spy"]);
        assert_eq!(names("hospes-tests%20BYTE").await, ["spy"]);
        assert_eq!(names("nothing").await, [""; 0]);
    }
}
