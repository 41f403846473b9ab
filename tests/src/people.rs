//! Tenants and those who act in them.

use std::sync::Arc;

use axum::Router;
use hospes::domain::actor::{Actor, Locale};
use hospes::domain::customer::{Customer, CustomerKind, NewCustomer};
use hospes::domain::ids::TenantId;
use hospes::domain::money::Currency;
use hospes::domain::permission::{Permission, Role};
use hospes::domain::tenant::{NewTenant, Tenant};
use hospes::domain::token::NewToken;
use hospes::domain::user::{NewUser, Password, User};
use hospes::ops::{self, Core};
use serde_json::json;

use crate::request::Client;

/// The password of every user of the tests.
pub const PASSWORD: &str = "correct horse battery";

/// A tenant as the tests make them: in English, Chinese time and yuan.
///
/// # Panics
/// Never: the yuan is a currency.
#[must_use]
pub fn new_tenant(slug: &str) -> NewTenant {
    NewTenant {
        slug: slug.to_owned(),
        name: format!("Tenant {slug}"),
        locale: Locale::En,
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::parse("CNY").expect("CNY is a currency"),
        owner_login: "owner".to_owned(),
        owner_name: "Olivia Owner".to_owned(),
        owner_password: Password::new(PASSWORD),
    }
}

/// A tenant, and a client that may do everything in it.
pub struct TestTenant {
    /// The tenant.
    pub tenant: Tenant,
    /// Its first user, who signs in as `owner` with [`PASSWORD`].
    pub user: User,
    /// Sends requests with every right.
    pub owner: Client,
    core: Arc<Core>,
    router: Router,
}

impl TestTenant {
    pub(crate) async fn new(core: &Arc<Core>, router: &Router, new: NewTenant) -> Self {
        let (tenant, user) = ops::tenants::create(core, new).await.expect("a tenant can be made");
        let owner = Client::nobody(router.clone());
        let (core, router) = (Arc::clone(core), router.clone());
        let mut made = Self { tenant, user, owner, core, router };
        made.owner = made.token(&[Role::Owner]).await;
        made
    }

    pub(crate) fn moved_to(mut self, router: &Router) -> Self {
        self.owner = self.owner.moved_to(router.clone());
        self.router = router.clone();
        self
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        &self.tenant.id
    }

    /// The operator, for use cases that are called without a request.
    #[must_use]
    pub fn operator(&self) -> Actor {
        Actor::operator(self.tenant.id.clone())
    }

    /// A client with a bearer token of these roles.
    pub async fn token(&self, roles: &[Role]) -> Client {
        Client::bearer(self.router.clone(), &self.secret(roles, None).await)
    }

    /// A client with a bearer token of an owner that leaves only `permissions`.
    pub async fn scoped_token(&self, permissions: &[Permission]) -> Client {
        Client::bearer(self.router.clone(), &self.secret(&[Role::Owner], Some(permissions)).await)
    }

    /// The secret of a new bearer token.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn secret(&self, roles: &[Role], permissions: Option<&[Permission]>) -> String {
        let new = NewToken {
            name: "test".to_owned(),
            roles: roles.to_vec(),
            permissions: permissions.map(<[Permission]>::to_vec),
            org_unit_id: None,
            expires_at: None,
        };
        let made = ops::tokens::create(&self.core, &self.operator(), new).await.expect("a token can be made");
        made.secret.expect("a new token is shown once")
    }

    /// A new user with these roles, who signs in with [`PASSWORD`].
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn user(&self, login: &str, roles: &[Role]) -> User {
        let new = NewUser {
            login: login.to_owned(),
            name: format!("User {login}"),
            password: Password::new(PASSWORD),
            roles: roles.to_vec(),
            org_unit_id: None,
            locale: None,
        };
        ops::users::create(&self.core, &self.operator(), new).await.expect("a user can be made")
    }

    /// A client with the cookie of a new session of a user.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn sign_in(&self, login: &str) -> Client {
        let body = json!({"tenant": self.tenant.slug, "login": login, "password": PASSWORD});
        let nobody = Client::nobody(self.router.clone());
        let answer = nobody.post("/api/v1/sessions", body).await.expect(201);
        let cookie = answer.header("set-cookie").split(';').next().expect("a cookie has a value");
        Client::cookie(self.router.clone(), cookie)
    }

    /// A new person among the tenant's customers.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn customer(&self, name: &str) -> Customer {
        let new = NewCustomer::named(CustomerKind::Person, name);
        ops::customers::create(&self.core, &self.operator(), new).await.expect("a customer can be made")
    }
}
