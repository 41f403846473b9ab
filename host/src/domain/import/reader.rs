//! Cuts a file into records, and knows the place of each.
//!
//! Works on the raw bytes as they come, so that an offset into the stored file is
//! exact and an import resumes there. Stricter than the csv crate, which is lenient
//! by design: an unclosed quote would turn the rest of a file into one field, and a
//! row with a stray quote into a wrong value. Here both are faults with a place, and
//! reading goes on with the next line.

use std::collections::VecDeque;

use super::encoding::Encoding;
use super::mapping::Format;
use super::{COLUMNS_MAX, RECORD_BYTES_MAX, RowFault};
use crate::domain::code::RowCode;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// CSV or NDJSON.
    pub format: Format,
    /// The encoding.
    pub encoding: Encoding,
    /// What stands between two fields of CSV: an ASCII character.
    pub delimiter: u8,
}

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes of the file before it.
    pub offset: u64,
    /// The line that begins there, from 1.
    pub line: u64,
}

impl Position {
    /// The beginning of a file.
    pub const START: Self = Self { offset: 0, line: 1 };
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Text, unquoted.
    Text(String),
    /// Bytes that are no text in the file's encoding, which is this.
    Undecodable(Encoding),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins.
    pub line: u64,
    /// Its content.
    pub content: Content,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The fields of a row of CSV.
    Csv(Vec<Field>),
    /// A line of NDJSON, decoded but not yet parsed.
    Json(String),
}

/// What [`Reader::read`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A record, or a fault in the form of one.
    Record(Result<Record, RowFault>),
    /// The record is not whole yet: feed more bytes.
    NeedInput,
    /// The file has ended.
    End,
}

/// Reads records from bytes that are fed piece by piece.
#[derive(Debug)]
pub struct Reader {
    dialect: Dialect,
    buffer: VecDeque<u8>,
    /// The place of the buffer's first byte.
    position: Position,
    ended: bool,
    /// A record without an end in sight: told once its line has ended.
    skipping: Option<RowFault>,
}

/// What a scan of the buffer has found.
enum Scan {
    /// A record of so many bytes, its line end among them.
    Whole { length: usize, fields: Vec<Span> },
    /// A fault; the line after the record's first is read next.
    Broken(RowFault),
    /// The buffer ends before the record does, inside quotes if there is a fault to tell of.
    Incomplete(Option<RowFault>),
}

/// A field in the buffer, without its quotes.
struct Span {
    start: usize,
    end: usize,
    /// It holds doubled quotes.
    escaped: bool,
}

impl Reader {
    /// A reader of a file from `position` on.
    #[must_use]
    pub fn new(dialect: Dialect, position: Position) -> Self {
        Self { dialect, buffer: VecDeque::new(), position, ended: false, skipping: None }
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
        if self.position.offset == 0 {
            let mark = self.dialect.encoding.bom_length(self.buffer.make_contiguous());
            self.consume(mark);
        }
    }

    /// Says that all bytes were fed.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The place after the last record that was answered: reading may go on there.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next record. Empty lines are passed over.
    pub fn read(&mut self) -> Next {
        loop {
            if self.skipping.is_some() {
                if !self.skip_line() {
                    return Next::NeedInput;
                }
                let fault = self.skipping.take().expect("checked above");
                return Next::Record(Err(fault));
            }
            self.skip_blank_lines();
            if self.buffer.is_empty() {
                return if self.ended { Next::End } else { Next::NeedInput };
            }
            let line = self.position.line;
            let bytes = self.buffer.make_contiguous();
            match scan(bytes, self.dialect, line, self.ended) {
                Scan::Whole { length, fields } => {
                    let content = content(bytes, self.dialect, &fields);
                    self.consume(length);
                    let record = content.map(|content| Record { line, content });
                    return Next::Record(record.ok_or_else(|| undecodable(line, self.dialect.encoding)));
                }
                Scan::Broken(fault) => self.skipping = Some(fault),
                Scan::Incomplete(open_quote) if bytes.len() > RECORD_BYTES_MAX => {
                    self.skipping = Some(open_quote.unwrap_or_else(|| too_long(line)));
                }
                Scan::Incomplete(_) => return Next::NeedInput,
            }
        }
    }

    /// Drops the rest of the line; false if its end is not in the buffer yet.
    fn skip_line(&mut self) -> bool {
        let bytes = self.buffer.make_contiguous();
        match line_end(bytes, self.ended) {
            Some((_, length)) => {
                self.consume(length);
                true
            }
            None => {
                // The last byte stays: it may be the first half of a line end.
                let length = bytes.len().saturating_sub(1);
                let (offset, line) = (self.position.offset + length as u64, self.position.line);
                self.buffer.drain(..length);
                self.position = Position { offset, line };
                false
            }
        }
    }

    fn skip_blank_lines(&mut self) {
        while let Some(first) = self.buffer.front().copied() {
            let length = match (first, self.buffer.get(1)) {
                (b'\n', _) => 1,
                (b'\r', Some(b'\n')) => 2,
                (b'\r', Some(_)) => 1,
                (b'\r', None) if self.ended => 1,
                _ => return,
            };
            self.consume(length);
        }
    }

    /// Drops bytes and counts the lines that end in them.
    fn consume(&mut self, length: usize) {
        let mut previous = 0;
        for byte in self.buffer.drain(..length) {
            if byte == b'\n' && previous != b'\r' || byte == b'\r' {
                self.position.line += 1;
            }
            previous = byte;
        }
        self.position.offset += length as u64;
    }
}

fn undecodable(line: u64, encoding: Encoding) -> RowFault {
    RowFault::new(line, &RowCode::BadEncoding { encoding: encoding.title().to_owned() })
}

fn too_long(line: u64) -> RowFault {
    RowFault::new(line, &RowCode::RecordTooLong { max: RECORD_BYTES_MAX.to_string() })
}

/// The bytes of the first line and, with its end, the bytes to drop; `None` if the end is not there yet.
fn line_end(bytes: &[u8], ended: bool) -> Option<(usize, usize)> {
    match bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(at) if bytes[at] == b'\n' => Some((at, at + 1)),
        Some(at) => match bytes.get(at + 1) {
            Some(b'\n') => Some((at, at + 2)),
            Some(_) => Some((at, at + 1)),
            None => ended.then_some((at, at + 1)),
        },
        None => ended.then_some((bytes.len(), bytes.len())),
    }
}

fn scan(bytes: &[u8], dialect: Dialect, line: u64, ended: bool) -> Scan {
    let scanned = match dialect.format {
        Format::Ndjson => line_end(bytes, ended).map_or(Scan::Incomplete(None), |(end, length)| {
            Scan::Whole { length, fields: vec![Span { start: 0, end, escaped: false }] }
        }),
        Format::Csv => scan_csv(bytes, dialect, line, ended),
    };
    match scanned {
        Scan::Whole { length, .. } if length > RECORD_BYTES_MAX => Scan::Broken(too_long(line)),
        Scan::Whole { .. } | Scan::Broken(_) | Scan::Incomplete(_) => scanned,
    }
}

fn scan_csv(bytes: &[u8], dialect: Dialect, line: u64, ended: bool) -> Scan {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        if fields.len() == COLUMNS_MAX {
            let code = RowCode::TooManyColumns { max: COLUMNS_MAX.to_string() };
            return Scan::Broken(RowFault::new(line, &code));
        }
        let (span, after) = if bytes.get(at) == Some(&b'"') {
            match scan_quoted(bytes, dialect, at, ended) {
                Quoted::Closed { span, after } => (span, after),
                Quoted::Unclosed => {
                    let fault = unclosed(bytes, at, line, fields.len());
                    return if ended { Scan::Broken(fault) } else { Scan::Incomplete(Some(fault)) };
                }
            }
        } else {
            let end = plain_end(bytes, dialect, at);
            (Span { start: at, end, escaped: false }, end)
        };
        fields.push(span);
        match (bytes.get(after), bytes.get(after + 1)) {
            (Some(byte), _) if *byte == dialect.delimiter => at = after + 1,
            (Some(b'\n'), _) => return Scan::Whole { length: after + 1, fields },
            (Some(b'\r'), Some(b'\n')) => return Scan::Whole { length: after + 2, fields },
            (Some(b'\r'), Some(_)) => return Scan::Whole { length: after + 1, fields },
            (Some(b'\r'), None) if ended => return Scan::Whole { length: after + 1, fields },
            (None, _) if ended => return Scan::Whole { length: after, fields },
            (Some(b'\r') | None, _) => return Scan::Incomplete(None),
            (Some(_), _) => return Scan::Broken(text_after_quote(bytes, after, line, fields.len())),
        }
    }
}

enum Quoted {
    /// The field, and the place after its closing quote.
    Closed { span: Span, after: usize },
    /// No closing quote in sight.
    Unclosed,
}

fn scan_quoted(bytes: &[u8], dialect: Dialect, opening: usize, ended: bool) -> Quoted {
    let mut escaped = false;
    let mut at = opening + 1;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', Some(b'"')) => {
                escaped = true;
                at += 2;
            }
            (b'"', None) if !ended => return Quoted::Unclosed,
            (b'"', _) => {
                return Quoted::Closed { span: Span { start: opening + 1, end: at, escaped }, after: at + 1 };
            }
            _ => at += dialect.encoding.step(&bytes[at..]),
        }
    }
    Quoted::Unclosed
}

/// Where a field without quotes ends: at a delimiter, a line end, or with the bytes.
fn plain_end(bytes: &[u8], dialect: Dialect, start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == dialect.delimiter || byte == b'\n' || byte == b'\r' {
            return at;
        }
        at += dialect.encoding.step(&bytes[at..]);
    }
    bytes.len()
}

fn lines_before(bytes: &[u8], at: usize) -> u64 {
    let mut lines = 0;
    for (i, byte) in bytes[..at].iter().enumerate() {
        if *byte == b'\n' || *byte == b'\r' && bytes.get(i + 1) != Some(&b'\n') {
            lines += 1;
        }
    }
    lines
}

fn unclosed(bytes: &[u8], opening: usize, line: u64, fields_before: usize) -> RowFault {
    RowFault::new(line + lines_before(bytes, opening), &RowCode::UnclosedQuote)
        .in_column((fields_before + 1).to_string())
}

fn text_after_quote(bytes: &[u8], at: usize, line: u64, fields: usize) -> RowFault {
    RowFault::new(line + lines_before(bytes, at), &RowCode::TextAfterQuote).in_column(fields.to_string())
}

/// The content of a record; `None` if a line of NDJSON is no text.
fn content(bytes: &[u8], dialect: Dialect, spans: &[Span]) -> Option<Content> {
    match dialect.format {
        Format::Csv => {
            Some(Content::Csv(spans.iter().map(|span| field(bytes, dialect.encoding, span)).collect()))
        }
        Format::Ndjson => {
            let line = spans.first().map_or(&bytes[..0], |span| &bytes[span.start..span.end]);
            dialect.encoding.decode(line).map(|text| Content::Json(text.into_owned()))
        }
    }
}

fn field(bytes: &[u8], encoding: Encoding, span: &Span) -> Field {
    match encoding.decode(&bytes[span.start..span.end]) {
        Some(text) if span.escaped => Field::Text(text.replace("\"\"", "\"")),
        Some(text) => Field::Text(text.into_owned()),
        None => Field::Undecodable(encoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSV: Dialect = Dialect { format: Format::Csv, encoding: Encoding::Utf8, delimiter: b',' };

    /// All records of a file that arrives in pieces of `piece` bytes.
    fn read_all(dialect: Dialect, bytes: &[u8], piece: usize) -> Vec<Result<Record, RowFault>> {
        let mut reader = Reader::new(dialect, Position::START);
        let mut pieces = bytes.chunks(piece);
        let mut records = Vec::new();
        loop {
            match reader.read() {
                Next::Record(record) => records.push(record),
                Next::NeedInput => match pieces.next() {
                    Some(piece) => reader.feed(piece),
                    None => reader.end(),
                },
                Next::End => return records,
            }
        }
    }

    fn rows(bytes: &[u8]) -> Vec<(u64, Vec<String>)> {
        read_all(CSV, bytes, 7).into_iter().map(|record| texts(record.unwrap())).collect()
    }

    fn texts(record: Record) -> (u64, Vec<String>) {
        let Content::Csv(fields) = record.content else { panic!("not CSV") };
        let text = |field| match field {
            Field::Text(text) => text,
            Field::Undecodable(_) => panic!("not text"),
        };
        (record.line, fields.into_iter().map(text).collect())
    }

    #[test]
    fn a_quoted_line_break_belongs_to_its_field_and_is_counted() {
        let read = rows(b"a,\"b\r\nc\"\r\n\r\nd,\"e\"\"f\"\n");
        assert_eq!(read, [(1, vec!["a".into(), "b\r\nc".into()]), (4, vec!["d".into(), "e\"f".into()])]);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_field() {
        assert_eq!(rows(b"\xef\xbb\xbfid\n1"), [(1, vec!["id".into()]), (2, vec!["1".into()])]);
    }

    #[test]
    fn an_unclosed_quote_costs_one_line_and_is_named_with_its_place() {
        let read = read_all(CSV, b"a,b\nc,\"d\ne,f\n", 5);
        let fault = read[1].clone().unwrap_err();
        assert_eq!((fault.line, fault.column.as_deref()), (2, Some("2")));
        assert_eq!(fault.code(), "unclosed_quote");
        assert_eq!(texts(read[2].clone().unwrap()), (3, vec!["e".into(), "f".into()]));
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn text_after_a_closing_quote_is_a_fault() {
        let read = read_all(CSV, b"a,\"b\"c,d\ne,f\n", 64);
        let fault = read[0].clone().unwrap_err();
        assert_eq!((fault.line, fault.column.as_deref()), (1, Some("2")));
        assert_eq!(texts(read[1].clone().unwrap()).0, 2);
    }

    #[test]
    fn an_endless_line_is_dropped_without_being_kept_in_memory() {
        let mut bytes = vec![b'x'; 3 * RECORD_BYTES_MAX];
        bytes.extend_from_slice(b"\nok\n");
        let read = read_all(CSV, &bytes, 4_096);
        assert_eq!(read[0].clone().unwrap_err().code(), "record_too_long");
        assert_eq!(texts(read[1].clone().unwrap()), (2, vec!["ok".into()]));
    }

    #[test]
    fn a_delimiter_inside_a_character_of_gb18030_does_not_cut_it() {
        let dialect = Dialect { encoding: Encoding::Gb18030, delimiter: b'|', ..CSV };
        let read = read_all(dialect, b"\x81\x7c|b\n", 1);
        assert_eq!(texts(read[0].clone().unwrap()).1.len(), 2);
    }

    #[test]
    fn reading_goes_on_at_a_position_as_if_it_had_never_stopped() {
        let bytes = b"\xef\xbb\xbfa,b\n\n\"c\nd\",e\nf,g";
        let whole = read_all(CSV, bytes, 64);
        let mut reader = Reader::new(CSV, Position::START);
        reader.feed(bytes);
        assert_eq!(reader.read(), Next::Record(whole[0].clone()));
        let position = reader.position();
        let mut resumed = Reader::new(CSV, position);
        resumed.feed(&bytes[usize::try_from(position.offset).unwrap()..]);
        resumed.end();
        assert_eq!(resumed.read(), Next::Record(whole[1].clone()));
        assert_eq!(resumed.read(), Next::Record(whole[2].clone()));
        assert_eq!(resumed.read(), Next::End);
    }

    fn written(rows: &[Vec<String>]) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        writer.into_inner().unwrap()
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_reads_back_whole(
            rows in prop::collection::vec(prop::collection::vec("[a王\"',;|\r\n ]{0,6}", 2..4), 0..6),
            piece in 1_usize..9,
        ) {
            let read: Vec<_> = read_all(CSV, &written(&rows), piece)
                .into_iter()
                .map(|record| texts(record.unwrap()).1)
                .collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn what_is_read_without_a_fault_is_what_the_csv_crate_reads(
            text in "[ab,\"\r\n]{0,40}", piece in 1_usize..9,
        ) {
            let ours = read_all(CSV, text.as_bytes(), piece);
            if ours.iter().all(Result::is_ok) {
                let ours: Vec<_> = ours.into_iter().map(|record| texts(record.unwrap()).1).collect();
                let mut theirs = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .flexible(true)
                    .from_reader(text.as_bytes());
                let theirs: Vec<Vec<String>> = theirs
                    .records()
                    .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                    .collect();
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_hang(
            bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..9,
        ) {
            for encoding in [Encoding::Utf8, Encoding::Gb18030] {
                for format in [Format::Csv, Format::Ndjson] {
                    let dialect = Dialect { format, encoding, delimiter: b',' };
                    let read = read_all(dialect, &bytes, piece);
                    prop_assert!(read.len() <= bytes.len());
                }
            }
        }
    }
}
