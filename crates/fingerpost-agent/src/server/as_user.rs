//! Whether a user is answered as everybody is.
//!
//! The server may put users into namespaces, and let some of them read what others may not. So
//! what one is answered is told to that user alone, until an answer says that it is of the
//! history that the agent [follows](crate::following) as nobody: what nobody in particular may
//! read there, everybody may.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_hashequiv_client::http::DeletionEpoch;

use crate::knowledge::Whose;

/// Between a namespace and the user whose answers are kept apart in it. No namespace has it.
const APART: char = '\u{1f}';

/// The user whom a server is asked as.
pub(super) struct AsUser {
    whose: Whose,
    username: String,
    is_like_everybody: AtomicBool,
}

impl AsUser {
    /// One of whom nothing is known yet.
    pub(super) const fn new(number: u32, username: String) -> Self {
        Self {
            whose: Whose(number),
            username,
            is_like_everybody: AtomicBool::new(false),
        }
    }

    fn is_like_everybody(&self) -> bool {
        self.is_like_everybody.load(Ordering::Relaxed)
    }

    pub(super) fn whose(&self) -> Whose {
        match self.is_like_everybody() {
            true => Whose::EVERYBODYS,
            false => self.whose,
        }
    }

    /// An answer is `of` an epoch, and those that everybody gets are of the history of `heard`.
    pub(super) fn learn(&self, of: Option<DeletionEpoch>, heard: Option<DeletionEpoch>) {
        let history = |epoch: Option<DeletionEpoch>| epoch.map(|epoch| epoch.history);
        let is_same = of.is_some() && history(of) == history(heard);
        self.is_like_everybody.store(is_same, Ordering::Relaxed);
    }

    pub(super) fn scope<'a>(&self, namespace: &'a str) -> Cow<'a, str> {
        match self.is_like_everybody() {
            true => Cow::Borrowed(namespace),
            false => Cow::Owned(format!("{namespace}{APART}{}", self.username)),
        }
    }
}

/// The namespace of a [scope](super::Server::scope), and whether it is everybody's.
pub(crate) fn namespace_of(scope: &str) -> (&str, bool) {
    match scope.split_once(APART) {
        Some((namespace, _)) => (namespace, false),
        None => (scope, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_like_everybody_once_an_answer_is_of_what_everybody_reads() {
        let epoch = |history: u8, epoch| {
            let history = [history; 16];
            Some(DeletionEpoch { history, epoch })
        };
        let user = AsUser::new(7, "ann".to_owned());
        let check = |expect: bool| {
            let scope = user.scope("main");
            assert_eq!(namespace_of(&scope), ("main", expect));
            assert_eq!(user.whose() == Whose::EVERYBODYS, expect);
        };
        check(false);
        for (of, heard, expect) in [
            (epoch(1, 5), epoch(1, 3), true),
            (epoch(2, 3), epoch(1, 3), false),
            (None, None, false),
            (epoch(1, 5), None, false),
            (epoch(1, 5), epoch(1, 9), true),
            (None, epoch(1, 9), false),
        ] {
            user.learn(of, heard);
            check(expect);
        }
    }
}
