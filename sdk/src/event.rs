//! Events, decoded.

use serde_json::Value;

use crate::error::decode;
use crate::{Behaviour, Customer, Interaction, Order, Result, Subject, Timestamp};

/// Something that has happened in the tenant's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The same at every delivery of this event.
    pub id: String,
    /// For example `order.created`.
    pub name: String,
    pub subject: Subject,
    pub occurred_at: Timestamp,
    /// True when history is replayed to a newly enabled plugin.
    pub backfill: bool,
    pub body: EventBody,
}

/// The record after the change.
#[derive(Debug, Clone, PartialEq)]
pub enum EventBody {
    CustomerCreated(Customer),
    CustomerUpdated(Customer),
    CustomerDeleted(Customer),
    OrderCreated(Order),
    OrderUpdated(Order),
    OrderRefunded(Order),
    InteractionCreated(Interaction),
    BehaviourCreated(Behaviour),
    /// An event that this SDK does not know.
    Unknown(Value),
}

impl EventBody {
    /// Decodes the body of an event by its name.
    pub fn decode(name: &str, body: &str) -> Result<Self> {
        Ok(match name {
            "customer.created" => Self::CustomerCreated(decode(name, body)?),
            "customer.updated" => Self::CustomerUpdated(decode(name, body)?),
            "customer.deleted" => Self::CustomerDeleted(decode(name, body)?),
            "order.created" => Self::OrderCreated(decode(name, body)?),
            "order.updated" => Self::OrderUpdated(decode(name, body)?),
            "order.refunded" => Self::OrderRefunded(decode(name, body)?),
            "interaction.created" => Self::InteractionCreated(decode(name, body)?),
            "behaviour.created" => Self::BehaviourCreated(decode(name, body)?),
            _ => Self::Unknown(decode(name, body)?),
        })
    }

    /// The order, if the event is about one.
    pub fn into_order(self) -> Option<Order> {
        match self {
            Self::OrderCreated(order) | Self::OrderUpdated(order) | Self::OrderRefunded(order) => Some(order),
            Self::CustomerCreated(_)
            | Self::CustomerUpdated(_)
            | Self::CustomerDeleted(_)
            | Self::InteractionCreated(_)
            | Self::BehaviourCreated(_)
            | Self::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_events_of_a_later_host_are_no_fault() {
        let order = r#"{"id":"ord_1","version":1,"customer_id":"cus_1","status":"on_hold",
            "channel":"web","ordered_at":"1997-01-01T00:00:00.000000Z",
            "total":{"amount_minor":1177,"currency":"USD"},"loyalty":{"x":[1]},
            "lines":[{"sku":"cd","name":"CD","quantity":1,"colour":"red",
            "amount":{"amount_minor":1177,"currency":"USD"}}]}"#;
        let decoded = EventBody::decode("order.created", order).unwrap();
        assert_eq!(decoded.into_order().unwrap().net_minor(), 1177);
        assert_eq!(EventBody::decode("moon.risen", "{}").unwrap(), EventBody::Unknown(serde_json::json!({})));
        assert!(EventBody::decode("order.created", "{}").is_err());
    }
}
