//! Writes members, their ledger entries and their fields.

use std::collections::BTreeMap;

use hospes_sdk::context::{self, Locale};
use hospes_sdk::customers::{self, FieldValue};
use hospes_sdk::documents::{self, Document, Expectation, Put};
use hospes_sdk::{Result, Subject, Timestamp, settings};

use crate::card;
use crate::ledger::{self, Change, LEDGER};
use crate::member::{MEMBERS, Member};
use crate::programme::Programme;

/// How many fields the host sets in one call.
const FIELDS_MAX: usize = 500;

/// What every part of the plugin needs to know of its invocation.
pub(crate) struct Desk {
    pub(crate) programme: Programme,
    pub(crate) now: Timestamp,
    pub(crate) locale: Locale,
    pub(crate) currency: String,
    tenant: String,
}

impl Desk {
    pub(crate) fn open() -> Result<Self> {
        let invocation = context::get();
        Ok(Self {
            programme: settings::get()?,
            now: invocation.started_at(),
            locale: invocation.language(),
            currency: invocation.currency,
            tenant: invocation.tenant,
        })
    }

    /// A customer who becomes a member.
    pub(crate) fn enrol(&self, customer: &str, joined_at: Timestamp) -> Member {
        let number = card::number(&self.programme.card_prefix, &self.tenant, customer);
        Member::new(number, joined_at)
    }

    /// Loads accounts in one call for all customers.
    pub(crate) fn load<'a>(
        &self,
        customers: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<BTreeMap<&'a str, Account>> {
        let found = MEMBERS.get_many(customers.clone())?;
        let accounts = customers.into_iter().zip(found);
        Ok(accounts.map(|(customer, found)| (customer, Account::new(customer, found))).collect())
    }

    /// Loads one account.
    pub(crate) fn load_one(&self, customer: &str) -> Result<Account> {
        Ok(Account::new(customer, MEMBERS.get(customer)?))
    }

    /// Settles accounts at the invocation's time and writes what changed, in as
    /// few calls as the host allows.
    pub(crate) fn save<'a>(&self, accounts: impl IntoIterator<Item = &'a mut Account>) -> Result<()> {
        let mut puts = Vec::new();
        let mut fields = Vec::new();
        for account in accounts {
            account.settle(self);
            account.write(self, &mut puts, &mut fields)?;
        }
        if !puts.is_empty() {
            documents::put_all(&puts)?;
        }
        fields.chunks(FIELDS_MAX).try_for_each(customers::set_fields)
    }
}

/// A customer's membership during one invocation.
pub(crate) struct Account {
    pub(crate) customer: String,
    stored: Option<Document<Member>>,
    pub(crate) member: Option<Member>,
    pub(crate) changes: Vec<Change>,
}

impl Account {
    pub(crate) fn new(customer: &str, stored: Option<Document<Member>>) -> Self {
        Self {
            customer: customer.to_owned(),
            member: stored.as_ref().map(|stored| stored.value.clone()),
            stored,
            changes: Vec::new(),
        }
    }

    /// Brings the member up to the invocation's time.
    pub(crate) fn settle(&mut self, desk: &Desk) {
        if let Some(member) = &mut self.member {
            member.settle(&desk.programme, desk.now, &mut self.changes);
        }
    }

    /// The subject of the member's documents.
    pub(crate) fn subject(&self) -> Subject {
        Subject::Customer(self.customer.clone())
    }

    fn write(&mut self, desk: &Desk, puts: &mut Vec<Put>, fields: &mut Vec<FieldValue>) -> Result<()> {
        let subject = self.subject();
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        let before = self.stored.as_ref().map(|stored| &stored.value);
        let (balance, debt) = before.map_or((0, 0), |before| (before.balance, before.debt));
        let changes = std::mem::take(&mut self.changes);
        for entry in ledger::entries(changes, balance, debt, desk.now) {
            member.entries += 1;
            let key = format!(
                "{}:{}:{}:{}",
                self.customer,
                member.entries,
                entry.kind.as_str(),
                entry.of.as_deref().unwrap_or_default()
            );
            puts.push(LEDGER.write(&key, &subject, Expectation::Absent, &entry)?);
        }
        if before == Some(&*member) {
            return Ok(());
        }
        if before.is_none_or(|before| before.tier != member.tier) {
            fields.push(customers::field(&self.customer, "tier", member.tier.as_str()));
        }
        if before.is_none_or(|before| before.balance != member.balance) {
            fields.push(customers::field(&self.customer, "points", member.balance));
        }
        let expect = match &self.stored {
            Some(stored) => Expectation::Version(stored.version),
            None => Expectation::Absent,
        };
        puts.push(MEMBERS.write(&self.customer, &subject, expect, member)?);
        Ok(())
    }
}
