use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fingerpost_core::SystemClock;

use super::*;
use crate::site::{Catalogue, Found, SiteConfig, TrustPolicy};
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

#[test]
fn a_share_is_opened_where_the_site_saw_that_it_leads() {
    let (mut source, mut other) = (World::new(), World::new());
    let node = source.commit(None, "of the source");
    let of_other = other.commit(None, "of another");
    let share = tempfile::tempdir().unwrap();
    let dot_hg = share.path().join(".hg");
    fs::create_dir(&dot_hg).unwrap();
    let requires = fs::read_to_string(source.dot_hg().join("requires")).unwrap();
    fs::write(dot_hg.join("requires"), requires + "shared\n").unwrap();
    share_with(&dot_hg, &source.dot_hg());
    let mut config = SiteConfig::new(TrustPolicy::of_this_process());
    config.repositories = BTreeMap::from([("share".to_owned(), share.path().to_owned())]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let catalogue = Catalogue::open(config, clock.now()).unwrap();
    let service = Arc::new(Mercurial::new(MercurialOptions::default(), clock));
    let looked_at = entry(&catalogue);
    share_with(&dot_hg, &other.dot_hg());
    let knows = |entry: &Arc<RepositoryEntry>, node| {
        let view = service.view(entry).unwrap();
        view.snapshot().rev(node).is_some()
    };
    assert!(knows(&looked_at, &node) && !knows(&looked_at, &of_other));
    let looked_again = entry(&catalogue);
    assert!(knows(&looked_again, &of_other) && !knows(&looked_again, &node));
}
