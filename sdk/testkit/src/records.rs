//! What a test puts in and what it gets back: customers, orders, answers, refusals.

use serde_json::{Map, Value, json};

use crate::Host;

/// A record that the host has made.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// `customers` or `orders`, as in addresses.
    pub(crate) kind: &'static str,
    /// All that the host says of it.
    pub body: Value,
}

/// What an action has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// One line for whoever pressed the button.
    pub message: String,
    /// The result for machines.
    pub body: Value,
}

/// Why something was refused: by the plugin, or by the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The status of the answer.
    pub status: u16,
    /// The code, the plugin's own if it is the plugin that refuses.
    pub code: String,
    /// What people read.
    pub message: String,
    /// The whole problem document.
    pub body: Value,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// JSON, or the body's text.
    pub body: Value,
}

impl Answer {
    pub(crate) fn read(told: &Value) -> Self {
        let status = told["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        Self { status: status.unwrap_or_default(), body: told["body"].clone() }
    }

    /// The body of an answer that is good; else why it is not.
    ///
    /// # Errors
    /// [`Rejection`], if the status is 400 or above.
    pub fn good(self) -> Result<Value, Box<Rejection>> {
        if self.status < 400 {
            return Ok(self.body);
        }
        let text = |key: &str| self.body[key].as_str().map(str::to_owned);
        let plugin = text("plugin_code");
        Err(Box::new(Rejection {
            status: self.status,
            code: plugin.or_else(|| text("code")).unwrap_or_default(),
            message: text("detail").or_else(|| text("title")).unwrap_or_default(),
            body: self.body,
        }))
    }
}

/// A record in the making.
#[derive(Debug)]
#[must_use = "it is made by `create`"]
pub struct NewRecord<'a> {
    host: &'a Host,
    kind: &'static str,
    body: Map<String, Value>,
}

impl<'a> NewRecord<'a> {
    pub(crate) fn customer(host: &'a Host, name: &str) -> Self {
        let body = Map::from_iter([("kind".to_owned(), json!("person")), ("name".to_owned(), json!(name))]);
        Self { host, kind: "customers", body }
    }

    /// Sets a member of the record, such as `tags`, as the REST API takes it.
    pub fn set(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.body.insert(member.to_owned(), value.into());
        self
    }

    /// Makes it.
    ///
    /// # Panics
    /// If a hook or the host refuses, with the reason.
    #[track_caller]
    pub fn create(self) -> Record {
        self.try_create().unwrap_or_else(|refused| panic!("this is refused: {:#}", refused.body))
    }

    /// Makes it, unless a hook or the host refuses.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn try_create(self) -> Result<Record, Box<Rejection>> {
        let Self { host, kind, body } = self;
        let body = host.request("POST", &format!("/api/v1/{kind}"), Some(&Value::Object(body))).good()?;
        Ok(Record { id: body["id"].as_str().unwrap_or_default().to_owned(), kind, body })
    }
}

/// An order in the making.
#[derive(Debug)]
#[must_use = "it is made by `create`"]
pub struct NewOrder<'a> {
    record: NewRecord<'a>,
    lines: Vec<Value>,
    currency: String,
}

impl<'a> NewOrder<'a> {
    pub(crate) fn of(host: &'a Host, customer: &Record, now: &str) -> Self {
        let record = NewRecord { host, kind: "orders", body: Map::new() }
            .set("customer_id", customer.id.as_str())
            .set("status", "completed")
            .set("channel", "store")
            .set("ordered_at", now);
        Self { record, lines: Vec::new(), currency: "USD".to_owned() }
    }

    /// A line: the product's code and class, how many, and what they cost together in minor units.
    pub fn line(mut self, sku: &str, class: &str, quantity: u32, amount_minor: i64) -> Self {
        let amount = json!({ "amount_minor": amount_minor, "currency": self.currency });
        let line = json!({ "sku": sku, "name": sku, "class": class, "quantity": quantity, "amount": amount });
        self.lines.push(line);
        self
    }

    /// Sets a member of the order, such as `status`, as the REST API takes it.
    pub fn set(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.record = self.record.set(member, value);
        self
    }

    /// Makes it.
    ///
    /// # Panics
    /// If a hook or the host refuses, with the reason.
    #[track_caller]
    pub fn create(self) -> Record {
        self.with_lines().create()
    }

    /// Makes it, unless a hook or the host refuses.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn try_create(self) -> Result<Record, Box<Rejection>> {
        self.with_lines().try_create()
    }

    fn with_lines(self) -> NewRecord<'a> {
        self.record.set("lines", self.lines)
    }
}
