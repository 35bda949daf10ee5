//! Whether both are the same.

use super::catching_up::Pair;
use super::{CopyError, OutputCopy};
use crate::namespace::Chain;
use crate::store::Store;

/// Rows of each namespace whose content is compared.
const SAMPLES: u64 = 500;

/// Compares counts and the content of samples; returns how many those were.
pub(super) async fn verify(
    from: &dyn Store,
    into: &dyn Store,
    names: &[String],
    (from_chains, into_chains): (&[Chain], &[Chain]),
) -> Result<u64, CopyError> {
    let mut sampled = 0;
    for ((name, from_at), into_at) in names.iter().zip(from_chains).zip(into_chains) {
        let pair = Pair {
            name,
            from,
            into,
            from_at: from_at.own(),
            into_at: into_at.own(),
        };
        sampled += verify_namespace(&pair, into_at).await?;
    }
    Ok(sampled)
}

async fn verify_namespace(pair: &Pair<'_>, into_chain: &Chain) -> Result<u64, CopyError> {
    let differs = |what: String| CopyError::Differs {
        namespace: pair.name.to_owned(),
        what,
    };
    let (there, here) = pair.counts().await?;
    let counts = [
        ("mappings", there.mappings, here.mappings),
        ("outputs", there.outputs, here.outputs),
        ("signatures", there.signatures, here.signatures),
    ];
    for (what, there, here) in counts {
        if there != here {
            return Err(differs(format!("{there} {what} became {here}")));
        }
    }
    let newest = pair.from.newest_output(pair.from_at).await;
    let newest = newest.map_err(CopyError::From)?;
    let step = (newest / SAMPLES as i64).max(1);
    let (mut after, mut sampled) = (0, 0);
    while after < newest {
        let page = pair.from.output_copies(pair.from_at, after, 1).await;
        let Some(copy) = page.map_err(CopyError::From)?.rows.pop() else {
            break;
        };
        sampled += 1;
        after = (after + step).max(copy.row.id);
        if let Some(what) = difference(pair, into_chain, &copy).await? {
            let outhash = copy.row.outhash.to_text();
            return Err(differs(format!("the {what} of the output {outhash}")));
        }
    }
    Ok(sampled)
}

/// What of an output and its task is not the same in the target.
async fn difference(
    pair: &Pair<'_>,
    into_chain: &Chain,
    copy: &OutputCopy,
) -> Result<Option<&'static str>, CopyError> {
    let key = copy.key();
    let signatures = pair.into.signatures_of(pair.into_at, vec![key.clone()]);
    let signatures = signatures.await.map_err(CopyError::Into)?;
    match signatures.into_iter().next().flatten() {
        None => return Ok(Some("row")),
        Some(signatures) if signatures != copy.signatures => return Ok(Some("signature")),
        Some(_) => {}
    }
    let siginfo = pair.into.siginfo(into_chain, key.clone()).await;
    if siginfo.map_err(CopyError::Into)? != copy.row.siginfo {
        return Ok(Some("siginfo"));
    }
    let there = pair
        .from
        .mapping_copies_of(pair.from_at, vec![key.task.clone()]);
    let here = pair.into.mapping_copies_of(pair.into_at, vec![key.task]);
    let there = there.await.map_err(CopyError::From)?;
    let here = here.await.map_err(CopyError::Into)?;
    let unihash = |rows: &[Option<super::MappingCopy>]| {
        let row = rows.first().cloned().flatten();
        row.map(|row| row.unihash)
    };
    Ok((unihash(&there) != unihash(&here)).then_some("unihash"))
}
