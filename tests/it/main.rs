//! Tests of the whole product through its front doors, one file for each area.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at the first surprise, and looks behind the host's back"
)]

mod access;
mod components;
mod contract;
mod customers;
mod db_backup;
mod db_engines;
mod db_postgres;
mod db_reruns;
mod db_schema;
mod db_scratch;
mod events_backfill;
mod events_bounds;
mod events_dispatch;
mod fields;
mod health;
mod import_lines;
mod imports;
mod kills;
mod limits;
mod museum;
mod once;
mod openapi;
mod orders;
mod outbound;
mod outlets;
mod paging;
mod partner_guide;
mod partner_http;
mod partner_mistakes;
mod partner_testkit;
mod partner_workshop;
mod plugin_attacks;
mod plugin_bounds;
mod plugin_calls;
mod plugin_canary;
mod plugin_commands;
mod plugin_engine;
mod plugin_files;
mod plugin_generated;
mod plugin_health;
mod plugin_hooks;
mod plugin_hostile;
mod plugin_http;
mod plugin_jobs;
mod plugin_languages;
mod plugin_oracles;
mod plugin_program;
mod plugin_records;
mod plugin_redelivery;
mod plugin_registry;
mod plugin_requests;
mod plugin_rig;
mod plugin_rights;
mod plugin_routes;
mod plugin_schedules;
mod plugin_scoring;
mod plugin_shadow;
mod plugin_sheet;
mod plugin_steps;
mod plugin_surroundings;
mod plugin_theft;
mod plugin_trust;
mod plugin_uninstall;
mod plugin_upgrade;
mod plugin_usage;
mod problems;
mod process;
mod products;
mod real_data;
mod recorder_replay;
mod recordings;
mod scopes;
mod serving;
mod signing_in;
mod streams;
mod tidy;
mod timeline;
mod tokens;
mod versions;
mod webhooks;
