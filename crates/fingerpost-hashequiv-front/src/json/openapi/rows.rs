//! The resources of rows and of their listings.

use serde_json::{Map, Value, json};

use super::super::fields::{FIELDS, NAMES_MAX};
use super::super::rows;
use super::{problem_response, tell_epoch};

/// Each path with its operations.
pub(super) fn paths() -> Vec<(String, Value)> {
    let of = |path: &str, mut operation: Value| {
        tell_epoch(&mut operation);
        (path.to_owned(), json!({"get": operation}))
    };
    vec![
        of(
            rows::ROWS,
            page(
                "output-rows",
                "The rows of an output, of whatever task, a page at a time.",
                ["method", "outhash"],
            ),
        ),
        of(
            rows::OUTPUTS,
            page(
                "task-outputs",
                "The outputs of a task, a page at a time.",
                ["method", "taskhash"],
            ),
        ),
        of(rows::SIGINFO, siginfo()),
    ]
}

/// The parameter that chooses fields; `None` if there are none.
pub(super) fn fields(known: &[impl AsRef<str>]) -> Option<Value> {
    let names: Vec<_> = known.iter().map(AsRef::as_ref).collect();
    (!names.is_empty()).then(|| {
        json!({
            "name": FIELDS,
            "in": "query",
            "required": false,
            "description": "The fields of the answer that are wanted; all of them without it.",
            "style": "form",
            "explode": false,
            "schema": {
                "type": "array",
                "items": {"type": "string", "enum": names},
                "minItems": 1,
                "maxItems": NAMES_MAX,
            },
        })
    })
}

fn in_path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

fn page(name: &str, summary: &str, path: [&str; 2]) -> Value {
    let mut parameters: Vec<_> = path.into_iter().map(in_path).collect();
    parameters.push(json!({
        "name": "limit",
        "in": "query",
        "required": false,
        "description": "Rows of a page, at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": rows::LIMIT_MAX, "default": rows::LIMIT},
    }));
    parameters.push(json!({
        "name": "cursor",
        "in": "query",
        "required": false,
        "description": "`next` of the page before. One of another resource is a 404.",
        "schema": {"type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", rows::CURSOR_DIGITS)},
    }));
    parameters.extend(fields(&rows::FIELDS));
    let row: Map<_, _> = rows::FIELDS
        .iter()
        .map(|field| ((*field).to_owned(), field_schema(field)))
        .collect();
    json!({
        "operationId": name,
        "summary": summary,
        "description": "Needs @read. The rows of the namespace first, then those of each that it falls back to; of one in the order in which they were stored. `namespace` says where a row is, and `id` is its number there. Only what is stored here, not what an upstream has. Rows that come or go meanwhile shift no page.",
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "A page, which may be empty.",
                "headers": {"Link": {
                    "description": "The next page, with `rel=\"next\"`, if there is one.",
                    "schema": {"type": "string"},
                }},
                "content": {"application/json": {"schema": {
                    "type": "object",
                    "properties": {
                        "rows": {"type": "array", "maxItems": rows::LIMIT_MAX, "items": {"type": "object", "properties": row}},
                        "next": {"type": ["string", "null"]},
                    },
                    "required": ["rows", "next"],
                }}},
            },
            "default": problem_response(),
        },
    })
}

fn field_schema(name: &str) -> Value {
    match name {
        "id" => json!({"type": "integer"}),
        "has_siginfo" => json!({"type": "boolean"}),
        "namespace" | "method" | "taskhash" | "outhash" => json!({"type": "string"}),
        _ => json!({"type": ["string", "null"]}),
    }
}

fn siginfo() -> Value {
    let parameters = ["method", "taskhash", "outhash"].map(in_path);
    json!({
        "operationId": "siginfo",
        "summary": "The listing behind an output of a task, as text.",
        "description": "Needs @read.",
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "The listing.",
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            "304": {"description": "The client has it already."},
            "default": problem_response(),
        },
    })
}
