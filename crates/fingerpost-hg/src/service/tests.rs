use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Weak};

use fingerpost_core::SystemClock;
use fingerpost_hg_proto::Node;

use super::*;
use crate::site::{Catalogue, Found, SiteConfig, TrustPolicy};
use crate::tests::served::Served;
use crate::tests::world::World;

fn entry(catalogue: &Catalogue) -> Arc<RepositoryEntry> {
    match catalogue.find("/share", SystemClock.now()) {
        Found::Repository { repository, .. } => repository,
        other => panic!("{other:?}"),
    }
}

fn share_with(dot_hg: &Path, source: &Path) {
    let sharedpath = source.as_os_str().as_encoded_bytes();
    fs::write(dot_hg.join("sharedpath"), sharedpath).unwrap();
}

/// A site with a share of `source`, and a service for it.
fn site_with_share(world: &World, source: &Path) -> (tempfile::TempDir, Catalogue, Arc<Mercurial>) {
    let share = tempfile::tempdir().unwrap();
    let dot_hg = share.path().join(".hg");
    fs::create_dir(&dot_hg).unwrap();
    let requires = fs::read_to_string(world.dot_hg().join("requires")).unwrap();
    fs::write(dot_hg.join("requires"), requires + "shared\n").unwrap();
    share_with(&dot_hg, source);
    let mut config = SiteConfig::new(TrustPolicy::of_this_process());
    config.repositories = BTreeMap::from([("share".to_owned(), share.path().to_owned())]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let catalogue = Catalogue::open(config, clock.now()).unwrap();
    let service = Arc::new(Mercurial::new(MercurialOptions::default(), clock));
    (share, catalogue, service)
}

fn knows(service: &Arc<Mercurial>, entry: &Arc<RepositoryEntry>, node: &Node) -> bool {
    let view = service.view(entry).unwrap();
    view.snapshot().rev(node).is_some()
}

#[test]
fn a_share_is_opened_where_the_site_saw_that_it_leads() {
    let (mut source, mut other) = (World::new(), World::new());
    let node = source.commit(None, "of the source");
    let of_other = other.commit(None, "of another");
    let (share, catalogue, service) = site_with_share(&source, &source.dot_hg());
    let looked_at = entry(&catalogue);
    share_with(&share.path().join(".hg"), &other.dot_hg());
    let knows = |entry, node| knows(&service, entry, node);
    assert!(knows(&looked_at, &node) && !knows(&looked_at, &of_other));
    let looked_again = entry(&catalogue);
    assert!(knows(&looked_again, &of_other) && !knows(&looked_again, &node));
}

#[test]
fn a_link_in_the_place_of_a_shares_source_is_looked_at_before_it_is_followed() {
    let (mut source, mut other) = (World::new(), World::new());
    let node = source.commit(None, "of the source");
    let of_other = other.commit(None, "of another");
    let owned = tempfile::tempdir().unwrap();
    let place = owned.path().join("hg");
    fs::rename(source.dot_hg(), &place).unwrap();
    let (_share, catalogue, service) = site_with_share(&other, &place);
    let looked_at = entry(&catalogue);
    assert!(knows(&service, &looked_at, &node));
    fs::rename(&place, owned.path().join("aside")).unwrap();
    symlink(other.dot_hg(), &place).unwrap();
    let refused = service.view(&looked_at).err().unwrap();
    assert!(matches!(refused, StoreError::Replaced { .. }), "{refused}");
    // Who owns the link owns what it leads to, so it may be followed.
    let looked_again = entry(&catalogue);
    assert_eq!(
        looked_again.store_dot_hg(),
        other.dot_hg().canonicalize().unwrap()
    );
    assert!(knows(&service, &looked_again, &of_other));
}

#[test]
fn what_nobody_asks_about_is_forgotten_while_others_are_asked() {
    let (mut a, mut b) = (World::new(), World::new());
    a.commit(None, "of a");
    b.commit(None, "of b");
    let served = Served::with(&[&a, &b], MercurialOptions::default());
    let held = |path: &str| {
        let repository = served.service.repository(&served.entry(path)).unwrap();
        Arc::downgrade(&repository.snapshot().unwrap())
    };
    let (of_a, of_b) = (held("/a"), held("/b"));
    served.clock.advance_micros(601_000_000);
    let again = held("/a");
    assert!(Weak::ptr_eq(&of_a, &again) && of_a.upgrade().is_some());
    assert!(of_b.upgrade().is_none());
}

#[test]
fn a_repository_is_opened_once_for_all_who_ask_at_a_time() {
    let mut world = World::new();
    world.commit(None, "one");
    let served = Served::new(&world);
    let (service, entry) = (&served.service, served.entry("/a"));
    let now = served.clock.now();
    let (place, _) = service.opened.lock().place(&entry, now, service.options());
    let (start, openings) = (Barrier::new(8), AtomicUsize::new(0));
    let ask = || {
        start.wait();
        let opened = place.get_or_open(|memory| {
            openings.fetch_add(1, Ordering::Relaxed);
            service.open(&entry, memory)
        });
        opened.unwrap()
    };
    let opened = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let opened = askers.into_iter().map(|asker| asker.join().unwrap());
        opened.collect::<Vec<_>>()
    });
    assert_eq!(openings.into_inner(), 1);
    assert!(Arc::ptr_eq(
        &opened[0],
        &service.repository(&entry).unwrap()
    ));
    assert!(opened.iter().all(|one| Arc::ptr_eq(one, &opened[0])));
}

#[test]
fn a_failed_opening_is_tried_again() {
    let mut world = World::new();
    world.commit(None, "one");
    let served = Served::new(&world);
    let (entry, index) = (served.entry("/a"), world.store_dir().join("00changelog.i"));
    let right = fs::read(&index).unwrap();
    fs::write(&index, b"no index").unwrap();
    assert!(served.service.view(&entry).is_err());
    fs::write(&index, right).unwrap();
    assert!(served.service.view(&entry).is_ok());
}

#[test]
fn the_generation_survives_that_a_repository_is_closed() {
    let (mut a, mut b) = (World::new(), World::new());
    a.commit(None, "of a");
    b.commit(None, "of b");
    let options = |epoch| MercurialOptions {
        repositories_max: 1,
        epoch,
        ..MercurialOptions::default()
    };
    let served = Served::with(&[&a, &b], options(0));
    let opened = |path: &str| served.service.repository(&served.entry(path)).unwrap();
    let generation = |path: &str| opened(path).snapshot().unwrap().generation();
    // Each closes the other.
    let (first, of_b) = (generation("/a"), generation("/b"));
    assert_eq!(generation("/a"), first);
    opened("/a").note_rewrite();
    let noted = generation("/a");
    assert_ne!(noted, first);
    assert_eq!(generation("/b"), of_b);
    assert_eq!(generation("/a"), noted);
    assert_eq!(generation("/b"), of_b);
    a.clear_changelog();
    a.commit(None, "another history");
    let stripped = generation("/a");
    assert!(stripped != noted && stripped != first);
    assert_eq!(generation("/b"), of_b);
    // The same history in another directory.
    let (store, aside) = (a.dot_hg(), a.dot_hg().with_extension("aside"));
    fs::rename(&store, &aside).unwrap();
    fs::create_dir(&store).unwrap();
    fs::rename(aside.join("store"), store.join("store")).unwrap();
    fs::rename(aside.join("requires"), store.join("requires")).unwrap();
    assert_ne!(generation("/a"), stripped);
    let later = Served::with(&[&b], options(1));
    assert_ne!(later.view().snapshot().generation(), of_b);
}
