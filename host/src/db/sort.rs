//! Orders of lists: where a page goes on, in which order it is read, and the key of its last row.

use super::filter::Select;
use super::{Arg, args};
use crate::domain::page::{Page, PageRequest};
use crate::domain::query::Position;
use crate::error::Result;

/// What rows are ordered by before their ids.
pub(super) enum Key<T> {
    /// Nothing.
    Id,
    /// A text.
    Text(fn(&T) -> String),
    /// A number.
    Number(fn(&T) -> i64),
}

/// An order of a list; made by [`sort!`].
pub(super) struct Sort<T> {
    /// Names the list and its order in cursors.
    pub(super) list: &'static str,
    pub(super) key: Key<T>,
    /// Where a page goes on.
    pub(super) after: &'static str,
    /// The order itself, and the limit.
    pub(super) by: &'static str,
}

/// A list's name in cursors, its key, the key's column if it is not the id, and the id's column.
macro_rules! sort {
    ($list:literal, $key:expr, $id:literal) => {
        $crate::db::sort::Sort {
            list: $list,
            key: $key,
            after: concat!(" AND ", $id, " > ?"),
            by: concat!(" ORDER BY ", $id, " LIMIT ?"),
        }
    };
    ($list:literal, $key:expr, $id:literal DESC) => {
        $crate::db::sort::Sort {
            list: $list,
            key: $key,
            after: concat!(" AND ", $id, " < ?"),
            by: concat!(" ORDER BY ", $id, " DESC LIMIT ?"),
        }
    };
    ($list:literal, $key:expr, $column:literal, $id:literal) => {
        $crate::db::sort::Sort {
            list: $list,
            key: $key,
            after: concat!(" AND (", $column, ", ", $id, ") > (?, ?)"),
            by: concat!(" ORDER BY ", $column, ", ", $id, " LIMIT ?"),
        }
    };
    ($list:literal, $key:expr, $column:literal, $id:literal DESC) => {
        $crate::db::sort::Sort {
            list: $list,
            key: $key,
            after: concat!(" AND (", $column, ", ", $id, ") < (?, ?)"),
            by: concat!(" ORDER BY ", $column, " DESC, ", $id, " DESC LIMIT ?"),
        }
    };
}
pub(super) use sort;

impl<T> Sort<T> {
    /// Ends a statement: from where the page before ended, in this order, as many rows as a page needs.
    pub(super) fn push(&self, select: &mut Select, request: &PageRequest) -> Result<()> {
        if let Some(Position { text, number, id, .. }) = Position::of(request, self.list)? {
            let key = match self.key {
                Key::Id => None,
                Key::Text(_) => Some(Arg::from(text.unwrap_or_default())),
                Key::Number(_) => Some(Arg::from(number.unwrap_or_default())),
            };
            select.push(self.after, key.into_iter().chain([Arg::from(id)]).collect());
        }
        select.push(self.by, args![request.fetch()]);
        Ok(())
    }

    /// The page of the rows that such a statement has answered.
    pub(super) fn page(&self, request: &PageRequest, rows: Vec<T>, id: impl Fn(&T) -> String) -> Page<T> {
        Page::of(request, rows, |row| {
            let (text, number) = match self.key {
                Key::Id => (None, None),
                Key::Text(key) => (Some(key(row)), None),
                Key::Number(key) => (None, Some(key(row))),
            };
            Position { list: self.list.to_owned(), text, number, id: id(row) }
        })
    }
}
