//! What an answer is good for: the deletions that it knew of.

use std::fmt;
use std::str::FromStr;

/// The header that tells it.
pub(super) const HEADER: &str = "fingerpost-deletion-epoch";

/// Up to which deletion an answer is good, and in which history of the server. On the
/// wire, and as text, `HISTORY/NUMBER` with the history in 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionEpoch {
    /// Identity of the server's data. After a restore it is another one.
    pub history: [u8; 16],
    /// Number of the last deletion, of the namespace.
    pub epoch: u64,
}

/// A text is no [`DeletionEpoch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deletion epoch is 32 lower-case hex digits, a slash and a number")]
pub struct BadEpoch;

/// An answer, and the deletion epoch that it is of; `None` if the server told none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<T> {
    /// The answer.
    pub value: T,
    /// What it knew of.
    pub epoch: Option<DeletionEpoch>,
}

impl DeletionEpoch {
    /// Whether an answer of here is good although everything up to `heard` was deleted.
    pub fn holds(self, heard: Self) -> bool {
        self.history == heard.history && self.epoch >= heard.epoch
    }

    /// What holds for two answers together: the older one. Nothing does if they are of two
    /// histories.
    pub(super) fn of_both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = (one?, other?);
        let older = match one.epoch <= other.epoch {
            true => one,
            false => other,
        };
        (one.history == other.history).then_some(older)
    }
}

impl FromStr for DeletionEpoch {
    type Err = BadEpoch;

    fn from_str(text: &str) -> Result<Self, BadEpoch> {
        let (history, epoch) = text.split_once('/').ok_or(BadEpoch)?;
        let is_digits = |text: &str, digit: fn(u8) -> bool| text.bytes().all(digit);
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if history.len() != 32 || !is_digits(history, is_hex) {
            return Err(BadEpoch);
        }
        if !is_digits(epoch, |byte| byte.is_ascii_digit()) {
            return Err(BadEpoch);
        }
        let history = u128::from_str_radix(history, 16).map_err(|_| BadEpoch)?;
        Ok(Self {
            history: history.to_be_bytes(),
            epoch: epoch.parse().map_err(|_| BadEpoch)?,
        })
    }
}

impl fmt::Display for DeletionEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = u128::from_be_bytes(self.history);
        write!(f, "{history:032x}/{}", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "000102030405060708090a0b0c0d0e0f/77";

    #[test]
    fn an_epoch_is_read_and_shown() {
        let epoch: DeletionEpoch = TEXT.parse().unwrap();
        assert_eq!(epoch.history[..3], [0, 1, 2]);
        assert_eq!(epoch.epoch, 77);
        assert_eq!(epoch.to_string(), TEXT);
        for wrong in [
            "",
            "/",
            "00/1",
            &TEXT[..33],
            &TEXT.replace("77", "+7"),
            &TEXT.to_uppercase(),
        ] {
            assert_eq!(wrong.parse::<DeletionEpoch>(), Err(BadEpoch), "{wrong}");
        }
    }

    #[test]
    fn two_answers_are_as_good_as_the_older_one() {
        let of = |history: u8, epoch| {
            Some(DeletionEpoch {
                history: [history; 16],
                epoch,
            })
        };
        assert_eq!(DeletionEpoch::of_both(of(1, 5), of(1, 3)), of(1, 3));
        assert_eq!(DeletionEpoch::of_both(of(1, 3), of(2, 3)), None);
        assert_eq!(DeletionEpoch::of_both(of(1, 3), None), None);
    }
}
