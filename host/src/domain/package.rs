//! A package as one file: a component, and behind it the signatures over it.
//!
//! A signature is a custom section at the very end, so that what is signed is a prefix of the
//! file and one file is the whole package. The component's digest is that of the prefix: to sign
//! a package again does not change its version.

use super::code::FaultCode;
use crate::error::{Error, Result};

/// The custom section that holds a signature.
pub const SIGNATURE_SECTION: &str = "hospes:signature";
/// The custom section that holds the manifest.
pub const MANIFEST_SECTION: &str = "hospes:manifest";
/// Signatures of one package: a publisher's, a platform's, and their successors'.
pub const SIGNATURES_MAX: usize = 8;
/// Bytes of one signature's section.
const SIGNATURE_BYTES_MAX: usize = 1_024;

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;

/// A package taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package<'a> {
    /// What is signed, stored and run.
    pub component: &'a [u8],
    /// What stands behind it.
    tail: &'a [u8],
}

/// A section of the outermost component.
struct Section<'a> {
    id: u8,
    body: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Package<'a> {
    /// Takes a file apart. One that is no component is left whole: whoever inspects it says so.
    #[must_use]
    pub fn of(file: &'a [u8]) -> Self {
        let mut rest = file.strip_prefix(HEADER).unwrap_or_default();
        let mut end = file.len() - rest.len();
        if rest.is_empty() {
            end = file.len();
        }
        while let Some(section) = read_section(rest) {
            let at = file.len() - section.rest.len();
            if signature_of(&section).is_none() {
                end = at;
            }
            rest = section.rest;
        }
        // What cannot be read as sections is the component's, which is then not valid.
        if !rest.is_empty() {
            end = file.len();
        }
        let (component, tail) = file.split_at(end);
        Self { component, tail }
    }

    /// The signatures, in the order in which they were made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`SIGNATURES_MAX`] and for one that is no text.
    pub fn signatures(&self) -> Result<Vec<&'a str>> {
        let mut found = Vec::new();
        let mut rest = self.tail;
        while let Some(section) = read_section(rest) {
            let text = signature_of(&section).and_then(|body| std::str::from_utf8(body).ok());
            let text = text.filter(|text| text.len() <= SIGNATURE_BYTES_MAX);
            found.push(text.ok_or_else(|| fault(FaultCode::BadSignature))?);
            if found.len() > SIGNATURES_MAX {
                return Err(fault(FaultCode::too_many(SIGNATURES_MAX)));
            }
            rest = section.rest;
        }
        Ok(found)
    }
}

fn fault(code: FaultCode) -> Error {
    Error::Invalid { faults: vec![crate::error::Fault::plain("", code)] }
}

fn signature_of<'a>(section: &Section<'a>) -> Option<&'a [u8]> {
    if section.id != CUSTOM {
        return None;
    }
    let (length, rest) = read_number(section.body)?;
    let (name, body) = rest.split_at_checked(length)?;
    (name == SIGNATURE_SECTION.as_bytes()).then_some(body)
}

fn read_section(bytes: &[u8]) -> Option<Section<'_>> {
    let (id, rest) = bytes.split_first()?;
    let (length, rest) = read_number(rest)?;
    let (body, rest) = rest.split_at_checked(length)?;
    Some(Section { id: *id, body, rest })
}

/// An unsigned LEB128 number of at most 32 bits.
fn read_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for (position, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            let number = u32::try_from(number).ok()?;
            return Some((usize::try_from(number).ok()?, bytes.get(position + 1..)?));
        }
    }
    None
}

/// The file with a custom section behind everything that is in it.
#[must_use]
pub fn with_section(file: &[u8], name: &str, body: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(name.len() + body.len() + 5);
    write_number(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(body);
    let mut whole = file.to_vec();
    whole.push(CUSTOM);
    write_number(&mut whole, content.len());
    whole.extend_from_slice(&content);
    whole
}

fn write_number(into: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("masked to seven bits");
        number >>= 7;
        if number == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Vec<u8> {
        with_section(HEADER, "note", &[7; 300])
    }

    #[test]
    fn signatures_stand_behind_the_component() {
        let component = component();
        let once = with_section(&component, SIGNATURE_SECTION, b"one");
        let twice = with_section(&once, SIGNATURE_SECTION, b"two");
        let package = Package::of(&twice);
        assert_eq!(package.component, component);
        assert_eq!(package.signatures().unwrap(), ["one", "two"]);
        assert_eq!(Package::of(&component), Package { component: &component, tail: &[] });
    }

    #[test]
    fn a_signature_that_something_follows_is_part_of_the_component() {
        let signed = with_section(&component(), SIGNATURE_SECTION, b"one");
        let more = with_section(&signed, "note", b"behind it");
        let package = Package::of(&more);
        assert_eq!(package.component, more);
        assert!(package.signatures().unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_left_whole() {
        for file in [&b""[..], b"PK\x03\x04", b"\0asm\x01\0\0\0", HEADER] {
            assert_eq!(Package::of(file).component, file);
        }
        let mut cut = with_section(&component(), SIGNATURE_SECTION, b"one");
        cut.pop();
        assert_eq!(Package::of(&cut).component, cut);
        let mut long = HEADER.to_vec();
        long.extend([0, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(Package::of(&long).component, long);
    }

    #[test]
    fn too_many_signatures_are_refused() {
        let mut file = component();
        for _ in 0..=SIGNATURES_MAX {
            file = with_section(&file, SIGNATURE_SECTION, b"again");
        }
        assert!(Package::of(&file).signatures().is_err());
        let binary = with_section(&component(), SIGNATURE_SECTION, b"\xff");
        assert!(Package::of(&binary).signatures().is_err());
    }
}
