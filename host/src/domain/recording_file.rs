//! The file that a recording is handed out in: one line that says what it is, and the recording, as JSON
//! or sealed with a key that was chosen for it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The first word of the file, and the version of its form.
const MAGIC: &str = "hospes-recording 1";
/// Bytes of the first line at most.
const HEAD_BYTES_MAX: usize = 200;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The recording itself.
    Plain,
    /// Sealed with a key of its own.
    Sealed,
}

/// Why a file is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARecording {
    /// The first line says something else.
    #[error("this is no recording, or one of a form that this program does not read")]
    Head,
    /// The rest is not what the first line says.
    #[error("the file is damaged: its digest is another one")]
    Digest,
}

impl Form {
    const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sealed => "sealed",
        }
    }
}

/// A file with `body` in it.
#[must_use]
pub fn write(form: Form, body: &[u8]) -> Vec<u8> {
    let head = format!("{MAGIC} {} sha256={}\n", form.word(), digest(body));
    [head.as_bytes(), body].concat()
}

/// What is in a file.
///
/// # Errors
/// [`NotARecording`].
pub fn read(file: &[u8]) -> Result<(Form, &[u8]), NotARecording> {
    let end = file.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n').ok_or(NotARecording::Head)?;
    let (head, body) = file.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let head = std::str::from_utf8(head).ok().and_then(|head| head.strip_prefix(MAGIC));
    let mut words = head.ok_or(NotARecording::Head)?.split_ascii_whitespace();
    let form = match words.next() {
        Some("plain") => Form::Plain,
        Some("sealed") => Form::Sealed,
        Some(_) | None => return Err(NotARecording::Head),
    };
    let told = words.next().and_then(|word| word.strip_prefix("sha256=")).ok_or(NotARecording::Head)?;
    if told == digest(body) { Ok((form, body)) } else { Err(NotARecording::Digest) }
}

fn digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_itself_back_and_no_byte_of_it_can_be_changed() {
        for form in [Form::Plain, Form::Sealed] {
            let file = write(form, b"{}\n{}");
            assert_eq!(read(&file), Ok((form, &b"{}\n{}"[..])));
            for at in 0..file.len() {
                let mut changed = file.clone();
                changed[at] ^= 1;
                assert!(read(&changed).is_err() || read(&changed) != read(&file), "byte {at}");
            }
            assert!(read(&file[..file.len() - 1]).is_err());
        }
        assert_eq!(read(b"{}"), Err(NotARecording::Head));
    }
}
