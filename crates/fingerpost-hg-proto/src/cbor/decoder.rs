//! Reading values, in pieces of any size.

use super::container::Container;
use super::head::{
    ARRAY, BREAK, BYTES, FALSE, Head, MAP, NEGATIVE, NULL, PartialHead, SET_TAG, TAG, TEXT, TRUE,
    UNSIGNED, head_bytes,
};
use super::limits::{DecodeError, Limits};
use super::value::Value;

/// Reads exactly one value, all of which is there.
///
/// # Errors
///
/// [`DecodeError`] for anything else, an indefinite byte string included.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    let mut rest = bytes;
    match Decoder::new(*limits).next(&mut rest)? {
        Some(Event::Value(value)) if rest.is_empty() => Ok(value),
        Some(Event::Value(_)) => Err(DecodeError::Trailing),
        Some(_) => Err(DecodeError::IndefiniteBytes),
        None => Err(DecodeError::Truncated),
    }
}

/// What a [`Decoder`] finds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A value of the top level, complete.
    Value(Value),
    /// A byte string of the top level begins whose content follows in chunks:
    /// one of indefinite length, or a long one, whose length is told.
    BytesBegin {
        /// The length, if it is known beforehand.
        len: Option<u64>,
    },
    /// A part of that byte string, never empty. Where the parts are cut means
    /// nothing.
    BytesChunk(&'i [u8]),
    /// The end of that byte string.
    BytesEnd,
}

/// Reads a stream of values that arrives in pieces.
///
/// Nothing is read twice and nothing of the input is kept but what belongs to
/// an unfinished value. After an error the same error comes again for ever.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    whole_bytes_max: usize,
    head: PartialHead,
    state: State,
    open: Vec<Container>,
    used_bytes: usize,
    used_items: usize,
    failed: Option<DecodeError>,
}

/// What the next byte of the input is.
#[derive(Debug)]
enum State {
    /// Part of a head; `in_set` right after the tag of a set.
    Head { in_set: bool },
    /// Part of a byte string that is put together.
    Bytes { whole: Vec<u8>, left: usize },
    /// Part of a long byte string that is handed on.
    Long { left: u64 },
    /// Part of a chunk of an indefinite byte string.
    Chunk { left: u64 },
    /// Part of the head of such a chunk.
    ChunkHead,
}

/// What a byte string begins with room for, whatever its head claims.
const ROOM_BYTES: usize = 64 << 10;

impl Decoder {
    /// A decoder at the beginning of a stream. Definite byte strings of the top
    /// level come whole.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            whole_bytes_max: usize::MAX,
            head: PartialHead::default(),
            state: State::Head { in_set: false },
            open: Vec::new(),
            used_bytes: 0,
            used_items: 0,
            failed: None,
        }
    }

    /// Hands on byte strings of the top level in chunks if they are longer than
    /// this; those are not held to [`Limits::bytes`].
    #[must_use]
    pub fn chunks_above(mut self, bytes: usize) -> Self {
        self.whole_bytes_max = bytes;
        self
    }

    /// Takes the next event from the front of `input`; `None` once `input` is
    /// used up and more of it is needed. Call it until then: an empty `input`
    /// may still have the end of a byte string to tell.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for what is no value of the subset, or one beyond the
    /// limits.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, DecodeError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.step(input).inspect_err(|&error| {
            self.failed = Some(error);
            self.open = Vec::new();
            self.state = State::Head { in_set: false };
        })
    }

    /// Says that no more input comes.
    ///
    /// # Errors
    ///
    /// The error of before, or [`DecodeError::Truncated`] inside a value.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.is_between_values() => Ok(()),
            None => Err(DecodeError::Truncated),
        }
    }

    /// Whether everything that was taken in belongs to finished values.
    pub fn is_between_values(&self) -> bool {
        self.open.is_empty()
            && self.head.is_empty()
            && matches!(self.state, State::Head { in_set: false })
    }

    fn step<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, DecodeError> {
        loop {
            let value = match &mut self.state {
                State::Head { in_set } => {
                    let in_set = *in_set;
                    let Some(head) = self.head.take(input)? else {
                        return Ok(None);
                    };
                    match self.begin(head, in_set, input)? {
                        Begun::Value(value) => value,
                        Begun::Container | Begun::Tag => continue,
                        Begun::Event(event) => return Ok(Some(event)),
                    }
                }
                State::Bytes { whole, left } => {
                    let part = split(input, *left);
                    whole.extend_from_slice(part);
                    *left -= part.len();
                    if *left > 0 {
                        return Ok(None);
                    }
                    let whole = std::mem::take(whole);
                    self.state = State::Head { in_set: false };
                    Value::Bytes(whole)
                }
                State::Long { left: 0 } => return Ok(Some(self.end_bytes())),
                State::Chunk { left: 0 } => {
                    self.state = State::ChunkHead;
                    continue;
                }
                State::Long { left } | State::Chunk { left } => {
                    return Ok(chunk(input, left));
                }
                State::ChunkHead => match self.head.take(input)? {
                    None => return Ok(None),
                    Some(head) if head.first == BREAK => return Ok(Some(self.end_bytes())),
                    Some(Head {
                        major: BYTES,
                        argument: Some(left),
                        ..
                    }) => {
                        self.state = State::Chunk { left };
                        continue;
                    }
                    Some(_) => return Err(DecodeError::Chunk),
                },
            };
            if let Some(value) = self.place(value)? {
                self.used_bytes = 0;
                self.used_items = 0;
                return Ok(Some(Event::Value(value)));
            }
        }
    }

    fn end_bytes<'i>(&mut self) -> Event<'i> {
        self.state = State::Head { in_set: false };
        self.used_bytes = 0;
        self.used_items = 0;
        Event::BytesEnd
    }

    /// Takes up the item that a head begins.
    fn begin<'i>(
        &mut self,
        head: Head,
        in_set: bool,
        input: &mut &'i [u8],
    ) -> Result<Begun<'i>, DecodeError> {
        self.use_bytes(head_bytes(head.first).unwrap_or(1) as u64)?;
        if in_set && head.major != ARRAY {
            return Err(DecodeError::SetOfNoArray);
        }
        if head.major == TAG {
            return self.begin_tag(head);
        }
        if !in_set {
            self.use_items(1)?;
        }
        let value = match (head.major, head.argument) {
            (UNSIGNED, Some(number)) => Value::Int(number.into()),
            (NEGATIVE, Some(number)) => Value::Int(-1 - i128::from(number)),
            (BYTES, Some(len)) => return self.begin_bytes(len, input),
            (BYTES, None) => return self.begin_indefinite(),
            (TEXT, _) => return Err(DecodeError::TextString),
            (ARRAY, Some(len)) => return self.begin_array(len, in_set),
            (MAP, Some(len)) => return self.begin_map(len),
            (ARRAY | MAP, None) => return Err(DecodeError::IndefiniteContainer),
            _ => match head.first {
                FALSE => Value::Bool(false),
                TRUE => Value::Bool(true),
                NULL => Value::Null,
                BREAK => return Err(DecodeError::Break),
                first if head.major == 7 => return Err(DecodeError::Simple(first & 0x1f)),
                first => return Err(DecodeError::Reserved(first)),
            },
        };
        self.state = State::Head { in_set: false };
        Ok(Begun::Value(value))
    }

    fn begin_tag<'i>(&mut self, head: Head) -> Result<Begun<'i>, DecodeError> {
        match head.argument {
            Some(SET_TAG) => {
                self.use_items(1)?;
                self.check_container()?;
                self.state = State::Head { in_set: true };
                Ok(Begun::Tag)
            }
            Some(tag) => Err(DecodeError::Tag(tag)),
            None => Err(DecodeError::Reserved(head.first)),
        }
    }

    fn begin_bytes<'i>(
        &mut self,
        len: u64,
        input: &mut &'i [u8],
    ) -> Result<Begun<'i>, DecodeError> {
        if self.open.is_empty() && len > self.whole_bytes_max as u64 {
            self.state = State::Long { left: len };
            return Ok(Begun::Event(Event::BytesBegin { len: Some(len) }));
        }
        let len = self.use_bytes(len)?;
        if input.len() >= len {
            self.state = State::Head { in_set: false };
            return Ok(Begun::Value(Value::Bytes(split(input, len).to_vec())));
        }
        let whole = Vec::with_capacity(len.min(ROOM_BYTES));
        self.state = State::Bytes { whole, left: len };
        Ok(Begun::Container)
    }

    fn begin_indefinite<'i>(&mut self) -> Result<Begun<'i>, DecodeError> {
        if !self.open.is_empty() {
            return Err(DecodeError::IndefiniteBytes);
        }
        self.state = State::ChunkHead;
        Ok(Begun::Event(Event::BytesBegin { len: None }))
    }

    fn begin_array<'i>(&mut self, len: u64, in_set: bool) -> Result<Begun<'i>, DecodeError> {
        self.check_container()?;
        let left = self.foresee_items(len)?;
        self.state = State::Head { in_set: false };
        if left == 0 {
            return Ok(Begun::Value(match in_set {
                true => Value::set([]),
                false => Value::Array(Vec::new()),
            }));
        }
        self.open.push(match in_set {
            true => Container::set(left),
            false => Container::array(left),
        });
        Ok(Begun::Container)
    }

    fn begin_map<'i>(&mut self, len: u64) -> Result<Begun<'i>, DecodeError> {
        self.check_container()?;
        self.foresee_items(len.saturating_mul(2))?;
        let left = self.foresee_items(len)?;
        self.state = State::Head { in_set: false };
        if left == 0 {
            return Ok(Begun::Value(Value::map([])));
        }
        self.open.push(Container::map(left));
        Ok(Begun::Container)
    }

    /// Puts a finished value where it belongs; gives it back if it is one of
    /// the top level.
    fn place(&mut self, mut value: Value) -> Result<Option<Value>, DecodeError> {
        loop {
            let Some(container) = self.open.last_mut() else {
                return Ok(Some(value));
            };
            if !container.add(value) {
                return Ok(None);
            }
            let Some(full) = self.open.pop() else {
                return Ok(None);
            };
            value = full.close()?;
        }
    }

    /// Whether an array, map or set may stand here.
    fn check_container(&self) -> Result<(), DecodeError> {
        if let Some(container) = self.open.last() {
            container.check_container()?;
        }
        if self.open.len() >= usize::from(self.limits.depth) {
            return Err(DecodeError::TooDeep);
        }
        Ok(())
    }

    fn use_bytes(&mut self, bytes: u64) -> Result<usize, DecodeError> {
        let left = self.limits.bytes.saturating_sub(self.used_bytes);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= left => {
                self.used_bytes += bytes;
                Ok(bytes)
            }
            _ => Err(DecodeError::TooLong),
        }
    }

    fn use_items(&mut self, items: usize) -> Result<(), DecodeError> {
        self.foresee_items(items as u64)?;
        self.used_items += items;
        Ok(())
    }

    /// Refuses a container that could not be filled within the limit.
    fn foresee_items(&self, items: u64) -> Result<usize, DecodeError> {
        let left = self.limits.items.saturating_sub(self.used_items);
        usize::try_from(items)
            .ok()
            .filter(|&items| items <= left)
            .ok_or(DecodeError::TooManyItems)
    }
}

/// What a head began.
enum Begun<'i> {
    /// A value that is complete already.
    Value(Value),
    /// A container or a byte string whose content follows.
    Container,
    /// A set, whose array follows.
    Tag,
    /// Something that the caller is told of.
    Event(Event<'i>),
}

/// Takes up to `most` bytes from the front.
fn split<'i>(input: &mut &'i [u8], most: usize) -> &'i [u8] {
    let (part, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    part
}

/// Takes a chunk of what is left of a long byte string.
fn chunk<'i>(input: &mut &'i [u8], left: &mut u64) -> Option<Event<'i>> {
    let part = split(input, usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= part.len() as u64;
    (!part.is_empty()).then_some(Event::BytesChunk(part))
}

#[cfg(test)]
mod tests;
