//! The resources of snapshots and changes.

use serde_json::{Value, json};

use super::super::{changes, snapshots};
use super::{problem_response, tell_epoch};

/// Each path with its operations.
pub(super) fn paths() -> Vec<(String, Value)> {
    let of = |path: &str, operation: Value| (path.to_owned(), json!({"get": operation}));
    let of_now = |path: &str, mut operation: Value| {
        tell_epoch(&mut operation);
        of(path, operation)
    };
    vec![
        of_now(changes::CHANGES, changes_operation()),
        of_now(snapshots::SNAPSHOTS, list()),
        of_now(snapshots::SNAPSHOT, one()),
        of(
            snapshots::MANIFEST,
            file(
                "snapshot-manifest",
                "The manifest of a snapshot.",
                "application/json",
            ),
        ),
        of(
            snapshots::SIGNATURE,
            file(
                "snapshot-signature",
                "The signature of a snapshot's publisher.",
                "text/plain",
            ),
        ),
        of(snapshots::SHARD, shard()),
    ]
}

fn in_path(name: &str, about: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": {"type": "string"}})
}

fn in_query(name: &str, about: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "required": false, "description": about, "schema": schema})
}

fn name() -> Value {
    in_path("name", "Name of a snapshot; `latest`, the newest one.")
}

fn changes_operation() -> Value {
    let position =
        json!({"type": "integer", "minimum": 0, "maximum": fingerpost_snapshot::NUMBER_MAX});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": changes::LIMIT_MAX, "default": changes::LIMIT});
    let wait = json!({"type": "integer", "minimum": 0, "maximum": changes::WAIT_MAX, "default": 0});
    let only = json!({"type": "string", "enum": [changes::DELETIONS]});
    json!({
        "operationId": "changes",
        "summary": "What changed in the namespace since a position, line by line.",
        "description": "Needs @read. docs/snapshots.md states the lines. The last one, `{\"end\": ...}`, says up to where everything was told; a stream without it was cut. What was deleted is told for 30 days at least: after that, and for a position that was never told, the answer is 410 `changes-gone`.",
        "parameters": [
            in_query("since", "The position of a snapshot, or where an earlier stream was read to. Without it: the newest position, so that nothing before now is told.", position),
            in_query("limit", "Changes, at most.", limit),
            in_query("wait", "Seconds until an answer without changes.", wait),
            in_query("only", "Only what was deleted, and epochs: positions of additions are passed over, and do not end a wait. `end` says up to where all the same.", only),
        ],
        "responses": {
            "200": {
                "description": "The changes.",
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            },
            "410": problem_response(),
            "default": problem_response(),
        },
    })
}

fn entry() -> Value {
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    json!({
        "type": "object",
        "properties": {
            "name": text, "namespace": text, "rows": number, "bytes": number, "left_out": number,
            "position": number, "epoch": number,
            "created": {"type": "string", "format": "date-time"},
            "signed_by": {
                "type": ["string", "null"],
                "description": "Id of the publisher's key, as the signature says it.",
            },
        },
        "required": ["name", "namespace", "rows", "bytes", "left_out", "position", "epoch", "created", "signed_by"],
    })
}

fn answers(schema: &Value) -> Value {
    json!({
        "200": {
            "description": "As it is now.",
            "headers": {"ETag": {"schema": {"type": "string"}}},
            "content": {"application/json": {"schema": schema}},
        },
        "304": {"description": "The client has it already."},
        "default": problem_response(),
    })
}

fn list() -> Value {
    let all = json!({
        "type": "object",
        "properties": {
            "fallbacks": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The namespaces that this one falls back to, in their order: what is not in a snapshot of it may be in them.",
            },
            "snapshots": {"type": "array", "items": entry()},
        },
        "required": ["fallbacks", "snapshots"],
    });
    json!({
        "operationId": "snapshots",
        "summary": "The snapshots of the namespace, the newest first.",
        "description": "Needs @read.",
        "responses": answers(&all),
    })
}

fn one() -> Value {
    json!({
        "operationId": "snapshot",
        "summary": "A snapshot.",
        "description": "Needs @read.",
        "parameters": [name()],
        "responses": answers(&entry()),
    })
}

fn file(operation: &str, summary: &str, media_type: &str) -> Value {
    let mut responses = answers(&json!({}));
    responses["200"]["content"] = json!({media_type: {"schema": {"type": "string"}}});
    json!({
        "operationId": operation,
        "summary": summary,
        "description": "Needs @read. Byte for byte as it lies in the snapshot.",
        "parameters": [name()],
        "responses": responses,
    })
}

fn shard() -> Value {
    let bytes = json!({"application/octet-stream": {"schema": {"type": "string"}}});
    json!({
        "operationId": "snapshot-shard",
        "summary": "A shard or side shard of a snapshot.",
        "description": "Needs @read. It never changes. One range of bytes may be asked for. GET may be sent to another place that has it, HEAD is not.",
        "parameters": [name(), in_path("sha256", "The name of the shard: the SHA-256 of its bytes.")],
        "responses": {
            "200": {
                "description": "The shard.",
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": bytes,
            },
            "206": {"description": "A part of it.", "content": bytes},
            "304": {"description": "The client has it already."},
            "307": {
                "description": "It lies elsewhere. What comes from there need not be trusted: its SHA-256 is known.",
                "headers": {"Location": {"schema": {"type": "string"}}},
            },
            "416": {"description": "It has no such part."},
            "default": problem_response(),
        },
    })
}
