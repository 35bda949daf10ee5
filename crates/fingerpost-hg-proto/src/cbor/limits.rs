//! What a value may grow to, and what is wrong with one.

/// What a single top-level value may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside containers; a bare byte string has depth 0. One byte,
    /// because what walks a value later does so by recursion.
    pub depth: u8,
    /// Bytes of the encoded value. An indefinite byte string that is delivered
    /// in chunks is not counted.
    pub bytes: usize,
    /// Values inside the value, itself, keys and members included. Each takes
    /// up to 64 bytes of memory beside its byte string.
    pub items: usize,
}

impl Limits {
    /// For what clients send: 32 levels, 16 MiB, 262,144 items, which is more
    /// than twice what stock servers recommend for a batch of nodes.
    pub const REQUEST: Self = Self {
        depth: 32,
        bytes: 16 << 20,
        items: 1 << 18,
    };
    /// For what servers send: as for requests, but texts of up to 2 GiB, which
    /// is the longest that a revlog holds.
    pub const RESPONSE: Self = Self {
        depth: 32,
        bytes: 2 << 30,
        items: 1 << 22,
    };
}

/// Why bytes are no value of the subset, or one that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("CBOR ends inside a value")]
    Truncated,
    /// Bytes follow the value where only one is expected.
    #[error("bytes follow the CBOR value")]
    Trailing,
    /// A text string (major type 3): the protocol has byte strings only.
    #[error("CBOR text strings are not allowed")]
    TextString,
    /// A float, `undefined` or another simple value.
    #[error("CBOR simple value {0} is not allowed")]
    Simple(u8),
    /// A tag that is not 258.
    #[error("CBOR tag {0} is not allowed")]
    Tag(u64),
    /// Tag 258 before something else than an array.
    #[error("a CBOR set is no array")]
    SetOfNoArray,
    /// Additional information 28 to 30, or an indefinite integer or tag.
    #[error("a reserved CBOR head, byte {0}")]
    Reserved(u8),
    /// An array, map or set of indefinite length.
    #[error("a CBOR container has an indefinite length")]
    IndefiniteContainer,
    /// An indefinite byte string inside a container or where one value is
    /// expected whole, or one inside another.
    #[error("an indefinite CBOR byte string is not at the top level")]
    IndefiniteBytes,
    /// A chunk of an indefinite byte string that is no byte string.
    #[error("a chunk of an indefinite CBOR byte string is no byte string")]
    Chunk,
    /// The end mark of an indefinite length where none is open.
    #[error("a CBOR break without an indefinite byte string")]
    Break,
    /// An array, map or set as a member of a set.
    #[error("a CBOR set has a container as a member")]
    ContainerInSet,
    /// An array, map or set as a key of a map.
    #[error("a CBOR map has a container as a key")]
    ContainerAsKey,
    /// A map with a key twice.
    #[error("a CBOR map has a key twice")]
    DuplicateKey,
    /// Deeper than [`Limits::depth`].
    #[error("a CBOR value is nested too deeply")]
    TooDeep,
    /// Longer than [`Limits::bytes`]; noticed from the head of what is too long.
    #[error("a CBOR value is too long")]
    TooLong,
    /// More items than [`Limits::items`]; noticed from the head of the container.
    #[error("a CBOR value has too many items")]
    TooManyItems,
}

impl DecodeError {
    /// Whether a limit was passed, rather than the grammar broken.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::TooDeep | Self::TooLong | Self::TooManyItems)
    }
}
