//! A prepared change of a product, and its writing.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::db::{Tx, products};
use crate::domain::actor::Actor;
use crate::domain::check::changes;
use crate::domain::code::{Reason, RecordKind};
use crate::domain::field::{FieldEntity, Model};
use crate::domain::field_value::FieldChanges;
use crate::domain::ids::ProductId;
use crate::domain::permission::Permission;
use crate::domain::product::Product;
use crate::error::{Error, Result};
use crate::ops::Core;
use crate::ops::change::{Outcome, Step, stale};
use crate::ops::trail::{Trail, append_all};

/// A change that is ready to be written.
#[derive(Clone, Debug)]
pub struct ProductChange {
    before: Option<Product>,
    after: Product,
    step: Step,
    fields: Option<FieldChanges>,
    json: Value,
    trail: Trail,
}

impl ProductChange {
    /// The making of `after`, or the change from `before` to it: none at all if they are the same.
    pub(super) fn saved(
        core: &Core,
        (actor, model): (&Actor, &Model),
        (before, mut after): (Option<Product>, Product),
        now: Timestamp,
    ) -> Self {
        let step = match &before {
            None => Step::Create,
            Some(before) if *before == after => Step::Nothing,
            Some(before) => {
                after.version = before.version + 1;
                after.updated_at = now;
                Step::Update
            }
        };
        let json = after.to_json();
        let differences = before.as_ref().map(|before| changes(&before.to_json(), &json));
        let action = if before.is_none() { "product.create" } else { "product.update" };
        let by = (actor, Some(Permission::ProductWrite));
        let what = (action, "product", after.id.as_str());
        let trail = Trail::new(core, by, now, what, differences.unwrap_or(Value::Null), None);
        let old = before.as_ref().map(Product::fields);
        let fields = FieldChanges::between(model, FieldEntity::Product, old, after.fields());
        Self { before, after, step, fields, json, trail }
    }

    pub(super) fn deleted(core: &Core, actor: &Actor, before: Product) -> Self {
        let json = before.to_json();
        let by = (actor, Some(Permission::ProductWrite));
        let what = ("product.delete", "product", before.id.as_str());
        let trail = Trail::new(core, by, core.now(), what, json.clone(), None);
        let after = before.clone();
        Self { before: Some(before), after, step: Step::Delete, fields: None, json, trail }
    }

    /// The product's id.
    #[must_use]
    pub fn id(&self) -> &ProductId {
        &self.after.id
    }

    /// The product after the change.
    #[must_use]
    pub fn product(&self) -> &Product {
        &self.after
    }

    /// The product after the change, as the REST API shows it.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.json
    }

    /// The version that the product must still have when this is written; none for a new one.
    #[must_use]
    pub fn expected_version(&self) -> Option<i64> {
        self.before.as_ref().map(|before| before.version)
    }

    /// Whether the product is removed.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.step == Step::Delete
    }

    /// What is done to the record.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.step.outcome()
    }
}

/// Writes a prepared change.
///
/// # Errors
/// Those of [`apply_many`].
pub async fn apply(tx: &mut Tx, change: &ProductChange) -> Result<()> {
    apply_many(tx, &[change]).await
}

/// Writes changes that one actor has prepared together, in their order.
///
/// # Errors
/// `VersionMismatch`, `NotFound`, and `sku_taken` or `external_id_taken` if another product has one.
pub async fn apply_many(tx: &mut Tx, changes: &[&ProductChange]) -> Result<()> {
    let Some(first) = changes.first() else {
        return Ok(());
    };
    let tenant = &first.trail.actor.tenant;
    let created: Vec<_> = changes
        .iter()
        .filter(|change| change.step == Step::Create)
        .map(|change| (&change.after, change.fields.as_ref()))
        .collect();
    if !created.is_empty() && !products::insert_many(tx, tenant, &created).await? {
        return Err(match created.as_slice() {
            [(one, _)] => taken(tx, one, first).await?,
            _ => external_id_taken(),
        });
    }
    for change in changes {
        let Some(before) = &change.before else { continue };
        let written = match change.step {
            Step::Create | Step::Nothing => true,
            Step::Update => {
                products::update(tx, tenant, before.version, &change.after, change.fields.as_ref()).await?
            }
            Step::Delete => products::delete(tx, tenant, &before.id, before.version).await?,
        };
        if !written {
            let version = products::find(tx, tenant, &before.id).await?.map(|now| now.version);
            return Err(match version {
                Some(version) if version == before.version => sku_taken(&change.after.sku),
                Some(_) | None => stale(RecordKind::Product, &before.id, version),
            });
        }
    }
    let trails = changes.iter().filter(|change| change.step != Step::Nothing).map(|change| &change.trail);
    append_all(tx, trails).await
}

async fn taken(tx: &mut Tx, product: &Product, change: &ProductChange) -> Result<Error> {
    let skus = [product.sku.as_str()].into();
    let same = products::find_skus(tx, &change.trail.actor.tenant, &skus).await?;
    Ok(if same.is_empty() { external_id_taken() } else { sku_taken(&product.sku) })
}

fn sku_taken(sku: &str) -> Error {
    Error::conflict(Reason::SkuTaken, format!("another product has the sku `{sku}`"))
}

fn external_id_taken() -> Error {
    let message = "there is a product with this external id; `PUT` to its source changes it";
    Error::conflict(Reason::ExternalIdTaken, message)
}
