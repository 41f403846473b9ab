//! The host's functions: the real ones in a component, the fake of `testing`
//! everywhere else, where the generated imports would not link.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::hospes::plugin::{
    context, customers, documents, files, http, kv, log, orders, plugins, settings, timeline,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::fake::{context, customers, documents, kv, log, orders, settings, timeline};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::outside::{files, plugins};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::web::http;
