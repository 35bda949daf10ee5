//! Pieces of arguments that several commands share.

use std::collections::HashMap;

use fingerpost_core::{Argument, BadArgument, Failure, Field, PermissionSet, Principal, Shape};
use fingerpost_hashequiv_proto::field::{self, Name};
use fingerpost_hashequiv_proto::types::{Method, Taskhash, Unihash};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::query::{Column, Conditions};
use crate::store::Task;

/// `method` and `taskhash`.
pub(super) const TASK_FIELDS: &[Field] = &[
    Field {
        name: "method",
        shape: Shape::Text,
        required: true,
        about: "name of the function that made the outhash",
    },
    Field {
        name: "taskhash",
        shape: Shape::Text,
        required: true,
        about: "hash of the task's inputs",
    },
];

const fn optional(name: &'static str, about: &'static str) -> Field {
    Field {
        name,
        shape: Shape::Text,
        required: false,
        about,
    }
}

/// What is told about a task beside its hashes.
pub(super) const METADATA_FIELDS: &[Field] = &[
    optional("owner", "who built it; a login replaces it"),
    optional("PN", "recipe"),
    optional("PV", "version of the recipe"),
    optional("PR", "revision of the recipe"),
    optional("task", "name of the task"),
    optional("outhash_siginfo", "the listing behind the outhash"),
];

/// `where`.
pub(super) const WHERE_FIELD: Field = Field {
    name: "where",
    shape: Shape::Where,
    required: true,
    about: "columns with the text that each must equal; unknown ones and nulls are dropped",
};

/// `mark`.
pub(super) const MARK_FIELD: Field = Field {
    name: "mark",
    shape: Shape::Text,
    required: true,
    about: "name of the collection; best a new one each time",
};

/// `username`.
pub(super) const USERNAME_FIELD: Field = Field {
    name: "username",
    shape: Shape::Text,
    required: true,
    about: "the login",
};

/// Reads an argument that is an object.
pub(super) fn object<T: DeserializeOwned>(text: &str) -> Result<T, BadArgument> {
    // serde reads a struct from a list as well, which no client means.
    if !text.starts_with('{') {
        return Err(BadArgument("an object is needed".to_owned()));
    }
    serde_json::from_str(text).or_else(|_| {
        // A key may come twice, and then the last one counts; derived readers
        // refuse that, so it takes the long way.
        serde_json::from_str::<Value>(text)
            .and_then(serde_json::from_value)
            .map_err(|error| BadArgument(error.to_string()))
    })
}

/// The task that an argument names; `None` when a part is null.
pub(super) fn task(method: Option<String>, taskhash: Option<String>) -> Option<Task> {
    Some(Task {
        method: Method::new(method?),
        taskhash: Taskhash::parse(&taskhash?),
    })
}

/// A text field that may be missing, which is found out later than at reading.
#[derive(Default)]
pub(super) struct Loose(Option<Option<String>>);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer).map(|text| Self(Some(text)))
    }
}

impl Loose {
    /// The text; `None` when it is null or missing.
    pub(super) fn text(self) -> Option<String> {
        self.0.flatten()
    }
}

/// The text of a field that must be there; `None` when it is null.
pub(super) fn required(name: &str, field: Loose) -> Result<Option<String>, BadArgument> {
    field
        .0
        .ok_or_else(|| BadArgument(format!("{name} is missing")))
}

/// The unihash that a report proposes. Reading takes anything.
#[derive(Default)]
pub(super) struct Proposed(Option<Unihash>);

impl<'de> Deserialize<'de> for Proposed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Value::deserialize(deserializer)?;
        Ok(Self(
            text.as_str()
                .and_then(|text| Unihash::parse_valid(text).ok()),
        ))
    }
}

impl Proposed {
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.0 {
            Some(_) => Ok(()),
            None => Err(Failure::refused("invalid-unihash", "Invalid unihash")),
        }
    }

    pub(super) fn valid(self) -> Result<Unihash, Failure> {
        self.check()?;
        self.0
            .ok_or_else(|| Failure::refused("invalid-unihash", "Invalid unihash"))
    }
}

/// Conditions as they are written: an object of column and value. Columns that
/// no relation has and nulls are dropped; a list or an object is refused.
pub(super) struct Where(pub(super) Conditions);

impl<'de> Deserialize<'de> for Where {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut given: HashMap<String, Value> = HashMap::deserialize(deserializer)?;
        let mut conditions = Vec::new();
        for column in Column::ALL {
            let Some(value) = given.remove(column.as_str()) else {
                continue;
            };
            let text = field::text(value).map_err(serde::de::Error::custom)?;
            if let Some(text) = text {
                conditions.push((column, text));
            }
        }
        Ok(Self(Conditions(conditions)))
    }
}

/// An argument that names a user, or nobody and so oneself.
#[derive(Deserialize)]
pub(super) struct UsernameArgs {
    #[serde(default)]
    username: Option<Name>,
}

impl Argument for UsernameArgs {
    const FIELDS: &'static [Field] = &[Field {
        required: false,
        ..USERNAME_FIELD
    }];
    const EXAMPLE: &'static str = "{\"username\": \"ci\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        object(text)
    }

    fn username(&self) -> Option<&str> {
        self.username.as_ref().map(|name| name.0.as_str())
    }
}

impl UsernameArgs {
    /// The named user, or the caller.
    pub(super) fn or_self(self, caller: &Principal) -> Result<String, BadArgument> {
        or_self(self.username, caller)
    }

    /// The named user.
    pub(super) fn named(self) -> Result<String, BadArgument> {
        self.username
            .map(|name| name.0)
            .ok_or_else(|| BadArgument("username is missing".to_owned()))
    }
}

/// The named user, or the caller.
pub(super) fn or_self(username: Option<Name>, caller: &Principal) -> Result<String, BadArgument> {
    username
        .map(|name| name.0)
        .or_else(|| caller.name().map(str::to_owned))
        .ok_or_else(|| BadArgument("username is missing".to_owned()))
}

/// `username`, which may be left out.
pub(super) const OWN_USERNAME_FIELD: Field = Field {
    required: false,
    about: "name of the user; oneself when left out",
    ..USERNAME_FIELD
};

/// An argument that gives a user permissions.
#[derive(Deserialize)]
pub(super) struct PermissionsArgs {
    pub(super) username: Name,
    permissions: Value,
}

impl Argument for PermissionsArgs {
    const FIELDS: &'static [Field] = &[
        USERNAME_FIELD,
        Field {
            name: "permissions",
            shape: Shape::Names,
            required: true,
            about: "@read, @report, @db-admin, @user-admin, @all; @none is dropped",
        },
    ];
    const EXAMPLE: &'static str =
        "{\"username\": \"ci\", \"permissions\": [\"@read\", \"@report\"]}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        object(text)
    }
}

impl PermissionsArgs {
    /// The permissions as a set.
    pub(super) fn set(&self) -> Result<PermissionSet, Failure> {
        permission_set(&self.permissions)
    }
}

/// A list of names of permissions as a set.
pub(super) fn permission_set(names: &Value) -> Result<PermissionSet, Failure> {
    let Value::Array(names) = names else {
        let message = "Unexpected type for permissions";
        return Err(Failure::refused("bad-permissions", message));
    };
    let names: Vec<String> = names
        .iter()
        .map(|name| {
            name.as_str()
                .map_or_else(|| name.to_string(), str::to_owned)
        })
        .collect();
    PermissionSet::parse_names(names.iter().map(String::as_str)).map_err(|unknown| {
        let message = format!("Unknown permissions {}", unknown.join(", "));
        Failure::refused("unknown-permissions", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_equal_keys_the_last_counts() {
        let args: PermissionsArgs =
            object("{\"username\": \"a\", \"permissions\": [], \"username\": \"b\"}").unwrap();
        assert_eq!(args.username.0, "b");
    }

    #[test]
    fn an_argument_is_an_object() {
        for text in ["[\"a\", []]", "null", "\"a\"", "{", ""] {
            assert!(object::<PermissionsArgs>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_drop_what_is_unknown_or_null() {
        let conditions = |text| {
            serde_json::from_str::<Where>(text)
                .map(|given| given.0.0)
                .ok()
        };
        assert_eq!(
            conditions("{\"PN\": 5, \"nosuch\": [], \"task\": null}"),
            Some(vec![(Column::Pn, "5".to_owned())])
        );
        assert_eq!(conditions("{\"PN\": []}"), None);
    }
}
