//! `fingerpost hg verify`: every revision of a repository against its node.

use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_hg::{Limits, Problem, Store, Verification, Verified, VerifyStage, verify};

use crate::exit::{Exit, OrExit, failure};
use crate::progress::Progress;

/// Verify every revision of a repository on disk against its node.
///
/// Changesets, manifests and files are read whole, and the links between them
/// are checked. Exit status 1 when anything is wrong. Nothing is written; what
/// `hg` adds meanwhile may be reported as missing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository.
    #[arg(value_name = "REPO")]
    repository: PathBuf,
    /// Print problems and the summary as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Verifies, with a bar that tells how far it is.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let dot_hg = args.repository.join(".hg");
    if !dot_hg.is_dir() {
        let why = format!("{} is no Mercurial repository", args.repository.display());
        return Err(failure(Exit::Usage, why));
    }
    // A fresh memory: nothing is believed.
    let memory = Arc::new(Verified::new(MEMORY_BYTES));
    let store = Store::open(&dot_hg, None, Limits::default(), memory)
        .or_exit(Exit::BadData, format!("{}", args.repository.display()))?;
    let mut bar: Option<(VerifyStage, Progress)> = None;
    let summary = verify(&store, &mut |told| match told {
        Verification::Progress { stage, done, total } => {
            if bar.as_ref().is_none_or(|(known, _)| *known != stage) {
                if let Some((_, finished)) = bar.take() {
                    finished.finish();
                }
                bar = Some((stage, progress(stage, total)));
            }
            if let Some((_, bar)) = &bar {
                bar.set(done as u64, total as u64);
            }
        }
        Verification::Problem(problem) => print(&problem, args.json),
    });
    if let Some((_, finished)) = bar.take() {
        finished.finish();
    }
    if args.json {
        let summary = serde_json::json!({
            "changesets": summary.changesets, "manifests": summary.manifests,
            "files": summary.files, "file_revisions": summary.file_revisions,
            "censored": summary.censored, "external": summary.external,
            "problems": summary.problems,
        });
        println!("{summary}");
    } else {
        println!(
            "{} changesets, {} manifests, {} revisions of {} files ({} censored, {} stored \
             elsewhere): {} problems",
            summary.changesets,
            summary.manifests,
            summary.file_revisions,
            summary.files,
            summary.censored,
            summary.external,
            summary.problems
        );
    }
    Ok(if summary.problems == 0 {
        Exit::Ok
    } else {
        Exit::Found
    })
}

fn progress(stage: VerifyStage, total: usize) -> Progress {
    let (what, unit) = match stage {
        VerifyStage::Changesets => ("Verifying changesets", "revisions"),
        VerifyStage::Manifests => ("Verifying manifests", "revisions"),
        VerifyStage::Files => ("Verifying files", "files"),
    };
    Progress::new(what, unit, Some(total as u64))
}

fn print(problem: &Problem, json: bool) {
    let (file, rev) = (&problem.file, problem.rev);
    if json {
        let rev = rev.map(|rev| rev.0);
        let line = serde_json::json!({"file": file, "rev": rev, "what": problem.what});
        println!("{line}");
        return;
    }
    match rev {
        Some(rev) => println!("{file}: revision {rev}: {}", problem.what),
        None => println!("{file}: {}", problem.what),
    }
}

const MEMORY_BYTES: usize = 64 << 20;
