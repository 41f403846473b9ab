//! Bearer tokens: made within the maker's own rights, shown once, revoked at once.

use serde_json::json;

use super::tenants::set_only;
use super::{Core, access, audit, org_units, require};
use crate::db::{self, Tx};
use crate::domain::actor::Actor;
use crate::domain::audit::Entry;
use crate::domain::check::Faults;
use crate::domain::code::{FaultCode, Reason, RecordKind};
use crate::domain::credential::{TOKEN_PREFIX, mint};
use crate::domain::ids::TokenId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::permission::Permission;
use crate::domain::token::{
    LIFETIME_DAYS_DEFAULT, LIFETIME_DAYS_MAX, NAME_CHARS_MAX, NewToken, TOKENS_MAX, Token,
};
use crate::domain::user::distinct;
use crate::error::{Error, Result};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A token that has just been made.
#[derive(Clone, Debug)]
pub struct MadeToken {
    /// The token.
    pub token: Token,
    /// What to send as `Authorization: Bearer …`; not kept, and absent when the
    /// request was a repetition of one that was answered before.
    pub secret: Option<String>,
}

/// Makes a token.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], [`Error::Refused`] for a right that the
/// actor does not have, [`Error::Limit`] if there are too many.
pub async fn create(core: &Core, actor: &Actor, new: NewToken) -> Result<MadeToken> {
    let id = TokenId::new(&*core.ids, core.now());
    let (secret, secret_hash) = mint(&*core.ids, TOKEN_PREFIX, id.as_str());
    let prepare = prepare(core, actor, new, (id.clone(), secret_hash));
    let token: Token = core.write_once(actor, prepare, |tx, create| Box::pin(create.apply(tx))).await?;
    let secret = (token.id == id).then_some(secret);
    Ok(MadeToken { token, secret })
}

async fn prepare(
    core: &Core,
    actor: &Actor,
    new: NewToken,
    (id, secret_hash): (TokenId, String),
) -> Result<Create> {
    require(actor, Permission::TokenWrite)?;
    let now = core.now();
    let NewToken { name, roles, permissions, org_unit_id, expires_at } = new;
    let expires_at = expires_at.unwrap_or_else(|| now.plus_seconds(LIFETIME_DAYS_DEFAULT * DAY_SECONDS));
    let mut faults = Faults::default();
    faults.text("/name", &name, NAME_CHARS_MAX);
    if expires_at <= now {
        faults.add("/expires_at", FaultCode::InThePast, "must be in the future");
    }
    faults.finish()?;
    if expires_at > now.plus_seconds(LIFETIME_DAYS_MAX * DAY_SECONDS) {
        return Err(Error::plain("/expires_at", FaultCode::TooFar { max: LIFETIME_DAYS_MAX.to_string() }));
    }
    access::check_not_wider(actor, &roles, permissions.as_deref())?;
    let permissions = permissions.map(|mut permissions| {
        permissions.sort();
        permissions.dedup();
        permissions
    });
    let token = Token {
        id,
        name,
        roles: distinct(roles),
        permissions,
        org_unit_id,
        created_by: format!("{}:{}", actor.principal.kind(), actor.principal.id()),
        created_at: now,
        last_used_at: None,
        expires_at,
        revoked_at: None,
    };
    let changes = json!({
        "name": token.name, "roles": token.roles, "permissions": token.permissions, "expires_at": token.expires_at,
    });
    let entry = Entry::new(&*core.ids, now, "token.create", "token", &token.id, set_only(changes));
    Ok(Create { actor: actor.clone(), token, secret_hash, entry })
}

struct Create {
    actor: Actor,
    token: Token,
    secret_hash: String,
    entry: Entry,
}

impl Create {
    async fn apply(&self, tx: &mut Tx) -> Result<Token> {
        let Self { actor, token, secret_hash, entry } = self;
        db::tenants::lock(tx, &actor.tenant).await?;
        access::recheck(tx, actor, Permission::TokenWrite, token.created_at).await?;
        org_units::check_exists(tx, actor, token.org_unit_id.as_ref()).await?;
        if db::tokens::count_live(tx, &actor.tenant, token.created_at).await? >= TOKENS_MAX {
            let message = format!("a tenant has at most {TOKENS_MAX} tokens; revoke one first");
            return Err(Error::Limit {
                code: Reason::Tokens { max: TOKENS_MAX.to_string() },
                message,
                retry_after_s: 0,
            });
        }
        db::tokens::insert(tx, &actor.tenant, token, secret_hash).await?;
        audit::append(tx, actor, token.created_at, entry).await?;
        Ok(token.clone())
    }
}

/// A token.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn find(core: &Core, actor: &Actor, id: &TokenId) -> Result<Token> {
    require(actor, Permission::TokenRead)?;
    let mut reader = core.db.read(&actor.tenant).await?;
    db::tokens::find(&mut reader, &actor.tenant, id)
        .await?
        .ok_or_else(|| Error::not_found(RecordKind::Token, id))
}

/// Tokens in the order in which they were made, also those that are revoked or expired.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`] for a bad cursor.
pub async fn list(core: &Core, actor: &Actor, page: &PageRequest) -> Result<Page<Token>> {
    require(actor, Permission::TokenRead)?;
    let after: String = page.after()?.unwrap_or_default();
    let mut reader = core.db.read(&actor.tenant).await?;
    let rows = db::tokens::list(&mut reader, &actor.tenant, &after, page.fetch()).await?;
    Ok(Page::of(page, rows, |token| token.id.to_string()))
}

/// Revokes a token; nothing happens if it is revoked already.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`].
pub async fn revoke(core: &Core, actor: &Actor, id: &TokenId) -> Result<()> {
    require(actor, Permission::TokenWrite)?;
    let now = core.now();
    let entry = Entry::new(&*core.ids, now, "token.revoke", "token", id, json!({}));
    let state = (actor.clone(), id.clone(), now, entry);
    core.db
        .write(&actor.tenant, state, |tx, (actor, id, now, entry)| {
            Box::pin(async move {
                access::recheck(tx, actor, Permission::TokenWrite, *now).await?;
                let found = db::tokens::find(tx, &actor.tenant, id).await?;
                found.ok_or_else(|| Error::not_found(RecordKind::Token, id))?;
                if db::tokens::revoke(tx, &actor.tenant, id, *now).await? {
                    audit::append(tx, actor, *now, entry).await?;
                }
                Ok(())
            })
        })
        .await?;
    core.credentials.forget();
    Ok(())
}
