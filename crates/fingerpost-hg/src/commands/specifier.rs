//! Revision specifiers: which changesets an answer is about.

use fingerpost_core::Failure;
use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::{Map, Value};

use super::arguments;
use super::failures::unknown_changeset;
use crate::{Rev, RevSet, Snapshot};

/// One way to name changesets.
#[derive(Debug, PartialEq, Eq)]
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
    let specifiers = value
        .as_array()
        .ok_or_else(|| refused("revisions must be defined as an array"))?;
    if specifiers.len() > SPECIFIERS_MAX {
        let text = format!("there can be at most {SPECIFIERS_MAX} revision specifiers");
        return Err(refused(&text));
    }
    let mut revs = Vec::new();
    let mut seen = RevSet::new(snapshot.len());
    for specifier in specifiers {
        for rev in Specifier::parse(specifier)?.revs(snapshot)? {
            if seen.insert(rev) {
                revs.push(rev);
            }
        }
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

    fn revs(&self, snapshot: &Snapshot) -> Result<Vec<Rev>, Failure> {
        match self {
            Self::Explicit(nodes) => known(nodes, snapshot),
            Self::ExplicitDepth { nodes, depth } => {
                let heads = known(nodes, snapshot)?;
                Ok(snapshot.ancestors_within(&heads, *depth))
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
/// Each can walk the whole graph; stock clients send one.
const SPECIFIERS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::World;

    /// What a range up to no heads is in a repository.
    fn up_to_nothing(world: &World) -> Result<Vec<Rev>, Failure> {
        let snapshot = world.open().snapshot().unwrap();
        let (roots, heads) = (Vec::new(), Vec::new());
        Specifier::DagRange { roots, heads }.revs(&snapshot)
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
}
