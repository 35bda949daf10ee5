//! Bytes as base64url without padding, of which each has exactly one text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads exactly `N` bytes. Padding, white space and set bits behind the last
/// byte give `None`.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let read = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (read == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_one_text() {
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        assert_eq!(decode("-_8"), Some([0xfb, 0xff]));
        for wrong in ["-_9", "-_8=", "+/8", "-_", "-_8A", " -_8", "-_8\n", ""] {
            assert_eq!(decode::<2>(wrong), None, "{wrong:?}");
        }
    }
}
