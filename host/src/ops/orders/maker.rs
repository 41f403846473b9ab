//! Making and changing orders by the rules: what is needed is loaded once, for one order or many.

use std::collections::{BTreeSet, HashMap};

use super::OrderChange;
use super::change::taken;
use crate::clock::Timestamp;
use crate::db::{Tx, customers as customer_rows, models, orders, products};
use crate::domain::actor::{Actor, Visibility};
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason};
use crate::domain::customer::{Identity, NewCustomer};
use crate::domain::field::{FieldEntity, Model};
use crate::domain::ids::{CustomerId, OrderId, RefundId};
use crate::domain::order::{
    CustomerRef, CustomerStub, Line, NewLine, NewOrder, NewRefund, Order, OrderPatch,
};
use crate::domain::patch::Patch;
use crate::domain::permission::Permission;
use crate::domain::product::Product;
use crate::error::{Error, Result};
use crate::ops::customers::{CustomerChange, Maker as CustomerMaker};
use crate::ops::pending::Pending;
use crate::ops::plugins::{HookedEntity, Save};
use crate::ops::{Core, visible};

/// Makes changes of orders for one actor.
pub(super) struct Maker<'a> {
    core: &'a Core,
    actor: &'a Actor,
    customers: Option<CustomerMaker<'a>>,
    known: Known,
    model: Model,
    now: Timestamp,
}

/// Records that the orders name.
#[derive(Default)]
struct Known {
    orders: HashMap<(String, String), Order>,
    identities: HashMap<Identity, CustomerId>,
    customers: BTreeSet<CustomerId>,
    products: HashMap<String, Product>,
}

/// Whether an order that exists already is an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is.
    Create,
    /// It is changed.
    Upsert,
}

impl<'a> Maker<'a> {
    /// With all that `news` name.
    pub(super) async fn load(
        core: &'a Core,
        actor: &'a Actor,
        news: &[NewOrder],
        pending: &Pending,
    ) -> Result<Self> {
        let visibility = visible(actor, Permission::OrderWrite)?;
        let mut known = Known::default();
        let mut reader = core.db.read(&actor.tenant).await?;
        known.load(&mut reader, (actor, &visibility), news, pending).await?;
        let lines: Vec<_> = news.iter().flat_map(|new| &new.lines).collect();
        known.load_products(&mut reader, actor, &lines).await?;
        let model = models::find(&mut reader, &actor.tenant).await?;
        drop(reader);
        let may_create = |new: &NewOrder| new.customer.as_ref().is_some_and(|who| who.create.is_some());
        let customers = if news.iter().any(may_create) {
            Some(CustomerMaker::load(core, actor, Permission::CustomerWrite).await?)
        } else {
            None
        };
        Ok(Self { core, actor, customers, known, model, now: core.now() })
    }

    /// With the catalogue's entries for the lines of a patch.
    pub(super) async fn for_patch(core: &'a Core, actor: &'a Actor, patch: &OrderPatch) -> Result<Self> {
        let mut known = Known::default();
        let mut reader = core.db.read(&actor.tenant).await?;
        if let Patch::Value(lines) = &patch.lines {
            known.load_products(&mut reader, actor, &lines.iter().collect::<Vec<_>>()).await?;
        }
        let model = models::find(&mut reader, &actor.tenant).await?;
        Ok(Self { core, actor, customers: None, known, model, now: core.now() })
    }

    /// Prepares a new order, or the change of the one that has its external id.
    pub(super) async fn make(&mut self, mut new: NewOrder, mode: Mode) -> Result<OrderChange> {
        let mut faults = Faults::default();
        faults.identity("", new.source.as_deref(), new.external_id.as_deref());
        let (id, made) = self.customer_of(&new, &mut faults).await?;
        let key = new.source.clone().zip(new.external_id.clone());
        if let Some(before) = key.as_ref().and_then(|key| self.known.orders.get(key)).cloned() {
            if mode == Mode::Create {
                return Err(taken());
            }
            faults.finish()?;
            if id.is_some_and(|id| id != before.customer_id) || made.is_some() {
                return Err(Error::conflict(Reason::OrderCustomer, "the order belongs to another customer"));
            }
            return self.update(before, new.into_patch(), Mode::Upsert).await;
        }
        self.fill(&mut new.lines, &[]);
        let made_id = made.as_ref().map(|made| made.id().clone());
        let order_id = OrderId::new(&*self.core.ids, self.now);
        // Without a customer there is a fault, and no order.
        let customer = id.or(made_id).unwrap_or_else(|| CustomerId::from_stored(String::new()));
        let mut order = new.into_order(order_id, customer, self.now, &mut faults);
        order.settle(&self.model, None, &mut faults);
        faults.finish()?;
        let order = self.hook(None, order).await?;
        if let Some(made) = &made {
            for identity in &made.customer().identities {
                self.known.identities.insert(identity.clone(), made.id().clone());
            }
        }
        if let Some(key) = key {
            self.known.orders.insert(key, order.clone());
        }
        Ok(OrderChange::created(self.core, self.actor, &self.model, (order, made), self.now))
    }

    /// Prepares a change of `before`. The system that an order comes from may correct a closed one.
    pub(super) async fn update(
        &mut self,
        before: Order,
        mut patch: OrderPatch,
        mode: Mode,
    ) -> Result<OrderChange> {
        if let Patch::Value(lines) = &mut patch.lines {
            self.fill(lines, &before.lines);
        }
        let mut faults = Faults::default();
        let mut after = before.clone();
        patch.apply(&mut after, &mut faults);
        after.settle(&self.model, Some(&before), &mut faults);
        faults.finish()?;
        self.check(&before, &after, mode)?;
        if after != before {
            after = self.hook(Some(&before), after).await?;
            self.check(&before, &after, mode)?;
        }
        let change = self.changed((before, after), ("order.update", "order.updated"));
        let order = change.order();
        if let Some(key) = order.source.clone().zip(order.external_id.clone()) {
            self.known.orders.insert(key, order.clone());
        }
        Ok(change)
    }

    /// Prepares a refund of `before`. One that its source has stated before is no change.
    pub(super) async fn refund(&self, before: Order, new: NewRefund) -> Result<OrderChange> {
        let mut after = before.clone();
        if let Some(known) = before.refund_of(&new) {
            if known.amount != new.amount {
                let message = "the order has another refund with this external id";
                return Err(Error::conflict(Reason::ExternalIdTaken, message));
            }
        } else {
            after.refund(RefundId::new(&*self.core.ids, self.now), new, self.now)?;
            after = self.hook(Some(&before), after).await?;
            after.check_status(&before)?;
            after.check_closed(&before)?;
        }
        Ok(self.changed((before, after), ("order.refund", "order.refunded")))
    }

    fn changed(&self, orders: (Order, Order), told: (&'static str, &'static str)) -> OrderChange {
        OrderChange::updated(self.core, (self.actor, &self.model), orders, told, self.now)
    }

    fn check(&self, before: &Order, after: &Order, mode: Mode) -> Result<()> {
        after.check_status(before)?;
        match mode {
            Mode::Create => after.check_closed(before),
            Mode::Upsert => Ok(()),
        }
    }

    /// The customer of a new order: one that exists, or one that is made with it.
    async fn customer_of(
        &self,
        new: &NewOrder,
        faults: &mut Faults,
    ) -> Result<(Option<CustomerId>, Option<CustomerChange>)> {
        match (&new.customer_id, &new.customer) {
            (Some(id), None) if self.known.customers.contains(id) => Ok((Some(id.clone()), None)),
            (Some(_), None) => {
                faults.add("/customer_id", FaultCode::UnknownReference, "there is no such customer");
                Ok((None, None))
            }
            (None, Some(who)) => {
                let identity = Identity { source: who.source.clone(), external_id: who.external_id.clone() };
                if let Some(id) = self.known.identities.get(&identity) {
                    return Ok((Some(id.clone()), None));
                }
                let CustomerRef { create: Some(stub), .. } = who else {
                    faults.add("/customer", FaultCode::UnknownReference, "there is no such customer");
                    return Ok((None, None));
                };
                let CustomerStub { kind, name } = stub.clone();
                let name = name.unwrap_or_else(|| identity.external_id.clone());
                let stub = NewCustomer { identities: vec![identity], ..NewCustomer::named(kind, name) };
                let maker = self.customers.as_ref();
                let maker = maker.ok_or_else(|| Error::internal("no maker of customers was loaded"))?;
                Ok((None, Some(maker.create(stub).await?)))
            }
            (Some(_), Some(_)) | (None, None) => {
                faults.add("/customer_id", FaultCode::Required, "needs either `customer_id` or `customer`");
                Ok((None, None))
            }
        }
    }

    /// Fills in names and classes: those that the order has already, or those of the catalogue.
    fn fill(&self, lines: &mut [NewLine], kept: &[Line]) {
        for (index, line) in lines.iter_mut().enumerate() {
            // The line in the same place, if several are of one product.
            let same = |kept: &&Line| kept.sku == line.sku;
            let kept = kept.get(index).filter(same).or_else(|| kept.iter().find(same));
            let product = self.known.products.get(&line.sku);
            line.name = line.name.take().or_else(|| {
                kept.map(|kept| kept.name.clone()).or_else(|| product.map(|product| product.name.clone()))
            });
            line.class = line.class.take().or_else(|| match kept {
                Some(kept) => kept.class.clone(),
                None => product.and_then(|product| product.class.clone()),
            });
        }
    }

    /// Lets the hooks see an order, and checks what they have made of it.
    async fn hook(&self, before: Option<&Order>, after: Order) -> Result<Order> {
        let sent = after.to_json();
        let save =
            Save { entity: HookedEntity::Order, before: before.map(Order::to_json), after: sent.clone() };
        let patched = self.core.plugins()?.before_save(self.actor, save).await?;
        if patched == sent {
            return Ok(after);
        }
        let mut hooked: Order = serde_json::from_value(patched).map_err(|error| {
            let code = FaultCode::Hook { reason: error.to_string() };
            Error::invalid("", code, format!("a hook has left no order: {error}"))
        })?;
        let mut faults = Faults::default();
        let kept = [
            ("/id", hooked.id == after.id),
            ("/version", hooked.version == after.version),
            ("/customer_id", hooked.customer_id == after.customer_id),
            ("/source", hooked.source == after.source),
            ("/external_id", hooked.external_id == after.external_id),
            ("/refunded", hooked.refunded == after.refunded),
            ("/refunds", hooked.refunds == after.refunds),
            ("/created_at", hooked.created_at == after.created_at),
            ("/updated_at", hooked.updated_at == after.updated_at),
        ];
        for (pointer, is_kept) in kept {
            if !is_kept {
                faults.add(pointer, FaultCode::ReadOnly, "a hook may not change this");
            }
        }
        hooked.settle(&self.model, before, &mut faults);
        let fields = &mut hooked.fields;
        self.model.settle_plugin_values(FieldEntity::Order, fields, &after.fields, &mut faults);
        faults.finish()?;
        Ok(hooked)
    }
}

impl Known {
    async fn load(
        &mut self,
        tx: &mut Tx,
        (actor, visibility): (&Actor, &Visibility),
        news: &[NewOrder],
        pending: &Pending,
    ) -> Result<()> {
        let tenant = &actor.tenant;
        let stated = news.iter().filter_map(|new| new.source.as_deref().zip(new.external_id.as_deref()));
        self.orders = orders::find_identities(tx, tenant, visibility, &stated.collect()).await?;
        let identities: BTreeSet<_> = news
            .iter()
            .filter_map(|new| new.customer.as_ref())
            .map(|who| (who.source.as_str(), who.external_id.as_str()))
            .collect();
        if !identities.is_empty() {
            self.identities = customer_rows::find_identities(tx, tenant, visibility, &identities).await?;
        }
        let (prepared, stored): (BTreeSet<_>, BTreeSet<_>) = news
            .iter()
            .filter_map(|new| new.customer_id.as_ref())
            .partition(|id| pending.customer(id).is_some());
        self.customers =
            prepared.into_iter().filter(|id| pending.customer(id).flatten().is_some()).cloned().collect();
        if !stored.is_empty() {
            self.customers.extend(customer_rows::find_ids(tx, tenant, visibility, &stored).await?);
        }
        Ok(())
    }

    /// Only lines that leave something to fill in are looked up.
    async fn load_products(&mut self, tx: &mut Tx, actor: &Actor, lines: &[&NewLine]) -> Result<()> {
        let open = lines.iter().filter(|line| line.name.is_none() || line.class.is_none());
        let skus: BTreeSet<_> = open.map(|line| line.sku.as_str()).collect();
        if skus.is_empty() {
            return Ok(());
        }
        let found = products::find_skus(tx, &actor.tenant, &skus).await?;
        self.products = found.into_iter().map(|product| (product.sku.clone(), product)).collect();
        Ok(())
    }
}
