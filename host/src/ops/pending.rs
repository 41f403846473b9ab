//! What one invocation has prepared but not yet written: later preparations build on it.

use std::collections::HashMap;

use super::customers::CustomerChange;
use super::orders::OrderChange;
use super::products::ProductChange;
use crate::domain::customer::Customer;
use crate::domain::ids::{CustomerId, OrderId, ProductId};
use crate::domain::order::Order;
use crate::domain::product::Product;

/// Prepared records by id. Empty for a request, which prepares one change.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    customers: HashMap<CustomerId, Option<Customer>>,
    orders: HashMap<OrderId, Order>,
    products: HashMap<ProductId, Option<Product>>,
}

impl Pending {
    /// Notes what a prepared change makes of its customer.
    pub fn note_customer(&mut self, change: &CustomerChange) {
        let customer = change.customer();
        let after = if change.is_deleted() { None } else { Some(customer.clone()) };
        self.customers.insert(customer.id.clone(), after);
    }

    /// Notes what a prepared change makes of its order.
    pub fn note_order(&mut self, change: &OrderChange) {
        let order = change.order();
        self.orders.insert(order.id.clone(), order.clone());
    }

    /// Notes what a prepared change makes of its product.
    pub fn note_product(&mut self, change: &ProductChange) {
        let product = change.product();
        let after = if change.is_deleted() { None } else { Some(product.clone()) };
        self.products.insert(product.id.clone(), after);
    }

    /// The customer as prepared: `None` if nothing was, `Some(None)` if it will be gone.
    #[must_use]
    pub fn customer(&self, id: &CustomerId) -> Option<Option<&Customer>> {
        self.customers.get(id).map(Option::as_ref)
    }

    /// The order as prepared.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }

    /// The product as prepared: `None` if nothing was, `Some(None)` if it will be gone.
    #[must_use]
    pub fn product(&self, id: &ProductId) -> Option<Option<&Product>> {
        self.products.get(id).map(Option::as_ref)
    }
}
