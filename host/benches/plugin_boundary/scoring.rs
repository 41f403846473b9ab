//! A slice of customers is scored: what columns cost on their way into a guest and back.

use std::sync::Arc;

use hospes::domain::customer::{Customer, CustomerKind, NewCustomer};
use hospes::domain::ids::CustomerId;
use hospes::ops::customers;
use hospes::ops::plugins::Plugins;
use hospes_bindings::exports::hospes::plugin::scoring as contract;
use tokio::runtime::Runtime;

use crate::Host;
use crate::bare::Guest;
use crate::support::{Contender, compare, rate};

/// The formula of the tests' probe, native.
#[path = "../../../tests/guests/probe/src/propensity.rs"]
mod native;

/// At most three times the native time.
const AIM: Option<f64> = Some(0.33);
const ROWS: usize = 1_000;
const SLICES: usize = 100;
const HOST_SLICES: usize = 10;
/// What the host gathers for the formula that it is measured with.
const GATHERED: [&str; 5] = ["orders", "spend", "last_order", "events", "created"];

/// A slice of columns, scored by the guest and by the same code native; then the whole of it, with
/// columns that the host gathers from the database.
pub(crate) fn compare_scores(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>, guest: &Guest) {
    compare_formula(runtime, guest);
    compare_gathering(runtime, host, plugins, guest);
}

fn compare_formula(runtime: &Runtime, guest: &Guest) {
    let slice = slice_of(&native::WEIGHTS.map(|(name, _weight)| name));
    let ids: Vec<&str> = slice.ids.lines().collect();
    let columns = slice.columns.iter().map(|one| (one.name.as_str(), one.values.as_slice()));
    let own = hospes_sdk::testing::slice(&ids, &columns.collect::<Vec<_>>());
    let mut scorer = runtime.block_on(guest.scorer());
    let living = || {
        rate(SLICES * ROWS, || {
            runtime.block_on(async {
                for _ in 0..SLICES {
                    scorer.score("propensity", &slice).await;
                }
            });
        })
    };
    let native = || {
        rate(SLICES * ROWS, || {
            for _ in 0..SLICES {
                std::hint::black_box(native::propensity(std::hint::black_box(&own)).unwrap());
            }
        })
    };
    let fresh = || rate_slices(runtime, guest, ("propensity", &slice), SLICES);
    compare(
        "1,000 customers are scored by twelve columns that are there",
        "scores",
        AIM,
        vec![
            Contender::new("a guest, instance there", living),
            Contender::new("native", native),
            Contender::new("a guest, fresh instance", fresh),
        ],
    );
}

fn compare_gathering(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>, guest: &Guest) {
    let slice = slice_of(&GATHERED);
    let customers = runtime.block_on(make_customers(host));
    let whole = || {
        rate(HOST_SLICES * ROWS, || {
            for _ in 0..HOST_SLICES {
                let scores = plugins.score(&host.actor, "probe", "engagement", customers.clone());
                assert_eq!(runtime.block_on(scores).unwrap().len(), ROWS);
            }
        })
    };
    let wasm = || rate_slices(runtime, guest, ("engagement", &slice), HOST_SLICES);
    compare(
        "1,000 customers are scored by columns that the host gathers",
        "scores",
        None,
        vec![
            Contender::new("the host, with columns and rights", whole),
            Contender::new("bare wasmtime, columns given", wasm),
        ],
    );
}

/// Scores per second of slices, each in a fresh instance.
fn rate_slices(
    runtime: &Runtime,
    guest: &Guest,
    (scoring, slice): (&str, &contract::Slice),
    slices: usize,
) -> f64 {
    rate(slices * ROWS, || {
        runtime.block_on(async {
            for _ in 0..slices {
                guest.score(scoring, slice).await;
            }
        });
    })
}

fn slice_of(names: &[&str]) -> contract::Slice {
    let ids: Vec<String> = (0..ROWS).map(|row| format!("cus_{row:026}")).collect();
    let column = |(place, name): (usize, &&str)| contract::Column {
        name: (*name).to_owned(),
        values: (0..ROWS).map(|row| number(row * 7 + place)).collect(),
    };
    contract::Slice { ids: ids.join("\n"), columns: names.iter().enumerate().map(column).collect() }
}

fn number(seed: usize) -> f64 {
    f64::from(u32::try_from(seed % 1_000).unwrap_or_default())
}

async fn make_customers(host: &Host) -> Vec<Customer> {
    let mut ids: Vec<CustomerId> = Vec::with_capacity(ROWS);
    for number in 0..ROWS {
        let new = NewCustomer::named(CustomerKind::Person, format!("Scored {number}"));
        ids.push(customers::create(&host.core, &host.actor, new).await.unwrap().id);
    }
    let mut made = Vec::with_capacity(ROWS);
    for ids in ids.chunks(200) {
        made.extend(customers::get_many(&host.core, &host.actor, ids).await.unwrap().into_iter().flatten());
    }
    made
}
