//! The claims that every token must have.

use serde_json::{Map, Value};

use super::Refusal;

/// Seconds that a claim of time may have: the year 9999.
const SECONDS_MAX: i64 = 253_402_300_799;

/// The issuer that the token claims to be of.
pub(super) fn issuer(claims: &Map<String, Value>) -> Result<&str, Refusal> {
    claims
        .get("iss")
        .and_then(Value::as_str)
        .ok_or(Refusal::Issuer)
}

/// Whether one of `accepted` is the audience, or in the list of them.
pub(super) fn check_audience(
    claims: &Map<String, Value>,
    accepted: &[String],
) -> Result<(), Refusal> {
    let is_ours = |audience: &Value| {
        audience
            .as_str()
            .is_some_and(|audience| accepted.iter().any(|ours| ours == audience))
    };
    let found = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(is_ours),
        Some(audience) => is_ours(audience),
        None => false,
    };
    found.then_some(()).ok_or(Refusal::Audience)
}

/// What is allowed of a token's times, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeRules {
    pub(super) leeway: i64,
    pub(super) lifetime_max: i64,
}

/// Checks `exp`, `nbf` and `iat` against `now`; all are seconds since 1970.
/// Returns when the token ends, leeway included.
pub(super) fn check_times(
    claims: &Map<String, Value>,
    now: i64,
    rules: TimeRules,
) -> Result<i64, Refusal> {
    let expires = seconds(claims, "exp")?.ok_or(Refusal::MissingClaim("exp"))?;
    let issued = seconds(claims, "iat")?.ok_or(Refusal::MissingClaim("iat"))?;
    let not_before = seconds(claims, "nbf")?;
    let end = expires.saturating_add(rules.leeway);
    let latest = now.saturating_add(rules.leeway);
    if end <= now {
        return Err(Refusal::Expired);
    }
    if not_before.is_some_and(|not_before| not_before > latest) {
        return Err(Refusal::NotYetValid);
    }
    if issued > latest {
        return Err(Refusal::IssuedLater);
    }
    if expires.saturating_sub(issued) > rules.lifetime_max {
        return Err(Refusal::LivesTooLong);
    }
    Ok(end)
}

/// A claim of time. Fractions are allowed by RFC 7519 and cut off.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Refusal> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let bad = Refusal::BadClaim(name);
    let whole = match (value.as_i64(), value.as_f64()) {
        (Some(whole), _) => whole,
        #[expect(clippy::cast_possible_truncation, reason = "it is in the range")]
        (None, Some(float)) if (0.0..=SECONDS_MAX as f64).contains(&float) => float as i64,
        _ => return Err(bad),
    };
    (0..=SECONDS_MAX)
        .contains(&whole)
        .then_some(Some(whole))
        .ok_or(bad)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: TimeRules = TimeRules {
        leeway: 10,
        lifetime_max: 100,
    };

    fn check(claims: &Value, expected: Result<i64, Refusal>) {
        let claims = claims.as_object().unwrap();
        assert_eq!(check_times(claims, 1000, RULES), expected, "{claims:?}");
    }

    #[test]
    fn times_have_leeway_and_no_more() {
        check(&json!({"exp": 1050, "iat": 990}), Ok(1060));
        check(&json!({"exp": 991, "iat": 991}), Ok(1001));
        check(&json!({"exp": 990, "iat": 990}), Err(Refusal::Expired));
        check(&json!({"exp": 1050, "iat": 990, "nbf": 1010}), Ok(1060));
        check(
            &json!({"exp": 1050, "iat": 990, "nbf": 1011}),
            Err(Refusal::NotYetValid),
        );
        check(
            &json!({"exp": 1050, "iat": 1011}),
            Err(Refusal::IssuedLater),
        );
        check(
            &json!({"exp": 1091, "iat": 990}),
            Err(Refusal::LivesTooLong),
        );
    }

    #[test]
    fn times_are_numbers_of_this_world() {
        check(&json!({"exp": 1050.9, "iat": 990.5}), Ok(1060));
        check(&json!({"iat": 990}), Err(Refusal::MissingClaim("exp")));
        check(&json!({"exp": 1050}), Err(Refusal::MissingClaim("iat")));
        for bad in [
            json!("1050"),
            json!(null),
            json!(-1),
            json!(1e300),
            json!(u64::MAX),
        ] {
            check(
                &json!({"exp": bad, "iat": 1}),
                Err(Refusal::BadClaim("exp")),
            );
            check(
                &json!({"exp": 1050, "iat": 990, "nbf": bad}),
                Err(Refusal::BadClaim("nbf")),
            );
        }
    }

    #[test]
    fn one_audience_of_ours_is_enough_and_needed() {
        let accepted = ["a".to_owned(), "b".to_owned()];
        let check = |audience: Value, expected: bool| {
            let claims = json!({ "aud": audience });
            let found = check_audience(claims.as_object().unwrap(), &accepted);
            assert_eq!(found.is_ok(), expected, "{claims}");
        };
        check(json!("a"), true);
        check(json!(["x", "b"]), true);
        check(json!("ab"), false);
        check(json!([]), false);
        check(json!(["x", ["a"]]), false);
        check(json!({"a": "a"}), false);
        check(json!(null), false);
    }
}
