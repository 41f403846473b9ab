//! The tenant's orders.

use crate::bindings::imports::hospes::plugin::orders::Search;
use crate::error::decode;
use crate::{Order, Result, Timestamp, host};

/// One order.
pub fn get(id: &str) -> Result<Option<Order>> {
    Ok(get_many(&[id.to_owned()])?.pop().flatten())
}

/// At most 200 orders in the order of the ids.
pub fn get_many(ids: &[String]) -> Result<Vec<Option<Order>>> {
    host::orders::get_many(ids)?
        .into_iter()
        .map(|found| found.map(|entity| decode("an order", &entity.body)).transpose())
        .collect()
}

/// A customer's orders, the earliest first.
pub fn of_customer(customer: &str) -> Find {
    Find {
        search: Search { customer: customer.to_owned(), since: None, until: None, limit: 100, cursor: None },
    }
}

/// A query over one customer's orders.
#[derive(Debug, Clone)]
pub struct Find {
    search: Search,
}

impl Find {
    /// Ordered at or after this time.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.search.since = Some(time.micros());
        self
    }

    /// Ordered before this time.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.search.until = Some(time.micros());
        self
    }

    /// At most this many orders, 1 to 200; 100 if not said.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.search.limit = limit;
        self
    }

    /// Goes on after a page.
    #[must_use]
    pub fn after(mut self, cursor: Option<String>) -> Self {
        self.search.cursor = cursor;
        self
    }

    /// Runs the query; answers the cursor of the next page too.
    pub fn page(self) -> Result<(Vec<Order>, Option<String>)> {
        let page = host::orders::query(&self.search)?;
        let orders = page
            .entities
            .into_iter()
            .map(|entity| decode("an order", &entity.body))
            .collect::<Result<_>>()?;
        Ok((orders, page.cursor))
    }
}
