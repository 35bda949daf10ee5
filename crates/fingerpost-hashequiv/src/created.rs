//! When a row of the relation O was stored, as far as that was told.

use fingerpost_core::Timestamp;

/// The time of a row of the relation O: microseconds, or the text that another
/// program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    At(Timestamp),
    Text(String),
    Never,
}

impl Created {
    /// Takes a time that an upstream or an older server wrote. A text that we
    /// would write in the same way is kept as a number.
    pub(crate) fn from_text(text: Option<&str>) -> Self {
        let Some(text) = text else {
            return Self::Never;
        };
        match Timestamp::from_python_iso(text) {
            Some(moment) => Self::At(moment),
            None => Self::Text(text.to_owned()),
        }
    }

    /// The text that clients see.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::At(moment) => Some(moment.to_python_iso()),
            Self::Text(text) => Some(text),
            Self::Never => None,
        }
    }

    /// The moment, to a day where another program wrote it; `None` if it is not known.
    pub(crate) fn about(&self) -> Option<Timestamp> {
        match self {
            Self::At(moment) => Some(*moment),
            Self::Text(text) => {
                let date = text.get(..10)?;
                Timestamp::from_python_iso(&format!("{date}T00:00:00+00:00"))
            }
            Self::Never => None,
        }
    }

    /// Whether the row is older than `moment`. A row without a time never is,
    /// as in the reference.
    pub(crate) fn is_before(&self, moment: Timestamp) -> bool {
        match self {
            Self::At(created) => *created < moment,
            // Texts of other forms are "YYYY-MM-DD HH:MM:SS[.ffffff]" in the
            // other server's local time: good to a day, which is what an age
            // that anybody asks for is about.
            Self::Text(text) => text.replace(' ', "T") < moment.to_python_iso(),
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_come_back_the_same_become_numbers() {
        for text in [
            "2026-11-22T04:41:07.123456+00:00",
            "2026-11-22T04:41:07+00:00",
        ] {
            assert!(
                matches!(Created::from_text(Some(text)), Created::At(_)),
                "{text}"
            );
            assert_eq!(
                Created::from_text(Some(text)).into_text().as_deref(),
                Some(text)
            );
        }
        for text in [
            "2024-05-01 12:30:00.123456",
            "2026-11-22T04:41:07.000000+00:00",
            "2026-11-22T04:41:07.12+00:00",
            "2026-11-22T04:41:07+02:00",
            "yesterday",
            "",
        ] {
            assert_eq!(
                Created::from_text(Some(text)),
                Created::Text(text.to_owned())
            );
        }
    }

    #[test]
    fn ages_compare_across_forms() {
        let noon = Timestamp::from_python_iso("2024-05-01T12:00:00+00:00").unwrap();
        assert!(Created::Text("2024-04-30 23:00:00.5".to_owned()).is_before(noon));
        assert!(!Created::Text("2024-05-02 00:00:00".to_owned()).is_before(noon));
        assert!(!Created::Never.is_before(noon));
        assert!(!Created::At(noon).is_before(noon));
        let text = |text: &str| Created::Text(text.to_owned()).about();
        assert_eq!(
            text("2024-05-01 12:30:00.123456").map(Timestamp::day),
            Some(noon.day())
        );
        assert_eq!(text("yesterday, some time"), None);
    }
}
