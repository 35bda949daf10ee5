//! What Python calls white space and an integer. The reference server is
//! written in it, and its clients see the difference: Python also counts the
//! four ASCII separators `0x1c` to `0x1f` as blanks.

/// Whether Python's `str.isspace` holds for the character.
pub(crate) fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// Whether the byte is an ASCII character that is neither a blank nor a control
/// character, so that it can be handled without decoding.
pub(crate) const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7f)
}

/// `str.rstrip`.
pub(crate) fn strip_end(text: &str) -> &str {
    match text.as_bytes().last() {
        Some(&last) if is_plain(last) => text,
        _ => text.trim_end_matches(is_blank),
    }
}

/// `str.split`: the words between blanks.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// Exactly two words, as `str.split` finds them.
pub(crate) fn two_words(text: &str) -> Option<(&str, &str)> {
    let mut words = words(text);
    let pair = (words.next()?, words.next()?);
    words.next().is_none().then_some(pair)
}

/// `int(text)` for ASCII digits: a sign, leading zeros and single underscores
/// between digits are fine. Saturates, since only small numbers are compared.
/// Digits of other scripts, which Python takes too, give `None`.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut value = 0_i64;
    let mut after_digit = false;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value
                    .saturating_mul(10)
                    .saturating_add(i64::from(byte - b'0'))
            }
            b'_' if after_digit => {}
            _ => return None,
        }
        after_digit = byte != b'_';
    }
    after_digit.then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_pythons() {
        let blanks: Vec<u32> = (0..=0x0010_ffff)
            .filter_map(char::from_u32)
            .filter(|&character| is_blank(character))
            .map(u32::from)
            .collect();
        let expected: Vec<u32> = (0x9..=0xd)
            .chain(0x1c..=0x20)
            .chain([0x85, 0xa0, 0x1680])
            .chain(0x2000..=0x200a)
            .chain([0x2028, 0x2029, 0x202f, 0x205f, 0x3000])
            .collect();
        assert_eq!(blanks, expected);
    }

    #[test]
    fn strips_the_end_only() {
        assert_eq!(strip_end(" a \r\n\u{3000}\x1c"), " a");
        assert_eq!(strip_end("\u{a0}"), "");
        assert_eq!(strip_end("a\x7f"), "a\x7f");
        assert_eq!(strip_end("a\0"), "a\0");
        assert_eq!(strip_end(""), "");
    }

    #[test]
    fn two_words_are_two_words() {
        assert_eq!(two_words(" a\t\u{2003}b\n"), Some(("a", "b")));
        assert_eq!(two_words("a"), None);
        assert_eq!(two_words("a b c"), None);
        assert_eq!(two_words("  "), None);
    }

    #[test]
    fn integers_are_pythons() {
        for (text, value) in [
            ("1", 1),
            ("01", 1),
            ("+1", 1),
            ("-1", -1),
            ("1_0", 10),
            ("-0", 0),
        ] {
            assert_eq!(parse_int(text), Some(value), "{text}");
        }
        for text in [
            "", "-", "_1", "1_", "1__0", "+-1", "a", "1a", "0x1", "1.0", " 1",
        ] {
            assert_eq!(parse_int(text), None, "{text}");
        }
        assert_eq!(parse_int(&"9".repeat(500)), Some(i64::MAX));
    }
}
