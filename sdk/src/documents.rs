//! The plugin's own collections, typed.
//!
//! ```no_run
//! # use hospes_sdk::{documents::Collection, Subject};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct Card { stamps: u32 }
//! const CARDS: Collection<Card> = Collection::new("cards");
//! # fn f(customer: &str) -> hospes_sdk::Result<()> {
//! let subject = Subject::Customer(customer.to_owned());
//! CARDS.insert_if_absent(customer, &subject, &Card { stamps: 1 })?;
//! let page = CARDS.find().at_least("stamps", 10).limit(50).page()?;
//! # let _ = page; Ok(()) }
//! ```

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::hospes::plugin::documents::Search;
pub use crate::bindings::imports::hospes::plugin::documents::{Direction, Expectation, Key, Put, Stored};
use crate::error::{decode, encode};
use crate::{Comparison, Condition, Result, Scalar, Subject, Timestamp, host};

/// How many documents one call of the host reads or writes.
pub const CALL_MAX: usize = 500;

/// A declared collection whose documents have the shape `T`.
#[derive(Debug)]
pub struct Collection<T> {
    name: &'static str,
    shape: PhantomData<fn() -> T>,
}

/// A document with what the host knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<T> {
    pub key: String,
    pub subject: Subject,
    /// Grows with every change.
    pub version: i64,
    pub value: T,
}

/// One page of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub documents: Vec<Document<T>>,
    /// Pass it to [`Find::after`]; absent on the last page.
    pub cursor: Option<String>,
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// The collection that the manifest declares under this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, shape: PhantomData }
    }

    /// One document.
    pub fn get(&self, key: &str) -> Result<Option<Document<T>>> {
        Ok(self.get_many([key])?.pop().flatten())
    }

    /// Documents in the order of the keys, in one call for each 500.
    pub fn get_many<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<Vec<Option<Document<T>>>> {
        let keys: Vec<Key> = keys
            .into_iter()
            .map(|key| Key { collection: self.name.to_owned(), key: key.to_owned() })
            .collect();
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(CALL_MAX) {
            for stored in host::documents::get_many(keys)? {
                found.push(stored.map(|stored| self.decode(stored)).transpose()?);
            }
        }
        Ok(found)
    }

    /// Writes a document, whatever stands there.
    pub fn put(&self, key: &str, subject: &Subject, value: &T) -> Result<()> {
        let put = self.write(key, subject, Expectation::Nothing, value)?;
        host::documents::put_many(&[put])
    }

    /// Writes a document if it still has this version; else answers `conflict`.
    pub fn put_at(&self, document: &Document<T>) -> Result<()> {
        let expect = Expectation::Version(document.version);
        let put = self.write(&document.key, &document.subject, expect, &document.value)?;
        host::documents::put_many(&[put])
    }

    /// Writes a document unless it exists; answers whether it was written.
    pub fn insert_if_absent(&self, key: &str, subject: &Subject, value: &T) -> Result<bool> {
        if self.get(key)?.is_some() {
            return Ok(false);
        }
        let put = self.write(key, subject, Expectation::Absent, value)?;
        host::documents::put_many(&[put])?;
        Ok(true)
    }

    /// A write to pass to [`put_all`], so that many travel in one call.
    pub fn write(&self, key: &str, subject: &Subject, expect: Expectation, value: &T) -> Result<Put> {
        Ok(Put {
            collection: self.name.to_owned(),
            key: key.to_owned(),
            subject: subject.clone(),
            expect,
            body: encode(self.name, value)?,
        })
    }

    /// Removes a document; a missing one is no error.
    pub fn delete(&self, key: &str) -> Result<()> {
        host::documents::delete_many(&[Key { collection: self.name.to_owned(), key: key.to_owned() }])
    }

    /// Starts a query.
    pub fn find(&self) -> Find<'_, T> {
        Find {
            collection: self,
            search: Search {
                collection: self.name.to_owned(),
                subject: None,
                conditions: Vec::new(),
                order_by: None,
                direction: Direction::Ascending,
                limit: 100,
                cursor: None,
            },
        }
    }

    fn decode(&self, stored: Stored) -> Result<Document<T>> {
        Ok(Document {
            value: decode(self.name, &stored.body)?,
            key: stored.key,
            subject: stored.subject,
            version: stored.version,
        })
    }
}

/// Writes documents of any collections, in one call for each 500.
pub fn put_all(puts: &[Put]) -> Result<()> {
    puts.chunks(CALL_MAX).try_for_each(host::documents::put_many)
}

/// A query over declared indexes.
#[derive(Debug)]
pub struct Find<'a, T> {
    collection: &'a Collection<T>,
    search: Search,
}

impl<T: Serialize + DeserializeOwned> Find<'_, T> {
    /// Only this subject's documents. Without it the answer is a snapshot.
    #[must_use]
    pub fn of(mut self, subject: &Subject) -> Self {
        self.search.subject = Some(subject.clone());
        self
    }

    /// A condition on a declared index; all conditions must hold.
    #[must_use]
    pub fn filter(mut self, index: &str, comparison: Comparison, value: impl Into<Scalar>) -> Self {
        self.search.conditions.push(Condition { field: index.to_owned(), comparison, value: value.into() });
        self
    }

    /// The index has this value.
    #[must_use]
    pub fn equal(self, index: &str, value: impl Into<Scalar>) -> Self {
        self.filter(index, Comparison::Equal, value)
    }

    /// The index has this value or a greater one.
    #[must_use]
    pub fn at_least(self, index: &str, value: impl Into<Scalar>) -> Self {
        self.filter(index, Comparison::GreaterOrEqual, value)
    }

    /// The index has this value or a lesser one.
    #[must_use]
    pub fn at_most(self, index: &str, value: impl Into<Scalar>) -> Self {
        self.filter(index, Comparison::LessOrEqual, value)
    }

    /// The least value of an index first; by key without an order.
    #[must_use]
    pub fn ascending(mut self, index: &str) -> Self {
        self.search.order_by = Some(index.to_owned());
        self.search.direction = Direction::Ascending;
        self
    }

    /// The greatest value of an index first.
    #[must_use]
    pub fn descending(mut self, index: &str) -> Self {
        self.search.order_by = Some(index.to_owned());
        self.search.direction = Direction::Descending;
        self
    }

    /// At most this many documents, 1 to 500; 100 if not said.
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

    /// Runs the query.
    pub fn page(self) -> Result<Page<T>> {
        let page = host::documents::query(&self.search)?;
        let documents =
            page.documents.into_iter().map(|stored| self.collection.decode(stored)).collect::<Result<_>>()?;
        Ok(Page { documents, cursor: page.cursor })
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Scalar {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Scalar {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for Scalar {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Scalar {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<Timestamp> for Scalar {
    fn from(time: Timestamp) -> Self {
        Self::Time(time.micros())
    }
}
