//! What a customer's save costs in Extism: compare with `cargo bench --bench comparison` of the
//! product, by the ratio of each to native code of the same run.

use std::time::Instant;

use extism::{Manifest, PluginBuilder, Wasm};
use hospes_sdk::Customer;
use serde_json::{Value, json};

/// Rounds, of which the first does not count.
const ROUNDS: usize = 8;
/// Saves of one round.
const SAVES: usize = 2_000;

fn main() {
    let plugin = std::env::args_os().nth(1).expect("./run names the plugin, which it builds first");
    let wasm = std::fs::read(plugin).expect("the plugin can be read");
    let (before, after) = (customer("Lin Xiaoman"), customer("Lin Xiaomei"));
    let input = format!(r#"{{"before":{before},"after":{after}}}"#);
    let builder = || PluginBuilder::new(Manifest::new([Wasm::data(wasm.clone())]));
    let compiled = builder().with_fuel_limit(11_000_000).compile().expect("the plugin compiles");
    let mut live = builder().build().expect("the plugin starts");
    let mut contenders: [(&str, Box<dyn FnMut()>); 3] = [
        (
            "native, with the decoding",
            Box::new(|| {
                let [before, after] = [&before, &after].map(|text| serde_json::from_str::<Customer>(text));
                let (before, after) = (before.expect("a customer"), after.expect("a customer"));
                assert!(before.contact_points.is_empty() || !after.contact_points.is_empty());
            }),
        ),
        (
            "Extism, a fresh instance",
            Box::new(|| {
                let mut plugin = extism::Plugin::new_from_compiled(&compiled).expect("the plugin starts");
                let said: &str = plugin.call("before_save", &input).expect("the plugin answers");
                assert_eq!(said, "null");
            }),
        ),
        (
            "Extism, one instance for all",
            Box::new(|| {
                let said: &str = live.call("before_save", &input).expect("the plugin answers");
                assert_eq!(said, "null");
            }),
        ),
    ];
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..ROUNDS {
        for ((_, work), times) in contenders.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            (0..SAVES).for_each(|_| work());
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64() / SAVES as f64 * 1e6);
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), micros) in contenders.iter().zip(&medians) {
        println!("{name:<32} {micros:>9.1} µs each, {:>7.1} times native", micros / medians[0]);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn customer(name: &str) -> String {
    let record: Value = json!({
        "id": "cus_0000000000000000000000bare", "version": 3, "kind": "person", "name": name,
        "lifecycle_stage": "growth", "tags": ["vip"],
        "contact_points": [{"kind": "email", "value": "xiaoman@example.com", "primary": true}],
        "identities": [{"source": "shop", "external_id": "C1"}], "preferences": {"language": "zh-CN"},
        "custom_fields": {}, "fields": {"retail-membership.points": 120, "retail-membership.tier": "silver"},
        "created_at": "2026-01-01T00:00:00.000000Z", "updated_at": "2026-02-01T00:00:00.000000Z",
    });
    record.to_string()
}
