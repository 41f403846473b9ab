//! `context`: who runs, for whom, and when. The clock stands still and the random
//! bytes follow from a seed, so that a run can be repeated.

use hospes_bindings::hospes::plugin::context::{Actor, Invocation as Described};

use super::{Abort, Invocation};
use crate::domain::actor::Principal;

const RANDOM_BYTES_MAX: u32 = 1_024;

impl Invocation {
    pub(super) async fn context_get(&mut self) -> Result<Described, Abort> {
        Ok(self.described())
    }

    /// What a guest is told of its run.
    pub(in crate::plugin) fn described(&self) -> Described {
        let actor = match &self.actor.principal {
            Principal::User(id) => Actor::User(id.to_string()),
            Principal::Token(id) => Actor::Token(id.to_string()),
            Principal::Plugin(_) => Actor::Plugin,
            // The contract has no case of its own for what nobody asked for.
            Principal::Operator | Principal::Server => Actor::User(self.actor.principal.id().to_owned()),
        };
        let home = &self.enabled.home;
        Described {
            tenant: self.enabled.tenant.to_string(),
            plugin: self.enabled.plugin.to_string(),
            plugin_version: self.enabled.package_version.clone(),
            actor,
            locale: self.actor.locale.as_str().to_owned(),
            time_zone: home.time_zone.clone(),
            currency: home.currency.clone(),
            now: self.now.as_micros(),
            attempt: self.attempt,
        }
    }

    pub(super) async fn context_random(&mut self, length: u32) -> Result<Vec<u8>, Abort> {
        random(&mut self.seed, length)
    }
}

/// The next random bytes of a seed.
pub(in crate::plugin) fn random(seed: &mut u64, length: u32) -> Result<Vec<u8>, Abort> {
    if length > RANDOM_BYTES_MAX {
        let message =
            format!("asked for {length} random bytes; at most {RANDOM_BYTES_MAX} are given at once");
        return Err(Abort::Misuse(message));
    }
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend_from_slice(&split_mix(seed).to_le_bytes());
    }
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// SplitMix64: evenly spread and repeatable; these bytes are no secrets.
pub(super) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
