//! A Hospes plugin: one file for each extension point that it has.

// MODULES

/// The plugin. It has no state of its own: every invocation is a fresh instance.
pub struct PluginType;

hospes_sdk::plugin!(PluginType: POINTS);
