//! Messages with places for arguments.

/// Puts each of `args` in place of a `%s` of the message, in order. A `%s`
/// without an argument stays as it is, and an argument without a place is
/// dropped: what a server sends is shown, not judged.
pub fn format_message(message: &[u8], args: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len());
    let mut args = args.iter();
    let mut rest = message;
    while let Some((&byte, after)) = rest.split_first() {
        match rest.strip_prefix(b"%s").zip(args.as_slice().first()) {
            Some((after, arg)) => {
                args.next();
                text.extend_from_slice(arg);
                rest = after;
            }
            None => {
                text.push(byte);
                rest = after;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_take_their_places() {
        for (message, args, text) in [
            ("unknown file: %s", &["a%s"][..], "unknown file: a%s"),
            ("%s%s", &["a", "b", "c"], "ab"),
            ("%s and %s", &["a"], "a and %s"),
            ("100%", &["a"], "100%"),
            ("", &[], ""),
        ] {
            let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
            assert_eq!(format_message(message.as_bytes(), &args), text.as_bytes());
        }
    }
}
