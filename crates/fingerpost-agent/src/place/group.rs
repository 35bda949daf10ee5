//! The group that may use the socket.

use fingerpost_program::exit::{Exit, failure};

use crate::names::{GROUPS, Names};

/// The number of a group that is given by its name or number.
pub(super) fn number(group: &str) -> anyhow::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    Names::of_host().group(group).ok_or_else(|| {
        let why = format!("there is no group {group:?} in {GROUPS}: give its number, or make it");
        failure(Exit::Configuration, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_own_name() {
        assert_eq!(number("4711").unwrap(), 4711);
        let error = number("no such group").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Configuration);
    }
}
