//! The group that may use the socket.

use std::fs;

use fingerpost_program::exit::{Exit, OrExit as _, failure};

/// The number of a group that is given by its name or number. Names are those of
/// `/etc/group`: a directory service may be far, and asking it could block.
pub(super) fn number(group: &str) -> anyhow::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let text = fs::read_to_string(FILE).or_exit(Exit::Io, format!("cannot read {FILE}"))?;
    find(&text, group).ok_or_else(|| {
        let why = format!("there is no group {group:?} in {FILE}: give its number, or make it");
        failure(Exit::Configuration, why)
    })
}

/// Lines are `NAME:PASSWORD:NUMBER:MEMBERS`.
fn find(text: &str, group: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(group);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    })
}

const FILE: &str = "/etc/group";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_name() {
        let text = "root:x:0:\nbuilders:x:1005:ann,bob\nbad\n";
        assert_eq!(find(text, "builders"), Some(1005));
        assert_eq!(find(text, "build"), None);
        assert_eq!(find(text, "bad"), None);
    }

    #[test]
    fn a_number_is_its_own_name() {
        assert_eq!(number("4711").unwrap(), 4711);
        let error = number("no such group").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Configuration);
    }
}
