//! Making and changing products by the rules: what is needed is loaded once, for one product or many.

use super::ProductChange;
use crate::clock::Timestamp;
use crate::db::models;
use crate::domain::actor::Actor;
use crate::domain::check::Faults;
use crate::domain::field::Model;
use crate::domain::ids::ProductId;
use crate::domain::permission::Permission;
use crate::domain::product::{NewProduct, Product, ProductPatch};
use crate::error::Result;
use crate::ops::{Core, require};

/// Makes changes of products for one actor.
pub(super) struct Maker<'a> {
    core: &'a Core,
    actor: &'a Actor,
    model: Model,
    now: Timestamp,
}

impl<'a> Maker<'a> {
    /// For an actor that may write products.
    pub(super) async fn load(core: &'a Core, actor: &'a Actor) -> Result<Self> {
        require(actor, Permission::ProductWrite)?;
        let mut reader = core.db.read(&actor.tenant).await?;
        let model = models::find(&mut reader, &actor.tenant).await?;
        Ok(Self { core, actor, model, now: core.now() })
    }

    /// Prepares a new product.
    pub(super) fn create(&self, new: NewProduct) -> Result<ProductChange> {
        let id = ProductId::new(&*self.core.ids, self.now);
        self.save(None, new.into_product(id, self.now))
    }

    /// Prepares a change of `before`.
    pub(super) fn update(&self, before: Product, patch: ProductPatch) -> Result<ProductChange> {
        let mut after = before.clone();
        patch.apply(&mut after);
        self.save(Some(before), after)
    }

    fn save(&self, before: Option<Product>, mut after: Product) -> Result<ProductChange> {
        let mut faults = Faults::default();
        after.settle(&self.model, before.as_ref(), &mut faults);
        faults.finish()?;
        Ok(ProductChange::saved(self.core, (self.actor, &self.model), (before, after), self.now))
    }
}
