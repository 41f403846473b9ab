//! Sessions: signing in and out.

use serde_json::json;

use super::access::SESSION_IDLE_SECONDS;
use super::users::not_a_user;
use super::{Core, access, audit, passwords};
use crate::db::sessions::{Live, NewSession};
use crate::db::tenants::Directory;
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::code::RecordKind;
use crate::domain::credential::{SESSION_PREFIX, mint};
use crate::domain::ids::SessionId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::user::{Password, Session, User, fold_login};
use crate::error::{Error, Result};

/// A session ends after this long, used or not.
pub const SESSION_SECONDS: i64 = 14 * 24 * 60 * 60;
/// Sessions of a user; the oldest end when there are more.
const SESSIONS_MAX: i64 = 50;
/// Characters of a client's name that are kept.
const USER_AGENT_CHARS_MAX: usize = 200;

/// What a person signs in with.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The tenant's slug.
    pub tenant: String,
    /// The login name.
    pub login: String,
    /// The password.
    pub password: Password,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// The address of the client.
    pub address: Option<String>,
}

/// A session that has just begun.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// Who has signed in.
    pub user: User,
    /// The secret that the client must send with every request; not kept.
    pub secret: String,
}

/// Signs a person in. An unknown tenant or name takes as long as a wrong password,
/// and is answered the same.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Limit`] after too many failures.
pub async fn create(core: &Core, sign_in: SignIn) -> Result<SignedIn> {
    let SignIn { tenant: slug, login, password, user_agent, address } = sign_in;
    let login = fold_login(&login);
    let key = format!("{slug}/{login}");
    let now = core.now();
    core.throttle.begin(&key, address.as_deref(), now)?;
    let directory = db::tenants::find_by_slug(&mut *core.db.directory().await?, &slug).await?;
    let row = match &directory {
        None => None,
        Some(tenant) => {
            db::users::find_password(&mut *core.db.read(&tenant.id).await?, &tenant.id, &login).await?
        }
    };
    let matches =
        passwords::verify(core, &password, row.as_ref().map(|row| row.password_hash.clone())).await?;
    let (Some(tenant), Some(row), true) = (directory, row, matches) else {
        tracing::warn!(tenant = %slug, login = %login, address = ?address, "signing in was refused");
        return Err(bad_credentials());
    };
    if row.state != "active" || tenant.state != "active" {
        tracing::warn!(user = %row.id, "a disabled user or tenant tried to sign in");
        return Err(bad_credentials());
    }
    core.throttle.succeed(&key, address.as_deref());

    let rehashed = match passwords::is_outdated(&row.password_hash) {
        true => Some(passwords::hash(core, &password).await?),
        false => None,
    };
    let id = SessionId::new(&*core.ids, now);
    let (secret, secret_hash) = mint(&*core.ids, SESSION_PREFIX, id.as_str());
    let user_agent = user_agent.map(|name| name.chars().take(USER_AGENT_CHARS_MAX).collect());
    let expires_at = now.plus_seconds(SESSION_SECONDS);
    let session = Session { id, user_agent, address, created_at: now, last_used_at: now, expires_at };
    let entry =
        Entry::new(&*core.ids, now, "session.create", "session", &session.id, json!({"user": row.id}));
    let new = NewSession { user: row.id, secret_hash, session };
    let tenant_id = tenant.id.clone();
    let begin = Begin { tenant, password_hash: row.password_hash, rehashed, new, entry };
    let begun = core.db.write(&tenant_id, begin, |tx, begin| Box::pin(begin.apply(tx))).await;
    begun.map(|(session, user)| SignedIn { session, user, secret })
}

/// A session to begin, of somebody whose password has been verified.
struct Begin {
    tenant: Directory,
    password_hash: String,
    /// The same password, if it was kept with other parameters than those of today.
    rehashed: Option<String>,
    new: NewSession,
    entry: Entry,
}

impl Begin {
    async fn apply(&self, tx: &mut Tx) -> Result<(Session, User)> {
        let Self { tenant, password_hash, rehashed, new, entry } = self;
        // The person may have been disabled, or the password changed, while it was being verified.
        let actor = access::user_actor(tx, &tenant.id, &new.user, &tenant.locale).await?;
        let actor = actor.ok_or_else(bad_credentials)?;
        let row = db::users::find_password_by_id(tx, &tenant.id, &new.user).await?;
        if row.is_none_or(|row| row.password_hash != *password_hash) {
            return Err(bad_credentials());
        }
        if let Some(rehashed) = rehashed {
            db::users::rehash_password(tx, &tenant.id, &new.user, (password_hash, rehashed)).await?;
        }
        let at = new.session.created_at;
        let idle_since = at.plus_seconds(-SESSION_IDLE_SECONDS);
        let live = Live { now: at, idle_since, after: "", limit: SESSIONS_MAX - 1 };
        db::sessions::delete_over(tx, &tenant.id, &new.user, live).await?;
        db::sessions::insert(tx, &tenant.id, new).await?;
        audit::append(tx, &actor, at, entry).await?;
        let user = db::users::find(tx, &tenant.id, &new.user).await?;
        let user = user.ok_or_else(|| Error::internal("a user vanished in a transaction"))?;
        Ok((new.session.clone(), user))
    }
}

/// The actor's sessions that are not over.
///
/// # Errors
/// [`Error::Refused`] if the actor is no user, [`Error::Invalid`] for a bad cursor.
pub async fn list(core: &Core, actor: &Actor, page: &PageRequest) -> Result<Page<Session>> {
    let user = actor.user().ok_or_else(not_a_user)?;
    let after: String = page.after()?.unwrap_or_default();
    let now = core.now();
    let idle_since = now.plus_seconds(-SESSION_IDLE_SECONDS);
    let live = Live { now, idle_since, after: &after, limit: page.fetch() };
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = db::sessions::list(&mut reader, &actor.tenant, user, live).await?;
    Ok(Page::of(page, rows, |session| session.id.to_string()))
}

/// Ends a session of the actor.
///
/// # Errors
/// [`Error::Refused`] if the actor is no user, [`Error::NotFound`] for a session that is not theirs.
pub async fn delete(core: &Core, actor: &Actor, id: &SessionId) -> Result<()> {
    let user = actor.user().ok_or_else(not_a_user)?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "session.delete", "session", id, json!({}));
    let state = (actor.clone(), user.clone(), id.clone(), now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, user, id, now, entry)| {
            Box::pin(async move {
                if !db::sessions::delete(tx, &actor.tenant, user, id).await? {
                    return Err(Error::not_found(RecordKind::Session, id));
                }
                audit::append(tx, actor, *now, entry).await
            })
        })
        .await?;
    core.credentials.forget();
    Ok(())
}

fn bad_credentials() -> Error {
    Error::Unauthenticated("the tenant, the login or the password is wrong")
}
