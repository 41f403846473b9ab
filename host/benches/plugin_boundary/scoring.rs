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
#[path = "../../../tests/guests/probe/src/scoring.rs"]
mod native;

/// At most three times the native time.
const AIM: Option<f64> = Some(0.33);
const ROWS: usize = 1_000;
const SLICES: usize = 100;
const HOST_SLICES: usize = 10;
const COLUMNS: [&str; 5] = ["orders", "spend", "last_order", "events", "created"];

/// The same columns, scored by the guest in a fresh instance each time, and by the same code native;
/// then the whole of it, with columns that the host gathers from the database.
pub(crate) fn compare_scores(runtime: &Runtime, host: &Host, plugins: &Arc<dyn Plugins>, guest: &Guest) {
    let ids: Vec<String> = (0..ROWS).map(|row| format!("cus_{row:026}")).collect();
    let values = |column: usize| -> Vec<f64> { (0..ROWS).map(|row| number(row * 7 + column)).collect() };
    let columns = COLUMNS.iter().enumerate();
    let columns =
        columns.map(|(place, name)| contract::Column { name: (*name).to_owned(), values: values(place) });
    let slice = contract::Slice { ids: ids.clone(), columns: columns.collect() };
    let own = hospes_sdk::testing::slice(
        &ids.iter().map(String::as_str).collect::<Vec<_>>(),
        &slice.columns.iter().map(|one| (one.name.as_str(), one.values.as_slice())).collect::<Vec<_>>(),
    );
    let wasm = || {
        rate(SLICES * ROWS, || {
            runtime.block_on(async {
                for _ in 0..SLICES {
                    guest.score("engagement", &slice).await;
                }
            });
        })
    };
    let native = || {
        rate(SLICES * ROWS, || {
            for _ in 0..SLICES {
                std::hint::black_box(native::score(std::hint::black_box(&own)).unwrap());
            }
        })
    };
    compare(
        "1,000 customers are scored by columns that are there",
        "scores",
        AIM,
        vec![Contender::new("a fresh instance in wasmtime", wasm), Contender::new("native", native)],
    );
    let customers = runtime.block_on(make_customers(host));
    let whole = || {
        rate(HOST_SLICES * ROWS, || {
            for _ in 0..HOST_SLICES {
                let scores = plugins.score(&host.actor, "probe", "engagement", customers.clone());
                assert_eq!(runtime.block_on(scores).unwrap().len(), ROWS);
            }
        })
    };
    let wasm = || {
        rate(HOST_SLICES * ROWS, || {
            runtime.block_on(async {
                for _ in 0..HOST_SLICES {
                    guest.score("engagement", &slice).await;
                }
            });
        })
    };
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
