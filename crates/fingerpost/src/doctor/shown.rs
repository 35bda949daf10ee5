//! Texts of the configuration without what must not be shown.

/// An address or URL without a login, query or parameters: mirrors carry tokens and
/// passwords in all three.
pub(super) fn url(text: &str) -> String {
    let end = text.find(['?', ';', '#']).unwrap_or(text.len());
    let (kept, cut) = text.split_at(end);
    // A login may hold such a character, and then it is not told where it ends.
    match kept.split_once("://") {
        Some((scheme, place)) if cut.contains('@') && may_be_a_login(place) => {
            format!("{scheme}://")
        }
        _ => without_login(kept).0,
    }
}

/// Whether what is before the first `?`, `;` or `#` may be the begin of `USER:PASSWORD`.
fn may_be_a_login(place: &str) -> bool {
    match place.split_once('/') {
        Some((authority, _)) => authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit())),
        None => true,
    }
}

/// The text without `USER:PASSWORD@`, and whether it had that.
pub(super) fn without_login(text: &str) -> (String, bool) {
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text.rsplit_once('@') {
            Some((_, place)) => (place.to_owned(), true),
            None => (text.to_owned(), false),
        };
    };
    // A login that holds a slash is none by the standard, and is not to be shown either.
    match rest.rsplit_once('@') {
        Some((_, place)) => (format!("{scheme}://{place}"), true),
        None => (text.to_owned(), false),
    }
}

/// The host of a URL and its port, as far as it has one; nothing in a text that names no host.
pub(super) fn authority(text: &str) -> Option<String> {
    let (host, port) = host_and_port(text)?;
    Some(match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

/// The same without the port.
pub(super) fn host(text: &str) -> Option<String> {
    host_and_port(text).map(|(host, _)| host)
}

fn host_and_port(text: &str) -> Option<(String, Option<String>)> {
    let text = url(text);
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let port = Some(port.to_owned()).filter(|port| !port.is_empty());
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_queries_and_parameters_are_left_out() {
        assert_eq!(
            url("https://u:p@h:1/a/PATH;user=u;pswd=p"),
            "https://h:1/a/PATH"
        );
        assert_eq!(url("az://h/c?sig=secret"), "az://h/c");
        assert_eq!(url("wss://u:p/@q@h/x"), "wss://h/x");
        assert_eq!(url("https://user:12?34@h/"), "https://");
        assert_eq!(url("https://user:a/2?34@h/"), "https://");
        assert_eq!(url("https://h/p?x=a@b"), "https://h/p");
        assert_eq!(without_login("u:p@h:1"), ("h:1".to_owned(), true));
        assert_eq!(without_login("h:1"), ("h:1".to_owned(), false));
    }

    #[test]
    fn an_authority_has_its_port() {
        let check = |text, wanted| assert_eq!(authority(text).as_deref(), wanted, "{text}");
        check("https://u:p@h.x:1/a", Some("h.x:1"));
        check("http://[::1]/", Some("[::1]"));
        check("https://h:/", Some("h"));
        for nobody in ["file:///a", "https://:8443/", "https://user:12?34@h/"] {
            check(nobody, None);
        }
    }

    #[test]
    fn a_host_is_without_its_port() {
        assert_eq!(host("https://u:p@h.x:1/a").as_deref(), Some("h.x"));
        assert_eq!(host("ws://[::1]:80/").as_deref(), Some("[::1]"));
        assert_eq!(host("file:///a"), None);
        assert_eq!(host("h:1"), None);
    }
}
