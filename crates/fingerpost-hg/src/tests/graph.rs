//! Small graphs of changesets.

use proptest::prelude::*;

use crate::{Graph, Rev};

/// A graph written down as its list of parents.
#[derive(Clone, Debug)]
pub(crate) struct ParentList(pub(crate) Vec<[Option<usize>; 2]>);

impl Graph for ParentList {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn parents(&self, rev: Rev) -> [Option<Rev>; 2] {
        let parents = self.0.get(rev.index()).copied().unwrap_or_default();
        parents.map(|parent| parent.and_then(Rev::from_index))
    }
}

pub(crate) fn rev(index: usize) -> Rev {
    Rev::from_index(index).unwrap()
}

/// Any graph of up to 24 changesets: dense enough in merges and roots that
/// every shape of a small history occurs.
pub(crate) fn any_graph() -> impl Strategy<Value = ParentList> {
    let parents = prop::collection::vec((any::<u16>(), any::<u16>()), 0..24);
    parents.prop_map(|choices| {
        let parent = |choice: u16, below: usize| {
            // Near parents are likelier, as in real histories.
            let back = usize::from(choice % 5) + 1;
            below
                .checked_sub(back)
                .filter(|_| !choice.is_multiple_of(7))
        };
        let list = choices.into_iter().enumerate();
        ParentList(
            list.map(|(at, (p1, p2))| {
                let p1 = parent(p1, at);
                let p2 = parent(p2, at).filter(|_| p2 % 3 == 0);
                [p1, p2.filter(|p2| p1.is_some() && Some(*p2) != p1)]
            })
            .collect(),
        )
    })
}
