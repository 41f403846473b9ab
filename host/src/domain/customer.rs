//! Customers: the record, what a caller may state of it, and the rules that every door obeys.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::{Faults, merge_patch};
use super::field::{FieldEntity, Model};
use super::field_value::Fields;
use super::ids::{CustomerId, OrgUnitId, UserId};
use super::patch::Patch;
use crate::clock::Timestamp;
use crate::domain::code::FaultCode;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Tags of a customer.
pub const TAGS_MAX: usize = 50;
/// Characters of a tag.
pub const TAG_CHARS_MAX: usize = 50;
/// Contact points of a customer.
pub const CONTACT_POINTS_MAX: usize = 20;
/// Characters of a contact point.
pub const CONTACT_CHARS_MAX: usize = 500;
/// Identities of a customer.
pub const IDENTITIES_MAX: usize = 20;

/// A person or a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerKind {
    /// A natural person.
    Person,
    /// A legal person.
    Company,
}

impl CustomerKind {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Company => "company",
        }
    }

    /// The kind of a stored name.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        if text == "company" { Self::Company } else { Self::Person }
    }
}

/// How a customer can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// A mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A WeChat account.
    Wechat,
    /// A postal address.
    Address,
    /// Anything else, such as a social account.
    Other,
}

impl ContactKind {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Wechat => "wechat",
            Self::Address => "address",
            Self::Other => "other",
        }
    }
}

/// One way to reach a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactPoint {
    /// Which way it is.
    pub kind: ContactKind,
    /// The address, number or account.
    #[schema(min_length = 1, max_length = 500)]
    pub value: String,
    /// The one to use first; at most one of a kind. Without any, the first of a kind becomes it.
    #[serde(default)]
    pub primary: bool,
}

impl ContactPoint {
    /// What a search compares: addresses in lower case, numbers by their digits.
    #[must_use]
    pub fn search_value(&self) -> String {
        match self.kind {
            ContactKind::Phone => phone_key(&self.value),
            ContactKind::Email | ContactKind::Wechat | ContactKind::Address | ContactKind::Other => {
                search_key(&self.value)
            }
        }
    }
}

fn phone_key(number: &str) -> String {
    number.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
}

/// The keys under which a searched contact value may stand: as written, and as a number.
#[must_use]
pub fn contact_search_keys(value: &str) -> [String; 2] {
    [search_key(value), phone_key(value)]
}

/// Ways to reach a customer, and others that are not among them yet. Whichever of a kind is the
/// first to use stays that.
#[must_use]
pub fn with_contact_points(mut points: Vec<ContactPoint>, added: Vec<ContactPoint>) -> Vec<ContactPoint> {
    for mut point in added {
        let mut same_kind = points.iter().filter(|known| known.kind == point.kind).peekable();
        point.primary &= same_kind.peek().is_none();
        if same_kind.all(|known| known.search_value() != point.search_value()) {
            points.push(point);
        }
    }
    points
}

/// Who a customer is in another system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The other system.
    #[schema(min_length = 1, max_length = 60)]
    pub source: String,
    /// The customer's id there; no two customers of a tenant share one.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: String,
}

/// How a record was collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CollectionMethod {
    /// In a conversation.
    FaceToFace,
    /// By a form that the customer filled in.
    Questionnaire,
    /// By telephone.
    Phone,
    /// On a web site or in an app.
    Web,
    /// From a public source.
    PublicSource,
    /// From a service that sells data.
    ThirdParty,
    /// Taken over from another system.
    System,
}

/// Why the record may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawfulBasis {
    /// The customer has agreed.
    Consent,
    /// A contract with the customer needs it.
    Contract,
    /// A law demands it.
    LegalObligation,
    /// An interest that outweighs the customer's.
    LegitimateInterest,
    /// Somebody's life depends on it.
    VitalInterest,
    /// A public task needs it.
    PublicTask,
}

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The channel or system.
    #[schema(min_length = 1, max_length = 60)]
    pub source: String,
    /// How it was collected.
    pub method: CollectionMethod,
    /// Why it may be kept.
    pub lawful_basis: LawfulBasis,
}

/// A customer as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// The customer's id.
    #[schema(value_type = String)]
    pub id: CustomerId,
    /// Grows by one with every change.
    pub version: i64,
    /// A person or a company.
    pub kind: CustomerKind,
    /// The full name.
    pub name: String,
    /// A stage of the tenant's lifecycle model.
    pub lifecycle_stage: String,
    /// The user who looks after the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub owner_id: Option<UserId>,
    /// The unit that looks after the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub org_unit_id: Option<OrgUnitId>,
    /// Labels, each once, in alphabetical order.
    pub tags: Vec<String>,
    /// Ways to reach the customer.
    pub contact_points: Vec<ContactPoint>,
    /// Who the customer is in other systems.
    pub identities: Vec<Identity>,
    /// What the customer likes: a free-form document.
    pub preferences: Map<String, Value>,
    /// The tenant's own fields.
    pub custom_fields: Map<String, Value>,
    /// The plugins' fields, as `plugin.field`.
    pub fields: Map<String, Value>,
    /// Where the record comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A customer to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCustomer {
    /// A person or a company.
    pub kind: CustomerKind,
    /// The full name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// A stage of the tenant's lifecycle model; its first stage if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 50)]
    pub lifecycle_stage: Option<String>,
    /// The user who looks after the customer; whoever makes it, if they reach only their own records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub owner_id: Option<UserId>,
    /// The unit that looks after the customer; that of whoever makes it, if they reach only their team's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub org_unit_id: Option<OrgUnitId>,
    /// Labels of 1 to 50 characters.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub tags: Vec<String>,
    /// Ways to reach the customer.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub contact_points: Vec<ContactPoint>,
    /// Who the customer is in other systems.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub identities: Vec<Identity>,
    /// What the customer likes: at most 16 KiB, 8 levels deep.
    #[serde(default)]
    pub preferences: Map<String, Value>,
    /// The tenant's own fields.
    #[serde(default)]
    pub custom_fields: Map<String, Value>,
    /// Where the record comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

impl NewCustomer {
    /// A customer of whom nothing but the name is known.
    #[must_use]
    pub fn named(kind: CustomerKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            lifecycle_stage: None,
            owner_id: None,
            org_unit_id: None,
            tags: Vec::new(),
            contact_points: Vec::new(),
            identities: Vec::new(),
            preferences: Map::new(),
            custom_fields: Map::new(),
            provenance: None,
        }
    }

    /// The record that this makes.
    #[must_use]
    pub fn into_customer(self, id: CustomerId, now: Timestamp, model: &Model) -> Customer {
        let Self {
            kind,
            name,
            lifecycle_stage,
            owner_id,
            org_unit_id,
            tags,
            contact_points,
            identities,
            preferences,
            custom_fields,
            provenance,
        } = self;
        Customer {
            id,
            version: 1,
            kind,
            name,
            lifecycle_stage: lifecycle_stage.unwrap_or_else(|| model.first_stage().to_owned()),
            owner_id,
            org_unit_id,
            tags,
            contact_points,
            identities,
            preferences,
            custom_fields,
            fields: Map::new(),
            provenance,
            created_at: now,
            updated_at: now,
        }
    }
}

/// A merge patch (RFC 7396) over a customer: what is absent stays, `null` clears, a value replaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CustomerPatch {
    /// A person or a company; cannot be cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CustomerKind, required = false)]
    pub kind: Option<CustomerKind>,
    /// The full name; cannot be cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// A stage of the tenant's model; `null` is its first.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 50)]
    pub lifecycle_stage: Patch<String>,
    /// The user who looks after the customer.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub owner_id: Patch<UserId>,
    /// The unit that looks after the customer.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub org_unit_id: Patch<OrgUnitId>,
    /// All labels.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>, max_items = 50)]
    pub tags: Patch<Vec<String>>,
    /// All contact points.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<ContactPoint>>, max_items = 20)]
    pub contact_points: Patch<Vec<ContactPoint>>,
    /// All identities.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<Identity>>, max_items = 20)]
    pub identities: Patch<Vec<Identity>>,
    /// Merged into the document.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Object>)]
    pub preferences: Patch<Map<String, Value>>,
    /// Merged into the tenant's own fields.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Object>)]
    pub custom_fields: Patch<Map<String, Value>>,
    /// Where the record comes from.
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Provenance>)]
    pub provenance: Patch<Provenance>,
}

impl CustomerPatch {
    /// Applies the patch.
    pub fn apply(self, customer: &mut Customer, model: &Model) {
        let Self {
            kind,
            name,
            lifecycle_stage,
            owner_id,
            org_unit_id,
            tags,
            contact_points,
            identities,
            preferences,
            custom_fields,
            provenance,
        } = self;
        if let Some(kind) = kind {
            customer.kind = kind;
        }
        if let Some(name) = name {
            customer.name = name;
        }
        replace(&mut customer.lifecycle_stage, lifecycle_stage, || model.first_stage().to_owned());
        replace(&mut customer.tags, tags, Vec::new);
        replace(&mut customer.contact_points, contact_points, Vec::new);
        replace(&mut customer.identities, identities, Vec::new);
        customer.owner_id = owner_id.apply(customer.owner_id.take());
        customer.org_unit_id = org_unit_id.apply(customer.org_unit_id.take());
        customer.provenance = provenance.apply(customer.provenance.take());
        merge_patch(&mut customer.preferences, preferences);
        merge_patch(&mut customer.custom_fields, custom_fields);
    }

    /// The customer that the patch makes where there is none; `kind` and `name` are then required.
    #[must_use]
    pub fn into_new(self, faults: &mut Faults) -> NewCustomer {
        let Self { kind, name, .. } = &self;
        if name.is_none() {
            faults.add("/name", FaultCode::Required, "a new customer needs a name");
        }
        if kind.is_none() {
            faults.add("/kind", FaultCode::Required, "a new customer needs a kind");
        }
        let kind = kind.unwrap_or(CustomerKind::Person);
        let mut preferences = Map::new();
        merge_patch(&mut preferences, self.preferences);
        let mut custom_fields = Map::new();
        merge_patch(&mut custom_fields, self.custom_fields);
        NewCustomer {
            kind,
            name: self.name.unwrap_or_default(),
            lifecycle_stage: self.lifecycle_stage.apply(None),
            owner_id: self.owner_id.apply(None),
            org_unit_id: self.org_unit_id.apply(None),
            tags: self.tags.apply(None).unwrap_or_default(),
            contact_points: self.contact_points.apply(None).unwrap_or_default(),
            identities: self.identities.apply(None).unwrap_or_default(),
            preferences,
            custom_fields,
            provenance: self.provenance.apply(None),
        }
    }
}

/// Replaces a member whose cleared form is a value of its own.
fn replace<T>(target: &mut T, patch: Patch<T>, cleared: impl FnOnce() -> T) {
    match patch {
        Patch::Absent => {}
        Patch::Null => *target = cleared(),
        Patch::Value(value) => *target = value,
    }
}

impl Customer {
    /// Brings the record into its one form and notes what is wrong with it.
    ///
    /// `before` is the record as it stands: a stage that the tenant has since
    /// dropped from its model may stay, but not be taken up.
    pub fn settle(&mut self, model: &Model, before: Option<&Self>, faults: &mut Faults) {
        self.name = self.name.trim().to_owned();
        faults.text("/name", &self.name, NAME_CHARS_MAX);
        let kept = before.is_some_and(|before| before.lifecycle_stage == self.lifecycle_stage);
        if !kept && !model.has_stage(&self.lifecycle_stage) {
            faults.plain("/lifecycle_stage", FaultCode::not_allowed(model.stage_names()));
        }
        self.settle_tags(faults);
        self.settle_contact_points(faults);
        self.settle_identities(faults);
        faults.document("/preferences", &self.preferences);
        let kept = before.map(|before| &before.custom_fields);
        model.settle_values(FieldEntity::Customer, &mut self.custom_fields, kept, faults);
        if let Some(provenance) = &self.provenance {
            faults.text("/provenance/source", &provenance.source, super::check::SOURCE_CHARS_MAX);
        }
    }

    fn settle_tags(&mut self, faults: &mut Faults) {
        for (index, tag) in self.tags.iter_mut().enumerate() {
            *tag = tag.trim().to_owned();
            faults.text(&format!("/tags/{index}"), tag, TAG_CHARS_MAX);
        }
        self.tags.sort_unstable();
        self.tags.dedup();
        faults.count("/tags", self.tags.len(), TAGS_MAX);
    }

    fn settle_contact_points(&mut self, faults: &mut Faults) {
        faults.count("/contact_points", self.contact_points.len(), CONTACT_POINTS_MAX);
        for (index, point) in self.contact_points.iter_mut().enumerate() {
            let pointer = format!("/contact_points/{index}/value");
            point.value = point.value.trim().to_owned();
            faults.text(&pointer, &point.value, CONTACT_CHARS_MAX);
            let plausible = match point.kind {
                ContactKind::Email => point.value.split_once('@').is_some_and(|(user, host)| {
                    !user.is_empty() && !host.is_empty() && !point.value.contains(char::is_whitespace)
                }),
                ContactKind::Phone => point.value.chars().any(|c| c.is_ascii_digit()),
                ContactKind::Wechat | ContactKind::Address | ContactKind::Other => true,
            };
            if !plausible {
                let message = format!("is no {} that could be reached", point.kind.as_str());
                faults.add(pointer, FaultCode::wrong_format(point.kind.as_str()), message);
            }
        }
        for index in 0..self.contact_points.len() {
            let kind = self.contact_points[index].kind;
            let mut same = self.contact_points.iter().enumerate().filter(|(_, other)| other.kind == kind);
            let first = same.clone().next().is_some_and(|(at, _)| at == index);
            let primaries = same.clone().filter(|(_, other)| other.primary).count();
            let earlier = same.any(|(at, other)| other.primary && at < index);
            if first && primaries == 0 {
                self.contact_points[index].primary = true;
            } else if self.contact_points[index].primary && earlier {
                let message = format!("another {} is already the primary one", kind.as_str());
                faults.add(format!("/contact_points/{index}/primary"), FaultCode::NotUnique, message);
            }
        }
    }

    fn settle_identities(&mut self, faults: &mut Faults) {
        faults.count("/identities", self.identities.len(), IDENTITIES_MAX);
        for (index, identity) in self.identities.iter().enumerate() {
            let pointer = format!("/identities/{index}");
            faults.identity(&pointer, Some(&identity.source), Some(&identity.external_id));
            if self.identities[..index].contains(identity) {
                faults.add(pointer, FaultCode::NotUnique, "the same identity is named twice");
            }
        }
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields { custom_fields: &self.custom_fields, fields: Some(&self.fields) }
    }

    /// The record as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a customer is plain data")
    }
}

/// What a search for names and addresses compares: lower case, single blanks.
///
/// Computed here and kept in a column, because the two engines compare text without regard to case differently.
#[must_use]
pub fn search_key(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !key.is_empty() {
            key.push(' ');
        }
        key.extend(word.chars().flat_map(char::to_lowercase));
    }
    key
}
