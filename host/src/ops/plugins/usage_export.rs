//! What the plugins of all tenants have used, as CSV (RFC 4180), for the operator who bills it and shares
//! the revenue with the publishers. For the command line: who may is not asked.
//!
//! It is written in pieces, so that it may be of any length: one tenant after the other, each with a page of
//! rows at a time and a connection of its own. What servers still count is not in it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::packages;
use super::usage::{Days, Place, UsageRow};
use crate::db::{self, plugins, usage};
use crate::domain::ids::TenantId;
use crate::error::{Error, Result};
use crate::ops::{Core, tenants};

/// Rows of a piece.
const PAGE_ROWS: i64 = 1_000;
/// Tenants that are looked up at once.
const TENANTS_PAGE: u32 = 200;
/// Publishers that are remembered; then they are looked up anew.
const PUBLISHERS_MAX: usize = 10_000;
/// The first line.
const HEAD: &str = "tenant,tenant_slug,day,plugin,plugin_version,publisher,point,calls,failures,fuel,duration_us,\
                    rows_read,rows_written,bytes,requests,log_lines\r\n";

/// An export that is under way.
pub struct UsageExport {
    core: Arc<Core>,
    days: Days,
    /// Whether the first line is written.
    is_begun: bool,
    /// Tenants that were looked up and whose turn has not come.
    waiting: VecDeque<TenantId>,
    /// The last tenant that was looked up.
    last: Option<TenantId>,
    /// Whose turn it is, and behind which row.
    turn: Option<Turn>,
    publishers: HashMap<String, String>,
}

struct Turn {
    tenant: TenantId,
    slug: String,
    after: Place,
}

/// Begins an export of the days of every tenant.
#[must_use]
pub fn begin(core: &Arc<Core>, days: Days) -> UsageExport {
    UsageExport {
        core: Arc::clone(core),
        days,
        is_begun: false,
        waiting: VecDeque::new(),
        last: None,
        turn: None,
        publishers: HashMap::new(),
    }
}

impl UsageExport {
    /// The next lines; nothing at the end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn next(&mut self) -> Result<Option<String>> {
        if !self.is_begun {
            self.is_begun = true;
            return Ok(Some(HEAD.to_owned()));
        }
        while let Some(mut turn) = self.take_turn().await? {
            let rows = self.page(&turn).await?;
            let Some(last) = rows.last() else { continue };
            turn.after = Place::of(last);
            let mut text = String::new();
            for row in &rows {
                let publisher = self.publisher(&row.plugin).await?;
                text.push_str(&line((turn.tenant.as_str(), &turn.slug), &publisher, row));
            }
            self.turn = Some(turn);
            return Ok(Some(text));
        }
        Ok(None)
    }

    async fn page(&self, turn: &Turn) -> Result<Vec<UsageRow>> {
        let mut reader = self.core.db.read(&turn.tenant).await?;
        usage::list(&mut reader, &turn.tenant, self.days.bounds(), turn.after.parts(), PAGE_ROWS).await
    }

    /// Whose turn it is; nothing after the last tenant.
    async fn take_turn(&mut self) -> Result<Option<Turn>> {
        if let Some(turn) = self.turn.take() {
            return Ok(Some(turn));
        }
        if self.waiting.is_empty() {
            self.waiting = tenants::list_ids(&self.core, self.last.as_ref(), TENANTS_PAGE).await?.into();
            self.last = self.waiting.back().cloned().or(self.last.take());
        }
        let Some(tenant) = self.waiting.pop_front() else { return Ok(None) };
        let mut reader = self.core.db.read(&tenant).await?;
        let found = db::tenants::find(&mut reader, &tenant).await?;
        let slug = found.ok_or_else(|| Error::unavailable("a tenant is being removed"))?.slug;
        Ok(Some(Turn { tenant, slug, after: Place::default() }))
    }

    /// Who publishes a plugin: whoever has published its newest version; nobody if it is no longer installed.
    async fn publisher(&mut self, plugin: &str) -> Result<String> {
        if let Some(known) = self.publishers.get(plugin) {
            return Ok(known.clone());
        }
        let mut reader = self.core.db.read_host().await?;
        let versions = plugins::versions_of(&mut reader, plugin).await?;
        drop(reader);
        let newest = versions.into_iter().max_by_key(|package| packages::order(&package.version));
        let publisher = newest.map(|package| package.manifest.0.publisher).unwrap_or_default();
        if self.publishers.len() >= PUBLISHERS_MAX {
            self.publishers.clear();
        }
        self.publishers.insert(plugin.to_owned(), publisher.clone());
        Ok(publisher)
    }
}

fn line((tenant, slug): (&str, &str), publisher: &str, row: &UsageRow) -> String {
    let UsageRow {
        day,
        plugin,
        plugin_version,
        point,
        calls,
        failures,
        fuel,
        duration_us,
        rows_read,
        rows_written,
        bytes,
        requests,
        log_lines,
    } = row;
    let texts = [tenant, slug, day, plugin, plugin_version, publisher, point].map(cell);
    let numbers = [calls, failures, fuel, duration_us, rows_read, rows_written, bytes, requests, log_lines];
    let cells = texts.into_iter().chain(numbers.map(ToString::to_string));
    cells.collect::<Vec<_>>().join(",") + "\r\n"
}

/// A text as a cell: quoted where it must be, and never one that a spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n', '\t']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_ends_its_row() {
        assert_eq!(cell("retail-membership"), "retail-membership");
        assert_eq!(cell(""), "");
        assert_eq!(
            cell("=HYPERLINK(\"http://evil.example\")"),
            "\"'=HYPERLINK(\"\"http://evil.example\"\")\""
        );
        for start in ['=', '+', '-', '@', '＝'] {
            assert_eq!(cell(&format!("{start}1+1")), format!("'{start}1+1"));
        }
        assert_eq!(cell("\t=1"), "\"'\t=1\"");
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("a\r\n=1"), "\"a\r\n=1\"");
    }

    #[test]
    fn a_line_has_as_many_cells_as_the_head() {
        let row = UsageRow { plugin: "p".to_owned(), calls: 7, ..UsageRow::default() };
        let line = line(("ten_1", "shop"), "=x", &row);
        assert_eq!(line, "ten_1,shop,,p,,'=x,,7,0,0,0,0,0,0,0,0\r\n");
        assert_eq!(line.matches(',').count(), HEAD.matches(',').count());
    }
}
