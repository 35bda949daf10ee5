//! Names, and the patterns that they are compared with.

use crate::cache::MethodId;
use crate::namespace::NamespaceId;

/// The names that a policy's patterns are compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The namespaces that this process serves.
    pub namespaces: Vec<(NamespaceId, String)>,
    /// The methods.
    pub methods: Vec<(MethodId, String)>,
    /// The marks of collections.
    pub marks: Vec<(i64, String)>,
}

/// Whether `text` is what `pattern` says, in which `*` is any text and `?` any byte.
/// Takes the product of their lengths at most.
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    // Where the last star is, and how much of the text it stands for.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_any_text() {
        let check = |pattern, text, wanted| {
            assert_eq!(glob_matches(pattern, text), wanted, "{pattern} {text}");
        };
        check("*", "", true);
        check("*", "anything", true);
        check("oe.sstatesig.*", "oe.sstatesig.OEOuthashBasic", true);
        check("oe.sstatesig.*", "oe.other", false);
        check("r?", "r1", true);
        check("r?", "r", false);
        check("*a*b", "xaybzb", true);
        check("*a*b", "xaybz", false);
        check("exact", "exact", true);
        check("exact", "exactly", false);
        check("", "", true);
        check("", "a", false);
    }
}
