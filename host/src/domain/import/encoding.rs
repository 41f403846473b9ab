//! The encoding of a file: finding it out while the bytes arrive, and decoding a field.
//!
//! Spreadsheets in China save GB18030 without a word about it. A file that is not
//! valid UTF-8 from its first byte to its last is therefore read as GB18030, which
//! can only be known at the end: [`Sniffer`] keeps four bytes of state while the
//! file streams in, so that an upload may be resumed on another node.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const GB18030_BOM: &[u8] = b"\x84\x31\x95\x33";

/// What a mapping says about the encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum EncodingChoice {
    /// A byte-order mark if there is one, else UTF-8 if all of the file is, else GB18030.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// UTF-8, with or without a byte-order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// GB18030, and so also GBK and GB2312.
    #[serde(rename = "gb18030")]
    Gb18030,
}

/// An encoding that a file is read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Encoding {
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// GB18030.
    #[serde(rename = "gb18030")]
    Gb18030,
}

impl Encoding {
    /// The name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Gb18030 => "gb18030",
        }
    }

    /// The name as people write it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Gb18030 => "GB18030",
        }
    }

    /// The encoding of a stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Utf8, Self::Gb18030].into_iter().find(|one| one.as_str() == name)
    }

    /// Bytes of the byte-order mark at the start of a file.
    #[must_use]
    pub fn bom_length(self, start: &[u8]) -> usize {
        let mark = match self {
            Self::Utf8 => UTF8_BOM,
            Self::Gb18030 => GB18030_BOM,
        };
        if start.starts_with(mark) { mark.len() } else { 0 }
    }

    /// The text of some bytes; `None` if they are none.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Gb18030 => encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }

    /// Bytes of the character that begins with `bytes`, as far as a scan for
    /// quotes and delimiters needs to know: some trail bytes of GB18030 look like
    /// ASCII, those of UTF-8 never do. At least 1, and possibly more than there are.
    pub(super) fn step(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (Self::Gb18030, [0x81..=0xfe, 0x30..=0x39, ..]) => 4,
            // A control character is no trail byte: the lead byte stands alone, broken.
            (Self::Gb18030, [0x81..=0xfe, 0x40..=0xfe, ..]) => 2,
            (Self::Gb18030 | Self::Utf8, _) => 1,
        }
    }
}

/// Finds out the encoding of a file from its bytes, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sniffer {
    /// Nothing so far is against UTF-8.
    utf8: bool,
    /// The first bytes of a character that the next piece ends; at most three.
    tail: Vec<u8>,
    /// The file begins with the mark of GB18030.
    gb18030_mark: bool,
}

impl Default for Sniffer {
    fn default() -> Self {
        Self { utf8: true, tail: Vec::new(), gb18030_mark: false }
    }
}

impl Sniffer {
    /// Takes the next piece of the file; `offset` is its place in it.
    pub fn feed(&mut self, offset: u64, piece: &[u8]) {
        if offset == 0 {
            self.gb18030_mark = piece.starts_with(GB18030_BOM);
        }
        if !self.utf8 {
            return;
        }
        let mut joined = std::mem::take(&mut self.tail);
        joined.extend_from_slice(piece);
        if let Err(error) = std::str::from_utf8(&joined) {
            match error.error_len() {
                Some(_) => self.utf8 = false,
                None => self.tail = joined.split_off(error.valid_up_to()),
            }
        }
    }

    /// The encoding of the whole, once everything was fed.
    #[must_use]
    pub fn finish(&self, choice: EncodingChoice) -> Encoding {
        match choice {
            EncodingChoice::Utf8 => Encoding::Utf8,
            EncodingChoice::Gb18030 => Encoding::Gb18030,
            EncodingChoice::Auto if self.gb18030_mark || !self.utf8 || !self.tail.is_empty() => {
                Encoding::Gb18030
            }
            EncodingChoice::Auto => Encoding::Utf8,
        }
    }

    /// The state as bytes, for the job's row.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.utf8) | (u8::from(self.gb18030_mark) << 1)];
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    /// The state that [`Sniffer::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match bytes {
            [flags, tail @ ..] => {
                Self { utf8: flags & 1 != 0, gb18030_mark: flags & 2 != 0, tail: tail.to_vec() }
            }
            [] => Self::default(),
        }
    }
}

/// Whether a file begins like UTF-16, which spreadsheets call "Unicode text".
#[must_use]
pub fn looks_like_utf16(start: &[u8]) -> bool {
    start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff(bytes: &[u8], piece: usize) -> Encoding {
        let mut sniffer = Sniffer::default();
        let mut offset = 0;
        for piece in bytes.chunks(piece) {
            // As an upload that is resumed on another node does.
            sniffer = Sniffer::from_bytes(&sniffer.to_bytes());
            sniffer.feed(offset, piece);
            offset += piece.len() as u64;
        }
        sniffer.finish(EncodingChoice::Auto)
    }

    #[test]
    fn the_encoding_does_not_depend_on_where_the_file_was_cut() {
        let utf8 = "顾客,金额\n王芳,12.50 €\n".as_bytes();
        let (gb, _, _) = encoding_rs::GB18030.encode("顾客,金额\n王芳,12.50 €\n");
        for piece in 1..12 {
            assert_eq!(sniff(utf8, piece), Encoding::Utf8);
            assert_eq!(sniff(&gb, piece), Encoding::Gb18030);
        }
    }

    #[test]
    fn a_file_that_ends_inside_a_character_is_not_utf8() {
        assert_eq!(sniff(&"王".as_bytes()[..2], 1), Encoding::Gb18030);
    }

    #[test]
    fn the_mark_of_gb18030_decides() {
        assert_eq!(sniff(b"\x84\x31\x95\x33a,b\n", 64), Encoding::Gb18030);
        assert_eq!(Encoding::Gb18030.bom_length(b"\x84\x31\x95\x33a"), 4);
    }

    #[test]
    fn trail_bytes_that_look_like_a_delimiter_are_stepped_over() {
        // U+4E02 is 81 40, U+4E2F is 81 7C: the second byte is a vertical bar.
        assert_eq!(Encoding::Gb18030.step(b"\x81\x7c"), 2);
        assert_eq!(Encoding::Gb18030.step(b"\x81\x30\x81\x30"), 4);
        assert_eq!(Encoding::Gb18030.step(b"\x81\n"), 1);
        assert_eq!(Encoding::Utf8.step("王".as_bytes()), 1);
    }

    #[test]
    fn broken_bytes_are_no_text() {
        assert_eq!(Encoding::Utf8.decode(b"\xff"), None);
        assert_eq!(Encoding::Gb18030.decode(b"\x81"), None);
        assert_eq!(Encoding::Gb18030.decode(b"\xcd\xf5\xb7\xbc").as_deref(), Some("王芳"));
    }
}
