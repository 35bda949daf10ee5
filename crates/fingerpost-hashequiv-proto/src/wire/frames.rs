//! The lowest layer: bytes into lines, or messages kept as they came.

use std::collections::VecDeque;
use std::ops::Range;

use memchr::memchr;

use super::{Framing, Misbehaved};
use crate::stream::Line;

/// The least and the most room that is offered to one read. It grows while
/// reads fill it and starts again small after a pause, so that an idle
/// connection holds little.
const READ_BYTES_MIN: usize = 4 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// What has arrived and is not yet taken.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    cursor: Cursor,
    read_bytes: usize,
}

/// Where in the buffer the next frame starts. Apart from the buffer, so that
/// lines can be lent out while it moves on.
#[derive(Debug)]
struct Cursor {
    framing: Framing,
    line_bytes: usize,
    /// First byte that is not taken.
    start: usize,
    /// First byte that is not known to be other than a line end.
    scanned: usize,
    /// Lengths of the messages in the buffer; [`Framing::Messages`] only.
    lengths: VecDeque<usize>,
}

impl Frames {
    pub(crate) const fn new(framing: Framing, line_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            cursor: Cursor {
                framing,
                line_bytes,
                start: 0,
                scanned: 0,
                lengths: VecDeque::new(),
            },
            read_bytes: READ_BYTES_MIN,
        }
    }

    pub(crate) const fn framing(&self) -> Framing {
        self.cursor.framing
    }

    /// The bytes that are not taken yet.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len() - self.cursor.start
    }

    /// The buffer with room for a read; new bytes belong at its end.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        let was_filled = self.buffer.len() == self.buffer.capacity() && !self.buffer.is_empty();
        if was_filled {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        if self.buffer.capacity() - self.buffer.len() < self.read_bytes {
            self.drop_taken();
            self.buffer.reserve(self.read_bytes);
        } else if self.pending() == 0 {
            self.drop_taken();
        }
        &mut self.buffer
    }

    pub(crate) fn push_message(&mut self, message: &[u8]) {
        self.drop_taken();
        self.buffer.extend_from_slice(message);
        self.cursor.lengths.push_back(message.len());
    }

    /// Gives all memory back if nothing is buffered.
    pub(crate) fn release(&mut self) {
        if self.pending() == 0 && self.cursor.lengths.is_empty() {
            self.drop_taken();
            self.buffer = Vec::new();
            self.read_bytes = READ_BYTES_MIN;
        }
    }

    /// Takes the next frame: a line without its line end, or a message.
    pub(crate) fn take(&mut self) -> Result<Option<Range<usize>>, Misbehaved> {
        self.cursor.take(&self.buffer)
    }

    pub(crate) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.buffer[frame]
    }

    pub(crate) fn stream_lines(&mut self) -> StreamLines<'_> {
        StreamLines {
            bytes: &self.buffer,
            cursor: &mut self.cursor,
        }
    }

    /// Moves what is not taken to the front. That is less than a line after a
    /// batch of lines, and happens once per read at most.
    fn drop_taken(&mut self) {
        let taken = self.cursor.start.min(self.buffer.len());
        self.buffer.drain(..taken);
        self.cursor.scanned -= self.cursor.start;
        self.cursor.start = 0;
    }
}

impl Cursor {
    #[inline]
    fn take(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, Misbehaved> {
        match self.framing {
            Framing::Lines => self.take_line(bytes),
            Framing::Messages => Ok(self.take_message()),
        }
    }

    #[inline]
    fn take_line(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, Misbehaved> {
        let end = memchr(b'\n', &bytes[self.scanned..]).map(|at| self.scanned + at);
        let line = self.start..end.unwrap_or(bytes.len());
        if line.len() > self.line_bytes {
            // The rest must not be taken for lines by an owner who goes on.
            (self.start, self.scanned) = (bytes.len(), bytes.len());
            return Err(Misbehaved::LineTooLong);
        }
        if end.is_none() {
            self.scanned = bytes.len();
            return Ok(None);
        }
        self.start = line.end + 1;
        self.scanned = self.start;
        Ok(Some(line))
    }

    fn take_message(&mut self) -> Option<Range<usize>> {
        let message = self.start..self.start + self.lengths.pop_front()?;
        self.start = message.end;
        self.scanned = self.start;
        Some(message)
    }
}

/// The complete lines of a stream that are buffered, taken one by one without
/// copying. Lines that are not taken stay in the inbox.
///
/// Every item is a [`Line`], stripped at its end on [`Framing::Lines`]. The
/// bytes are not checked to be UTF-8 unless stripping needed it;
/// [`stream::parse_get_line`](crate::stream::parse_get_line) does. After an
/// error the connection is to be closed.
#[derive(Debug)]
pub struct StreamLines<'a> {
    bytes: &'a [u8],
    cursor: &'a mut Cursor,
}

impl<'a> Iterator for StreamLines<'a> {
    type Item = Result<Line<'a>, Misbehaved>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.cursor.take(self.bytes).transpose()?;
        let framing = self.cursor.framing;
        Some(frame.and_then(|frame| Line::read(&self.bytes[frame], framing)))
    }
}
