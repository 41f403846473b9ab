//! What stands for [`registry`](super::registry) in a program that was built without it.

use std::collections::BTreeMap;

use super::args::RegistryLogin;
use super::output::{Failure, Outcome};

/// A package, and the texts of the signatures beside it.
type Fetched = (Vec<u8>, Vec<String>);

fn absent() -> Failure {
    Failure::usage("this program was built without OCI registries; build it with `--features oci`")
}

pub(super) async fn fetch(_address: &str, _login: &RegistryLogin) -> Outcome<Fetched> {
    Err(absent())
}

pub(super) async fn push(
    _address: &str,
    _package: Fetched,
    _about: BTreeMap<String, String>,
    _login: &RegistryLogin,
) -> Outcome<String> {
    Err(absent())
}
