//! The description of the door as a page: plain HTML that is made once from the
//! document, without scripts and with nothing from elsewhere.

use std::fmt::Write as _;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use serde_json::Value;

const STYLE: &str = include_str!("docs/style.css");
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// As long as a look at it takes; the next version may have another.
const CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// `/docs` and what it needs.
pub(super) fn router<S: Clone + Send + Sync + 'static>(document: &Value) -> Router<S> {
    let page = Bytes::from(page(document));
    Router::new()
        .route("/docs", file(page.clone(), "text/html; charset=utf-8"))
        .route("/docs/", file(page, "text/html; charset=utf-8"))
        .route(
            "/docs/style.css",
            file(Bytes::from_static(STYLE.as_bytes()), "text/css"),
        )
}

fn file<S: Clone + Send + Sync + 'static>(
    bytes: Bytes,
    kind: &'static str,
) -> axum::routing::MethodRouter<S> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, CONTROL),
        (NO_SNIFF, HeaderValue::from_static("nosniff")),
    ];
    get(async move || (headers.clone(), bytes.clone()).into_response())
}

/// Writing to a text cannot fail.
macro_rules! put {
    ($out:ident, $($text:tt)+) => { _ = writeln!($out, $($text)+) };
}

fn page(document: &Value) -> String {
    let mut out = String::with_capacity(256 << 10);
    let info = &document["info"];
    let title = escaped(text(&info["title"]));
    let (summary, version) = (text(&info["summary"]), text(&info["version"]));
    put!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"
    );
    put!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    );
    put!(out, "<title>{title}: JSON over HTTP</title>");
    put!(
        out,
        "<link rel=\"stylesheet\" href=\"/docs/style.css\">\n</head>\n<body>"
    );
    put!(out, "<a class=\"skip\" href=\"#main\">To the resources</a>");
    put!(
        out,
        "<header>\n<h1>{title} <small>{}</small></h1>",
        escaped(version)
    );
    put!(out, "<p>{} The same for programs: ", escaped(summary));
    put!(
        out,
        "<a href=\"/openapi.json\">/openapi.json</a>.</p>\n</header>"
    );
    put!(out, "<nav aria-label=\"Resources\">\n<ul>");
    for (path, method, operation) in operations(document) {
        let id = escaped(text(&operation["operationId"]));
        let (method, path) = (method.to_ascii_uppercase(), escaped(path));
        put!(
            out,
            "<li><a href=\"#{id}\"><b>{method}</b> <code>{path}</code></a></li>"
        );
    }
    put!(out, "</ul>\n</nav>\n<main id=\"main\">");
    for (path, method, operation) in operations(document) {
        describe(&mut out, path, method, operation);
    }
    schemas(&mut out, &document["components"]["schemas"]);
    put!(out, "</main>\n</body>\n</html>");
    out
}

/// Each path, its method, and what the document says of them.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn describe(out: &mut String, path: &str, method: &str, operation: &Value) {
    let id = escaped(text(&operation["operationId"]));
    let (method, path) = (method.to_ascii_uppercase(), escaped(path));
    put!(out, "<section aria-labelledby=\"{id}\">");
    put!(
        out,
        "<h2 id=\"{id}\"><b>{method}</b> <code>{path}</code></h2>"
    );
    put!(out, "<p>{}</p>", prose(text(&operation["summary"])));
    put!(out, "<p>{}</p>", prose(text(&operation["description"])));
    parameters(out, &operation["parameters"]);
    content(out, "Body", &operation["requestBody"]["content"]);
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let about = prose(text(&response["description"]));
        put!(out, "<h3>{}: {about}</h3>", escaped(status));
        content(out, "Answer", &response["content"]);
    }
    put!(out, "</section>");
}

fn parameters(out: &mut String, parameters: &Value) {
    let Some(parameters) = parameters.as_array() else {
        return;
    };
    put!(
        out,
        "<table>\n<thead><tr><th scope=\"col\">Parameter</th><th scope=\"col\">In</th>"
    );
    put!(
        out,
        "<th scope=\"col\">Type</th><th scope=\"col\">What it is</th></tr></thead>\n<tbody>"
    );
    for parameter in parameters {
        let name = escaped(text(&parameter["name"]));
        let needed = if parameter["required"] == true {
            ", needed"
        } else {
            ""
        };
        let (place, about) = (text(&parameter["in"]), text(&parameter["description"]));
        let kind = escaped(&parameter["schema"]["type"].to_string());
        put!(
            out,
            "<tr><th scope=\"row\"><code>{name}</code></th><td>{}{needed}</td>",
            escaped(place)
        );
        put!(
            out,
            "<td><code>{kind}</code></td><td>{}</td></tr>",
            prose(about)
        );
    }
    put!(out, "</tbody>\n</table>");
}

fn content(out: &mut String, what: &str, content: &Value) {
    for (kind, described) in content.as_object().into_iter().flatten() {
        let pretty = serde_json::to_string_pretty(described).unwrap_or_default();
        put!(
            out,
            "<details><summary>{what}: <code>{}</code></summary>",
            escaped(kind)
        );
        put!(
            out,
            "<pre tabindex=\"0\">{}</pre></details>",
            escaped(&pretty)
        );
    }
}

fn schemas(out: &mut String, schemas: &Value) {
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        let pretty = serde_json::to_string_pretty(schema).unwrap_or_default();
        put!(out, "<section>\n<h2>{}</h2>", escaped(name));
        put!(
            out,
            "<pre tabindex=\"0\">{}</pre>\n</section>",
            escaped(&pretty)
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text of which what stands in backticks is code.
fn prose(text: &str) -> String {
    let parts: Vec<_> = text.split('`').map(escaped).collect();
    // One without its other half is no quotation.
    if parts.len().is_multiple_of(2) {
        return parts.join("`");
    }
    let mut out = String::with_capacity(text.len());
    for (place, part) in parts.iter().enumerate() {
        match place % 2 {
            0 => out.push_str(part),
            _ => _ = write!(out, "<code>{part}</code>"),
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi;

    #[test]
    fn the_page_has_every_operation_and_nothing_from_elsewhere() {
        let document = openapi();
        let page = page(&document);
        for (path, _, operation) in operations(&document) {
            let id = text(&operation["operationId"]);
            assert!(page.contains(&format!("<h2 id=\"{id}\">")), "{id}");
            assert!(page.contains(&format!("href=\"#{id}\"")), "{id}");
            assert!(page.contains(&escaped(path)));
        }
        for attribute in ["href=\"", "src=\""] {
            for target in page.split(attribute).skip(1) {
                let is_ours = target.starts_with('#') || target.starts_with('/');
                assert!(is_ours && !target.starts_with("//"), "{}", &target[..40]);
            }
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
        for absent in ["<script", "<img", "<iframe", " style=", " onclick="] {
            assert!(!page.contains(absent), "{absent}");
        }
    }

    #[test]
    fn what_the_document_says_is_text() {
        assert_eq!(
            escaped("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
        assert_eq!(prose("say `a<b`, or"), "say <code>a&lt;b</code>, or");
        assert_eq!(prose("half `a<b"), "half `a&lt;b");
    }
}
