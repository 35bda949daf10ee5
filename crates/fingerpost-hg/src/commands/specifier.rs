//! Revision specifiers: which changesets an answer is about.

use fingerpost_core::Failure;
use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::{Map, Value};
use hashbrown::HashSet;

use super::arguments;
use super::failures::unknown_changeset;
use crate::{Rev, RevSet, Snapshot};

/// One way to name changesets.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Specifier {
    /// These, in this order.
    Explicit(Vec<Node>),
    /// The ancestors of these within fewer than `depth` generations.
    ExplicitDepth { nodes: Vec<Node>, depth: u64 },
    /// The ancestors of `heads` that are no ancestors of `roots`.
    DagRange { roots: Vec<Node>, heads: Vec<Node> },
}

/// The changesets that the argument `revisions` names: the union of its
/// specifiers in their order, each changeset where it comes first.
///
/// Every node is looked up here, before anything is answered; only unknown
/// roots of a range are passed over, since a client may know more than we do.
pub(crate) fn resolve(value: &Value, snapshot: &Snapshot) -> Result<Vec<Rev>, Failure> {
    // One walk over everything is always allowed.
    let walked_max = WALKED_MAX.max(WALKS_MAX * snapshot.len());
    resolve_within(value, snapshot, walked_max)
}

/// Whether every specifier lists its changesets.
pub(crate) fn are_explicit(value: &Value) -> bool {
    let is_explicit = |specifier: &Value| {
        let kind = specifier.as_map().and_then(|map| map.get(b"type"));
        kind.and_then(Value::as_bytes) == Some(b"changesetexplicit")
    };
    value
        .as_array()
        .is_some_and(|all| all.iter().all(is_explicit))
}

fn resolve_within(
    value: &Value,
    snapshot: &Snapshot,
    walked_max: usize,
) -> Result<Vec<Rev>, Failure> {
    let specifiers = value
        .as_array()
        .ok_or_else(|| refused("revisions must be defined as an array"))?;
    if specifiers.len() > SPECIFIERS_MAX {
        let text = format!("there can be at most {SPECIFIERS_MAX} revision specifiers");
        return Err(refused(&text));
    }
    let mut revs = Vec::new();
    let mut seen = RevSet::new(snapshot.len());
    let mut different = HashSet::new();
    let mut walked = 0;
    for specifier in specifiers {
        let specifier = Specifier::parse(specifier)?;
        if different.contains(&specifier) {
            continue;
        }
        let (found, of_it) = specifier.revs(snapshot)?;
        walked += of_it;
        if walked > walked_max {
            return Err(refused(
                "the revision specifiers together walk over too many changesets; \
                 ask for fewer ranges at once",
            ));
        }
        revs.extend(found.into_iter().filter(|rev| seen.insert(*rev)));
        different.insert(specifier);
    }
    Ok(revs)
}

impl Specifier {
    /// Reads one specifier; no node is looked up.
    pub(crate) fn parse(value: &Value) -> Result<Self, Failure> {
        let map = value
            .as_map()
            .ok_or_else(|| refused("revision specifier must be a map"))?;
        let kind = map
            .get(b"type")
            .ok_or_else(|| refused("type key not present in revision specifier"))?
            .as_bytes()
            .unwrap_or_default();
        match kind {
            b"changesetexplicit" => {
                let nodes = list(map, "nodes")?.ok_or_else(|| {
                    refused("nodes key not present in changesetexplicit revision specifier")
                })?;
                Ok(Self::Explicit(nodes))
            }
            b"changesetexplicitdepth" => {
                let kind = "changesetexplicitdepth";
                let nodes = list(map, "nodes")?.ok_or_else(|| missing("nodes", kind))?;
                let depth = map.get(b"depth").ok_or_else(|| missing("depth", kind))?;
                let depth = depth
                    .as_u64()
                    .ok_or_else(|| refused("depth must be a number of generations"))?;
                Ok(Self::ExplicitDepth { nodes, depth })
            }
            b"changesetdagrange" => {
                let kind = "changesetdagrange";
                let roots = list(map, "roots")?.ok_or_else(|| missing("roots", kind))?;
                let heads = list(map, "heads")?.ok_or_else(|| missing("heads", kind))?;
                Ok(Self::DagRange { roots, heads })
            }
            unknown => Err(Failure::refused_with(
                BAD,
                "unknown revision specifier type: %s",
                vec![unknown.to_vec()],
            )),
        }
    }

    /// The changesets, and how many were walked over to find them.
    fn revs(&self, snapshot: &Snapshot) -> Result<(Vec<Rev>, usize), Failure> {
        match self {
            Self::Explicit(nodes) => known(nodes, snapshot).map(|revs| (revs, 0)),
            Self::ExplicitDepth { nodes, depth } => {
                let heads = known(nodes, snapshot)?;
                let revs = snapshot.ancestors_within(&heads, *depth);
                let walked = revs.len();
                Ok((revs, walked))
            }
            // A client that found no heads asks for the changesets up to none of them.
            Self::DagRange { heads, .. } if heads.is_empty() && snapshot.tip().is_some() => {
                Err(refused("heads key in changesetdagrange cannot be empty"))
            }
            Self::DagRange { roots, heads } => {
                let heads = known(heads, snapshot)?;
                let roots: Vec<_> = roots.iter().filter_map(|root| snapshot.rev(root)).collect();
                Ok(snapshot.only(&heads, &roots))
            }
        }
    }
}

/// Looks every node up; the null node names nothing and is passed over.
fn known(nodes: &[Node], snapshot: &Snapshot) -> Result<Vec<Rev>, Failure> {
    let nodes = nodes.iter().filter(|node| !node.is_null());
    nodes
        .map(|node| snapshot.rev(node).ok_or_else(|| unknown_changeset(node)))
        .collect()
}

fn list(map: &Map, key: &'static str) -> Result<Option<Vec<Node>>, Failure> {
    let Some(value) = map.get(key.as_bytes()) else {
        return Ok(None);
    };
    let nodes = arguments::members(value).and_then(arguments::nodes);
    let nodes = nodes.ok_or_else(|| refused(&format!("{key} must be a list of nodes")))?;
    Ok(Some(nodes))
}

fn missing(key: &'static str, kind: &str) -> Failure {
    let text = format!("%s key not present in {kind} revision specifier");
    Failure::refused_with(BAD, text, vec![key.into()])
}

fn refused(text: &str) -> Failure {
    Failure::refused(BAD, text)
}

const BAD: &str = "bad-revisions";
/// Stock clients send one.
const SPECIFIERS_MAX: usize = 1000;
/// Each of them can walk over the whole graph. All together walk over so many
/// changesets at most, or over all that there are so many times: some tenths
/// of a second.
const WALKED_MAX: usize = 10_000_000;
const WALKS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::World;

    /// What a range up to no heads is in a repository.
    fn up_to_nothing(world: &World) -> Result<Vec<Rev>, Failure> {
        let snapshot = world.open().snapshot().unwrap();
        let (roots, heads) = (Vec::new(), Vec::new());
        let found = Specifier::DagRange { roots, heads }.revs(&snapshot);
        found.map(|(revs, _)| revs)
    }

    #[test]
    fn a_range_needs_heads_unless_nothing_is_served() {
        let mut world = World::new();
        assert_eq!(up_to_nothing(&world).unwrap(), []);
        world.commit(None, "secret");
        world.phases(&[(2, 0)]);
        assert_eq!(up_to_nothing(&world).unwrap(), []);
        world.phases(&[(1, 0)]);
        assert!(up_to_nothing(&world).is_err());
    }

    #[test]
    fn ranges_together_walk_over_so_many_changesets() {
        let mut world = World::new();
        world.commit(None, "0");
        for parent in 0..3 {
            world.commit(Some(parent), "next");
        }
        let snapshot = world.open().snapshot().unwrap();
        let up_to = |at: usize| {
            let head = Value::from(world.node(at).as_bytes().to_vec());
            Value::map([
                (b"type".into(), b"changesetdagrange".into()),
                (b"roots".into(), Value::Array(Vec::new())),
                (b"heads".into(), Value::Array(vec![head])),
            ])
        };
        let resolved = |heads: &[usize]| {
            let specifiers = heads.iter().map(|head| up_to(*head)).collect();
            resolve_within(&Value::Array(specifiers), &snapshot, 5)
        };
        // Equal ones are one.
        assert_eq!(resolved(&[3, 3, 0, 3]).unwrap().len(), 4);
        assert!(resolved(&[3, 0, 1]).is_err());
    }
}
