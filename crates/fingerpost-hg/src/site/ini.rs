//! Mercurial's configuration file format, bytes in.
//!
//! A file is a list of [`Statement`]s. What they mean together (includes,
//! trust, which value is the last one) is for [`super::layers`].

use memchr::memchr2;

/// One statement of a file, with the line that it begins on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement<'file> {
    /// Its line.
    pub(super) line: u32,
    /// What it says.
    pub(super) kind: Kind<'file>,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'file> {
    /// `name = value`; lines that continue the value are joined with newlines.
    Set {
        /// The section in force; empty before the first heading.
        section: &'file [u8],
        /// The key.
        name: &'file [u8],
        /// The value without white space at its ends.
        value: Vec<u8>,
    },
    /// `%unset name`: as if nothing had set it.
    Unset {
        /// The section in force.
        section: &'file [u8],
        /// The key.
        name: &'file [u8],
    },
    /// `%include path`.
    Include(&'file [u8]),
}

/// A line that is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(super) struct Malformed {
    /// The line, from 1.
    pub(super) line: u32,
    /// What is wrong. Never the line's own text: the file may be a link to
    /// something that is not for whoever reads the message.
    pub(super) why: &'static str,
}

/// Splits a file into statements.
///
/// # Errors
///
/// [`Malformed`] for the first line that is none. The whole file is refused,
/// since what stood there may have been a rule.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Statement<'_>>, Malformed> {
    let mut reader = Reader::default();
    let text = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file);
    for (index, line) in Lines(text).enumerate() {
        reader.line(u32::try_from(index + 1).unwrap_or(u32::MAX), line)?;
    }
    Ok(reader.statements)
}

#[derive(Default)]
struct Reader<'file> {
    statements: Vec<Statement<'file>>,
    section: &'file [u8],
    /// Whether an indented line continues the last statement's value.
    continues: bool,
}

impl<'file> Reader<'file> {
    fn line(&mut self, number: u32, line: &'file [u8]) -> Result<(), Malformed> {
        let refuse = |why| Malformed { line: number, why };
        let is_comment = matches!(line.first(), Some(b'#' | b';'));
        let content = trim(line);
        if self.continues && is_comment {
            return Ok(());
        }
        let indented = line.first().is_some_and(is_space);
        if self.continues && indented && !content.is_empty() {
            self.add_to_value(content);
            return Ok(());
        }
        self.continues = false;
        if is_comment || content.is_empty() {
            return Ok(());
        }
        if indented {
            return Err(refuse("an indented line continues no value"));
        }
        if let Some(path) = directive(line, b"%include") {
            self.push(number, Kind::Include(path));
            return Ok(());
        }
        if let Some(section) = heading(line) {
            self.section = section;
            return Ok(());
        }
        if let Some((name, value)) = item(line) {
            let section = self.section;
            let value = value.to_vec();
            self.push(
                number,
                Kind::Set {
                    section,
                    name,
                    value,
                },
            );
            self.continues = true;
            return Ok(());
        }
        let name = directive(line, b"%unset").ok_or_else(|| refuse("neither key nor heading"))?;
        let name = name.split(is_space).next().unwrap_or(name);
        let section = self.section;
        self.push(number, Kind::Unset { section, name });
        Ok(())
    }

    fn push(&mut self, line: u32, kind: Kind<'file>) {
        self.statements.push(Statement { line, kind });
    }

    fn add_to_value(&mut self, more: &[u8]) {
        if let Some(Statement {
            kind: Kind::Set { value, .. },
            ..
        }) = self.statements.last_mut()
        {
            value.push(b'\n');
            value.extend_from_slice(more);
        }
    }
}

/// The name in `[name]`; what follows the last bracket is ignored, as
/// Mercurial does.
fn heading(line: &[u8]) -> Option<&[u8]> {
    let inside = line.strip_prefix(b"[")?;
    let inside = match inside.iter().position(|byte| *byte == b'[') {
        Some(end) => &inside[..end],
        None => inside,
    };
    let end = inside.iter().rposition(|byte| *byte == b']')?;
    Some(&inside[..end]).filter(|name| !name.is_empty())
}

/// `name = value` without white space around either.
fn item(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let name = trim(&line[..equals]);
    (!name.is_empty()).then(|| (name, trim(&line[equals + 1..])))
}

/// What follows `word` and white space.
fn directive<'file>(line: &'file [u8], word: &[u8]) -> Option<&'file [u8]> {
    let rest = line.strip_prefix(word)?;
    let argument = trim(rest);
    (rest.first().is_some_and(is_space) && !argument.is_empty()).then_some(argument)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let Some((first, rest)) = text.split_first()
        && is_space(first)
    {
        text = rest;
    }
    while let Some((last, rest)) = text.split_last()
        && is_space(last)
    {
        text = rest;
    }
    text
}

/// White space as Python's byte patterns know it.
const fn is_space(byte: &u8) -> bool {
    matches!(*byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Lines that end in `\n`, `\r` or `\r\n`, without their ends.
struct Lines<'file>(&'file [u8]);

impl<'file> Iterator for Lines<'file> {
    type Item = &'file [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = memchr2(b'\n', b'\r', self.0) else {
            return Some(std::mem::take(&mut self.0));
        };
        let (line, rest) = self.0.split_at(end);
        let ended = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..));
        self.0 = ended.unwrap_or_default();
        Some(line)
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests;
