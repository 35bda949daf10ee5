//! A repository that was followed through its changes is the one that is
//! opened after them.

use proptest::prelude::*;

use crate::tests::world::{Commit, World};
use crate::{Repository, Rev, Snapshot};

#[derive(Clone, Debug)]
enum Step {
    /// A child of a changeset so far back, or a root.
    Commit(u8, bool),
    Phases(Vec<(u8, u8)>),
    Bookmark(u8),
    Prune(u8),
    /// Keeps so many changesets, and writes the rest again in another order.
    Strip(u8),
    Forget,
}

fn any_step() -> impl Strategy<Value = Step> {
    let phase = prop::sample::select(vec![1_u8, 1, 2, 96]);
    prop_oneof![
        4 => (0_u8..6, any::<bool>()).prop_map(|(back, branch)| Step::Commit(back, branch)),
        2 => prop::collection::vec((phase, any::<u8>()), 0..3).prop_map(Step::Phases),
        1 => any::<u8>().prop_map(Step::Bookmark),
        1 => any::<u8>().prop_map(Step::Prune),
        1 => any::<u8>().prop_map(Step::Strip),
        1 => Just(Step::Forget),
    ]
}

/// A world and the changesets in it, to be written again.
struct Steps {
    world: World,
    specs: Vec<(Option<usize>, bool, String)>,
    count: usize,
}

impl Steps {
    fn add(&mut self, parent: Option<usize>, branch: bool, message: String) {
        self.world.add(Commit {
            parents: [parent, None],
            files: &[("f", Some(&message))],
            extra: if branch { "branch:b" } else { "" },
            message: &message,
        });
        self.specs.push((parent, branch, message));
    }

    fn take(&mut self, step: &Step, repository: &Repository) {
        let len = self.specs.len();
        let some = |choice: u8| (len > 0).then(|| usize::from(choice) % len);
        match step {
            Step::Commit(back, branch) => {
                self.count += 1;
                let parent = len.checked_sub(usize::from(*back) + 1);
                self.add(parent, *branch, format!("m{}", self.count));
                self.world.write();
            }
            Step::Phases(roots) => {
                let known = roots
                    .iter()
                    .filter_map(|(phase, at)| Some((*phase, some(*at)?)));
                self.world.phases(&known.collect::<Vec<_>>());
            }
            Step::Bookmark(at) => {
                let marks: Vec<_> = some(*at).map(|at| ("mark", at)).into_iter().collect();
                self.world.bookmarks(&marks);
            }
            Step::Prune(at) => some(*at).into_iter().for_each(|at| self.world.prune(at)),
            Step::Strip(keep) => {
                let keep = some(*keep).unwrap_or(0);
                let specs = std::mem::take(&mut self.specs);
                self.world.clear_changelog();
                for (parent, branch, message) in &specs[..keep] {
                    self.add(*parent, *branch, message.clone());
                }
                // What does not descend from the first one stripped comes back.
                let mut numbers: Vec<Option<usize>> = (0..keep).map(Some).collect();
                for (at, (parent, branch, message)) in specs.iter().enumerate().skip(keep) {
                    let parent = parent.map(|parent| numbers[parent]);
                    let stays = at > keep && parent != Some(None);
                    numbers.push(stays.then_some(self.specs.len()));
                    if stays {
                        self.add(parent.flatten(), *branch, message.clone());
                    }
                }
                self.world.write();
            }
            Step::Forget => repository.forget_caches(),
        }
    }
}

/// Everything that a client can see.
fn answers(snapshot: &Snapshot) -> impl PartialEq + std::fmt::Debug + use<> {
    let served: Vec<_> = snapshot.served().map(|rev| snapshot.node(rev)).collect();
    let phases: Vec<_> = snapshot
        .served()
        .map(|rev| snapshot.raw_phase(rev))
        .collect();
    let heads = [false, true].map(|public| snapshot.heads(public).to_vec());
    let keys = ["bookmarks", "phases"].map(|name| snapshot.listkeys(name.as_bytes()));
    let found: Vec<_> = served.iter().map(|node| snapshot.rev(node)).collect();
    let manifests = snapshot.manifests().unwrap();
    let introducers: Vec<_> = manifests
        .revs()
        .map(|rev: Rev| {
            let name = crate::RevlogName::Manifest;
            snapshot.introducer(name, &manifests, rev).unwrap()
        })
        .collect();
    (
        (served, phases, heads, keys, found, introducers),
        snapshot.branchmap().unwrap(),
        snapshot.state_token(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn following_is_opening(steps in prop::collection::vec(any_step(), 1..20)) {
        let mut all = Steps { world: World::new(), specs: Vec::new(), count: 0 };
        all.world.write();
        let repository = all.world.open();
        for step in &steps {
            all.take(step, &repository);
            let followed = repository.snapshot().unwrap();
            let opened = all.world.open().snapshot().unwrap();
            prop_assert_eq!(answers(&followed), answers(&opened));
        }
    }
}
