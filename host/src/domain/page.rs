//! Pages of a list: keyset pagination with opaque cursors.
//!
//! A page is asked for with "after this key", never with an offset, so that paging
//! through data that changes meanwhile shows each row once.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::code::FaultCode;
use crate::error::{Error, Result};

/// Rows on a page if the caller does not say.
pub const PAGE_DEFAULT: u32 = 50;
/// Rows on a page at most.
pub const PAGE_MAX: u32 = 200;
/// Characters of a cursor at most: one may carry the name of a record.
pub const CURSOR_CHARS_MAX: usize = 4_000;

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows, from 1 to [`PAGE_MAX`].
    pub limit: u32,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: PAGE_DEFAULT, cursor: None }
    }
}

impl PageRequest {
    /// The page that a caller asked for.
    #[must_use]
    pub fn new(limit: Option<u32>, cursor: Option<String>) -> Self {
        Self { limit: limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX), cursor }
    }

    /// The key of the last row of the page before; `None` on the first page.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `/cursor` for a text that is no cursor of this list.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>> {
        self.cursor.as_deref().map(decode).transpose()
    }

    /// What a statement's `LIMIT` must be for [`Page::of`]: one row more than the page has.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page of `rows`, which were fetched with [`PageRequest::fetch`]; `key` is what
    /// the list is sorted by, and unique.
    pub fn of<K: Serialize>(request: &PageRequest, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Self {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(|row| encode(&key(row))) } else { None };
        Self { items: rows, next_cursor }
    }

    /// The same page with every row turned into something else.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

fn encode<K: Serialize>(key: &K) -> String {
    let text = serde_json::to_vec(key).expect("the keys of lists are plain values");
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn decode<K: DeserializeOwned>(cursor: &str) -> Result<K> {
    let key = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().filter(|_| cursor.len() <= CURSOR_CHARS_MAX);
    // A NUL is a legal character of JSON, but PostgreSQL has no text with one.
    let key = key.filter(|key| !key.windows(6).any(|part| part == b"\\u0000"));
    key.and_then(|key| serde_json::from_slice(&key).ok()).ok_or_else(|| {
        Error::invalid(
            "/cursor",
            FaultCode::BadCursor,
            "not a `next_cursor` of this list; begin without a cursor",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_the_next_and_the_last_to_none() {
        let request = PageRequest::new(Some(2), None);
        let page = Page::of(&request, vec![1, 2, 3], |row| *row);
        assert_eq!(page.items, [1, 2]);
        let next = PageRequest::new(Some(2), page.next_cursor);
        assert_eq!(next.after::<i32>().unwrap(), Some(2));
        assert_eq!(Page::of(&next, vec![3], |row| *row).next_cursor, None);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let request = PageRequest::new(None, Some(encode(&("a", 1))));
        assert!(matches!(request.after::<i64>(), Err(Error::Invalid { .. })));
        assert!(matches!(
            PageRequest::new(None, Some("%".to_owned())).after::<i64>(),
            Err(Error::Invalid { .. })
        ));
    }
}
