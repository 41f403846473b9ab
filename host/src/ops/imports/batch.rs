//! The rows of a batch as prepared changes, by the same use cases that REST calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rows::{self, Named};
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::code::{FaultCode, Reason};
use crate::domain::customer::Identity;
use crate::domain::field::Model;
use crate::domain::ids::CustomerId;
use crate::domain::import::bound::Bound;
use crate::domain::import::{ImportEntity, RowFault};
use crate::domain::permission::Permission;
use crate::domain::timeline::NewEntry;
use crate::error::{Error, Fault, Result};
use crate::ops::change::Outcome;
use crate::ops::customers::{self, CustomerChange};
use crate::ops::orders::{self, OrderChange};
use crate::ops::pending::Pending;
use crate::ops::products::{self, ProductChange};
use crate::ops::timeline::{self, TimelineChange};
use crate::ops::{Core, fields, visible};

/// What the rows of a batch have in common.
pub(super) struct Job<'a> {
    pub(super) core: &'a Core,
    pub(super) actor: &'a Actor,
    pub(super) entity: ImportEntity,
    pub(super) source: &'a str,
    pub(super) bound: &'a Bound,
}

/// The good rows of a batch, ready to be written together.
#[derive(Debug)]
pub(super) struct Prepared {
    changes: Changes,
    /// For each change, the place of its row among the rows that were prepared, and how many rows it is.
    places: Vec<(usize, usize)>,
    /// What was wrong with the others, row by row.
    pub(super) faults: Vec<Vec<RowFault>>,
    /// Rows that say what is there already and need no change at all.
    unchanged: usize,
}

#[derive(Debug)]
enum Changes {
    Customers(Vec<CustomerChange>),
    Products(Vec<ProductChange>),
    Orders(Vec<OrderChange>),
    Timeline(Vec<TimelineChange>),
}

impl Default for Prepared {
    fn default() -> Self {
        Self { changes: Changes::Timeline(Vec::new()), places: Vec::new(), faults: Vec::new(), unchanged: 0 }
    }
}

/// What was prepared for each row; an error is the row's own.
type Answers<T> = Vec<Result<T>>;

/// By the place of a row that is no good: the faults of each row that it consists of.
pub(super) type Refusals = BTreeMap<usize, Vec<Vec<RowFault>>>;

/// Prepares rows; those in `refused` are known to be no good.
///
/// # Errors
/// `Forbidden`, and those of the database.
pub(super) async fn prepare(job: &Job<'_>, named: &[Named], refused: &Refusals) -> Result<Prepared> {
    let rows: Vec<(usize, &Named)> =
        named.iter().enumerate().filter(|(place, _)| !refused.contains_key(place)).collect();
    let mut prepared = match job.entity {
        ImportEntity::Customers => prepare_customers(job, &rows).await?,
        ImportEntity::Products => prepare_products(job, &rows).await?,
        ImportEntity::Orders => prepare_orders(job, &rows).await?,
        ImportEntity::Interactions | ImportEntity::Behaviour => prepare_timeline(job, &rows).await?,
    };
    prepared.faults.extend(refused.values().flatten().cloned());
    Ok(prepared)
}

impl Prepared {
    /// Tells the good rows from the others.
    fn sort<T>(
        job: &Job<'_>,
        rows: &[(usize, &Named)],
        answers: Answers<T>,
        wrap: impl FnOnce(Vec<T>) -> Changes,
    ) -> Result<Self> {
        let (mut changes, mut places, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for ((place, named), answer) in rows.iter().zip(answers) {
            match answer {
                Ok(change) => {
                    changes.push(change);
                    places.push((*place, named.len()));
                }
                Err(error) => match rows::refusal(&error, named, job.bound) {
                    Some(found) => faults.extend(found),
                    None => return Err(error),
                },
            }
        }
        Ok(Self { changes: wrap(changes), places, faults, unchanged: 0 })
    }

    /// The same with rows that were no good before anything was prepared.
    fn with(mut self, faults: Vec<Vec<RowFault>>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Changes that are prepared.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The row of a change.
    pub(super) fn place(&self, change: usize) -> Option<usize> {
        self.places.get(change).map(|(place, _)| *place)
    }

    /// Who the customers are that change, or are new.
    pub(super) fn identities(&self) -> impl Iterator<Item = &Identity> {
        let customers: Vec<&CustomerChange> = match &self.changes {
            Changes::Customers(changes) => changes.iter().collect(),
            Changes::Orders(changes) => changes.iter().filter_map(OrderChange::customer).collect(),
            Changes::Products(_) | Changes::Timeline(_) => Vec::new(),
        };
        customers.into_iter().flat_map(CustomerChange::identities)
    }

    /// What is done to the record of each good row.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let of_changes: Vec<Outcome> = match &self.changes {
            Changes::Customers(changes) => changes.iter().map(CustomerChange::outcome).collect(),
            Changes::Products(changes) => changes.iter().map(ProductChange::outcome).collect(),
            Changes::Orders(changes) => changes.iter().map(OrderChange::outcome).collect(),
            Changes::Timeline(changes) => changes.iter().map(|_| Outcome::Created).collect(),
        };
        let of_rows = of_changes.iter().zip(&self.places).flat_map(|(one, (_, rows))| vec![*one; *rows]);
        std::iter::repeat_n(Outcome::Unchanged, self.unchanged).chain(of_rows).collect()
    }

    /// Writes the first `count` changes.
    ///
    /// # Errors
    /// Those of the use cases' writing halves.
    pub(super) async fn apply(&self, tx: &mut Tx, count: usize) -> Result<()> {
        match &self.changes {
            Changes::Customers(changes) => {
                customers::apply_many(tx, &changes.iter().take(count).collect::<Vec<_>>()).await
            }
            Changes::Products(changes) => {
                products::apply_many(tx, &changes.iter().take(count).collect::<Vec<_>>()).await
            }
            Changes::Orders(changes) => {
                orders::apply_many(tx, &changes.iter().take(count).collect::<Vec<_>>()).await
            }
            Changes::Timeline(changes) => {
                for change in changes.iter().take(count) {
                    if !timeline::apply(tx, change).await? {
                        return Err(Error::conflict(
                            Reason::ExternalIdTaken,
                            "an entry has this external id",
                        ));
                    }
                }
                Ok(())
            }
        }
    }
}

async fn prepare_customers(job: &Job<'_>, rows: &[(usize, &Named)]) -> Result<Prepared> {
    let read = read(job, rows, |named, model| rows::customer(named, job, model));
    let Read { inputs, rows, faults } = read.await?;
    let answers = customers::prepare_upsert_many(job.core, job.actor, inputs).await?;
    Ok(Prepared::sort(job, &rows, answers, Changes::Customers)?.with(faults))
}

async fn prepare_products(job: &Job<'_>, rows: &[(usize, &Named)]) -> Result<Prepared> {
    let read = read(job, rows, |named, model| rows::product(named, job.source, model));
    let Read { inputs, rows, faults } = read.await?;
    let answers = products::prepare_upsert_many(job.core, job.actor, inputs).await?;
    Ok(Prepared::sort(job, &rows, answers, Changes::Products)?.with(faults))
}

async fn prepare_orders(job: &Job<'_>, rows: &[(usize, &Named)]) -> Result<Prepared> {
    let read = read(job, rows, |named, model| rows::order(named, job.source, model));
    let Read { inputs, rows, faults } = read.await?;
    let answers = orders::prepare_upsert_many(job.core, job.actor, inputs).await?;
    Ok(Prepared::sort(job, &rows, answers, Changes::Orders)?.with(faults))
}

/// Rows as the inputs of a use case, and what is wrong with those that are none.
struct Read<'r, T> {
    inputs: Vec<T>,
    rows: Vec<(usize, &'r Named)>,
    faults: Vec<Vec<RowFault>>,
}

async fn read<'r, T>(
    job: &Job<'_>,
    rows: &[(usize, &'r Named)],
    input: impl Fn(&Named, &Model) -> Result<T, Vec<Fault>>,
) -> Result<Read<'r, T>> {
    let model = fields::readable(job.core, job.actor).await?;
    let mut read = Read { inputs: Vec::with_capacity(rows.len()), rows: Vec::new(), faults: Vec::new() };
    for (place, named) in rows {
        match input(named, &model) {
            Ok(input) => {
                read.inputs.push(input);
                read.rows.push((*place, *named));
            }
            Err(found) => {
                let faults = found.iter().map(|fault| rows::row_fault(fault, named, job.bound));
                read.faults.extend(named.refuse(faults.collect()));
            }
        }
    }
    Ok(read)
}

async fn prepare_timeline(job: &Job<'_>, rows: &[(usize, &Named)]) -> Result<Prepared> {
    let customers = find_customers(job, rows).await?;
    let stated = find_stated(job, rows).await?;
    let mut known: HashMap<&str, CustomerId> = HashMap::new();
    let mut answers = Vec::with_capacity(rows.len());
    let mut good = Vec::with_capacity(rows.len());
    let mut unchanged = 0;
    for (place, named) in rows {
        let who = rows::customer_ref(&named.row, job.source);
        let identity = Identity { source: who.source, external_id: who.external_id };
        let answer = match customers.get(&identity) {
            None => {
                let message = "there is no such customer";
                Err(Error::invalid("/customer/external_id", FaultCode::UnknownReference, message))
            }
            Some(customer) => {
                let earlier = known.insert(named.external_id.as_str(), customer.clone());
                match earlier.as_ref().or_else(|| stated.get(named.external_id.as_str())) {
                    Some(earlier) if earlier == customer => {
                        unchanged += 1;
                        continue;
                    }
                    Some(_) => Err(Error::conflict(
                        Reason::ExternalIdTaken,
                        "another customer's timeline has an entry with this external id",
                    )),
                    None => prepare_entry(job, customer, named).await,
                }
            }
        };
        answers.push(answer);
        good.push((*place, *named));
    }
    let mut prepared = Prepared::sort(job, &good, answers, Changes::Timeline)?;
    prepared.unchanged = unchanged;
    Ok(prepared)
}

async fn prepare_entry(job: &Job<'_>, customer: &CustomerId, named: &Named) -> Result<TimelineChange> {
    let entry = match job.entity {
        ImportEntity::Interactions => NewEntry::Interaction(rows::interaction(named, job.source)),
        ImportEntity::Customers | ImportEntity::Products | ImportEntity::Orders | ImportEntity::Behaviour => {
            NewEntry::Behaviour(rows::behaviour(named, job.source))
        }
    };
    timeline::prepare_append(job.core, job.actor, customer, entry, &Pending::default()).await
}

/// The customers that the rows name.
async fn find_customers(job: &Job<'_>, rows: &[(usize, &Named)]) -> Result<HashMap<Identity, CustomerId>> {
    let refs: Vec<_> = rows.iter().map(|(_, named)| rows::customer_ref(&named.row, job.source)).collect();
    let identities: BTreeSet<(&str, &str)> =
        refs.iter().map(|who| (who.source.as_str(), who.external_id.as_str())).collect();
    let visibility = visible(job.actor, Permission::TimelineWrite)?;
    let mut reader = job.core.db.read(&job.actor.tenant).await?;
    db::customers::find_identities(&mut reader, &job.actor.tenant, &visibility, &identities).await
}

/// Whose timeline has the entries that the source has stated before.
async fn find_stated(job: &Job<'_>, rows: &[(usize, &Named)]) -> Result<HashMap<String, CustomerId>> {
    let mut stated = HashMap::new();
    let mut reader = job.core.db.read(&job.actor.tenant).await?;
    for (_, named) in rows {
        let found =
            db::timeline::find_by_identity(&mut reader, &job.actor.tenant, job.source, &named.external_id);
        if let Some(entry) = found.await? {
            stated.insert(named.external_id.clone(), entry.customer_id);
        }
    }
    Ok(stated)
}
