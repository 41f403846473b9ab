//! Use cases of products; prepared and written as customers are. No hook sees them, and no event tells of them.

mod change;
mod maker;

use std::collections::HashMap;

use futures::future::BoxFuture;

pub use change::{ProductChange, apply, apply_many};
use maker::Maker;

use super::change::{Upserted, is_overtaken, is_race, retry};
use super::pending::Pending;
use super::{Core, check_conditions, require};

use crate::db::products;
use crate::domain::actor::Actor;
use crate::domain::code::RecordKind;
use crate::domain::ids::ProductId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::product::{NewProduct, Product, ProductPatch};
use crate::domain::query::{ProductFilter, ProductSort};
use crate::error::{Error, Result};

/// Prepares a new product.
///
/// # Errors
/// `Forbidden`, and `Invalid` with every fault.
pub async fn prepare_create(core: &Core, actor: &Actor, new: NewProduct) -> Result<ProductChange> {
    Maker::load(core, actor).await?.create(new)
}

/// Prepares a change; `expected` is the version that the caller has seen.
///
/// # Errors
/// `NotFound`, `VersionMismatch`, and those of [`prepare_create`].
pub async fn prepare_update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&ProductId, Option<i64>),
    patch: ProductPatch,
    pending: &Pending,
) -> Result<ProductChange> {
    let maker = Maker::load(core, actor).await?;
    maker.update(find(core, actor, (id, expected), pending).await?, patch)
}

/// Prepares a removal; orders keep what they say of the product.
///
/// # Errors
/// `Forbidden`, `NotFound`, `VersionMismatch`.
pub async fn prepare_delete(
    core: &Core,
    actor: &Actor,
    (id, expected): (&ProductId, Option<i64>),
    pending: &Pending,
) -> Result<ProductChange> {
    require(actor, Permission::ProductWrite)?;
    let before = find(core, actor, (id, expected), pending).await?;
    Ok(ProductChange::deleted(core, actor, before))
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
    let maker = Maker::load(core, actor).await?;
    let identities = news.iter().filter_map(|new| new.source.as_deref().zip(new.external_id.as_deref()));
    let mut known: HashMap<(String, String), Product> = {
        let identities = identities.collect();
        let mut reader = core.db.read(&actor.tenant).await?;
        products::find_identities(&mut reader, &actor.tenant, &identities).await?
    };
    let mut prepared = Vec::with_capacity(news.len());
    for new in news {
        let key = new.source.clone().zip(new.external_id.clone());
        let change = match key.as_ref().and_then(|key| known.get(key)).cloned() {
            None => maker.create(new),
            Some(before) => maker.update(before, new.into_patch()),
        };
        if let (Some(key), Ok(change)) = (key, &change) {
            known.insert(key, change.product().clone());
        }
        prepared.push(change);
    }
    Ok(prepared)
}

async fn find(
    core: &Core,
    actor: &Actor,
    (id, expected): (&ProductId, Option<i64>),
    pending: &Pending,
) -> Result<Product> {
    let product = match pending.product(id) {
        Some(prepared) => prepared.cloned(),
        None => {
            let mut reader = core.db.read(&actor.tenant).await?;
            products::find(&mut reader, &actor.tenant, id).await?
        }
    };
    let product = product.ok_or_else(|| Error::not_found(RecordKind::Product, id))?;
    super::check_version(RecordKind::Product, id, expected, product.version)?;
    Ok(product)
}

fn write<'a>(
    core: &'a Core,
    actor: &'a Actor,
    prepare: impl Future<Output = Result<ProductChange>> + Send + 'a,
) -> BoxFuture<'a, Result<Upserted<Product>>> {
    core.write_once(actor, prepare, |tx, change| {
        Box::pin(async move {
            apply(tx, change).await?;
            Ok(Upserted { record: change.product().clone(), outcome: change.outcome() })
        })
    })
}

/// Makes a product.
///
/// # Errors
/// Those of [`prepare_create`] and [`apply_many`].
pub async fn create(core: &Core, actor: &Actor, new: NewProduct) -> Result<Product> {
    write(core, actor, prepare_create(core, actor, new)).await.map(Upserted::into_record)
}

/// Changes a product. Without `expected`, a concurrent change is no error.
///
/// # Errors
/// Those of [`prepare_update`] and [`apply_many`].
pub async fn update(
    core: &Core,
    actor: &Actor,
    (id, expected): (&ProductId, Option<i64>),
    patch: ProductPatch,
) -> Result<Product> {
    let pending = Pending::default();
    let attempt = || write(core, actor, prepare_update(core, actor, (id, expected), patch.clone(), &pending));
    retry(is_overtaken(expected), attempt).await.map(Upserted::into_record)
}

/// Makes or changes the product that its source knows by its external id.
///
/// # Errors
/// Those of [`create`] and [`update`].
pub async fn upsert(core: &Core, actor: &Actor, new: NewProduct) -> Result<Upserted<Product>> {
    let attempt = || {
        let news = vec![new.clone()];
        let prepare = async {
            let mut changes = prepare_upsert_many(core, actor, news).await?;
            changes.pop().expect("one change was asked for")
        };
        write(core, actor, prepare)
    };
    retry(is_race, attempt).await
}

/// Removes a product; orders keep what they say of it.
///
/// # Errors
/// Those of [`prepare_delete`] and [`apply_many`].
pub async fn delete(core: &Core, actor: &Actor, (id, expected): (&ProductId, Option<i64>)) -> Result<()> {
    let pending = Pending::default();
    write(core, actor, prepare_delete(core, actor, (id, expected), &pending)).await.map(drop)
}

/// The product.
///
/// # Errors
/// `Forbidden`, `NotFound`.
pub async fn get(core: &Core, actor: &Actor, id: &ProductId) -> Result<Product> {
    require(actor, Permission::ProductRead)?;
    find(core, actor, (id, None), &Pending::default()).await
}

/// One page of the products that the filter holds for.
///
/// # Errors
/// `Forbidden`, and `Invalid` for a bad cursor or too many conditions.
pub async fn list(
    core: &Core,
    actor: &Actor,
    (filter, sort): (&ProductFilter, ProductSort),
    page: &PageRequest,
) -> Result<Page<Product>> {
    require(actor, Permission::ProductRead)?;
    check_conditions(filter.fields.len())?;
    let mut reader = core.db.read(&actor.tenant).await?;
    products::list(&mut reader, &actor.tenant, (filter, sort), page).await
}
