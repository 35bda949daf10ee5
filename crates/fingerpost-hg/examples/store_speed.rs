//! Measures the reading of a store: `store_speed make DIR FILES CHANGESETS`
//! writes a repository of synthesised files, `store_speed log DIR CHANGESETS`
//! one with nothing but a changelog, `store_speed read DIR` reads any
//! repository and prints what each part took, and `store_speed verify DIR`
//! prints the problems of one.

use std::path::Path;
use std::time::Duration;

use fingerpost_hg::testing::{Packing, Revision, RevlogWriter, empty_repository, open_store};
use fingerpost_hg::{
    Manifests, Rev, Revlog, RevlogName, Scratch, Store, Texts, Verification, verify,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", dir, files, changesets] => {
            make(
                Path::new(dir),
                files.parse().unwrap(),
                changesets.parse().unwrap(),
            );
        }
        ["log", dir, changesets] => make_log(Path::new(dir), changesets.parse().unwrap()),
        ["read", dir] => read(&open_store(Path::new(dir))),
        ["verify", dir] => timed("verify", || {
            let summary = verify(&open_store(Path::new(dir)), &mut |told| {
                if let Verification::Problem(problem) = told {
                    println!("{problem:?}");
                }
            });
            println!("{summary:?}");
            (1, ())
        }),
        _ => panic!(
            "usage: store_speed make DIR FILES CHANGESETS | log DIR CHANGESETS | read DIR | verify DIR"
        ),
    }
}

/// The time this thread was on a processor.
fn on_processor() -> Duration {
    let accounting = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(accounting.split(' ').next().unwrap().parse().unwrap())
}

/// Prints the processor time that something took, and for each of `count` things.
fn timed<T>(what: &str, work: impl FnOnce() -> (usize, T)) -> T {
    let start = on_processor();
    let (count, value) = work();
    let took = on_processor() - start;
    let each = took.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!(
        "{what:<44} {count:>8} x {each:>10.3} us = {:>9.3} ms",
        took.as_secs_f64() * 1e3
    );
    value
}

fn read(store: &Store) {
    let open = |name| Revlog::open(store, name).unwrap();
    let changelog = timed("open the changelog", || (1, open(RevlogName::Changelog)));
    timed("  build its table of nodes", || {
        (
            1,
            changelog
                .tip()
                .and_then(|tip| changelog.rev(&changelog.node(tip))),
        )
    });
    let mut texts = Texts::new(16 << 20);
    timed("  its texts, verified", || {
        (
            changelog
                .revs()
                .map(|rev| texts.text(&changelog, rev).unwrap())
                .count(),
            (),
        )
    });
    let manifest = timed("open the manifest", || (1, open(RevlogName::Manifest)));
    let mut scratch = Scratch::default();
    timed("  its chunks", || {
        let lens = manifest
            .revs()
            .map(|rev| manifest.chunk(rev, &mut scratch).unwrap().len());
        (manifest.len(), lens.sum::<usize>())
    });
    timed("  its texts, verified", || {
        (
            manifest
                .revs()
                .map(|rev| texts.text(&manifest, rev).unwrap())
                .count(),
            (),
        )
    });
    let mut texts = Texts::new(16 << 20);
    timed("  its texts again, known as verified", || {
        (
            manifest
                .revs()
                .map(|rev| texts.text(&manifest, rev).unwrap())
                .count(),
            (),
        )
    });
    let Some(tip) = manifest.tip() else {
        return;
    };
    let mut paths = Vec::new();
    timed("  walk the last one", || {
        let mut manifests = Manifests::new(store, &manifest);
        let walked = manifests.walk(tip, &mut texts, &mut |path, node, _| {
            paths.push((path.to_vec(), node));
            Ok(())
        });
        walked.unwrap();
        (paths.len(), ())
    });
    let wanted: Vec<&[u8]> = paths.iter().map(|(path, _)| path.as_slice()).collect();
    let wanted: Vec<&[u8]> = wanted
        .iter()
        .copied()
        .step_by(wanted.len() / 1000 + 1)
        .collect();
    timed("  look paths up in its text", || {
        let found = fingerpost_hg::manifest_entries(&manifest, tip, &wanted, &mut texts);
        (found.unwrap().len(), ())
    });
    for round in [
        "files of it: open, read, verify",
        "files of it again: open, read",
    ] {
        timed(round, || {
            for (path, node) in &paths {
                let filelog = open(RevlogName::Filelog(path));
                let rev = filelog.require(node).unwrap();
                texts.text(&filelog, rev).unwrap();
            }
            (paths.len(), ())
        });
    }
    timed("files of it: open", || {
        for (path, _) in &paths {
            open(RevlogName::Filelog(path));
        }
        (paths.len(), ())
    });
    timed("files of it: every revision as a chunk", || {
        let mut count = 0;
        for (path, _) in &paths {
            let filelog = open(RevlogName::Filelog(path));
            for rev in filelog.revs() {
                filelog.ensure_verified(rev, &mut texts).unwrap();
                count += usize::from(!filelog.chunk(rev, &mut scratch).unwrap().is_empty());
            }
        }
        (count, ())
    });
    let memory = store.verified();
    println!(
        "verified: {} files, about {} bytes",
        memory.files(),
        memory.bytes()
    );
}

/// Writes a repository of changesets without files.
fn make_log(dir: &Path, changesets: usize) {
    let store = empty_repository(dir);
    let mut changelog = RevlogWriter::new(false, true);
    for change in 0..changesets {
        let text = format!("{}\nsomebody\n{change} 0\n\nchange", "0".repeat(40));
        let parent = change.checked_sub(1).map(|parent| Rev(parent as u32));
        let revision = Revision::root(text.as_bytes(), change as u32);
        changelog.add(Revision {
            parents: [parent, None],
            ..revision
        });
    }
    changelog.write(&store, "00changelog.i", "00changelog.d");
}

/// Writes a repository in which each changeset changes a hundred files.
fn make(dir: &Path, files: usize, changesets: usize) {
    let store = empty_repository(dir);
    let name = |file: usize| {
        format!(
            "dir{:03}/sub{:02}/File_{file:06}.c",
            file / 1000,
            file / 100 % 10
        )
    };
    let text = |file: usize, change: usize| {
        let line = |line| format!("static int value_{file}_{line} = {};\n", file * 31 + line);
        let lines: String = (0..30).map(line).collect();
        format!("/* change {change} */\n{lines}")
    };
    let changed_in = |change: usize| (0..100).map(move |at| (change * 7919 + at * 997) % files);
    let mut logs = vec![RevlogWriter::new(true, true); files];
    let mut lines = Vec::with_capacity(files);
    for (file, log) in logs.iter_mut().enumerate() {
        let text = text(file, 0);
        let rev = log.add(Revision {
            packing: Packing::Zstd,
            ..Revision::root(text.as_bytes(), 0)
        });
        lines.push(format!("{}\0{}\n", name(file), log.node(rev)));
    }
    let mut manifest = RevlogWriter::new(false, true);
    let mut changelog = RevlogWriter::new(false, true);
    for change in 0..changesets {
        if change > 0 {
            for file in changed_in(change) {
                let (log, text) = (&mut logs[file], text(file, change));
                let parent = Rev(log.len() as u32 - 1);
                let rev = log.add(Revision::child(parent, text.as_bytes(), change as u32));
                lines[file] = format!("{}\0{}\n", name(file), log.node(rev));
            }
        }
        let text = lines.concat();
        let parent = change.checked_sub(1).map(|parent| Rev(parent as u32));
        let revision = match parent {
            Some(parent) => Revision::child(parent, text.as_bytes(), change as u32),
            None => Revision::root(text.as_bytes(), 0),
        };
        let rev = manifest.add(Revision {
            packing: Packing::Zstd,
            ..revision
        });
        let mut names: Vec<String> = changed_in(change).map(name).collect();
        names.sort_unstable();
        let text = format!(
            "{}\nsomebody\n{change} 0\n{}\n\nchange\n",
            manifest.node(rev),
            names.join("\n")
        );
        let revision = Revision::root(text.as_bytes(), change as u32);
        changelog.add(Revision {
            parents: [parent, None],
            packing: Packing::Zstd,
            ..revision
        });
    }
    for (file, log) in logs.iter().enumerate() {
        log.write_filelog(&store, &name(file));
    }
    manifest.write(&store, "00manifest.i", "00manifest.d");
    changelog.write(&store, "00changelog.i", "00changelog.d");
}
