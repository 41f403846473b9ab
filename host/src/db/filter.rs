//! Statements whose shape depends on the caller: filtered lists, rows by their keys, and inserts of many rows.
//!
//! Text is put together from static fragments alone; every value is an argument.
//! So the only place that runs built text cannot be made to run a caller's.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{SqlSafeStr as _, SqlStr};

use super::{Arg, Row, Sql, Tx, args};
use crate::domain::actor::Visibility;
use crate::error::Result;

/// Rows of one insert at most: with 24 columns, a fifth of the arguments that SQLite takes.
const INSERT_ROWS_MAX: usize = 256;

/// The condition that a customer `c` is visible, with the places of its four
/// arguments: the one rule for single reads (`$n`) and lists (`?`).
///
/// The arguments are those of [`visible_args`].
macro_rules! visible {
    ($all:literal, $user:literal, $from:literal, $to:literal) => {
        concat!(
            "(",
            $all,
            " OR c.owner_id = ",
            $user,
            " OR EXISTS (
                SELECT 1
                FROM org_units u
                WHERE u.tenant = c.tenant
                  AND u.id = c.org_unit_id
                  AND u.path >= ",
            $from,
            " AND u.path < ",
            $to,
            "))"
        )
    };
}
pub(super) use visible;

/// The arguments of [`visible!`]: everything, the owner, and the range of the units' paths.
pub(super) fn visible_args(visibility: &Visibility) -> [Arg; 4] {
    let (all, user, path) = match visibility {
        Visibility::All => (true, None, None),
        Visibility::Team { user, path } => (false, user.as_ref(), Some(path)),
        Visibility::Own { user } => (false, user.as_ref(), None),
    };
    // Every path ends with a slash, and `0` is the character after it.
    let end = path.map(|path| format!("{}0", path.trim_end_matches('/')));
    [Arg::from(all), Arg::from(user), Arg::from(path), Arg::from(end)]
}

/// Which of two statements for one record is run, the first for whoever sees all, and its arguments.
///
/// PostgreSQL would plan the second anew for each read of somebody who sees all: knowing
/// the arguments, it can leave out the whole condition.
pub(super) fn seen(visibility: &Visibility, (all, some): (Sql, Sql), mut args: Vec<Arg>) -> (Sql, Vec<Arg>) {
    if *visibility == Visibility::All {
        return (all, args);
    }
    args.extend(visible_args(visibility));
    (some, args)
}

/// External ids by their source: one statement asks for those of one source.
pub(super) fn by_source<'a>(
    identities: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut by_source: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (source, external_id) in identities {
        by_source.entry(source).or_default().insert(external_id);
    }
    by_source
}

/// Keys as one argument for [`by_keys!`], each once.
pub(super) fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Arg {
    let keys: BTreeSet<&str> = keys.into_iter().collect();
    Arg::from(serde_json::to_string(&keys).expect("keys are plain texts"))
}

/// The rows with these keys, for [`Select::new_split`]: first the argument of [`keys`], then those of the scope,
/// within which a key is unique.
///
/// The list is one JSON array, which each engine unfolds in its own way. PostgreSQL, which
/// thinks that few rows of a table never analysed are one tenant's, walks all of them for
/// an `IN`; a limit for each key leaves it no choice but the unique index.
macro_rules! by_keys {
    ($table:literal as $alias:literal, $key:literal, $scope:literal, $($columns:tt)+) => {
        $crate::db::Sql::split(
            concat!(
                "SELECT ", $($columns)+, " FROM ", $table, " ", $alias,
                " WHERE ", $key, " IN (SELECT value FROM json_each(?)) AND ", $scope
            ),
            concat!(
                "SELECT ", $($columns)+, " FROM json_array_elements_text(CAST(? AS JSON)) AS keys (value)",
                " CROSS JOIN LATERAL (SELECT ", $alias, ".* FROM ", $table, " ", $alias,
                " WHERE ", $key, " = keys.value AND ", $scope, " LIMIT 1) ", $alias,
                " WHERE TRUE"
            ),
        )
    };
}
pub(super) use by_keys;

/// A statement under construction. `?` in a fragment stands for its next argument.
#[derive(Debug)]
pub(super) struct Select {
    text: String,
    args: Vec<Arg>,
}

impl Select {
    /// Begins with `fragment`, which ends in a `WHERE` with at least one condition.
    pub(super) fn new(fragment: &'static str, args: Vec<Arg>) -> Self {
        let mut select = Self { text: String::with_capacity(1_024), args: Vec::new() };
        select.push(fragment, args);
        select
    }

    /// Begins with the fragment of the engine of `tx`; both take the same arguments.
    pub(super) fn new_split(tx: &Tx, fragment: Sql, args: Vec<Arg>) -> Self {
        Self::new(if tx.is_postgres() { fragment.postgres() } else { fragment.sqlite() }, args)
    }

    /// Adds a fragment.
    pub(super) fn push(&mut self, fragment: &'static str, args: Vec<Arg>) {
        debug_assert_eq!(fragment.matches('?').count(), args.len(), "one argument for each ? of {fragment}");
        let mut numbers = self.args.len() + 1..;
        for (index, part) in fragment.split('?').enumerate() {
            if index > 0 {
                self.push_number(numbers.next().expect("the range has no end"));
            }
            self.text.push_str(part);
        }
        self.args.extend(args);
    }

    /// Adds a fragment with its argument, if there is one.
    pub(super) fn push_some<T: Into<Arg>>(&mut self, fragment: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.push(fragment, vec![value.into()]);
        }
    }

    /// Adds the condition that the customer `c` is visible.
    pub(super) fn push_visible(&mut self, visibility: &Visibility) {
        if *visibility != Visibility::All {
            self.push(concat!(" AND ", visible!("?", "?", "?", "?")), visible_args(visibility).to_vec());
        }
    }

    /// Adds a range that holds exactly the texts that begin with `prefix`.
    pub(super) fn push_prefix(&mut self, fragment: &'static str, prefix: &str) {
        // No text has the last character of Unicode, which is no character.
        self.push(fragment, args![prefix, format!("{prefix}\u{10ffff}")]);
    }

    fn push_tuple(&mut self, values: Vec<Arg>) {
        for (index, value) in values.into_iter().enumerate() {
            self.text.push_str(if index == 0 { " (" } else { ", " });
            self.push_number(self.args.len() + 1);
            self.args.push(value);
        }
        self.text.push(')');
    }

    fn push_number(&mut self, number: usize) {
        self.text.push('$');
        self.text.push_str(&number.to_string());
    }

    /// All rows. The statement ends in a `LIMIT`, or lists keys.
    pub(super) async fn fetch_all<T: Row>(self, tx: &mut Tx) -> Result<Vec<T>> {
        tx.fetch_built(built(self.text), self.args).await
    }

    async fn execute(self, tx: &mut Tx) -> Result<u64> {
        tx.execute_built(built(self.text), self.args).await
    }
}

fn built(text: String) -> SqlStr {
    sqlx::AssertSqlSafe(text).into_sql_str()
}

/// An insert of any number of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Insert {
    /// Up to and with `VALUES`.
    pub(super) head: &'static str,
    /// The columns that each row has.
    pub(super) columns: usize,
    /// What follows the rows, such as `ON CONFLICT … DO NOTHING`.
    pub(super) tail: &'static str,
}

impl Insert {
    /// Inserts rows, given one after the other in one list, and answers how many were new.
    ///
    /// Statements have a power of two of rows, so that few texts have to be prepared.
    pub(super) async fn run(self, tx: &mut Tx, args: Vec<Arg>) -> Result<u64> {
        debug_assert_eq!(args.len() % self.columns, 0, "whole rows for {}", self.head);
        let mut left = args.len() / self.columns;
        let mut args = args.into_iter();
        let mut inserted = 0;
        while left > 0 {
            let rows = (1 << left.ilog2()).min(INSERT_ROWS_MAX);
            let mut statement = Select::new(self.head, Vec::new());
            for row in 0..rows {
                if row > 0 {
                    statement.text.push(',');
                }
                statement.push_tuple(args.by_ref().take(self.columns).collect());
            }
            statement.push(self.tail, Vec::new());
            inserted += statement.execute(tx).await?;
            left -= rows;
        }
        Ok(inserted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbered_across_fragments() {
        let mut select = Select::new("SELECT 1 FROM t WHERE a = ?", args![1_i64]);
        select.push_some(" AND b = ?", None::<i64>);
        select.push(" AND (c, d) > (?, ?)", args!["x", "y"]);
        assert_eq!(select.text, "SELECT 1 FROM t WHERE a = $1 AND (c, d) > ($2, $3)");
        assert_eq!(select.args.last(), Some(&Arg::from("y")));
    }

    #[test]
    fn a_key_is_asked_for_once() {
        assert_eq!(keys(["b", "a", "b"]), Arg::from(r#"["a","b"]"#));
        let orders = by_keys!("orders" as "o", "o.id", "o.tenant = ?", "o.id");
        assert_eq!(
            Select::new(orders.sqlite(), args![r#"["a"]"#, "ten_1"]).text,
            "SELECT o.id FROM orders o WHERE o.id IN (SELECT value FROM json_each($1)) AND o.tenant = $2"
        );
    }

    #[test]
    fn the_units_of_a_team_are_those_below_its_path() {
        let team = Visibility::Team { user: None, path: "org_a/org_b/".to_owned() };
        let [_, _, from, to] = visible_args(&team);
        assert_eq!((from, to), (Arg::from("org_a/org_b/"), Arg::from("org_a/org_b0")));
    }
}
