//! A command request: a map inside one or more frames.

use std::collections::BTreeMap;

use crate::cbor::{self, Value, Writer};

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandRequest {
    /// The command's name.
    pub name: Vec<u8>,
    /// Its arguments.
    pub args: Args,
    /// Where the client would follow a content redirect to; `None` if it said
    /// nothing about that.
    pub redirect: Option<RedirectRequest>,
}

/// What a client says about content redirects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectRequest {
    /// Names of the advertised targets that it can use.
    pub targets: Vec<Vec<u8>>,
    /// Names of the hashes that it can check, in the server's order.
    pub hashes: Vec<Vec<u8>>,
    /// Content codings of HTTP that it can undo there, `zstd` for example. Stock
    /// clients know of none, and stock servers ignore the key; it is sent only
    /// if there are some. Who sends it asks again without a target that failed.
    pub encodings: Vec<Vec<u8>>,
}

/// Why a value is no command request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The bytes are no CBOR of the subset.
    #[error("command request is not CBOR: {0}")]
    Cbor(#[from] cbor::DecodeError),
    /// The value is no map.
    #[error("command request is a CBOR {0}, not a map")]
    NotAMap(&'static str),
    /// The map has no name, or one that is no byte string.
    #[error("command request missing \"name\" field")]
    NoName,
    /// The arguments are no map with byte strings as keys.
    #[error("command arguments are not a map with names as keys")]
    Args,
    /// The redirect map is no map, or its lists are no arrays of byte strings.
    #[error("command redirect is not a map of name lists")]
    Redirect,
}

impl CommandRequest {
    /// A request without redirects.
    pub fn new(name: impl Into<Vec<u8>>, args: Args) -> Self {
        Self {
            name: name.into(),
            args,
            redirect: None,
        }
    }

    /// Reads the map of a request. Keys that are not known are ignored, and a
    /// list that is missing from the redirect map is empty.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub fn decode(bytes: &[u8], limits: &cbor::Limits) -> Result<Self, RequestError> {
        let value = cbor::decode(bytes, limits)?;
        let Value::Map(map) = value else {
            return Err(RequestError::NotAMap(value.type_name()));
        };
        let mut request = Self::default();
        let mut named = false;
        for (key, value) in map {
            match (key.as_bytes(), value) {
                (Some(b"name"), Value::Bytes(name)) => {
                    request.name = name;
                    named = true;
                }
                (Some(b"args"), value) => request.args = Args::from_value(value)?,
                (Some(b"redirect"), Value::Null) => {}
                (Some(b"redirect"), value) => request.redirect = Some(redirect(&value)?),
                _ => {}
            }
        }
        match named {
            true => Ok(request),
            false => Err(RequestError::NoName),
        }
    }

    /// Appends the map in canonical form, with nothing in it that is empty.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let pairs = 1 + usize::from(!self.args.is_empty()) + usize::from(self.redirect.is_some());
        Writer::new(out).map(pairs);
        if !self.args.is_empty() {
            Writer::new(out).bytes(b"args");
            self.args.encode(out);
        }
        let mut writer = Writer::new(out);
        writer.bytes(b"name");
        writer.bytes(&self.name);
        if let Some(redirect) = &self.redirect {
            writer.bytes(b"redirect");
            let keys = 2 + usize::from(!redirect.encodings.is_empty());
            writer.map(keys);
            for (key, names) in [
                (&b"hashes"[..], &redirect.hashes),
                (b"targets", &redirect.targets),
                (b"encodings", &redirect.encodings),
            ]
            .into_iter()
            .take(keys)
            {
                writer.bytes(key);
                writer.array(names.len());
                names.iter().for_each(|name| writer.bytes(name));
            }
        }
    }
}

/// The arguments of a command: names and values, in canonical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(BTreeMap<Vec<u8>, Value>);

impl Args {
    /// No arguments.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of an argument.
    pub fn get(&self, name: &[u8]) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets an argument; gives back what it was before.
    pub fn insert(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes an argument out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Value> {
        self.0.remove(name)
    }

    /// The arguments in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Value)> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value))
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All values, names and members included.
    pub fn items(&self) -> usize {
        self.0.values().map(|value| 1 + value.items()).sum()
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the canonical encoding: a map.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.map(self.0.len());
        for (name, value) in &self.0 {
            writer.bytes(name);
            writer.value(value);
        }
    }

    /// Reads arguments out of a value.
    ///
    /// # Errors
    ///
    /// [`RequestError::Args`].
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let Value::Map(map) = value else {
            return Err(RequestError::Args);
        };
        let args = map.into_iter().map(|(name, value)| match name {
            Value::Bytes(name) => Ok((name, value)),
            _ => Err(RequestError::Args),
        });
        args.collect::<Result<_, _>>().map(Self)
    }
}

impl<N: Into<Vec<u8>>, V: Into<Value>> FromIterator<(N, V)> for Args {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(args: T) -> Self {
        let args = args.into_iter();
        Self(
            args.map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl IntoIterator for Args {
    type Item = (Vec<u8>, Value);
    type IntoIter = std::collections::btree_map::IntoIter<Vec<u8>, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

fn redirect(value: &Value) -> Result<RedirectRequest, RequestError> {
    let map = value.as_map().ok_or(RequestError::Redirect)?;
    let names = |key: &[u8]| {
        map.get(key)
            .map_or(Some(Vec::new()), byte_strings)
            .ok_or(RequestError::Redirect)
    };
    Ok(RedirectRequest {
        targets: names(b"targets")?,
        hashes: names(b"hashes")?,
        encodings: names(b"encodings")?,
    })
}

/// The byte strings of an array; `None` if it is no array of those.
pub(crate) fn byte_strings(value: &Value) -> Option<Vec<Vec<u8>>> {
    let items = value.as_array()?.iter();
    items
        .map(|item| item.as_bytes().map(<[u8]>::to_vec))
        .collect()
}
