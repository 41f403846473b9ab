//! The one macro of a plugin.

/// Makes a component of a type: `hospes_sdk::plugin!(CoffeeClub: Events, Panels);`.
///
/// The names after the colon are the traits that the type implements; the
/// component exports these extension points and no others, so what a plugin does
/// not name costs the host nothing. `plugin.toml` beside the crate's
/// `Cargo.toml` becomes the component's manifest. Use it once, in the crate of
/// type `cdylib`. Off wasm it only checks that the traits are implemented.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty : $($point:ident),+ $(,)?) => {
        $(
            const _: () = {
                const fn implements<T: $crate::$point>() {}
                implements::<$plugin>();
            };
        )+

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Glue;

            $( $crate::__export!($point, $plugin, Glue); )+

            #[used]
            #[unsafe(link_section = "hospes:manifest")]
            static MANIFEST: [u8; include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml")).len()] =
                *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml"));

            #[used]
            #[unsafe(link_section = "hospes:sdk-version")]
            static SDK_VERSION: [u8; $crate::VERSION.len()] = $crate::section($crate::VERSION);
        };
    };
}

/// Exports one extension point; only `plugin!` calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (Lifecycle, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::lifecycle::exports::hospes::plugin::lifecycle::Guest for $glue {
            fn enable() -> $crate::Result<()> {
                $crate::glue::enable::<$plugin>()
            }
            fn disable() -> $crate::Result<()> {
                $crate::glue::disable::<$plugin>()
            }
            fn migrate(from: String, cursor: Option<String>) -> $crate::Result<Option<String>> {
                $crate::glue::migrate::<$plugin>(from, cursor)
            }
        }
        $crate::bindings::lifecycle::export_lifecycle!($glue);
    };
    (Events, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::events::exports::hospes::plugin::events::Guest for $glue {
            fn handle(
                events: Vec<$crate::bindings::events::exports::hospes::plugin::events::Event>,
            ) -> $crate::Result<()> {
                $crate::glue::handle::<$plugin>(events)
            }
        }
        $crate::bindings::events::export_events!($glue);
    };
    (Hooks, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::hooks::exports::hospes::plugin::hooks::Guest for $glue {
            fn before_save(
                save: $crate::bindings::hooks::exports::hospes::plugin::hooks::Save,
            ) -> ::std::result::Result<Option<String>, $crate::Rejection> {
                $crate::glue::before_save::<$plugin>(save)
            }
        }
        $crate::bindings::hooks::export_hooks!($glue);
    };
    (Actions, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::actions::exports::hospes::plugin::actions::Guest for $glue {
            fn run(
                action: String,
                target: $crate::Subject,
                input: String,
            ) -> $crate::Result<$crate::bindings::actions::exports::hospes::plugin::actions::Outcome> {
                $crate::glue::act::<$plugin>(action, target, input)
            }
        }
        $crate::bindings::actions::export_actions!($glue);
    };
    (Panels, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::panels::exports::hospes::plugin::panels::Guest for $glue {
            fn render(slot: String, target: $crate::Subject) -> $crate::Result<Vec<$crate::panels::Block>> {
                $crate::glue::render::<$plugin>(slot, target)
            }
        }
        $crate::bindings::panels::export_panels!($glue);
    };
    (Jobs, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::jobs::exports::hospes::plugin::jobs::Guest for $glue {
            fn run(job: String, due_at: i64, cursor: Option<String>) -> $crate::Result<Option<String>> {
                $crate::glue::run_job::<$plugin>(job, due_at, cursor)
            }
        }
        $crate::bindings::jobs::export_jobs!($glue);
    };
    (Scoring, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::scoring::exports::hospes::plugin::scoring::Guest for $glue {
            fn score(
                scoring: String,
                slice: $crate::scoring::Slice,
            ) -> $crate::Result<$crate::scoring::Scores> {
                $crate::glue::score::<$plugin>(scoring, slice)
            }
        }
        $crate::bindings::scoring::export_scoring!($glue);
    };
    (Routes, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::routes::exports::hospes::plugin::routes::Guest for $glue {
            fn handle(
                request: $crate::bindings::routes::exports::hospes::plugin::routes::Request,
            ) -> $crate::Result<$crate::bindings::routes::exports::hospes::plugin::routes::Response> {
                $crate::glue::answer::<$plugin>(request)
            }
        }
        $crate::bindings::routes::export_routes!($glue);
    };
    (Steps, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::steps::exports::hospes::plugin::steps::Guest for $glue {
            fn run(
                step: $crate::bindings::steps::exports::hospes::plugin::steps::Step,
            ) -> $crate::Result<$crate::bindings::steps::exports::hospes::plugin::steps::Outcome> {
                $crate::glue::run_step::<$plugin>(step)
            }
        }
        $crate::bindings::steps::export_steps!($glue);
    };
    (Functions, $plugin:ty, $glue:ident) => {
        impl $crate::bindings::functions::exports::hospes::plugin::functions::Guest for $glue {
            fn call(
                request: $crate::bindings::functions::exports::hospes::plugin::functions::Request,
            ) -> $crate::Result<String> {
                $crate::glue::call::<$plugin>(request)
            }
        }
        $crate::bindings::functions::export_functions!($glue);
    };
}
