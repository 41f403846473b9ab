//! Tenants and those who act in them.

use hospes::domain::actor::{Actor, Locale};
use hospes::domain::ids::TenantId;
use hospes::domain::money::Currency;
use hospes::domain::permission::{Permission, Role};
use hospes::domain::tenant::{NewTenant, Tenant};
use hospes::domain::token::NewToken;
use hospes::domain::user::{NewUser, Password, User};
use hospes::ops;

use crate::app::TestApp;

/// The password of every user of the tests.
pub const PASSWORD: &str = "correct horse battery";

/// A tenant, and a token that may do everything in it.
pub struct TestTenant {
    /// The tenant.
    pub tenant: Tenant,
    /// Its first user, who signs in as `owner` with [`PASSWORD`].
    pub owner: User,
    /// Sends requests with every right.
    pub admin: TestActor,
}

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub struct TestActor {
    /// Where.
    pub tenant: TenantId,
    /// What to send as `Authorization: Bearer …`.
    pub token: String,
}

impl TestTenant {
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
}

impl TestApp {
    /// A new tenant in Chinese time and yuan.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn tenant(&self, slug: &str) -> TestTenant {
        let new = NewTenant {
            slug: slug.to_owned(),
            name: format!("Tenant {slug}"),
            locale: Locale::En,
            time_zone: "Asia/Shanghai".to_owned(),
            currency: Currency::parse("CNY").expect("CNY is a currency"),
            owner_login: "owner".to_owned(),
            owner_name: "Olivia Owner".to_owned(),
            owner_password: Password::new(PASSWORD),
        };
        let (tenant, owner) = ops::tenants::create(&self.core, new).await.expect("a tenant can be made");
        let admin = self.token(&tenant.id, &[Role::Owner], None).await;
        TestTenant { tenant, owner, admin }
    }

    /// A token with these roles, of whose permissions `permissions` leaves only some.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn token(
        &self,
        tenant: &TenantId,
        roles: &[Role],
        permissions: Option<&[Permission]>,
    ) -> TestActor {
        let new = NewToken {
            name: "test".to_owned(),
            roles: roles.to_vec(),
            permissions: permissions.map(<[Permission]>::to_vec),
            org_unit_id: None,
            expires_at: None,
        };
        let operator = Actor::operator(tenant.clone());
        let made = ops::tokens::create(&self.core, &operator, new).await.expect("a token can be made");
        let token = made.secret.expect("a new token is shown once");
        TestActor { tenant: tenant.clone(), token }
    }

    /// A user with these roles, who signs in with [`PASSWORD`].
    ///
    /// # Panics
    /// If it is refused.
    pub async fn user(&self, tenant: &TenantId, login: &str, roles: &[Role]) -> User {
        let new = NewUser {
            login: login.to_owned(),
            name: format!("User {login}"),
            password: Password::new(PASSWORD),
            roles: roles.to_vec(),
            org_unit_id: None,
            locale: None,
        };
        let operator = Actor::operator(tenant.clone());
        ops::users::create(&self.core, &operator, new).await.expect("a user can be made")
    }
}
