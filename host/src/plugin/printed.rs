//! What a guest prints, as the lines of a log: interpreters have standard outputs.

use super::invocation::LOG_LINE_BYTES_MAX;

/// Standard outputs, and the line that has not ended yet.
#[derive(Debug, Default)]
pub(super) struct Printed {
    level: &'static str,
    line: Vec<u8>,
}

impl Printed {
    /// Takes what is written to the output of a level, and tells each line that ends with it. A line is
    /// cut; an empty one is none.
    pub(super) fn take<E>(
        &mut self,
        level: &'static str,
        text: &[u8],
        mut tell: impl FnMut(&'static str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            if self.level != level {
                self.end(&mut tell)?;
                self.level = level;
            }
            let (line, ends) = part.strip_suffix(b"\n").map_or((part, false), |line| (line, true));
            let room = LOG_LINE_BYTES_MAX.saturating_sub(self.line.len()).min(line.len());
            self.line.extend_from_slice(line.get(..room).unwrap_or_default());
            if ends {
                self.end(&mut tell)?;
            }
        }
        Ok(())
    }

    /// Tells what was written since the last line break.
    pub(super) fn end<E>(
        &mut self,
        tell: &mut impl FnMut(&'static str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() { Ok(()) } else { tell(self.level, &String::from_utf8_lossy(&line)) }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn lines_end_with_a_break_with_another_output_and_with_the_run() {
        let (mut printed, mut told) = (Printed::default(), Vec::new());
        let mut tell = |level: &'static str, line: &str| -> Result<(), Infallible> {
            told.push(format!("{level} {line}"));
            Ok(())
        };
        for (level, text) in [("info", "a"), ("info", "b\n\nc\nd"), ("warn", "e"), ("info", "f")] {
            printed.take(level, text.as_bytes(), &mut tell).unwrap();
        }
        printed.take("info", &[b'g'; 2 * LOG_LINE_BYTES_MAX], &mut tell).unwrap();
        printed.end(&mut tell).unwrap();
        let long = format!("info f{}", "g".repeat(LOG_LINE_BYTES_MAX - 1));
        assert_eq!(told, ["info ab", "info c", "info d", "warn e", &long]);
    }
}
