//! A URL that is a key to what it names.

use std::fmt;

/// How many characters of an entry's name are shown: enough to find it by.
const NAME_SHOWN: usize = 12;

/// A URL whose holder may fetch what it names. It shows itself to nobody but
/// the one who asks with [`SecretUrl::expose`]: neither `Debug` nor `Display`
/// print its query or the whole name at the end of its path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Takes a URL, absolute or a path with a query.
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL as a client needs it. Put it into an answer and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.find(['?', '#']).unwrap_or(self.0.len());
        let (shown, hidden) = self.0.split_at(cut);
        // Credentials may stand before the host.
        let (scheme, rest) = shown
            .split_once("://")
            .map_or(("", shown), |(scheme, rest)| (scheme, rest));
        let (authority, path) = match rest.find('/') {
            Some(slash) if !scheme.is_empty() => rest.split_at(slash),
            _ if scheme.is_empty() => ("", rest),
            _ => (rest, ""),
        };
        let host = authority.rsplit('@').next().unwrap_or_default();
        if !scheme.is_empty() {
            write!(f, "{scheme}://{host}")?;
        }
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path.contains('/') {
            write!(f, "{parents}/")?;
        }
        if name.chars().count() > NAME_SHOWN {
            write!(f, "{name:.NAME_SHOWN$}..")?;
        } else {
            f.write_str(name)?;
        }
        f.write_str(if hidden.is_empty() { "" } else { "?.." })
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_query_nor_name_is_shown() {
        let check = |url: &str, shown: &str| {
            let url = SecretUrl::new(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("SecretUrl({shown})"));
        };
        let name = "0123456789abcdef".repeat(4);
        check(
            &format!("https://s3:9000/bucket/{name}?X-Amz-Signature=ab"),
            "https://s3:9000/bucket/0123456789ab..?..",
        );
        check(
            &format!("/content/{name}?expires=1&signature=ab"),
            "/content/0123456789ab..?..",
        );
        check("https://me:word@cdn/x#y", "https://cdn/x?..");
        check("http://cdn", "http://cdn");
        check("http://cdn?a=b", "http://cdn?..");
        check(&name, "0123456789ab..");
        check("", "");
    }
}
