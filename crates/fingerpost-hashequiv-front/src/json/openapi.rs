//! The description of the door, out of the declarations of the commands.

use fingerpost_core::{Availability, Field, Registry, Shape};
use fingerpost_hashequiv::HashEquiv;
use serde_json::{Map, Value, json};

use super::arguments::SECONDS_MAX;
use super::epoch;
use super::routes::{self, ROUTES, Route, Verb};

mod many;
mod rows;
mod signed;
mod snapshots;

type Entry = fingerpost_core::Entry<HashEquiv>;

/// The `OpenAPI` 3.1 document of everything below `/v1`.
pub fn openapi() -> Value {
    let commands = fingerpost_hashequiv::commands();
    let mut paths = Map::new();
    for route in ROUTES {
        let Some((_, entry)) = commands.find(route.command, false) else {
            continue;
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.verb.name()] = operation(&commands, route, entry);
    }
    paths.extend(many::paths(&commands));
    paths.extend(signed::paths(&commands));
    paths.extend(rows::paths());
    paths.extend(snapshots::paths());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fingerpost",
            "summary": "Hash equivalence for BitBake, as resources of HTTP.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [
            {"url": "/"},
            {
                "url": "/ns/{namespace}",
                "description": "In a namespace of one's choice. Without it, that of the host, of the listener or of the user.",
                "variables": {"namespace": {"default": "default"}},
            },
        ],
        // An anonymous caller may do what the server is configured for.
        "security": [{}, {"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "headers": {EPOCH: epoch_header()},
            "securitySchemes": {
                "basic": {
                    "type": "http", "scheme": "basic",
                    "description": "Name of a user, and their token or password.",
                },
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "A bearer token, or the token of a CI system's job.",
                },
            },
            "schemas": {"Problem": problem()},
        },
    })
}

fn operation(commands: &Registry<HashEquiv>, route: &Route, entry: &Entry) -> Value {
    let declaration = &entry.declaration;
    let needs: Vec<_> = declaration
        .access
        .needs
        .iter()
        .map(|one| one.as_str())
        .collect();
    let mut description = match &*needs {
        [] => "Needs no permission.".to_owned(),
        needs => format!("Needs {}.", needs.join(" and ")),
    };
    if declaration.access.self_service {
        description.push_str(" Users may do it for themselves.");
    }
    if declaration.availability == Availability::Writable {
        description.push_str(" Not on a read-only server.");
    }
    let mut operation = json!({
        "operationId": route.operation_id(),
        "summary": declaration.summary,
        "description": description,
        "responses": responses(route, routes::answer_example(commands, route)),
    });
    let (in_path, elsewhere): (Vec<_>, Vec<_>) = fields(route, entry).partition(|(_, is)| *is);
    let mut parameters: Vec<_> = in_path
        .iter()
        .map(|(field, _)| parameter(route, field, "path"))
        .collect();
    if route.verb.has_body() {
        let fields: Vec<_> = elsewhere.iter().map(|(field, _)| *field).collect();
        operation["requestBody"] = request_body(route, &fields);
    } else {
        parameters.extend(
            elsewhere
                .iter()
                .map(|(field, _)| parameter(route, field, "query")),
        );
    }
    if matches!(route.command, "report" | "report-signed") {
        parameters.push(many::idempotency_key());
    }
    parameters.extend(rows::fields(&routes::answer_fields(commands, route)));
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if route.tells_epoch(entry) {
        tell_epoch(&mut operation);
    }
    operation
}

/// The fields that a client gives, and whether they are in the path.
fn fields<'a>(route: &'a Route, entry: &'a Entry) -> impl Iterator<Item = (&'a Field, bool)> {
    let fixed = |field: &&Field| !route.fixed.iter().any(|(name, _)| *name == field.name);
    let given = entry.fields.iter().filter(fixed);
    given.map(|field| (field, route.path.contains(&format!("{{{}}}", field.name))))
}

/// Whether a client has to give a field.
fn is_needed(route: &Route, field: &Field) -> bool {
    field.required && route.defaults.iter().all(|(name, _)| *name != field.name)
}

fn parameter(route: &Route, field: &Field, place: &str) -> Value {
    json!({
        "name": field.name,
        "in": place,
        "required": place == "path" || is_needed(route, field),
        "description": field.about,
        "schema": schema(field),
    })
}

fn request_body(route: &Route, fields: &[&Field]) -> Value {
    let schema = argument_schema(route, fields);
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

/// The object that is a command's argument.
fn argument_schema(route: &Route, fields: &[&Field]) -> Value {
    let properties: Map<_, _> = fields
        .iter()
        .map(|field| {
            let mut schema = schema(field);
            schema["description"] = field.about.into();
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<_> = fields
        .iter()
        .filter(|field| is_needed(route, field))
        .map(|field| field.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn schema(field: &Field) -> Value {
    match field.shape {
        Shape::Unihash => json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        // A part of what is taken that every reader of patterns agrees on.
        Shape::Label => json!({"type": "string", "pattern": "^[!-~]([ -~]{0,62}[!-~])?$"}),
        Shape::Password => json!({
            "type": "string", "pattern": "^[ -~]{8,512}$", "format": "password",
            "not": {"pattern": "^(fp_|eyJ)"},
        }),
        Shape::Flag | Shape::Bool => json!({"type": "boolean"}),
        Shape::Seconds => json!({"type": "number", "minimum": 0, "maximum": SECONDS_MAX}),
        Shape::Names => json!({"type": "array", "items": {"type": "string"}}),
        Shape::List => json!({"type": "array"}),
        Shape::Where => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        _ => json!({"type": "string"}),
    }
}

fn responses(route: &Route, example: Value) -> Value {
    let mut answer = json!({"schema": schema_of(&example)});
    answer["example"] = example;
    let mut responses = json!({
        "200": {"description": "The answer.", "content": {"application/json": answer}},
        "default": problem_response(),
    });
    if route.is_looked_up {
        responses["304"] = json!({"description": "The client has it already."});
    }
    responses
}

/// What an answer looks like, going by an example of it. Anything in it may be null.
fn schema_of(example: &Value) -> Value {
    match example {
        Value::Null => json!({}),
        Value::Bool(_) => json!({"type": ["boolean", "null"]}),
        Value::Number(_) => json!({"type": ["number", "null"]}),
        Value::String(_) => json!({"type": ["string", "null"]}),
        Value::Array(items) => {
            let items = items.first().map_or_else(|| json!({}), schema_of);
            json!({"type": "array", "items": items})
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), schema_of(value)));
            json!({"type": "object", "properties": fields.collect::<Map<_, _>>()})
        }
    }
}

fn problem_response() -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    json!({
        "description": "What went wrong.",
        "content": {"application/problem+json": {"schema": schema}},
    })
}

/// What the header is called in the document.
const EPOCH: &str = "DeletionEpoch";

fn epoch_header() -> Value {
    json!({
        "description": "What had been deleted when this was answered: the history of the namespace's data, `/`, its deletion epoch in it. A restored backup, a database that took over and may have lost something, and a namespace that falls back to others than before have another history; no two namespaces have the same one. Read before the answer was looked for, so it can be too old and never too new. Only who has @read is told.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}/[0-9]{1,20}$"},
    })
}

/// Adds the header to every answer of an operation; what is absent is an answer too.
fn tell_epoch(operation: &mut Value) {
    let reference = json!({"$ref": format!("#/components/headers/{EPOCH}")});
    let answers = operation["responses"].as_object_mut();
    for (_, answer) in answers.into_iter().flatten() {
        answer["headers"][epoch::HEADER.as_str()] = reference.clone();
    }
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "description": "RFC 9457; `code` is a stable word for programs. Without `request_id` the request was refused before it was looked at.",
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "code": text,
            "detail": text, "request_id": text,
            "limit": {
                "type": "object",
                "description": "The limit that the request hit.",
                "properties": {"name": text, "max": {"type": "integer"}},
                "required": ["name", "max"],
            },
        },
        "required": ["type", "title", "status", "code"],
    })
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

impl Route {
    /// The command's name; with what is fixed if there are several.
    fn operation_id(&self) -> String {
        let fixed = self.fixed.iter().filter(|(_, json)| *json == "true");
        let fixed: String = fixed.map(|(name, _)| format!("-{name}")).collect();
        format!("{}{fixed}", self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_route_and_each_name_once() {
        let document = openapi();
        let mut names = std::collections::HashSet::new();
        for operations in document["paths"].as_object().unwrap().values() {
            for operation in operations.as_object().unwrap().values() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{name}");
            }
        }
        assert_eq!(names.len(), ROUTES.len() + 15);
    }
}
