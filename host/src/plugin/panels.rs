//! Panels: typed blocks from guests, checked and written as JSON for whoever renders them.

use futures::future::join_all;
use hospes_bindings::exports::hospes::plugin::panels as contract;
use hospes_bindings::hospes::plugin::types;
use serde_json::{Value, json};
use std::sync::Arc;

use super::PluginHost;
use super::acceptance;
use super::call::{Answer, Call};
use super::host::{parse_document, subject_of_event};
use super::invocation::clean;
use super::registry::Enabled;
use super::run::{Effects, user_actor};
use crate::domain::actor::Actor;
use crate::domain::code::FailureCode;
use crate::domain::event::Subject;
use crate::domain::manifest::{Manifest, PanelSlot};
use crate::domain::point::Point;
use crate::error::{Error, Result};
use crate::ops::plugins::Panel;

const BLOCKS_MAX: usize = 100;
const PAIRS_MAX: usize = 100;
const COLUMNS_MAX: usize = 12;
const ROWS_MAX: usize = 200;
const LABELS_MAX: usize = 400;
const SERIES_MAX: usize = 8;
/// The longest text of a block, in bytes; longer ones are cut.
const TEXT_BYTES_MAX: usize = 4_096;

/// Why a panel is not shown.
type Wrong = String;

impl PluginHost {
    pub(super) async fn render_panels(
        &self,
        actor: &Actor,
        slot: &str,
        target: Subject,
    ) -> Result<Vec<Panel>> {
        let all = self.registry.of_tenant(&actor.tenant).await?;
        let mut versions = Vec::with_capacity(all.len());
        for live in all.iter() {
            versions.push(Box::pin(self.version_for(live, &target)).await?);
        }
        let target = subject_of_event(&target);
        let panels = versions.iter().filter_map(|enabled| {
            let declared = enabled.facts.manifest.panels.iter().find(|panel| panel.slot.as_str() == slot)?;
            Some(self.render(actor, enabled, declared, target.clone()))
        });
        Ok(join_all(panels).await)
    }

    async fn render(
        &self,
        actor: &Actor,
        enabled: &Arc<Enabled>,
        declared: &PanelSlot,
        target: types::Subject,
    ) -> Panel {
        let blocks = self.blocks(actor, enabled, declared, target).await;
        let (blocks, failure) = match blocks {
            Ok(blocks) => (blocks, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let title = declared.title.get(actor.locale).to_owned();
        Panel { plugin: enabled.plugin.to_string(), title, blocks, failure }
    }

    async fn blocks(
        &self,
        actor: &Actor,
        enabled: &Arc<Enabled>,
        declared: &PanelSlot,
        target: types::Subject,
    ) -> Result<Vec<Value>> {
        let beginning = self.begin(enabled, user_actor(actor, enabled), Point::Panels)?.of_user(actor);
        let call = Call::Render { slot: declared.slot.as_str().to_owned(), target };
        let Answer::Blocks(blocks) = self.run(beginning, call, Effects::None).await? else {
            return Err(Error::internal("a panel answered with something else than blocks"));
        };
        to_json(enabled, &blocks).map_err(|code| acceptance::error(&enabled.plugin, code))
    }
}

/// The blocks as whoever renders them gets them, or why they are not taken.
pub(super) fn to_json(enabled: &Enabled, blocks: &[contract::Block]) -> Result<Vec<Value>, FailureCode> {
    blocks_json(&enabled.facts.manifest, blocks).map_err(|reason| FailureCode::Panel { reason })
}

fn blocks_json(manifest: &Manifest, blocks: &[contract::Block]) -> Result<Vec<Value>, Wrong> {
    at_most("blocks", blocks.len(), BLOCKS_MAX)?;
    let mut open = 0_usize;
    let mut shown = Vec::with_capacity(blocks.len());
    for block in blocks {
        if matches!(block, contract::Block::GroupStart(_)) {
            open += 1;
        } else if matches!(block, contract::Block::GroupEnd) {
            open = open.checked_sub(1).ok_or("a group ends that has not begun")?;
        }
        shown.push(block_json(manifest, block)?);
    }
    if open > 0 {
        return Err("a group does not end".to_owned());
    }
    Ok(shown)
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), Wrong> {
    if count > most { Err(format!("{count} {what}; at most {most} are shown")) } else { Ok(()) }
}

fn text(text: &str) -> String {
    clean(text, TEXT_BYTES_MAX)
}

fn texts(list: &[String]) -> Vec<String> {
    list.iter().map(|one| text(one)).collect()
}

fn block_json(manifest: &Manifest, block: &contract::Block) -> Result<Value, Wrong> {
    use contract::Block;
    Ok(match block {
        Block::Heading(words) => json!({ "type": "heading", "text": text(words) }),
        Block::Text(words) => json!({ "type": "text", "text": text(words) }),
        Block::KeyValue(pairs) => {
            at_most("pairs", pairs.len(), PAIRS_MAX)?;
            let pairs: Vec<_> =
                pairs.iter().map(|p| json!({ "label": text(&p.label), "value": text(&p.value) })).collect();
            json!({ "type": "key_value", "pairs": pairs })
        }
        Block::Stat(stat) => json!({
            "type": "stat", "label": text(&stat.label), "value": text(&stat.value),
            "note": stat.note.as_deref().map(text), "tone": tone(stat.tone),
        }),
        Block::Table(table) => table_json(table)?,
        Block::Badge(badge) => {
            json!({ "type": "badge", "text": text(&badge.text), "tone": tone(badge.tone) })
        }
        Block::Progress(bar) => {
            if !bar.value.is_finite() || !bar.maximum.is_finite() || bar.maximum <= 0.0 {
                return Err("a progress needs a value and a maximum above zero".to_owned());
            }
            json!({ "type": "progress", "label": text(&bar.label), "value": bar.value, "maximum": bar.maximum })
        }
        Block::Chart(chart) => chart_json(chart)?,
        Block::Form(form) => {
            let action = manifest.action(&form.action).ok_or_else(|| no_action(&form.action))?;
            json!({
                "type": "form", "action": form.action, "title": text(&form.title),
                "submit": text(&form.submit), "initial": parse_document(&form.initial)?, "schema": action.input,
            })
        }
        Block::Button(button) => {
            manifest.action(&button.action).ok_or_else(|| no_action(&button.action))?;
            json!({
                "type": "button", "action": button.action, "label": text(&button.label),
                "input": parse_document(&button.input)?, "tone": tone(button.tone),
            })
        }
        Block::Link(link) => json!({
            "type": "link", "label": text(&link.label), "target": target_json(&link.target),
        }),
        Block::GroupStart(title) => json!({ "type": "group_start", "title": text(title) }),
        Block::GroupEnd => json!({ "type": "group_end" }),
        Block::Custom((name, body)) => {
            json!({ "type": "custom", "name": text(name), "body": parse_document(body)? })
        }
    })
}

fn no_action(name: &str) -> Wrong {
    format!("the manifest declares no action `{}`", clean(name, 60))
}

fn tone(tone: contract::Tone) -> &'static str {
    match tone {
        contract::Tone::Neutral => "neutral",
        contract::Tone::Positive => "positive",
        contract::Tone::Warning => "warning",
        contract::Tone::Negative => "negative",
    }
}

fn target_json(target: &types::Subject) -> Value {
    match target {
        types::Subject::Customer(id) => json!({ "kind": "customer", "id": clean(id, 60) }),
        types::Subject::Order(id) => json!({ "kind": "order", "id": clean(id, 60) }),
        types::Subject::Tenant => json!({ "kind": "tenant" }),
    }
}

fn table_json(table: &contract::Table) -> Result<Value, Wrong> {
    at_most("columns", table.columns.len(), COLUMNS_MAX)?;
    at_most("rows", table.rows.len(), ROWS_MAX)?;
    if table.rows.iter().any(|row| row.len() != table.columns.len()) {
        return Err("a row of a table is not as long as its columns".to_owned());
    }
    let rows: Vec<_> = table.rows.iter().map(|row| texts(row)).collect();
    let title = table.title.as_deref().map(text);
    Ok(json!({ "type": "table", "title": title, "columns": texts(&table.columns), "rows": rows }))
}

fn chart_json(chart: &contract::Chart) -> Result<Value, Wrong> {
    at_most("labels", chart.labels.len(), LABELS_MAX)?;
    at_most("series", chart.series.len(), SERIES_MAX)?;
    let fits = |series: &contract::Series| {
        series.values.len() == chart.labels.len() && series.values.iter().all(|value| value.is_finite())
    };
    if !chart.series.iter().all(fits) {
        return Err("a series needs one finite value for each label".to_owned());
    }
    let kind = match chart.kind {
        contract::ChartKind::Bar => "bar",
        contract::ChartKind::Line => "line",
    };
    let series: Vec<_> =
        chart.series.iter().map(|s| json!({ "name": text(&s.name), "values": s.values })).collect();
    Ok(json!({
        "type": "chart", "kind": kind, "title": text(&chart.title),
        "labels": texts(&chart.labels), "series": series,
    }))
}
