//! Rust types and calls generated from `wit/`: one module for everything that a
//! plugin may import, one for each extension point that it may export.
//!
//! The extension points are worlds of their own because WIT has no optional
//! export; `with` makes all of them share the types of `imports`.

pub use imports::hospes::plugin::types;

pub mod imports {
    wit_bindgen::generate!({
        world: "imports",
        path: "../wit",
        generate_all,
        additional_derives: [PartialEq],
    });
}

/// Generates the bindings of one extension point and its export macro.
macro_rules! extension_point {
    ($module:ident, $world:literal, $interface:literal, $export:literal, $here:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                world: $world,
                path: "../wit",
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $here,
                type_section_suffix: $world,
                additional_derives: [PartialEq],
                with: {
                    "hospes:plugin/types@1.0.0": crate::bindings::imports::hospes::plugin::types,
                    "hospes:plugin/context@1.0.0": crate::bindings::imports::hospes::plugin::context,
                    "hospes:plugin/log@1.0.0": crate::bindings::imports::hospes::plugin::log,
                    "hospes:plugin/settings@1.0.0": crate::bindings::imports::hospes::plugin::settings,
                    "hospes:plugin/kv@1.0.0": crate::bindings::imports::hospes::plugin::kv,
                    "hospes:plugin/documents@1.0.0": crate::bindings::imports::hospes::plugin::documents,
                    "hospes:plugin/customers@1.0.0": crate::bindings::imports::hospes::plugin::customers,
                    "hospes:plugin/orders@1.0.0": crate::bindings::imports::hospes::plugin::orders,
                    "hospes:plugin/timeline@1.0.0": crate::bindings::imports::hospes::plugin::timeline,
                    "hospes:plugin/files@1.0.0": crate::bindings::imports::hospes::plugin::files,
                    "hospes:plugin/http@1.0.0": crate::bindings::imports::hospes::plugin::http,
                    "hospes:plugin/plugins@1.0.0": crate::bindings::imports::hospes::plugin::plugins,
                    $interface: generate,
                },
            });
        }
    };
}

extension_point!(
    lifecycle,
    "with-lifecycle",
    "hospes:plugin/lifecycle@1.0.0",
    "export_lifecycle",
    "hospes_sdk::bindings::lifecycle"
);
extension_point!(
    events,
    "with-events",
    "hospes:plugin/events@1.0.0",
    "export_events",
    "hospes_sdk::bindings::events"
);
extension_point!(
    hooks,
    "with-hooks",
    "hospes:plugin/hooks@1.0.0",
    "export_hooks",
    "hospes_sdk::bindings::hooks"
);
extension_point!(
    actions,
    "with-actions",
    "hospes:plugin/actions@1.0.0",
    "export_actions",
    "hospes_sdk::bindings::actions"
);
extension_point!(
    panels,
    "with-panels",
    "hospes:plugin/panels@1.0.0",
    "export_panels",
    "hospes_sdk::bindings::panels"
);
extension_point!(jobs, "with-jobs", "hospes:plugin/jobs@1.0.0", "export_jobs", "hospes_sdk::bindings::jobs");
extension_point!(
    scoring,
    "with-scoring",
    "hospes:plugin/scoring@1.0.0",
    "export_scoring",
    "hospes_sdk::bindings::scoring"
);
extension_point!(
    routes,
    "with-routes",
    "hospes:plugin/routes@1.0.0",
    "export_routes",
    "hospes_sdk::bindings::routes"
);
extension_point!(
    steps,
    "with-steps",
    "hospes:plugin/steps@1.0.0",
    "export_steps",
    "hospes_sdk::bindings::steps"
);
extension_point!(
    functions,
    "with-functions",
    "hospes:plugin/functions@1.0.0",
    "export_functions",
    "hospes_sdk::bindings::functions"
);
