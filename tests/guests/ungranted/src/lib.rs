//! Calls `customers.get-many`, but its manifest does not ask for
//! `customers:read`: the host must refuse to install it.

use hospes_sdk::panels::Blocks;
use hospes_sdk::{Panels, Result, Subject, customers};

struct Ungranted;

impl Panels for Ungranted {
    fn render(_slot: &str, target: Subject) -> Result<Blocks> {
        let Subject::Customer(id) = target else {
            return Ok(Blocks::new());
        };
        let name = customers::get(&id)?.map(|customer| customer.name);
        Ok(Blocks::new().text(name.unwrap_or_default()))
    }
}

hospes_sdk::plugin!(Ungranted: Panels);
