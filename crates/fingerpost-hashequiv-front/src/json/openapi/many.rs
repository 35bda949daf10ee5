//! The resources that are asked by the thousand.

use fingerpost_core::{Field, Registry};
use fingerpost_hashequiv::HashEquiv;
use serde_json::{Value, json};

use super::super::JsonOptions;
use super::super::routes::{EXISTENCE, LOOKUPS, REPORT, REPORTS};
use super::{argument_schema, problem_response, schema_of, tell_epoch};

/// Each path with its operations.
pub(super) fn paths(commands: &Registry<HashEquiv>) -> Vec<(String, Value)> {
    let text = || json!({"type": "string"});
    let lookups = Described {
        name: "look-up-many",
        summary: "Looks many unihashes up, as an array or line by line.",
        about: "",
        question: object(&[("method", text()), ("taskhash", text())]),
        answer: open_object(&[
            ("method", text()),
            ("taskhash", text()),
            ("unihash", json!({"type": ["string", "null"]})),
        ]),
    };
    let existence = Described {
        name: "exist-many",
        summary: "Tells of many unihashes whether any task has them, as an array or line by line.",
        about: "",
        question: object(&[("unihash", text())]),
        answer: open_object(&[("unihash", text()), ("exists", json!({"type": "boolean"}))]),
    };
    let mut paths = vec![
        (LOOKUPS.to_owned(), json!({"post": operation(lookups)})),
        (EXISTENCE.to_owned(), json!({"post": operation(existence)})),
    ];
    if let Some((_, entry)) = commands.find("report", false) {
        let fields: Vec<&Field> = entry.fields.iter().collect();
        let example = serde_json::from_str(entry.declaration.answer_example);
        let reports = Described {
            name: "report-many",
            summary: "Takes many reports, as an array or line by line, each as `POST /v1/reports` takes it.",
            about: " Each report is durable when it is answered. Up to 64 of them are stored at \
                    once, as if several clients had sent them: which of two with the same output \
                    is the first is not said. Nothing of an array is stored if one of it is \
                    malformed. Repeating a request is harmless, see `Idempotency-Key`.",
            question: argument_schema(&REPORT, &fields),
            answer: schema_of(&example.unwrap_or(Value::Null)),
        };
        let mut operation = operation(reports);
        operation["parameters"] = json!([idempotency_key()]);
        paths.push((REPORTS.to_owned(), json!({"post": operation})));
    }
    paths
}

/// The header that reports may carry.
pub(super) fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "Taken and not needed: a report is effective once by its own content. \
                        A task that has a unihash keeps it, and (method, taskhash, outhash) is \
                        stored once, so that a repeat, with this key, another or none, changes \
                        nothing and gets the unihash that holds.",
        "schema": {"type": "string"},
    })
}

pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) question: Value,
    pub(super) answer: Value,
}

pub(super) fn operation(described: Described) -> Value {
    let Described {
        name,
        summary,
        about,
        question,
        answer,
    } = described;
    let mut operation = json!({
        "operationId": name,
        "summary": summary,
        "description": format!("Needs @read. The answers are in the order of the questions. Lines are answered while they come; what goes wrong with one is the last line, `{{\"error\": ...}}`, after the answers to those before it.{about}"),
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": {"type": "array", "items": question, "maxItems": JsonOptions::default().items_max}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        }},
        "responses": {
            "200": {"description": "The answers.", "content": {
                "application/json": {"schema": {"type": "array", "items": answer}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            }},
            "default": problem_response(),
        },
    });
    tell_epoch(&mut operation);
    operation
}

/// An object of exactly these fields.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let mut schema = open_object(fields);
    schema["additionalProperties"] = false.into();
    schema
}

pub(super) fn open_object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<_, _> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({"type": "object", "properties": properties, "required": names})
}
