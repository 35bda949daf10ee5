//! The two forms of `/metrics`: `OpenMetrics` for who asks for it, and the older text
//! format for everybody else, promtool and other collectors among them.

use axum::http::{HeaderMap, header};

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    OpenMetrics,
    Text,
}

impl Exposition {
    /// The form that a request asks for.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter();
        let open = accepted.any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.contains("application/openmetrics-text")
        });
        if open { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Turns a page of `OpenMetrics` into this form.
    pub(crate) fn write(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Text => text(&page),
        }
    }
}

/// Samples are the same in both forms. Families of counters are called as their
/// samples are, there are no units, and the end is the end.
fn text(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + page.len() / 32);
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                out.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.extend([line, "\n"]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_ask_for_openmetrics_gets_text() {
        let check = |accept: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(Exposition::of(&headers), expected, "{accept}");
        };
        check("*/*", Exposition::Text);
        check("text/plain;version=0.0.4", Exposition::Text);
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1";
        check(prometheus, Exposition::OpenMetrics);
        assert_eq!(Exposition::of(&HeaderMap::new()), Exposition::Text);
    }

    #[test]
    fn families_are_called_as_their_samples_are() {
        let page = "\
# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n\
# HELP b Now.\n# TYPE b gauge\nb 2\n# HELP c Build.\n# TYPE c info\nc_info{x=\"# TYPE\"} 1\n# EOF\n";
        let expected = "\
# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
# HELP b Now.\n# TYPE b gauge\nb 2\n# HELP c_info Build.\n# TYPE c_info gauge\nc_info{x=\"# TYPE\"} 1\n";
        assert_eq!(Exposition::Text.write(page.to_owned()), expected);
    }
}
