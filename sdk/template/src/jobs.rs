//! Work at night: counts the cards, a page a run. What a run writes commits with its cursor.

use hospes_sdk::documents::Collection;
use hospes_sdk::{Jobs, Result, Subject, Timestamp};
use serde::{Deserialize, Serialize};

use crate::PluginType;
use crate::card::CARDS;

/// What each night has found, by its date. Declared in `plugin.toml`.
pub const NIGHTS: Collection<Night> = Collection::new("nights");
/// Cards of one run.
const PAGE: u32 = 200;

/// What a night has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Night {
    /// Cards that there were.
    pub cards: usize,
}

impl Jobs for PluginType {
    fn run(_job: &str, due_at: Timestamp, cursor: Option<String>) -> Result<Option<String>> {
        let date = due_at.display_date();
        // Without a cursor the count begins anew, also if this night was counted before.
        let before = if cursor.is_some() { NIGHTS.get(&date)? } else { None };
        let mut night = before.map(|found| found.value).unwrap_or_default();
        let page = CARDS.find().limit(PAGE).after(cursor).page()?;
        night.cards += page.documents.len();
        NIGHTS.put(&date, &Subject::Tenant, &night)?;
        Ok(page.cursor)
    }
}

#[cfg(test)]
mod tests {
    use hospes_sdk::{json, testing};

    use super::*;
    use crate::card::Card;

    #[test]
    fn a_night_that_is_counted_twice_has_no_more_cards() {
        testing::start(include_str!("../plugin.toml"));
        for customer in ["cus_1", "cus_2"] {
            testing::put_customer(json!({ "id": customer }));
            testing::invoke(|| Card::default().save(customer)).unwrap();
        }
        let due_at = Timestamp::from_date(2026, 3, 2);
        for _ in 0..2 {
            testing::invoke(|| <PluginType as Jobs>::run("nightly", due_at, None)).unwrap();
        }
        assert_eq!(testing::documents("nights")["2026-03-02"], json!({ "cards": 2 }));
    }
}
