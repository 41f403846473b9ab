//! A panel with every kind of block.

use hospes_sdk::panels::{Block, Blocks, Chart, ChartKind, Series, Tone};
use hospes_sdk::{Result, Subject, json};

use crate::seen::tally_of;

pub(crate) fn render(slot: &str, target: &Subject) -> Result<Blocks> {
    let blocks = Blocks::new().heading(slot);
    let Subject::Customer(customer) = target else {
        return Ok(blocks.text(format!("{target:?}")));
    };
    let tally = tally_of(customer)?;
    Ok(blocks
        .text("A <b>text</b> with markup that must not become markup.")
        .pairs([("events", tally.events.to_string())])
        .stat("amount", tally.amount.to_string(), Some("a note".to_owned()), Tone::Positive)
        .table(Some("table".to_owned()), ["a", "b"], vec![vec!["1".to_owned(), "2".to_owned()]])
        .badge("badge", Tone::Warning)
        .progress("progress", 1.0, 4.0)
        .block(Block::Chart(Chart {
            kind: ChartKind::Bar,
            title: "chart".to_owned(),
            labels: vec!["x".to_owned(), "y".to_owned()],
            series: vec![Series { name: "series".to_owned(), values: vec![1.0, 2.5] }],
        }))
        .form("take", "Take", "Take", &json!({ "amount": 1 }))
        .button("refuse", "Refuse", &json!({}), Tone::Negative)
        .link("self", target.clone())
        .group("group", Blocks::new().text("inside"))
        .block(Block::Custom(("hologram".to_owned(), json!({}).to_string()))))
}
