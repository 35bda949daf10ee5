//! Signed rows and signatures by the thousand.

use fingerpost_core::{Field, Registry};
use fingerpost_hashequiv::HashEquiv;
use serde_json::{Value, json};

use super::super::routes::{REPORT, SIGNATURES, SIGNED_LOOKUPS, SIGNED_REPORTS};
use super::many::{Described, idempotency_key, object, open_object, operation};
use super::{argument_schema, schema_of};

/// Each path with its operation.
pub(super) fn paths(commands: &Registry<HashEquiv>) -> Vec<(String, Value)> {
    let mut paths = vec![
        (SIGNED_LOOKUPS.to_owned(), json!({"post": lookups()})),
        (SIGNATURES.to_owned(), json!({"post": signatures()})),
    ];
    if let Some((_, entry)) = commands.find("report-signed", false) {
        let fields: Vec<&Field> = entry.fields.iter().collect();
        let example = serde_json::from_str(entry.declaration.answer_example);
        let mut operation = operation(Described {
            name: "report-signed-many",
            summary: "Takes many reports, as an array or line by line, each as `POST /v1/reports/signed` takes it.",
            about: " Each report is durable when it is answered.",
            question: argument_schema(&REPORT, &fields),
            answer: schema_of(&example.unwrap_or(Value::Null)),
        });
        operation["parameters"] = json!([idempotency_key()]);
        paths.push((SIGNED_REPORTS.to_owned(), json!({"post": operation})));
    }
    paths
}

fn text() -> Value {
    json!({"type": "string"})
}

fn lookups() -> Value {
    let maybe = || json!({"type": ["string", "null"]});
    operation(Described {
        name: "look-up-many-signed",
        summary: "Looks rows of tasks up with their signatures, as an array or line by line.",
        about: "",
        question: object(&[("method", text()), ("taskhash", text())]),
        answer: open_object(&[
            ("method", text()),
            ("taskhash", text()),
            ("namespace", maybe()),
            ("outhash", maybe()),
            ("unihash", maybe()),
            ("signatures", json!({"type": "array", "items": text()})),
        ]),
    })
}

fn signatures() -> Value {
    let fields = [
        "namespace",
        "method",
        "taskhash",
        "outhash",
        "unihash",
        "signature",
    ];
    operation(Described {
        name: "put-signatures",
        summary: "Keeps signatures of many rows, as an array or line by line.",
        about: " Needs @report too, and not on a read-only server. Each answer says what became \
                of one: `stored` (200), `signature-mismatch` (422) if the row has another \
                unihash or lives in another namespace, `no-such-row` (404). A malformed one \
                in an array refuses all of it.",
        question: object(&fields.map(|name| (name, text()))),
        answer: open_object(&[("status", json!({"type": "integer"})), ("code", text())]),
    })
}
