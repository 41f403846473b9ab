//! Rows that are the lines of orders: rows that follow one another and share the order's external id are one order.
//!
//! An order is taken whole or not at all. Its first row says what the order is; the
//! others may say the same again, or nothing. Rows of one order that stand apart are
//! refused, because what stood before has been an order already.

use std::collections::{BTreeMap, HashMap};

use super::RowFault;
use super::row::{ReadRow, Row, row_key};
use crate::domain::code::RowCode;
use crate::domain::order::LINES_MAX;

/// Begins the names of the targets that each line has for itself.
const LINE_PREFIX: &str = "line.";

/// The rows of a batch by order.
#[derive(Debug, Default)]
pub struct Grouped {
    /// The good orders: external id and rows.
    pub orders: Vec<(String, Vec<Row>)>,
    /// What is wrong with each row of the others.
    pub refused: Vec<Vec<RowFault>>,
    /// The last line of every order, by the key of its external id.
    pub last_lines: HashMap<String, u64>,
}

/// Whether a row that was read after `rows` may belong to the same order as their last ones.
///
/// A row that cannot be read may be of any order.
#[must_use]
pub fn continues(rows: &[ReadRow], next: &ReadRow) -> bool {
    let last = rows.iter().rev().find_map(external_id);
    match (last, external_id(next)) {
        (Some(last), Some(next)) => last == next,
        (Some(_) | None, None) | (None, Some(_)) => true,
    }
}

fn external_id(row: &ReadRow) -> Option<String> {
    let identity = match row {
        Ok(row) => row.identity.as_ref(),
        Err(refused) => refused.identity.as_ref(),
    };
    identity.map(|identity| identity.external_id(1))
}

/// The keys by which `group` knows the orders of some rows again.
#[must_use]
pub fn keys(rows: &[ReadRow]) -> Vec<String> {
    let mut keys: Vec<_> = rows.iter().filter_map(external_id).map(|id| row_key(&id)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Puts rows together to orders. `seen` are the last lines of orders of earlier batches, by key;
/// `column_of` says which columns feed a target.
#[must_use]
pub(super) fn group(
    rows: &[ReadRow],
    seen: &HashMap<String, u64>,
    column_of: impl Fn(&str) -> Option<String>,
) -> Grouped {
    let mut grouped = Grouped::default();
    let column_of: &dyn Fn(&str) -> Option<String> = &column_of;
    let mut current: Option<Group> = None;
    // Rows that cannot be read, and may be of the order that they stand in.
    let mut strays: Vec<Vec<RowFault>> = Vec::new();
    for row in rows {
        let Some(id) = external_id(row) else {
            strays.extend(row.as_ref().err().map(|refused| refused.faults.clone()));
            continue;
        };
        if current.as_ref().is_some_and(|group| group.external_id != id) {
            grouped.end(current.take(), seen, column_of);
        }
        let is_inside = current.is_some();
        let group = current.get_or_insert_with(|| Group::new(id));
        if is_inside {
            group.wrong.append(&mut strays);
        }
        grouped.refused.append(&mut strays);
        match row {
            Ok(row) => group.rows.push(row.clone()),
            Err(refused) => group.wrong.push(refused.faults.clone()),
        }
    }
    grouped.end(current, seen, column_of);
    grouped.refused.append(&mut strays);
    grouped
}

/// An order in the making.
struct Group {
    external_id: String,
    rows: Vec<Row>,
    /// What is wrong with those of its rows that are none.
    wrong: Vec<Vec<RowFault>>,
}

impl Group {
    fn new(external_id: String) -> Self {
        Self { external_id, rows: Vec::new(), wrong: Vec::new() }
    }

    fn last_line(&self) -> u64 {
        let wrong = self.wrong.iter().flatten().map(|fault| fault.line);
        self.rows.iter().map(|row| row.line).chain(wrong).max().unwrap_or_default()
    }

    /// What is wrong with good rows because of the others.
    fn check(&mut self, seen: Option<u64>, column_of: &dyn Fn(&str) -> Option<String>) {
        if let (Some(line), Some(first)) = (seen, self.rows.first()) {
            let code = RowCode::NotAdjacent { id: self.external_id.clone(), line: line.to_string() };
            self.wrong.push(vec![RowFault::new(first.line, &code)]);
        }
        if let Some(row) = self.rows.get(LINES_MAX) {
            let code = RowCode::TooManyLines { max: LINES_MAX.to_string() };
            self.wrong.push(vec![RowFault::new(row.line, &code)]);
        }
        let Some((first, others)) = self.rows.split_first() else { return };
        for row in others {
            if let Some(target) = first.differs(row, LINE_PREFIX) {
                let code = RowCode::Differs { line: first.line.to_string() };
                let fault = RowFault::new(row.line, &code).about(target);
                self.wrong.push(vec![match column_of(target) {
                    Some(column) => fault.in_column(column),
                    None => fault,
                }]);
            }
        }
    }
}

impl Grouped {
    fn end(
        &mut self,
        group: Option<Group>,
        seen: &HashMap<String, u64>,
        column_of: &dyn Fn(&str) -> Option<String>,
    ) {
        let Some(mut group) = group else { return };
        let key = row_key(&group.external_id);
        let last_line = group.last_line();
        group.check(self.last_lines.get(&key).or_else(|| seen.get(&key)).copied(), column_of);
        self.last_lines.insert(key, last_line);
        let Group { external_id, rows, wrong } = group;
        if wrong.is_empty() {
            self.orders.push((external_id, rows));
        } else {
            self.refused.extend(refuse_all(rows.iter().map(|row| row.line), wrong));
        }
    }
}

/// One list of faults for each row of an order that is refused: what is wrong with it, or that another row is wrong.
#[must_use]
pub fn refuse_all(lines: impl Iterator<Item = u64>, wrong: Vec<Vec<RowFault>>) -> Vec<Vec<RowFault>> {
    let mut by_line: BTreeMap<u64, Vec<RowFault>> = BTreeMap::new();
    for fault in wrong.into_iter().flatten() {
        by_line.entry(fault.line).or_default().push(fault);
    }
    let cause = by_line.keys().next().copied().unwrap_or_default();
    for line in lines {
        by_line
            .entry(line)
            .or_insert_with(|| vec![RowFault::new(line, &RowCode::OrderRefused { line: cause.to_string() })]);
    }
    by_line.into_values().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::row::{Refused, RowIdentity, Value};
    use super::*;
    use crate::domain::actor::Locale;

    fn row(line: u64, id: &str) -> Row {
        Row { line, identity: Some(RowIdentity::Given(id.to_owned())), values: Default::default() }
    }

    fn wrong(line: u64, id: Option<&str>) -> ReadRow {
        let identity = id.map(|id| RowIdentity::Given(id.to_owned()));
        Err(Refused { identity, faults: vec![RowFault::new(line, &RowCode::NotOneValue)] })
    }

    /// An order's id and how many rows it has.
    type Taken = (String, usize);
    /// Line and code of a fault.
    type Told = (u64, String);

    /// The good orders, and every fault.
    fn grouped(rows: &[ReadRow]) -> (Vec<Taken>, Vec<Told>) {
        let grouped = group(rows, &HashMap::new(), |_| None);
        let orders = grouped.orders.into_iter().map(|(id, rows)| (id, rows.len())).collect();
        let faults =
            grouped.refused.into_iter().flatten().map(|told| fault(told.line, told.code())).collect();
        (orders, faults)
    }

    fn fault(line: u64, code: &str) -> Told {
        (line, code.to_owned())
    }

    #[test]
    fn rows_that_follow_one_another_are_one_order() {
        let (orders, faults) = grouped(&[Ok(row(1, "a")), Ok(row(2, "a")), Ok(row(3, "b"))]);
        assert_eq!((orders, faults), (vec![("a".to_owned(), 2), ("b".to_owned(), 1)], vec![]));
    }

    #[test]
    fn rows_that_stand_apart_are_refused_and_what_stood_before_stays() {
        let (orders, faults) = grouped(&[Ok(row(1, "a")), Ok(row(2, "b")), Ok(row(3, "a")), Ok(row(4, "a"))]);
        assert_eq!(orders, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(faults, [fault(3, "not_adjacent"), fault(4, "order_refused")]);
        let seen = HashMap::from([(row_key("a"), 7)]);
        let later = group(&[Ok(row(9, "a"))], &seen, |_| None);
        let told = later.refused[0][0].wording.text(Locale::En);
        assert!(told.contains("`a`") && told.ends_with("line 7"), "{told}");
    }

    #[test]
    fn an_order_is_taken_whole_or_not_at_all() {
        let (orders, faults) =
            grouped(&[Ok(row(1, "a")), wrong(2, Some("a")), Ok(row(3, "a")), Ok(row(4, "b"))]);
        assert_eq!(orders, [("b".to_owned(), 1)]);
        assert_eq!(faults, [fault(1, "order_refused"), fault(2, "not_one_value"), fault(3, "order_refused")]);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_of_the_order_that_it_stands_in() {
        let (orders, faults) = grouped(&[Ok(row(1, "a")), wrong(2, None), Ok(row(3, "a"))]);
        assert_eq!((orders.len(), faults.len()), (0, 3));
        let (orders, faults) = grouped(&[Ok(row(1, "a")), wrong(2, None), Ok(row(3, "b"))]);
        assert_eq!((orders.len(), faults), (2, vec![fault(2, "not_one_value")]));
    }

    #[test]
    fn the_first_row_says_what_the_order_is() {
        let with = |line, target: &str, text: &str| {
            let mut row = row(line, "a");
            row.values.insert(target.to_owned(), Value::Text(text.to_owned()));
            Ok(row)
        };
        let (orders, _) = grouped(&[with(1, "channel", "web"), with(2, "channel", "web"), Ok(row(3, "a"))]);
        assert_eq!(orders, [("a".to_owned(), 3)]);
        let (orders, _) = grouped(&[with(1, "line.sku", "x"), with(2, "line.sku", "y")]);
        assert_eq!(orders, [("a".to_owned(), 2)]);
        for other in [with(2, "channel", "app"), with(2, "store", "x")] {
            let (orders, faults) = grouped(&[with(1, "channel", "web"), other]);
            assert_eq!((orders.len(), faults), (0, vec![fault(1, "order_refused"), fault(2, "differs")]));
        }
    }

    #[test]
    fn an_order_of_too_many_lines_names_the_first_that_is_too_much() {
        let rows: Vec<_> = (1..=LINES_MAX as u64 + 2).map(|line| Ok(row(line, "a"))).collect();
        let (orders, faults) = grouped(&rows);
        assert_eq!((orders.len(), faults.len()), (0, LINES_MAX + 2));
        assert!(faults.contains(&fault(LINES_MAX as u64 + 1, "too_many_lines")));
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_order_or_refused(ids in proptest::collection::vec(0_u8..4, 0..30)) {
            let rows: Vec<ReadRow> = (1..).zip(&ids).map(|(line, id)| match id {
                0 => wrong(line, None),
                id => Ok(row(line, &id.to_string())),
            }).collect();
            let Grouped { orders, refused, .. } = group(&rows, &HashMap::new(), |_| None);
            let taken = orders.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.line));
            let mut lines: Vec<_> = taken.chain(refused.iter().map(|faults| faults[0].line)).collect();
            lines.sort_unstable();
            prop_assert_eq!(lines, (1..=ids.len() as u64).collect::<Vec<_>>());
        }
    }
}
