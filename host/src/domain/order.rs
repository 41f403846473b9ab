//! Orders: the record, what a caller may state of it, and the rules of money and status.
//!
//! An order may be free of charge, and a line may be negative (a discount), but
//! the total is never below zero and never less than what has been refunded.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::{Faults, merge, merge_patch};
use super::customer::CustomerKind;
use super::field::{FieldEntity, Model};
use super::field_value::Fields;
use super::ids::{CustomerId, OrderId, RefundId};
use super::money::{AMOUNT_MINOR_MAX, Currency, Money};
use super::patch::Patch;
use crate::clock::Timestamp;
use crate::domain::code::{FaultCode, Reason};
use crate::error::{Error, Result};

/// Lines of an order.
pub const LINES_MAX: usize = 500;
/// Refunds of an order.
pub const REFUNDS_MAX: usize = 100;
/// Pieces on one line.
pub const QUANTITY_MAX: i64 = 1_000_000;
/// Characters of a sku, class, channel or store.
pub const CODE_CHARS_MAX: usize = 100;
/// Characters of a product's name.
pub const PRODUCT_NAME_CHARS_MAX: usize = 200;
/// Characters of a reason.
pub const REASON_CHARS_MAX: usize = 500;

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Placed; lines may still change. May become completed or cancelled.
    Open,
    /// Delivered and paid; money goes back by refunds.
    Completed,
    /// Called off. Stays so.
    Cancelled,
}

impl OrderStatus {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of a stored name.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        match text {
            "open" => Self::Open,
            "cancelled" => Self::Cancelled,
            _ => Self::Completed,
        }
    }

    fn may_become(self, next: Self) -> bool {
        self == next || self == Self::Open
    }
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The product's code.
    pub sku: String,
    /// The product's name at the time.
    pub name: String,
    /// The product's class at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Pieces.
    pub quantity: i64,
    /// The price of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Money>,
    /// What the line adds to the total; negative for a discount.
    pub amount: Money,
}

/// Money given back for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// The refund's id.
    #[schema(value_type = String)]
    pub id: RefundId,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    pub refunded_at: Timestamp,
    /// More than zero.
    pub amount: Money,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The system that the refund comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The refund's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// An order as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The order's id.
    #[schema(value_type = String)]
    pub id: OrderId,
    /// Grows by one with every change.
    pub version: i64,
    /// The system that the order comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The order's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Who has ordered.
    #[schema(value_type = String)]
    pub customer_id: CustomerId,
    /// How far it is.
    pub status: OrderStatus,
    /// The channel that it came by, such as `web`.
    pub channel: String,
    /// The store that it was placed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub ordered_at: Timestamp,
    /// What it costs: the sum of its lines, if it has any.
    pub total: Money,
    /// What has been given back.
    pub refunded: Money,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// What was given back, in the order of time.
    pub refunds: Vec<Refund>,
    /// The tenant's own fields.
    pub custom_fields: Map<String, Value>,
    /// The plugins' fields, as `plugin.field`.
    pub fields: Map<String, Value>,
    /// When the record was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A line to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLine {
    /// The product's code.
    #[schema(min_length = 1, max_length = 100)]
    pub sku: String,
    /// The product's name; that of the catalogue, or the sku, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// The product's class; that of the catalogue, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub class: Option<String>,
    /// Pieces; one if absent.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quantity: i64,
    /// The price of one, zero or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Money>,
    /// What the line adds to the total; negative for a discount.
    pub amount: Money,
}

const fn one() -> i64 {
    1
}

/// The customer of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerRef {
    /// The system that knows the customer.
    #[schema(min_length = 1, max_length = 60)]
    pub source: String,
    /// The customer's id there.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: String,
    /// Makes the customer if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<CustomerStub>,
}

/// A customer of whom an order tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerStub {
    /// A person or a company.
    pub kind: CustomerKind,
    /// The full name; the external id, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
}

/// An order to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Who has ordered; this or `customer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub customer_id: Option<CustomerId>,
    /// Who has ordered, as another system knows them; this or `customer_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerRef>,
    /// The system that the order comes from; needs `external_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 60)]
    pub source: Option<String>,
    /// The order's id there; no two orders of a source share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
    /// How far it is; `open` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<OrderStatus>,
    /// The channel that it came by, such as `web`.
    #[schema(min_length = 1, max_length = 100)]
    pub channel: String,
    /// The store that it was placed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub store: Option<String>,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub ordered_at: Timestamp,
    /// What it costs, zero or more; the sum of the lines, which it must equal, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
    /// What was ordered, all in one currency.
    #[serde(default)]
    #[schema(max_items = 500)]
    pub lines: Vec<NewLine>,
    /// The tenant's own fields.
    #[serde(default)]
    pub custom_fields: Map<String, Value>,
}

impl NewOrder {
    /// The record that this makes for a customer; amounts are checked by [`Order::settle`].
    ///
    /// A missing total is the sum of the lines.
    pub fn into_order(
        self,
        id: OrderId,
        customer_id: CustomerId,
        now: Timestamp,
        faults: &mut Faults,
    ) -> Order {
        let Self {
            customer_id: _,
            customer: _,
            source,
            external_id,
            status,
            channel,
            store,
            ordered_at,
            total,
            lines,
            custom_fields: stated,
        } = self;
        let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
        let sum = sum_of(&lines);
        if total.is_none() && sum.is_none() {
            faults.add("/total", FaultCode::Required, "an order without lines needs a total");
        }
        let total = total.or(sum).unwrap_or(Money { amount_minor: 0, currency: NO_CURRENCY });
        let mut custom_fields = Map::new();
        merge(&mut custom_fields, stated);
        Order {
            id,
            version: 1,
            source,
            external_id,
            customer_id,
            status: status.unwrap_or(OrderStatus::Open),
            channel,
            store,
            ordered_at,
            total,
            refunded: Money { amount_minor: 0, currency: total.currency },
            lines,
            refunds: Vec::new(),
            custom_fields,
            fields: Map::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// The patch that makes an existing order like this one; what is absent stays.
    #[must_use]
    pub fn into_patch(self) -> OrderPatch {
        let Self { status, channel, store, ordered_at, total, lines, custom_fields, .. } = self;
        OrderPatch {
            status,
            channel: Some(channel),
            store: store.map_or(Patch::Absent, Patch::Value),
            ordered_at: Some(ordered_at),
            total: total.map_or(Patch::Absent, Patch::Value),
            lines: if lines.is_empty() { Patch::Absent } else { Patch::Value(lines) },
            custom_fields: Patch::Value(custom_fields),
        }
    }
}

/// Stands in an order that is refused for want of a total; no such currency exists.
const NO_CURRENCY: Currency = Currency::XXX;

impl From<NewLine> for Line {
    fn from(new: NewLine) -> Self {
        let NewLine { sku, name, class, quantity, unit_price, amount } = new;
        Self { name: name.unwrap_or_default(), sku, class, quantity, unit_price, amount }
    }
}

fn sum_of(lines: &[Line]) -> Option<Money> {
    let currency = lines.first()?.amount.currency;
    let amount_minor = lines.iter().map(|line| line.amount.amount_minor).fold(0, i64::saturating_add);
    Some(Money { amount_minor, currency })
}

/// A merge patch (RFC 7396) over an order. When and what was ordered changes only while the order is open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrderPatch {
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = OrderStatus, required = false)]
    pub status: Option<OrderStatus>,
    /// The channel that it came by; cannot be cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100)]
    pub channel: Option<String>,
    /// The store that it was placed in.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    pub store: Patch<String>,
    /// When it was placed; cannot be cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = DateTime)]
    pub ordered_at: Option<Timestamp>,
    /// What it costs; `null` is the sum of the lines.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Money>)]
    pub total: Patch<Money>,
    /// All lines; without a new total, their sum is the total.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<NewLine>>, max_items = 500)]
    pub lines: Patch<Vec<NewLine>>,
    /// Merged into the tenant's own fields, also when the order is closed.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Object>)]
    pub custom_fields: Patch<Map<String, Value>>,
}

impl OrderPatch {
    /// Applies the patch.
    pub fn apply(self, order: &mut Order, faults: &mut Faults) {
        let Self { status, channel, store, ordered_at, total, lines, custom_fields } = self;
        merge_patch(&mut order.custom_fields, custom_fields);
        order.status = status.unwrap_or(order.status);
        if let Some(channel) = channel {
            order.channel = channel;
        }
        order.store = store.apply(order.store.take());
        order.ordered_at = ordered_at.unwrap_or(order.ordered_at);
        let has_new_lines = !lines.is_absent();
        if has_new_lines {
            order.lines = lines.apply(None).unwrap_or_default().into_iter().map(Line::from).collect();
        }
        match total {
            Patch::Value(total) => order.total = total,
            Patch::Null => match sum_of(&order.lines) {
                Some(sum) => order.total = sum,
                None => faults.add("/total", FaultCode::Required, "an order without lines needs a total"),
            },
            Patch::Absent if has_new_lines => order.total = sum_of(&order.lines).unwrap_or(order.total),
            Patch::Absent => {}
        }
    }
}

/// Money to give back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// More than zero, at most what is left of the total, in the order's currency.
    pub amount: Money,
    /// When it was given; now, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refunded_at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// The system that the refund comes from; needs `external_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 60)]
    pub source: Option<String>,
    /// The refund's id there. Stating the same refund of an order again changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
}

impl Order {
    /// Brings the record into its one form and notes what is wrong with it; `before` is the record as it stands.
    pub fn settle(&mut self, model: &Model, before: Option<&Self>, faults: &mut Faults) {
        let kept = before.map(|before| &before.custom_fields);
        model.settle_values(FieldEntity::Order, &mut self.custom_fields, kept, faults);
        faults.identity("", self.source.as_deref(), self.external_id.as_deref());
        faults.text("/channel", &self.channel, CODE_CHARS_MAX);
        if let Some(store) = &self.store {
            faults.text("/store", store, CODE_CHARS_MAX);
        }
        self.refunded.currency = self.total.currency;
        faults.range("/total/amount_minor", self.total.amount_minor, 0, AMOUNT_MINOR_MAX);
        if self.total.amount_minor >= 0 && self.total.amount_minor < self.refunded.amount_minor {
            let message = format!("{} has been refunded already", self.refunded.amount_minor);
            faults.add(
                "/total/amount_minor",
                FaultCode::BelowRefunded { refunded: self.refunded.amount_minor.to_string() },
                message,
            );
        }
        self.settle_lines(faults);
        for (index, refund) in self.refunds.iter().enumerate() {
            if refund.amount.currency != self.total.currency {
                let pointer = format!("/refunds/{index}/amount/currency");
                faults.plain(pointer, currency_mismatch(self.total.currency));
            }
        }
    }

    fn settle_lines(&mut self, faults: &mut Faults) {
        faults.count("/lines", self.lines.len(), LINES_MAX);
        for (index, line) in self.lines.iter_mut().enumerate() {
            let pointer = format!("/lines/{index}");
            faults.text(&format!("{pointer}/sku"), &line.sku, CODE_CHARS_MAX);
            if line.name.is_empty() {
                line.name.clone_from(&line.sku);
            }
            faults.text(&format!("{pointer}/name"), &line.name, PRODUCT_NAME_CHARS_MAX);
            if let Some(class) = &line.class {
                faults.text(&format!("{pointer}/class"), class, CODE_CHARS_MAX);
            }
            faults.range(&format!("{pointer}/quantity"), line.quantity, 1, QUANTITY_MAX);
            let amount = line.amount.amount_minor;
            faults.range(
                &format!("{pointer}/amount/amount_minor"),
                amount,
                -AMOUNT_MINOR_MAX,
                AMOUNT_MINOR_MAX,
            );
            if let Some(price) = line.unit_price {
                let pointer = format!("{pointer}/unit_price/amount_minor");
                faults.range(&pointer, price.amount_minor, 0, AMOUNT_MINOR_MAX);
            }
            for (member, money) in [("unit_price", line.unit_price), ("amount", Some(line.amount))] {
                if money.is_some_and(|money| money.currency != self.total.currency) {
                    let pointer = format!("{pointer}/{member}/currency");
                    faults.plain(pointer, currency_mismatch(self.total.currency));
                }
            }
        }
        if let Some(sum) = sum_of(&self.lines)
            && sum.currency == self.total.currency
            && sum.amount_minor != self.total.amount_minor
        {
            let sum = sum.amount_minor.to_string();
            faults.plain("/total/amount_minor", FaultCode::TotalMismatch { sum });
        }
    }

    /// Refuses a status that the old one cannot become.
    ///
    /// # Errors
    /// `order_status`.
    pub fn check_status(&self, before: &Self) -> Result<()> {
        if before.status.may_become(self.status) {
            return Ok(());
        }
        let (old, new) = (before.status.as_str(), self.status.as_str());
        Err(Error::conflict(Reason::OrderStatus, format!("a {old} order cannot become {new}")))
    }

    /// Refuses new lines, a new total or time for an order that is not open.
    ///
    /// Only for people and plugins: the system that an order comes from may correct it.
    ///
    /// # Errors
    /// `order_closed`.
    pub fn check_closed(&self, before: &Self) -> Result<()> {
        let is_changed =
            (&self.lines, self.total, self.ordered_at) != (&before.lines, before.total, before.ordered_at);
        if is_changed && before.status != OrderStatus::Open {
            let message = format!("the order is {}: its lines, total and time stay", before.status.as_str());
            return Err(Error::conflict(Reason::OrderClosed, message));
        }
        Ok(())
    }

    /// Adds a refund.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad amount, `refund_exceeds_total`, and
    /// `order_cancelled` for an order that nobody has paid.
    pub fn refund(&mut self, id: RefundId, new: NewRefund, now: Timestamp) -> Result<()> {
        let NewRefund { amount, refunded_at, reason, source, external_id } = new;
        let mut faults = Faults::default();
        faults.range("/amount/amount_minor", amount.amount_minor, 1, AMOUNT_MINOR_MAX);
        if amount.currency != self.total.currency {
            faults.plain("/amount/currency", currency_mismatch(self.total.currency));
        }
        if let Some(reason) = &reason {
            faults.optional_text("/reason", reason, REASON_CHARS_MAX);
        }
        faults.identity("", source.as_deref(), external_id.as_deref());
        faults.finish()?;
        if self.status == OrderStatus::Cancelled {
            return Err(Error::conflict(Reason::OrderCancelled, "a cancelled order cannot be refunded"));
        }
        if self.refunds.len() >= REFUNDS_MAX {
            let message = format!("an order has at most {REFUNDS_MAX} refunds");
            return Err(Error::Limit {
                code: Reason::Refunds { max: REFUNDS_MAX.to_string() },
                message,
                retry_after_s: 0,
            });
        }
        let left = self.total.amount_minor - self.refunded.amount_minor;
        if amount.amount_minor > left {
            let message = format!("{left} of the total is left to refund");
            return Err(Error::conflict(Reason::RefundExceedsTotal { left: left.to_string() }, message));
        }
        self.refunded.amount_minor += amount.amount_minor;
        let refunded_at = refunded_at.unwrap_or(now);
        let at = self.refunds.partition_point(|other| other.refunded_at <= refunded_at);
        self.refunds.insert(at, Refund { id, refunded_at, amount, reason, source, external_id });
        Ok(())
    }

    /// The refund that a source has stated already.
    #[must_use]
    pub fn refund_of(&self, new: &NewRefund) -> Option<&Refund> {
        let stated = (new.source.as_ref()?, new.external_id.as_ref()?);
        self.refunds.iter().find(|refund| {
            refund.source.as_ref().zip(refund.external_id.as_ref()).is_some_and(|known| known == stated)
        })
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields { custom_fields: &self.custom_fields, fields: Some(&self.fields) }
    }

    /// The record as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("an order is plain data")
    }
}

/// An amount in another currency than `currency`.
fn currency_mismatch(currency: Currency) -> FaultCode {
    FaultCode::CurrencyMismatch { currency: currency.as_str().to_owned() }
}
