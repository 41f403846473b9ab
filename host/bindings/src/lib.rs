//! The host's side of the plugin contract, generated from `wit/` and nothing else.
//!
//! A crate of its own, so that a change of the host does not generate it again.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "plugin",
    imports: { default: async | trappable },
    exports: { default: async },
    // For the flight recorder, which keeps what goes over the boundary.
    additional_derives: [serde::Serialize, serde::Deserialize],
});
