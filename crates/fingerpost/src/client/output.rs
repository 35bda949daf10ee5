//! The forms that client commands print in. Scripts read them, so they are the
//! reference client's.

use fingerpost_hashequiv_proto::client::UserInfo;
use serde::Serialize;

/// JSON with sorted keys and an indent of four.
pub(super) fn pretty(value: &serde_json::Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Without the feature `preserve_order` objects are sorted by key.
    value
        .serialize(&mut serializer)
        .expect("a JSON value always serializes");
    ascii(&String::from_utf8(out).expect("serde_json writes UTF-8"))
}

/// Every character above ASCII as `\uXXXX`, as Python writes it.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Two columns under a heading, the first one twenty wide.
pub(super) fn table(heading: [&str; 2], rows: &[(String, String)]) -> String {
    let mut out = format!(
        "{:20}| {}\n{:-<20}+{:-<20}\n",
        heading[0], heading[1], "", ""
    );
    for (first, second) in rows {
        out.push_str(&format!("{first:20}| {second}\n"));
    }
    out
}

/// What is known of a user, a line for each.
pub(super) fn user(username: &str, permissions: Option<&[String]>, token: Option<&str>) -> String {
    let mut out = format!("Username:    {username}\n");
    if let Some(permissions) = permissions {
        out.push_str(&format!("Permissions: {}\n", permissions.join(" ")));
    }
    if let Some(token) = token {
        out.push_str(&format!("Token:       {token}\n"));
    }
    out
}

/// All users as a table.
pub(super) fn users(users: &[UserInfo]) -> String {
    let rows: Vec<_> = users
        .iter()
        .map(|user| (user.username.clone(), user.permissions.join(" ")))
        .collect();
    let table = table(["Username", "Permissions"], &rows);
    format!("{table}\nTotal users: {}\n", users.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_sorted_indented_and_ascii() {
        let value = serde_json::json!({"b": null, "a": ["é", 1]});
        assert_eq!(
            pretty(&value),
            "{\n    \"a\": [\n        \"\\u00e9\",\n        1\n    ],\n    \"b\": null\n}"
        );
    }

    #[test]
    fn a_user_is_shown_in_aligned_lines() {
        let permissions = ["@read".to_owned(), "@report".to_owned()];
        assert_eq!(
            user("bob", Some(&permissions), Some("T")),
            "Username:    bob\nPermissions: @read @report\nToken:       T\n"
        );
        assert_eq!(user("bob", None, None), "Username:    bob\n");
    }

    #[test]
    fn tables_have_a_heading_and_a_rule() {
        let rows = [("config".to_owned(), "1".to_owned())];
        assert_eq!(
            table(["Table name", "Rows"], &rows),
            "Table name          | Rows\n\
             --------------------+--------------------\n\
             config              | 1\n"
        );
    }
}
