//! Use cases of products.

use std::collections::HashMap;

use futures::future::BoxFuture;
use serde_json::Value;

use super::customers::{Outcome, Upserted, is_race};
use super::trail::{Trail, append_all};
use super::{Core, require};

use crate::db::{Tx, products};
use crate::domain::actor::Actor;
use crate::domain::check::{Faults, changes};
use crate::domain::code::{Reason, RecordKind};
use crate::domain::ids::ProductId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::product::{NewProduct, Product, ProductPatch};
use crate::domain::query::ProductFilter;
use crate::error::{Error, Result};

const ATTEMPTS_MAX: u32 = 4;

/// A change that is ready to be written.
#[derive(Clone, Debug)]
pub struct ProductChange {
    before: Option<Product>,
    after: Product,
    step: Step,
    trail: Trail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Update,
    Nothing,
    Delete,
}

impl ProductChange {
    fn new(core: &Core, actor: &Actor, before: Option<Product>, mut after: Product) -> Self {
        let now = core.now();
        let step = match &before {
            None => Step::Create,
            Some(before) if *before == after => Step::Nothing,
            Some(before) => {
                after.version = before.version + 1;
                after.updated_at = now;
                Step::Update
            }
        };
        let differences = before.as_ref().map(|before| changes(&before.to_json(), &after.to_json()));
        let action = if before.is_none() { "product.create" } else { "product.update" };
        let by = (actor, Some(Permission::ProductWrite));
        let what = (action, "product", after.id.as_str());
        let trail = Trail::new(core, by, now, what, differences.unwrap_or(Value::Null), None);
        Self { before, after, step, trail }
    }

    fn deleted(core: &Core, actor: &Actor, before: Product) -> Self {
        let by = (actor, Some(Permission::ProductWrite));
        let what = ("product.delete", "product", before.id.as_str());
        let trail = Trail::new(core, by, core.now(), what, before.to_json(), None);
        Self { after: before.clone(), before: Some(before), step: Step::Delete, trail }
    }

    /// The product after the change.
    #[must_use]
    pub fn product(&self) -> &Product {
        &self.after
    }

    /// What is done to the record.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.step {
            Step::Create => Outcome::Created,
            Step::Update | Step::Delete => Outcome::Updated,
            Step::Nothing => Outcome::Unchanged,
        }
    }
}

fn checked(product: Product) -> Result<Product> {
    let mut faults = Faults::default();
    product.check(&mut faults);
    faults.finish()?;
    Ok(product)
}

fn made(core: &Core, new: NewProduct) -> Result<Product> {
    let now = core.now();
    checked(new.into_product(ProductId::new(&*core.ids, now), now))
}

/// Prepares writes by external id. Products that name the same one build on one another.
///
/// Each has an answer of its own; the changes of the good ones are written together by [`apply_many`].
///
/// # Errors
/// `Forbidden`, and those of the database.
pub async fn prepare_upsert_many(
    core: &Core,
    actor: &Actor,
    news: Vec<NewProduct>,
) -> Result<Vec<Result<ProductChange>>> {
    require(actor, Permission::ProductWrite)?;
    let identities = news.iter().filter_map(|new| new.source.as_deref().zip(new.external_id.as_deref()));
    let mut known: HashMap<(String, String), Product> = {
        let identities = identities.collect();
        let mut reader = core.db.read(&actor.tenant).await?;
        products::find_identities(&mut reader, &actor.tenant, &identities).await?
    };
    let mut prepared = Vec::with_capacity(news.len());
    for new in news {
        let key = new.source.clone().zip(new.external_id.clone());
        let before = key.as_ref().and_then(|key| known.get(key)).cloned();
        let after = match &before {
            None => made(core, new),
            Some(before) => {
                let mut after = before.clone();
                new.into_patch().apply(&mut after);
                checked(after)
            }
        };
        let change = after.map(|after| ProductChange::new(core, actor, before, after));
        if let (Some(key), Ok(change)) = (key, &change) {
            known.insert(key, change.after.clone());
        }
        prepared.push(change);
    }
    Ok(prepared)
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
    let created: Vec<_> =
        changes.iter().filter(|change| change.step == Step::Create).map(|change| &change.after).collect();
    if !created.is_empty() && !products::insert_many(tx, tenant, &created).await? {
        return Err(match created.as_slice() {
            [one] => taken(tx, one, first).await?,
            _ => external_id_taken(),
        });
    }
    for change in changes {
        let Some(before) = &change.before else { continue };
        let written = match change.step {
            Step::Create | Step::Nothing => true,
            Step::Update => products::update(tx, tenant, before.version, &change.after).await?,
            Step::Delete => products::delete(tx, tenant, &before.id, before.version).await?,
        };
        if !written {
            let id = &before.id;
            return Err(match products::find(tx, tenant, id).await? {
                None => Error::not_found(RecordKind::Product, id),
                Some(now) if now.version == before.version => sku_taken(&change.after.sku),
                Some(now) => Error::VersionMismatch {
                    kind: RecordKind::Product,
                    id: id.to_string(),
                    version: now.version,
                },
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

fn write<'a>(
    core: &'a Core,
    actor: &'a Actor,
    prepare: impl Future<Output = Result<ProductChange>> + Send + 'a,
) -> BoxFuture<'a, Result<Upserted<Product>>> {
    core.write_once(actor, prepare, |tx, change| {
        Box::pin(async move {
            apply_many(tx, &[change]).await?;
            Ok(Upserted { record: change.after.clone(), outcome: change.outcome() })
        })
    })
}

/// Makes a product.
///
/// # Errors
/// `Forbidden`, `Invalid` with every fault, `sku_taken`, `external_id_taken`.
pub async fn create(core: &Core, actor: &Actor, new: NewProduct) -> Result<Product> {
    require(actor, Permission::ProductWrite)?;
    let prepare = async { Ok(ProductChange::new(core, actor, None, made(core, new)?)) };
    write(core, actor, prepare).await.map(|upserted| upserted.record)
}

/// Changes a product. Without `expected`, a concurrent change is no error.
///
/// # Errors
/// `Forbidden`, `NotFound`, `VersionMismatch`, `Invalid`, `sku_taken`.
pub async fn update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&ProductId, Option<i64>),
    patch: ProductPatch,
) -> Result<Product> {
    require(actor, Permission::ProductWrite)?;
    let mut attempt = 1;
    loop {
        let prepare = async {
            let before = find(core, actor, (id, expected)).await?;
            let mut after = before.clone();
            patch.clone().apply(&mut after);
            Ok(ProductChange::new(core, actor, Some(before), checked(after)?))
        };
        match write(core, actor, prepare).await {
            Err(Error::VersionMismatch { .. }) if expected.is_none() && attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            answer => return answer.map(|upserted| upserted.record),
        }
    }
}

/// Makes or changes the product that its source knows by its external id.
///
/// # Errors
/// Those of [`create`] and [`update`].
pub async fn upsert(core: &Core, actor: &Actor, new: NewProduct) -> Result<Upserted<Product>> {
    let mut attempt = 1;
    loop {
        let news = vec![new.clone()];
        let prepare = async {
            let mut changes = prepare_upsert_many(core, actor, news).await?;
            changes.pop().expect("one change was asked for")
        };
        match write(core, actor, prepare).await {
            Err(error) if is_race(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
            answer => return answer,
        }
    }
}

/// Removes a product; orders keep what they say of it.
///
/// # Errors
/// `Forbidden`, `NotFound`, `VersionMismatch`.
pub async fn delete(core: &Core, actor: &Actor, (id, expected): (&ProductId, Option<i64>)) -> Result<()> {
    require(actor, Permission::ProductWrite)?;
    let prepare = async {
        let before = find(core, actor, (id, expected)).await?;
        Ok(ProductChange::deleted(core, actor, before))
    };
    write(core, actor, prepare).await.map(drop)
}

async fn find(core: &Core, actor: &Actor, (id, expected): (&ProductId, Option<i64>)) -> Result<Product> {
    let mut reader = core.db.read(&actor.tenant).await?;
    let found = products::find(&mut reader, &actor.tenant, id).await?;
    let product = found.ok_or_else(|| Error::not_found(RecordKind::Product, id))?;
    super::check_version(RecordKind::Product, id, expected, product.version)?;
    Ok(product)
}

/// The product.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn get(core: &Core, actor: &Actor, id: &ProductId) -> Result<Product> {
    require(actor, Permission::ProductRead)?;
    find(core, actor, (id, None)).await
}

/// One page of the products that the filter holds for.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor.
pub async fn list(
    core: &Core,
    actor: &Actor,
    filter: &ProductFilter,
    page: &PageRequest,
) -> Result<Page<Product>> {
    require(actor, Permission::ProductRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    products::list(&mut reader, &actor.tenant, filter, page).await
}
