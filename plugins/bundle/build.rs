//! Compiles the first-party plugins and writes the table that embeds them.
#![expect(clippy::disallowed_methods, reason = "a build script reads its environment and writes to OUT_DIR")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use hospes_plugin_build::Builder;

/// Every folder of `plugins/` with a plugin, which is its package's name too.
const PLUGINS: [&str; 1] = ["retail-membership"];

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Builder::new(2)?;
    let mut table = String::from("&[\n");
    for name in PLUGINS {
        let component = builder.component(name, &format!("plugins/{name}"))?;
        writeln!(table, "BundledPlugin {{ name: {name:?}, component: include_bytes!({component:?}) }},")?;
    }
    table.push(']');
    let out_dir = env::var("OUT_DIR")?;
    fs::write(Path::new(&out_dir).join("plugins.rs"), table)?;
    Ok(())
}
