//! Work at night: looks through all cards, a page a run. What a run writes commits with its cursor.

use hospes_sdk::{Jobs, Result, Timestamp, log};

use crate::PluginType;
use crate::card::CARDS;

/// Cards of one run.
const PAGE: u32 = 200;

impl Jobs for PluginType {
    fn run(_job: &str, _due_at: Timestamp, cursor: Option<String>) -> Result<Option<String>> {
        let page = CARDS.find().limit(PAGE).after(cursor).page()?;
        log::info(&format!("looked at {} cards", page.documents.len()));
        Ok(page.cursor)
    }
}
