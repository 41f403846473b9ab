use serde_json::Value;

use super::*;
use crate::domain::actor::Locale;
use crate::domain::grant::Grant;

const COFFEE: &str = r#"
    name = "coffee-club"
    version = "1.0.0"
    publisher = "example"
    [description]
    en = "A stamp for every coffee."
    zh-CN = "每杯咖啡一个印章。"
    [[grants]]
    name = "orders:read"
    reason = { en = "Counts.", zh-CN = "统计。" }
    [events]
    subscribe = ["order.created"]
    [[jobs]]
    name = "nightly"
    schedule = { daily = "03:30" }
"#;

#[test]
fn a_manifest_is_read_whole() {
    let manifest = Manifest::parse(COFFEE).unwrap();
    assert_eq!(manifest.name, "coffee-club");
    assert!(manifest.wanted().has(Grant::OrdersRead));
    assert_eq!(manifest.jobs[0].schedule, Schedule::Daily("03:30".to_owned()));
    assert_eq!(manifest.description.get(Locale::ZhCn), "每杯咖啡一个印章。");
}

#[test]
fn every_fault_of_a_manifest_is_told_at_once() {
    let text = COFFEE
        .replace("coffee-club", "Coffee Club")
        .replace("zh-CN = \"统计。\"", "de = \"Zählt.\"")
        .replace("03:30", "24:00");
    let faults = Manifest::parse(&text).unwrap_err();
    let mut pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    pointers.dedup();
    assert_eq!(pointers, ["/grants/0/reason/de", "/grants/0/reason/zh-CN", "/jobs/0/schedule", "/name"]);
}

#[test]
fn a_name_that_is_declared_twice_is_refused() {
    let twice = format!("{COFFEE}\n[[jobs]]\nname = \"nightly\"\nschedule = {{ every_minutes = 5 }}");
    let faults = Manifest::parse(&twice).unwrap_err();
    assert_eq!(faults[0].pointer, "/jobs/1/name");
    assert_eq!(faults[0].code, "not_unique");
}

#[test]
fn the_schema_names_every_grant() {
    let schema: Value = serde_json::from_str(include_str!("schema.json")).unwrap();
    let names = &schema["properties"]["grants"]["items"]["properties"]["name"]["enum"];
    let all: Vec<_> = Grant::ALL.iter().map(|grant| grant.as_str()).collect();
    assert_eq!(names, &serde_json::json!(all));
}

/// The manifest that `wit/MANIFEST.md` explains.
fn documented() -> &'static str {
    let page = include_str!("../../../../wit/MANIFEST.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_documented_manifest_is_one_and_has_every_section() {
    let manifest = Manifest::parse(documented()).unwrap();
    for point in Point::ALL.iter().filter(|point| **point != Point::Lifecycle) {
        assert!(manifest.declares(*point), "{point}");
    }
    assert_eq!(manifest.license.as_deref(), Some("Apache-2.0"));
    assert_eq!(manifest.sbom.as_ref().unwrap().components.len(), 1);
    assert_eq!(manifest.grants[1].parameters.rate.unwrap().count, 60);
    assert_eq!(manifest.scoring[0].columns[0].source, ColumnSource::Orders(OrderFact::Count));
    assert_eq!(manifest.routes[0].params().collect::<Vec<_>>(), ["customer"]);
    assert_eq!(manifest.budgets[&Point::Jobs].outbound_requests, Some(20));
    assert_eq!(manifest.failure[&Point::Panels].mode, FailureMode::Allow);
    // It is kept as JSON, and read back from there.
    let stored = serde_json::to_string(&manifest).unwrap();
    let read: Manifest = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
}

/// The places and codes of what is wrong with the documented manifest once `from` is `to`.
fn faults_with(from: &str, to: &str) -> Vec<(String, String)> {
    assert!(documented().contains(from), "{from}");
    let faults = Manifest::parse(&documented().replace(from, to)).unwrap_err();
    faults.into_iter().map(|fault| (fault.pointer, fault.code.into_owned())).collect()
}

#[test]
fn every_new_section_is_checked() {
    let cases = [
        ("license = \"Apache-2.0\"        #", "license = \"§\" #", "/license", "wrong_format"),
        (
            "hosts = [\"api.beans.example\"",
            "hosts = [\"https://beans.example\"",
            "/grants/1/parameters/hosts/0",
            "wrong_format",
        ),
        ("per = \"minute\"", "per = \"blink\"", "/grants/1/parameters/rate/per", "not_allowed"),
        ("{ daily = \"03:30\" } ", "{ cron = \"0 0 30 2 *\" } ", "/jobs/0/schedule/cron", "cron"),
        ("orders = \"count\" }", "orders = \"count\", field = \"a\" }", "/scoring/0/columns/0", "too_many"),
        ("name = \"stamps\", field", "name = \"orders\", field", "/scoring/0/columns/1/name", "not_unique"),
        ("method = \"POST\"", "method = \"GET\"", "/routes/0/input", "no_body"),
        ("/cards/{customer}/stamps", "/../stamps", "/routes/0/path", "wrong_format"),
        ("/cards/{customer}/stamps", "/{a}/{a}", "/routes/0/path", "not_unique"),
        (
            "type = \"integer\"\n\n# What it wishes",
            "type = \"whole\"\n\n# What it wishes",
            "/functions/0/output",
            "not_a_schema",
        ),
        ("[budgets.jobs]", "[budgets.moods]", "/budgets/moods", "unknown_field"),
        ("fuel = 8000000000", "fuel = -1", "/budgets/jobs/fuel", "too_small"),
        ("mode = \"allow\"", "mode = \"perhaps\"", "/failure/panels/mode", "not_allowed"),
        ("[failure.panels]", "[failure.hooks]", "/failure/hooks", "unknown_field"),
    ];
    for (from, to, pointer, code) in cases {
        let faults = faults_with(from, to);
        assert!(faults.contains(&(pointer.to_owned(), code.to_owned())), "{from} -> {to}: {faults:?}");
    }
}

#[test]
fn two_routes_of_one_shape_are_refused() {
    let route = |method: &str, path: &str| {
        format!(
            "[[routes]]\nmethod = \"{method}\"\npath = \"{path}\"\nroles = [\"owner\"]\n\
             summary = {{ en = \"a\", zh-CN = \"a\" }}\n"
        )
    };
    let codes = |routes: &str| -> Vec<String> {
        let faults = Manifest::parse(&format!("{COFFEE}\n{routes}")).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.code.into_owned()).collect()
    };
    assert_eq!(codes(&(route("GET", "/a/{x}") + &route("GET", "/a/{x}"))), ["not_unique"]);
    assert_eq!(codes(&(route("GET", "/a/{x}") + &route("PUT", "/a/{y}"))), ["other_names"]);
    assert!(codes(&(route("GET", "/a/{x}") + &route("PUT", "/a/{x}") + &route("GET", "/a/x"))).is_empty());
}

#[test]
fn a_budget_for_what_is_not_declared_is_refused() {
    let faults = Manifest::parse(&format!("{COFFEE}\n[budgets.panels]\ncalls = 1")).unwrap_err();
    assert_eq!((faults[0].pointer.as_str(), faults[0].code.as_ref()), ("/budgets/panels", "idle"));
}

#[test]
fn a_hook_that_does_not_say_what_happens_if_it_fails_refuses_the_save() {
    let grant = "[[grants]]\nname = \"hooks:customer\"\nreason = { en = \"Looks.\", zh-CN = \"查看。\" }\n";
    let manifest =
        |hook: &str| Manifest::parse(&format!("{COFFEE}\n{grant}[[hooks]]\nentity = \"customer\"\n{hook}"));
    assert_eq!(manifest("").unwrap().hooks[0].on_failure, OnFailure::Refuse);
    assert_eq!(manifest("on_failure = \"allow\"").unwrap().hooks[0].on_failure, OnFailure::Allow);
}
