//! Numbers as text.

/// A float as SQLite stores it in a text column: 15 significant digits, always
/// with a point, an exponent of at least two digits from `1e15` on and below
/// `1e-4`. Minus zero is `0.0`.
pub(super) fn sqlite_text(value: f64) -> String {
    if value == 0.0 {
        return "0.0".to_owned();
    }
    layout(&format!("{value:.14e}"), 15, true)
}

/// A float as Python's `str` shows it: the shortest digits that read back, an
/// exponent from `1e16` on and below `1e-4`.
pub(super) fn python_text(value: f64) -> String {
    layout(&format!("{value:e}"), 16, false)
}

/// Lays out Rust's `d.ddde±x` with an exponent only when `x < -4` or
/// `x >= fixed_below`; `point` asks for a `.0` before an exponent as well.
fn layout(scientific: &str, fixed_below: i32, point: bool) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        // Infinities and NaN have no exponent; JSON has neither of them.
        return scientific.to_owned();
    };
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let exponent: i32 = exponent
        .parse()
        .expect("the formatter writes a small integer");
    let digits: String = mantissa.chars().filter(|&digit| digit != '.').collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    if (-4..fixed_below).contains(&exponent) {
        return format!("{sign}{}", fixed(digits, exponent));
    }
    let (first, rest) = digits.split_at(1);
    let fraction = match (rest, point) {
        ("", true) => ".0".to_owned(),
        ("", false) => String::new(),
        (rest, _) => format!(".{rest}"),
    };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{sign}{first}{fraction}e{exponent_sign}{:02}",
        exponent.abs()
    )
}

/// Digits with the point after the first one moved right by `exponent`.
fn fixed(digits: &str, exponent: i32) -> String {
    let Ok(exponent) = usize::try_from(exponent) else {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("0.{zeros}{digits}");
    };
    match digits.split_at_checked(exponent + 1) {
        Some((whole, "")) => format!("{whole}.0"),
        Some((whole, fraction)) => format!("{whole}.{fraction}"),
        None => format!("{digits}{}.0", "0".repeat(exponent + 1 - digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs printed by SQLite 3.40 for values inserted into a TEXT column.
    #[test]
    fn sqlite_writes_fifteen_digits() {
        for (value, expected) in [
            (1.5, "1.5"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (1e14, "100000000000000.0"),
            (1e15, "1.0e+15"),
            (1e20, "1.0e+20"),
            (1e-4, "0.0001"),
            (1e-5, "1.0e-05"),
            (1.5e-7, "1.5e-07"),
            (123_456_789.123_456_79, "123456789.123457"),
            (0.1 + 0.2, "0.3"),
            (-0.0, "0.0"),
            (1e300, "1.0e+300"),
            (2.0 / 3.0, "0.666666666666667"),
            (123_456_789_012_345_680.0, "1.23456789012346e+17"),
            (999_999_999_999_999.9, "1.0e+15"),
            (99_999_999_999_999.95, "100000000000000.0"),
            (5e-324, "4.94065645841247e-324"),
        ] {
            assert_eq!(sqlite_text(value), expected);
        }
    }

    /// Pairs printed by Python 3.11's `str`.
    #[test]
    fn python_writes_the_shortest_digits() {
        for (value, expected) in [
            (1.5, "1.5"),
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e16, "1.25e+16"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(python_text(value), expected);
        }
    }
}
