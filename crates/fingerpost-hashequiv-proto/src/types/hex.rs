//! Hashes as text and as bytes.

/// Spells 32 bytes as 64 lower-case hex digits.
pub fn encode_hex(bytes: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    faster_hex::hex_encode(bytes, &mut digits).expect("64 digits hold 32 bytes");
    digits
}

/// Reads exactly 64 lower-case hex digits; anything else gives `None`.
pub fn decode_hex(digits: &[u8]) -> Option<[u8; 32]> {
    // No early exit, so that the compiler can look at many digits at once.
    let upper = digits
        .iter()
        .fold(false, |upper, digit| upper | digit.is_ascii_uppercase());
    if digits.len() != 64 || upper {
        return None;
    }
    let mut bytes = [0; 32];
    faster_hex::hex_decode(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips() {
        for byte in 0..=u8::MAX {
            let mut bytes = [0; 32];
            bytes[usize::from(byte) % 32] = byte;
            assert_eq!(decode_hex(&encode_hex(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        let good = [b'a'; 64];
        assert_eq!(decode_hex(&good), Some([0xaa; 32]));
        for (at, wrong) in (0..64)
            .flat_map(|at| [b'A', b'g', b'G', b'/', b':', b' ', 0, 0xff].map(|wrong| (at, wrong)))
        {
            let mut digits = good;
            digits[at] = wrong;
            assert_eq!(decode_hex(&digits), None, "{wrong} at {at}");
        }
        assert_eq!(decode_hex(&good[..63]), None);
        assert_eq!(decode_hex(&[b'a'; 65]), None);
        assert_eq!(decode_hex(b""), None);
    }
}
