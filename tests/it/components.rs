//! Components that no SDK builds: from a world in WIT and a core module, and with any manifest.

use std::path::Path;

use hospes::domain::package::{MANIFEST_SECTION, with_section};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

/// A world, from which components are made.
pub(crate) struct World {
    resolve: Resolve,
    world: WorldId,
}

impl World {
    /// The world `made` of a package that may use the present contract.
    pub(crate) fn of_contract(text: &str) -> Self {
        let mut resolve = Resolve::default();
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).expect("the contract is WIT");
        Self::within(resolve, text)
    }

    /// The world `made` of a package that stands alone.
    pub(crate) fn alone(text: &str) -> Self {
        Self::within(Resolve::default(), text)
    }

    fn within(mut resolve: Resolve, text: &str) -> Self {
        let package = resolve.push_str("made.wit", text).expect("the test writes WIT");
        let world = resolve.select_world(&[package], Some("made")).expect("the world is named `made`");
        Self { resolve, world }
    }

    /// A core module with the imports and exports of the world, which traps wherever it is called.
    /// Its memory has some pages.
    pub(crate) fn module(&self) -> Vec<u8> {
        let mangling = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
        let mut module = wit_component::dummy_module(&self.resolve, self.world, mangling);
        // A memory section with one memory of no pages and no maximum.
        let empty = [5, 3, 1, 0, 0];
        let place = module.windows(empty.len()).position(|bytes| bytes == empty);
        module[place.expect("the module has a memory") + 4] = 4;
        module
    }

    /// The component around a core module of this shape.
    pub(crate) fn component(&self, module: &[u8]) -> Vec<u8> {
        let mut module = module.to_vec();
        embed_component_metadata(&mut module, &self.resolve, self.world, StringEncoding::UTF8, false)
            .expect("the world can be written down");
        let mut encoder = ComponentEncoder::default();
        encoder.module(&module).expect("the module is of the world's shape");
        encoder.encode().expect("the module can be wrapped")
    }
}

/// A component with a manifest at its end.
pub(crate) fn with_manifest(component: &[u8], manifest: &str) -> Vec<u8> {
    with_section(component, MANIFEST_SECTION, manifest.as_bytes())
}

/// The sections of a component or module with their headers, without its first eight bytes; as far
/// as they can be read.
pub(crate) fn sections(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    let mut found = Vec::new();
    while rest.len() > 1 {
        let (mut length, mut digits) = (0_usize, 1);
        loop {
            let Some(byte) = rest.get(digits).filter(|_| digits <= 5) else { return found };
            length |= usize::from(byte & 0x7f) << (7 * (digits - 1));
            digits += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let Some((section, more)) = rest.split_at_checked(digits + length) else { return found };
        found.push(section);
        rest = more;
    }
    found
}
