//! What a parser says of a value that it did not expect.

/// What serde's message says it found and what it expected instead, if it says so. What it
/// found holds the value, which may be a secret in the wrong place: that is not for a log.
pub fn found_and_expected(message: &str) -> Option<(&str, &str)> {
    let parts = message.rsplit_once(", expected ");
    parts.filter(|(found, _)| found.starts_with("invalid "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_wrong_value_is_taken_apart() {
        let message = "invalid type: string \"a, expected b\", expected u64";
        let found = "invalid type: string \"a, expected b\"";
        assert_eq!(found_and_expected(message), Some((found, "u64")));
        assert_eq!(found_and_expected("unknown field `a`, expected `b`"), None);
        assert_eq!(found_and_expected("missing field `a`"), None);
    }
}
