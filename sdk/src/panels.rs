//! What a plugin shows: typed blocks, put together with [`Blocks`].

use serde_json::Value;

use crate::Subject;
pub use crate::bindings::panels::exports::hospes::plugin::panels::{
    Badge, Block, Button, Chart, ChartKind, Form, Link, Pair, Progress, Series, Stat, Table, Tone,
};

/// Blocks of a panel, at most 100.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Blocks(Vec<Block>);

impl Blocks {
    /// An empty panel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Any block.
    pub fn block(mut self, block: Block) -> Self {
        self.0.push(block);
        self
    }

    /// A heading.
    pub fn heading(self, text: impl Into<String>) -> Self {
        self.block(Block::Heading(text.into()))
    }

    /// A paragraph.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.block(Block::Text(text.into()))
    }

    /// Labels with their values.
    pub fn pairs<L: Into<String>, V: Into<String>>(self, pairs: impl IntoIterator<Item = (L, V)>) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(label, value)| Pair { label: label.into(), value: value.into() })
            .collect();
        self.block(Block::KeyValue(pairs))
    }

    /// A figure with a line below it.
    pub fn stat(
        self,
        label: impl Into<String>,
        value: impl Into<String>,
        note: Option<String>,
        tone: Tone,
    ) -> Self {
        self.block(Block::Stat(Stat { label: label.into(), value: value.into(), note, tone }))
    }

    /// A word that stands out.
    pub fn badge(self, text: impl Into<String>, tone: Tone) -> Self {
        self.block(Block::Badge(Badge { text: text.into(), tone }))
    }

    /// How far something is; shows nothing if `maximum` is not above zero.
    pub fn progress(self, label: impl Into<String>, value: f64, maximum: f64) -> Self {
        if maximum > 0.0 {
            self.block(Block::Progress(Progress { label: label.into(), value, maximum }))
        } else {
            self
        }
    }

    /// A table of at most 12 columns and 200 rows.
    pub fn table<C: Into<String>>(
        self,
        title: Option<String>,
        columns: impl IntoIterator<Item = C>,
        rows: Vec<Vec<String>>,
    ) -> Self {
        self.block(Block::Table(Table {
            title,
            columns: columns.into_iter().map(Into::into).collect(),
            rows,
        }))
    }

    /// The form of a declared action, filled with values to begin with.
    pub fn form(
        self,
        action: &str,
        title: impl Into<String>,
        submit: impl Into<String>,
        initial: &Value,
    ) -> Self {
        self.block(Block::Form(Form {
            action: action.to_owned(),
            title: title.into(),
            submit: submit.into(),
            initial: initial.to_string(),
        }))
    }

    /// A button that runs a declared action with this input.
    pub fn button(self, action: &str, label: impl Into<String>, input: &Value, tone: Tone) -> Self {
        self.block(Block::Button(Button {
            action: action.to_owned(),
            label: label.into(),
            input: input.to_string(),
            tone,
        }))
    }

    /// A link to a record.
    pub fn link(self, label: impl Into<String>, target: Subject) -> Self {
        self.block(Block::Link(Link { label: label.into(), target }))
    }

    /// Blocks that belong together under a title.
    pub fn group(self, title: impl Into<String>, blocks: Self) -> Self {
        let mut all = self.block(Block::GroupStart(title.into()));
        all.0.extend(blocks.0);
        all.block(Block::GroupEnd)
    }

    /// The blocks in order.
    pub fn into_vec(self) -> Vec<Block> {
        self.0
    }
}
