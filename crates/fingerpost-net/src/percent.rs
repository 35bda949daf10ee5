//! Text in URLs.

/// A part of a URL with its percent escapes resolved; `None` if one of them is broken,
/// or it is not UTF-8 then.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_once() {
        assert_eq!(percent_decoded("/a%20b/%C3%BC").as_deref(), Some("/a b/ü"));
        assert_eq!(percent_decoded("/a%2520").as_deref(), Some("/a%20"));
        for broken in ["/%", "/%2", "/%zz", "/%+1", "/%ff"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }
}
