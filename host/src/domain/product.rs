//! Products: what a tenant sells.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::{Faults, merge, merge_patch};
use super::field::{FieldEntity, Model};
use super::field_value::Fields;
use super::ids::ProductId;
use super::money::{AMOUNT_MINOR_MAX, Money};
use super::order::{CODE_CHARS_MAX, PRODUCT_NAME_CHARS_MAX};
use super::patch::Patch;
use crate::clock::Timestamp;

/// A product as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The product's id.
    #[schema(value_type = String)]
    pub id: ProductId,
    /// Grows by one with every change.
    pub version: i64,
    /// The tenant's code; no two products share one.
    pub sku: String,
    /// The name.
    pub name: String,
    /// The class, such as `coffee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The list price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The system that the product comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The product's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The tenant's own fields.
    pub custom_fields: Map<String, Value>,
    /// When the record was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A product to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// The tenant's code; no two products share one.
    #[schema(min_length = 1, max_length = 100)]
    pub sku: String,
    /// The name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The class, such as `coffee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub class: Option<String>,
    /// The list price, zero or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The system that the product comes from; needs `external_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 60)]
    pub source: Option<String>,
    /// The product's id there; no two products of a source share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
    /// The tenant's own fields.
    #[serde(default)]
    pub custom_fields: Map<String, Value>,
}

impl NewProduct {
    /// The record that this makes.
    #[must_use]
    pub fn into_product(self, id: ProductId, now: Timestamp) -> Product {
        let Self { sku, name, class, price, source, external_id, custom_fields: stated } = self;
        let mut custom_fields = Map::new();
        merge(&mut custom_fields, stated);
        Product {
            id,
            version: 1,
            sku,
            name,
            class,
            price,
            source,
            external_id,
            custom_fields,
            created_at: now,
            updated_at: now,
        }
    }

    /// The patch that makes an existing product like this one; what is absent stays.
    #[must_use]
    pub fn into_patch(self) -> ProductPatch {
        let Self { sku, name, class, price, source: _, external_id: _, custom_fields } = self;
        ProductPatch {
            sku: Some(sku),
            name: Some(name),
            class: class.map_or(Patch::Absent, Patch::Value),
            price: price.map_or(Patch::Absent, Patch::Value),
            custom_fields: Patch::Value(custom_fields),
        }
    }
}

/// A merge patch (RFC 7396) over a product.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProductPatch {
    /// The tenant's code; cannot be cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100)]
    pub sku: Option<String>,
    /// The name; cannot be cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// The class.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    pub class: Patch<String>,
    /// The list price.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Money>)]
    pub price: Patch<Money>,
    /// Merged into the tenant's own fields.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Object>)]
    pub custom_fields: Patch<Map<String, Value>>,
}

impl ProductPatch {
    /// Applies the patch.
    pub fn apply(self, product: &mut Product) {
        let Self { sku, name, class, price, custom_fields } = self;
        if let Some(sku) = sku {
            product.sku = sku;
        }
        if let Some(name) = name {
            product.name = name;
        }
        product.class = class.apply(product.class.take());
        product.price = price.apply(product.price.take());
        merge_patch(&mut product.custom_fields, custom_fields);
    }
}

impl Product {
    /// Brings the record into its one form and notes what is wrong with it; `before` is the record as it stands.
    pub fn settle(&mut self, model: &Model, before: Option<&Self>, faults: &mut Faults) {
        faults.text("/sku", &self.sku, CODE_CHARS_MAX);
        faults.text("/name", &self.name, PRODUCT_NAME_CHARS_MAX);
        if let Some(class) = &self.class {
            faults.text("/class", class, CODE_CHARS_MAX);
        }
        if let Some(price) = self.price {
            faults.range("/price/amount_minor", price.amount_minor, 0, AMOUNT_MINOR_MAX);
        }
        faults.identity("", self.source.as_deref(), self.external_id.as_deref());
        let kept = before.map(|before| &before.custom_fields);
        model.settle_values(FieldEntity::Product, &mut self.custom_fields, kept, faults);
    }

    /// Its fields; plugins have none on products.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields { custom_fields: &self.custom_fields, fields: None }
    }

    /// The record as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a product is plain data")
    }
}
