//! Compiles the guests that the tests install.

use std::error::Error;

use hospes_plugin_build::Builder;

const GUESTS: [&str; 7] = ["caller", "courier", "hostile", "probe", "spy", "stranger", "ungranted"];

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Builder::new(1)?;
    for guest in GUESTS {
        builder.component(&format!("guest-{guest}"), &format!("tests/guests/{guest}"))?;
    }
    builder.component("stamps-rust", "examples/plugins/rust")?;
    Ok(())
}
