//! A set of revisions as bits.

use crate::Rev;

const WORD_BITS: usize = u64::BITS as usize;

/// A set of revision numbers below a fixed length, one bit each.
///
/// A revision at or beyond the length is never a member; inserting one does
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevSet {
    words: Vec<u64>,
    len: usize,
}

impl RevSet {
    /// The empty set over revisions below `len`.
    pub fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(WORD_BITS)],
            len,
        }
    }

    /// The set of these revisions, over revisions below `len`.
    pub fn from_revs(len: usize, revs: impl IntoIterator<Item = Rev>) -> Self {
        let mut set = Self::new(len);
        for rev in revs {
            set.insert(rev);
        }
        set
    }

    /// The first revision that can be no member.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no revision is a member.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many revisions are members.
    pub fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether `rev` is a member.
    pub fn contains(&self, rev: Rev) -> bool {
        let index = rev.index();
        self.words
            .get(index / WORD_BITS)
            .is_some_and(|word| word >> (index % WORD_BITS) & 1 == 1)
    }

    /// Makes `rev` a member; true when it was none before.
    pub fn insert(&mut self, rev: Rev) -> bool {
        let index = rev.index();
        if index >= self.len {
            return false;
        }
        let Some(word) = self.words.get_mut(index / WORD_BITS) else {
            return false;
        };
        let bit = 1 << (index % WORD_BITS);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Makes `rev` no member; true when it was one before.
    pub fn remove(&mut self, rev: Rev) -> bool {
        let index = rev.index();
        let Some(word) = self.words.get_mut(index / WORD_BITS) else {
            return false;
        };
        let bit = 1 << (index % WORD_BITS);
        let had = *word & bit != 0;
        *word &= !bit;
        had
    }

    /// The smallest member.
    pub fn first(&self) -> Option<Rev> {
        self.iter().next()
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Rev> + '_ {
        self.words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word != 0)
            .flat_map(|(at, word)| {
                let mut left = *word;
                std::iter::from_fn(move || {
                    let bit = left.trailing_zeros();
                    if bit == u64::BITS {
                        return None;
                    }
                    left &= left - 1;
                    Rev::from_index(at * WORD_BITS + bit as usize)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rev(index: usize) -> Rev {
        Rev::from_index(index).unwrap()
    }

    #[test]
    fn a_revision_beyond_the_length_is_no_member() {
        let mut set = RevSet::new(65);
        assert!(!set.insert(rev(65)));
        assert!(!set.insert(rev(100_000)));
        assert!(set.is_empty());
        assert!(set.insert(rev(64)));
        assert!(!set.contains(rev(128)));
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_set(inserted in prop::collection::vec(0_usize..200, 0..60),
                               removed in prop::collection::vec(0_usize..200, 0..60)) {
            let mut set = RevSet::new(200);
            let mut model = std::collections::BTreeSet::new();
            for index in inserted {
                prop_assert_eq!(set.insert(rev(index)), model.insert(rev(index)));
            }
            for index in removed {
                prop_assert_eq!(set.remove(rev(index)), model.remove(&rev(index)));
            }
            prop_assert_eq!(set.count(), model.len());
            prop_assert_eq!(set.first(), model.first().copied());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
