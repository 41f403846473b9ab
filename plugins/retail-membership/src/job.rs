//! The daily job: expires points and re-evaluates tiers.

use hospes_sdk::documents::Page;
use hospes_sdk::{Error, Result, kv};

use crate::member::{MEMBERS, Member};
use crate::store::{Account, Desk};

/// How many members one chunk settles.
const CHUNK: u32 = 200;
/// The key of the programme that all members were last settled by.
const SETTLED_BY: &str = "settled-by";

/// Runs one chunk. Normally it visits the members whose time has come; after a
/// change of the programme it visits all, since their tiers may have changed.
pub(crate) fn run(job: &str, cursor: Option<String>) -> Result<Option<String>> {
    if job != "daily" {
        return Err(Error::NotFound(format!("job `{job}`")));
    }
    let desk = Desk::open()?;
    match cursor.as_deref().map(|cursor| cursor.split_once(':')) {
        Some(Some(("all", after))) => everyone(&desk, Some(after.to_owned())),
        Some(_) => due(&desk),
        None if kv::get(SETTLED_BY)?.as_ref() == Some(&desk.programme) => due(&desk),
        None => everyone(&desk, None),
    }
}

/// Settled members are due later than now, so the next chunk is the first page
/// again.
fn due(desk: &Desk) -> Result<Option<String>> {
    let page = MEMBERS.find().at_most("due_at", desk.now).ascending("due_at").limit(CHUNK).page()?;
    let more = page.cursor.is_some();
    settle(desk, page)?;
    Ok(more.then(|| "due".to_owned()))
}

fn everyone(desk: &Desk, after: Option<String>) -> Result<Option<String>> {
    let page = MEMBERS.find().after(after).limit(CHUNK).page()?;
    let next = page.cursor.clone();
    settle(desk, page)?;
    if next.is_none() {
        kv::set(SETTLED_BY, &desk.programme)?;
    }
    Ok(next.map(|next| format!("all:{next}")))
}

fn settle(desk: &Desk, page: Page<Member>) -> Result<()> {
    let mut accounts: Vec<Account> = page
        .documents
        .into_iter()
        .map(|document| Account::new(&document.key.clone(), Some(document)))
        .collect();
    desk.save(&mut accounts)
}
