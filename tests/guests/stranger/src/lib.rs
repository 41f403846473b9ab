//! Imports an interface of a package that no host knows: the host must refuse to
//! install it and name the import.

use hospes_sdk::panels::Blocks;
use hospes_sdk::{Panels, Result, Subject};

mod visitor {
    wit_bindgen::generate!({
        inline: "
            package stranger:things@0.1.0;
            interface portal {
                open: func() -> u32;
            }
            world visitor {
                import portal;
            }
        ",
        world: "visitor",
    });
}

struct Stranger;

impl Panels for Stranger {
    fn render(_slot: &str, _target: Subject) -> Result<Blocks> {
        let opened = visitor::stranger::things::portal::open();
        Ok(Blocks::new().text(opened.to_string()))
    }
}

hospes_sdk::plugin!(Stranger: Panels);
