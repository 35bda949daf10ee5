//! How much is logged, and in which form.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How much is logged. The reference's names, in any case, and `trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what an operator should look at.
    Warning,
    /// And what happens seldom.
    Info,
    /// And what explains a single connection.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const NAMES: [(&'static str, Self); 6] = [
        ("error", Self::Error),
        ("warning", Self::Warning),
        ("warn", Self::Warning),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let known = Self::NAMES.iter().find(|(name, _)| *name == lower);
        known.map(|(_, level)| *level).ok_or_else(|| {
            format!("{text:?} is no log level; known are error, warning, info, debug, trace")
        })
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl Serialize for LogLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, _) = Self::NAMES
            .iter()
            .find(|(_, level)| level == self)
            .expect("every level has a name");
        serializer.serialize_str(name)
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "{text:?} is no log format; known are auto, text, json"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(text: &str) -> Result<LogLevel, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn log_levels_are_the_reference_names_in_any_case() {
        assert_eq!(level("WARNING").unwrap(), LogLevel::Warning);
        assert_eq!(level("Debug").unwrap(), LogLevel::Debug);
        assert!(
            level("loud")
                .unwrap_err()
                .to_string()
                .contains("\"loud\" is no log level")
        );
    }
}
