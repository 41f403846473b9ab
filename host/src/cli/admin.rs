//! Tenants, users and tokens, as the operator makes them.

use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;

use super::args::{self, Admin};
use super::output::{Failure, Outcome, say};
use super::server::open_command_core;
use crate::domain::actor::Actor;
use crate::domain::page::PageRequest;
use crate::domain::tenant::NewTenant;
use crate::domain::token::NewToken;
use crate::domain::user::{NewUser, Password};
use crate::ids::Ids;
use crate::ops::users::UserFilter;
use crate::ops::{Core, tenants, tokens, users};

/// Letters and digits that are not mistaken for one another; 57 of them.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
/// 20 letters of 57 are 116 bits.
const PASSWORD_LETTERS: usize = 20;
/// The longest line that is read as a password.
const PASSWORD_LINE_BYTES_MAX: u64 = 4_096;
const DAY_S: i64 = 86_400;

/// `hospes admin …`.
pub(super) async fn run(command: Admin) -> Outcome {
    match command {
        Admin::CreateTenant {
            slug,
            name,
            locale,
            time_zone,
            currency,
            owner_login,
            owner_name,
            password,
            settings,
        } => {
            let core = open_command_core(&settings.load()?).await?;
            let (owner_password, made_up) = password_of(&password, &*core.ids)?;
            let new = NewTenant {
                slug,
                name,
                locale,
                time_zone,
                currency,
                owner_login,
                owner_name,
                owner_password,
            };
            create_tenant(&core, new, made_up).await?;
            finish(&core).await
        }
        Admin::CreateUser { tenant, login, name, roles, password, settings } => {
            let core = open_command_core(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let (password, made_up) = password_of(&password, &*core.ids)?;
            let new = NewUser { login, name, password, roles, org_unit_id: None, locale: None };
            let user = users::create(&core, &actor, new).await?;
            say(format_args!("made the user {} ({})", user.login, user.id))?;
            tell_password(made_up)?;
            finish(&core).await
        }
        Admin::CreateToken { tenant, name, roles, expires_days, settings } => {
            let core = open_command_core(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let expires_at = Some(core.now().plus_seconds(expires_days * DAY_S));
            let new = NewToken { name, roles, permissions: None, org_unit_id: None, expires_at };
            let made = tokens::create(&core, &actor, new).await?;
            let secret = made.secret.ok_or_else(|| Failure::failed("the token was made before"))?;
            say(format_args!("made the token {}; send it as: Authorization: Bearer …", made.token.id))?;
            say(format_args!("token, not shown again: {secret}"))?;
            finish(&core).await
        }
        Admin::SetPassword { tenant, login, password, settings } => {
            let core = open_command_core(&settings.load()?).await?;
            let actor = operator(&core, &tenant).await?;
            let filter = UserFilter { login: Some(login.clone()), ..UserFilter::default() };
            let found = users::list(&core, &actor, &filter, &PageRequest::default()).await?;
            let user =
                found.items.first().ok_or_else(|| Failure::failed(format!("user `{login}` not found")))?;
            let (password, made_up) = password_of(&password, &*core.ids)?;
            users::reset_password(&core, &actor, &user.id, password).await?;
            say(format_args!("{login} has a new password, and their sessions have ended"))?;
            tell_password(made_up)?;
            finish(&core).await
        }
    }
}

async fn create_tenant(core: &Core, new: NewTenant, made_up: Option<String>) -> Outcome {
    let (tenant, owner) = tenants::create(core, new).await?;
    say(format_args!("made the tenant {} ({})", tenant.slug, tenant.id))?;
    say(format_args!("its owner signs in as {}", owner.login))?;
    tell_password(made_up)
}

fn tell_password(made_up: Option<String>) -> Outcome {
    match made_up {
        Some(password) => say(format_args!("password, not shown again: {password}")),
        None => Ok(()),
    }
}

/// Closes what a command has opened, so that everything that it was told is on the disk.
pub(super) async fn finish(core: &Arc<Core>) -> Outcome {
    core.db.close().await;
    Ok(())
}

/// The operator, acting in the tenant that is named, or in the only one.
pub(super) async fn operator(core: &Core, tenant: &args::Tenant) -> Outcome<Actor> {
    if let Some(slug) = &tenant.tenant {
        return Ok(tenants::operator_of(core, slug).await?);
    }
    let ids = tenants::list_ids(core, None, 2).await?;
    match <[_; 1]>::try_from(ids) {
        Ok([only]) => Ok(Actor::operator(only)),
        Err(none) if none.is_empty() => {
            Err(Failure::failed("there is no tenant; make one with `hospes admin create-tenant`"))
        }
        Err(_several) => Err(Failure::usage("there are several tenants; name one with --tenant")),
    }
}

/// The password that is typed in, or one that is made up, which is then the second value.
fn password_of(source: &args::Password, ids: &dyn Ids) -> Outcome<(Password, Option<String>)> {
    if source.password_stdin {
        let mut line = String::new();
        io::stdin().lock().take(PASSWORD_LINE_BYTES_MAX).read_line(&mut line)?;
        return Ok((Password::new(line.trim_end_matches(['\r', '\n'])), None));
    }
    let made_up = make_up_password(ids);
    Ok((Password::new(made_up.clone()), Some(made_up)))
}

/// A password that nobody can guess.
pub(super) fn make_up_password(ids: &dyn Ids) -> String {
    let mut password = String::with_capacity(PASSWORD_LETTERS);
    while password.len() < PASSWORD_LETTERS {
        let mut byte = [0];
        ids.fill_secret(&mut byte);
        // Bytes beyond a whole number of alphabets would make some letters more likely.
        let whole = 256 / LETTERS.len() * LETTERS.len();
        if usize::from(byte[0]) < whole {
            password.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RandomIds;

    #[test]
    fn made_up_passwords_differ_and_have_no_letters_that_look_alike() {
        let ids = RandomIds::default();
        let (one, other) = (make_up_password(&ids), make_up_password(&ids));
        assert_ne!(one, other);
        assert_eq!(one.len(), PASSWORD_LETTERS);
        assert!(!one.contains(['0', 'O', '1', 'l', 'I']));
    }
}
