//! What became of a request, in the words of the native door where it has them.

use axum::http::StatusCode;

/// A label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client left before it was known.
    Gone,
    Ok,
    /// There is no such thing.
    Absent,
    Denied,
    Refused,
    BadArgument,
    /// It hit a limit.
    Limited,
    Failed,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Gone,
        Self::Ok,
        Self::Absent,
        Self::Denied,
        Self::Refused,
        Self::BadArgument,
        Self::Limited,
        Self::Failed,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::BadArgument => "bad_argument",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }

    /// The one of this number.
    pub(super) fn numbered(number: u16) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|one| *one as u16 == number)
            .unwrap_or(Self::Failed)
    }

    /// What a status alone says.
    pub(super) const fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            100..=399 => Self::Ok,
            401 | 403 => Self::Denied,
            404 | 410 => Self::Absent,
            408 | 413 | 429 => Self::Limited,
            409 | 412 | 422 => Self::Refused,
            400..=499 => Self::BadArgument,
            _ => Self::Failed,
        }
    }
}
