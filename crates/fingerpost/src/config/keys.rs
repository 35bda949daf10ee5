//! Keys: how a struct of the configuration is declared, each key with its type,
//! its default and its documentation, and what its values can be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{
    Address, AnonymousPermissions, Durability, ForwardedBy, LogFormat, LogLevel, MaybeAddress,
    ProxyNetwork, ReadWrite, Secret, TlsMode, TlsVersion,
};

/// One key of a section.
pub(crate) struct Key {
    /// Name within the section.
    pub(crate) name: &'static str,
    /// Lines that say what it does.
    pub(crate) about: &'static [&'static str],
    /// How text from the environment becomes a value.
    pub(crate) kind: Kind,
    /// Whether its values are [`Secret`]s, which files may hold.
    pub(crate) is_secret: bool,
    /// A value in TOML, for keys without a default; for a table of names, a
    /// line in it.
    pub(crate) example: Option<&'static str>,
}

/// The type of a value, as far as reading it from text is concerned.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Text of any kind; paths, words and secrets too.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Truth,
    /// Texts, separated by commas, else by blanks.
    List,
    /// A table of its own, `[section.key]`, whose keys are names that the
    /// operator chooses. Only the file can set it.
    Names,
    /// Tables, `[section.key.NAME]`, whose names the operator chooses. Only the
    /// file can set them.
    Tables(&'static Table),
    /// A list of tables, `[[section.key]]`. Only the file can set it.
    Rows(&'static Table),
}

/// The keys of tables that the operator names.
pub(crate) struct Table {
    /// Its keys, in the order of its type.
    pub(crate) keys: &'static [Key],
    /// Their defaults, by name.
    pub(crate) defaults: fn() -> serde_json::Value,
}

/// A type that values of keys have.
pub(super) trait Value {
    const KIND: Kind;
    const IS_SECRET: bool = false;
}

/// A type that values under names of the operator's choice have.
pub(super) trait Named {
    const KIND: Kind = Kind::Names;
    const IS_SECRET: bool = false;
}

impl Named for String {}
impl Named for PathBuf {}
impl Named for Secret {
    const IS_SECRET: bool = true;
}
impl Named for ReadWrite {}

impl Value for String {
    const KIND: Kind = Kind::Text;
}
impl Value for PathBuf {
    const KIND: Kind = Kind::Text;
}
impl Value for Secret {
    const KIND: Kind = Kind::Text;
    const IS_SECRET: bool = true;
}
impl Value for LogLevel {
    const KIND: Kind = Kind::Text;
}
impl Value for LogFormat {
    const KIND: Kind = Kind::Text;
}
impl Value for Durability {
    const KIND: Kind = Kind::Text;
}
impl Value for TlsMode {
    const KIND: Kind = Kind::Text;
}
impl Value for TlsVersion {
    const KIND: Kind = Kind::Text;
}
impl Value for AnonymousPermissions {
    const KIND: Kind = Kind::List;
}
impl Value for u64 {
    const KIND: Kind = Kind::Number;
}
impl Value for bool {
    const KIND: Kind = Kind::Truth;
}
impl Value for MaybeAddress {
    const KIND: Kind = Kind::Text;
}
impl Value for ForwardedBy {
    const KIND: Kind = Kind::Text;
}
impl Value for Vec<ProxyNetwork> {
    const KIND: Kind = Kind::List;
}
impl Value for Vec<Address> {
    const KIND: Kind = Kind::List;
}
impl Value for Vec<String> {
    const KIND: Kind = Kind::List;
}
impl Value for Vec<PathBuf> {
    const KIND: Kind = Kind::List;
}
impl<V: Named> Value for BTreeMap<String, V> {
    const KIND: Kind = V::KIND;
    const IS_SECRET: bool = V::IS_SECRET;
}
impl<V: Value> Value for Option<V> {
    const KIND: Kind = V::KIND;
    const IS_SECRET: bool = V::IS_SECRET;
}

/// Declares a struct of keys with their defaults, and its `KEYS` with the text of
/// the doc comments.
macro_rules! keys {
    (
        $(#[doc = $struct_doc:literal])+
        $struct:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty = $default:expr $(, example $example:literal)?;
            )+
        }
    ) => {
        $(#[doc = $struct_doc])+
        #[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $struct {
            $(
                $(#[doc = $doc])+
                pub(crate) $key: $type,
            )+
        }

        impl Default for $struct {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $struct {
            /// Its keys, in the order of its fields.
            pub(super) const KEYS: &'static [$crate::config::keys::Key] = &[$(
                $crate::config::keys::Key {
                    name: stringify!($key),
                    about: &[$($doc),+],
                    kind: <$type as $crate::config::keys::Value>::KIND,
                    is_secret: <$type as $crate::config::keys::Value>::IS_SECRET,
                    example: keys!(@example $($example)?),
                },
            )+];
        }
    };
    (@example) => { None };
    (@example $example:literal) => { Some($example) };
}

pub(super) use keys;
