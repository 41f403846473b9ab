//! The bare server: axum, a bearer check, and the statements. It validates nothing,
//! limits nothing, and knows no rights, hooks, idempotency or problems.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use hospes::clock::{Clock as _, SystemClock, Timestamp};
use hospes::domain::ids::{AuditId, CustomerId, EventId};
use hospes::ids::RandomIds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::store::{Arg, Change, Store};

/// Whom the changes are laid at.
const ACTOR: &str = "tok_00000000000000000000000000";

const INSERT_CUSTOMER: &str = "
    INSERT INTO customers (tenant, id, version, kind, name, search_key, lifecycle_stage, details, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const INSERT_TAG: &str = "INSERT INTO customer_tags (tenant, tag, customer_id) VALUES ($1, $2, $3)";
const INSERT_CONTACT_POINT: &str = "
    INSERT INTO contact_points (tenant, customer_id, position, kind, search_value) VALUES ($1, $2, $3, $4, $5)";
const UPDATE_CUSTOMER: &str = "
    UPDATE customers SET version = $4, name = $5, search_key = $6, details = $7, updated_at = $8
    WHERE tenant = $1 AND id = $2 AND version = $3 AND deleted_at IS NULL";
const INSERT_AUDIT: &str = "
    INSERT INTO audit (tenant, id, at, actor_kind, actor_id, action, entity, record, changes)
    VALUES ($1, $2, $3, 'token', $4, $5, 'customer', $6, $7)";
const INSERT_EVENT_SQLITE: &str = "
    INSERT INTO events (tenant, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id, depth, body)
    VALUES ($1, $2, $3, 'customer', $4, $5, 'token', $6, 0, $7)";
const INSERT_EVENT_POSTGRES: &str = "
    INSERT INTO events (position, tenant, id, name, subject_kind, subject_id, occurred_at, actor_kind, actor_id,
        depth, body)
    SELECT c.generation * 1099511627776 + CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
        $1, $2, $3, 'customer', $4, $5, 'token', $6, 0, $7
    FROM event_clusters c";
const INSERT_DELIVERIES: &str = "
    INSERT INTO deliveries (tenant, consumer, state, position, event, subject_kind, subject_id, attempts, due_at)
    SELECT s.tenant, s.consumer, 'ready', e.position, e.id, e.subject_kind, e.subject_id, 0, e.occurred_at
    FROM events e
    JOIN subscriptions s ON s.tenant = e.tenant AND s.event_name = e.name
    WHERE e.tenant = $1 AND e.id = $2";
const FIND: &str = "
    SELECT id, version, kind, name, lifecycle_stage, details, created_at, updated_at
    FROM customers
    WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL";
const LIST: &str = "
    SELECT id, version, kind, name, lifecycle_stage, details, created_at, updated_at
    FROM customers
    WHERE tenant = $1 AND deleted_at IS NULL AND search_key >= $2 AND search_key < $3
    ORDER BY id
    LIMIT $4";
pub(crate) const SUBSCRIBE: &str =
    "INSERT INTO subscriptions (tenant, event_name, consumer) VALUES ($1, $2, $3)";

/// How much of a change is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// All that the product writes.
    Everything,
    /// The customer's row alone.
    OneRow,
}

#[derive(Clone)]
struct Server {
    store: Store,
    writes: Writes,
    tenant: Arc<str>,
    token: Arc<str>,
    ids: Arc<RandomIds>,
}

#[derive(Deserialize)]
struct NewCustomer {
    kind: String,
    name: String,
    tags: Vec<String>,
    contact_points: Vec<ContactPoint>,
    preferences: Map<String, Value>,
}

#[derive(Deserialize)]
struct CustomerPatch {
    name: String,
}

#[derive(Deserialize)]
struct ListQuery {
    name_prefix: String,
    limit: i64,
}

#[derive(Serialize, Deserialize)]
struct ContactPoint {
    kind: String,
    value: String,
    #[serde(default)]
    primary: bool,
}

#[derive(Serialize, Deserialize)]
struct Details {
    tags: Vec<String>,
    contact_points: Vec<ContactPoint>,
    identities: Vec<Value>,
    preferences: Map<String, Value>,
    custom_fields: Map<String, Value>,
    fields: Map<String, Value>,
}

#[derive(Serialize)]
struct Customer {
    id: String,
    version: i64,
    kind: String,
    name: String,
    lifecycle_stage: String,
    #[serde(flatten)]
    details: Details,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct CustomerRow {
    id: String,
    version: i64,
    kind: String,
    name: String,
    lifecycle_stage: String,
    details: String,
    created_at: i64,
    updated_at: i64,
}

impl From<CustomerRow> for Customer {
    fn from(row: CustomerRow) -> Self {
        Self {
            id: row.id,
            version: row.version,
            kind: row.kind,
            name: row.name,
            lifecycle_stage: row.lifecycle_stage,
            details: serde_json::from_str(&row.details).unwrap(),
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        }
    }
}

/// Serves `tenant` until the runtime ends.
pub(crate) async fn start(store: Store, writes: Writes, tenant: &str, token: &str) -> SocketAddr {
    let ids = Arc::new(RandomIds::default());
    let server = Server { store, writes, tenant: tenant.into(), token: token.into(), ids };
    let router = Router::new()
        .route("/api/v1/customers", post(create))
        .route("/api/v1/customers", get(list))
        .route("/api/v1/customers/{id}", get(show))
        .route("/api/v1/customers/{id}", patch(update))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

type Answer<T> = Result<T, StatusCode>;

async fn create(
    State(server): State<Server>,
    headers: HeaderMap,
    Json(new): Json<NewCustomer>,
) -> Answer<(StatusCode, Json<Customer>)> {
    server.check(&headers)?;
    let now = SystemClock.now();
    let NewCustomer { kind, name, tags, contact_points, preferences } = new;
    let customer = Customer {
        id: CustomerId::new(&*server.ids, now).to_string(),
        version: 1,
        kind,
        name,
        lifecycle_stage: "potential".to_owned(),
        details: Details {
            tags,
            contact_points,
            identities: Vec::new(),
            preferences,
            custom_fields: Map::new(),
            fields: Map::new(),
        },
        created_at: now,
        updated_at: now,
    };
    server.store.write(server.creation(&customer, now)).await;
    Ok((StatusCode::CREATED, Json(customer)))
}

async fn show(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer<Json<Customer>> {
    server.check(&headers)?;
    server.find(&id).await.map(Json)
}

async fn list(
    State(server): State<Server>,
    headers: HeaderMap,
    Query(ListQuery { name_prefix, limit }): Query<ListQuery>,
) -> Answer<Json<Value>> {
    server.check(&headers)?;
    let prefix = name_prefix.to_lowercase();
    let end = format!("{prefix}\u{10ffff}");
    let args = vec![Arg::from(&*server.tenant), prefix.into(), end.into(), (limit + 1).into()];
    let rows: Vec<CustomerRow> = server.store.read(LIST, args).await;
    let most = usize::try_from(limit).unwrap();
    let next = rows.get(most).map(|row| row.id.clone());
    let items: Vec<Customer> = rows.into_iter().take(most).map(Customer::from).collect();
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}

async fn update(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(CustomerPatch { name }): Json<CustomerPatch>,
) -> Answer<Json<Customer>> {
    server.check(&headers)?;
    let now = SystemClock.now();
    let mut customer = server.find(&id).await?;
    let changes = json!({ "name": [customer.name, name] });
    customer.name = name;
    customer.version += 1;
    customer.updated_at = now;
    match server.store.write(server.change(&customer, &changes, now)).await {
        true => Ok(Json(customer)),
        false => Err(StatusCode::CONFLICT),
    }
}

impl Server {
    fn check(&self, headers: &HeaderMap) -> Answer<()> {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = sent.and_then(|value| value.strip_prefix("Bearer "));
        if token == Some(&*self.token) { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
    }

    async fn find(&self, id: &str) -> Answer<Customer> {
        let rows: Vec<CustomerRow> =
            self.store.read(FIND, vec![Arg::from(&*self.tenant), Arg::from(id)]).await;
        rows.into_iter().next().map(Customer::from).ok_or(StatusCode::NOT_FOUND)
    }

    fn creation(&self, customer: &Customer, now: Timestamp) -> Change {
        let at = now.as_micros();
        let Customer { id, version, kind, name, lifecycle_stage, details, .. } = customer;
        let tenant = || Arg::from(&*self.tenant);
        let row = vec![
            tenant(),
            Arg::from(&**id),
            Arg::from(*version),
            Arg::from(&**kind),
            Arg::from(&**name),
            Arg::from(name.to_lowercase()),
            Arg::from(&**lifecycle_stage),
            Arg::from(serde_json::to_string(details).unwrap()),
            Arg::from(at),
            Arg::from(at),
        ];
        let mut change = vec![(INSERT_CUSTOMER, row)];
        if self.writes == Writes::OneRow {
            return change;
        }
        for tag in &details.tags {
            change.push((INSERT_TAG, vec![tenant(), Arg::from(&**tag), Arg::from(&**id)]));
        }
        for (place, ContactPoint { kind, value, .. }) in (0_i64..).zip(&details.contact_points) {
            let key = value.to_lowercase();
            let row = vec![tenant(), Arg::from(&**id), Arg::from(place), Arg::from(&**kind), Arg::from(key)];
            change.push((INSERT_CONTACT_POINT, row));
        }
        self.tell(&mut change, customer, ("customer.create", "customer.created"), &Value::Null, now);
        change
    }

    fn change(&self, customer: &Customer, changes: &Value, now: Timestamp) -> Change {
        let Customer { id, version, name, details, .. } = customer;
        let row = vec![
            Arg::from(&*self.tenant),
            Arg::from(&**id),
            Arg::from(version - 1),
            Arg::from(*version),
            Arg::from(&**name),
            Arg::from(name.to_lowercase()),
            Arg::from(serde_json::to_string(details).unwrap()),
            Arg::from(now.as_micros()),
        ];
        let mut change = vec![(UPDATE_CUSTOMER, row)];
        if self.writes == Writes::Everything {
            self.tell(&mut change, customer, ("customer.update", "customer.updated"), changes, now);
        }
        change
    }

    /// The audit line, the event and its deliveries.
    fn tell(
        &self,
        change: &mut Change,
        customer: &Customer,
        (action, event): (&str, &str),
        changes: &Value,
        now: Timestamp,
    ) {
        let at = now.as_micros();
        let id = &*customer.id;
        let audit = AuditId::new(&*self.ids, now).to_string();
        let line = vec![
            Arg::from(&*self.tenant),
            audit.into(),
            Arg::from(at),
            Arg::from(ACTOR),
            Arg::from(action),
            Arg::from(id),
            Arg::from(changes.to_string()),
        ];
        change.push((INSERT_AUDIT, line));
        let told = EventId::new(&*self.ids, now).to_string();
        let row = vec![
            Arg::from(&*self.tenant),
            Arg::from(&*told),
            Arg::from(event),
            Arg::from(id),
            Arg::from(at),
            Arg::from(ACTOR),
            Arg::from(serde_json::to_string(customer).unwrap()),
        ];
        let insert = match &self.store {
            Store::Sqlite { .. } => INSERT_EVENT_SQLITE,
            Store::Postgres { .. } => INSERT_EVENT_POSTGRES,
        };
        change.push((insert, row));
        change.push((INSERT_DELIVERIES, vec![Arg::from(&*self.tenant), Arg::from(told)]));
    }
}
