//! Which target an answer goes to, over S3 servers that come and go.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_content::{
    Disk, Form, ObjectStore, ObjectStoreConfig, OnDisk, Own, Place, PresignConfig, Presigner,
    Probe, ProbeConfig, PublicBase, RedirectTargets, Target, UrlSigner, Where, probe,
};
use fingerpost_core::{
    Audience, Cacher as _, Clock as _, ContentCoding, EntryForm, Follower, Following, ManualClock,
    RedirectTarget, Redirects as _, SecretUrl, SystemClock, Timestamp,
};
use fingerpost_testkit::S3Server;

use crate::s3_server;
use crate::world::{bytes, name, store, until};

const LEN: usize = 100_000;
const TTL: Duration = Duration::from_secs(60);

fn presigned(name: &str, store: &Arc<ObjectStore>) -> Target {
    let presigner = Presigner::new(store, PresignConfig::default()).unwrap();
    let place = Where::Presigned {
        store: Arc::clone(store),
        presigner: Arc::new(presigner),
    };
    Target::new(name, "http", place)
}

fn open(name: &str, store: &Arc<ObjectStore>) -> Target {
    let place = Where::Public {
        store: Arc::clone(store),
        base: PublicBase::new("http://cdn/entries").unwrap(),
    };
    Target {
        public: true,
        ..Target::new(name, "http", place)
    }
}

/// A target of our own over a directory that goes away at the end of the process.
fn own(name: &str) -> Target {
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::open(directory.path(), 64 << 20, Arc::clone(&clock) as _).unwrap();
    let place = Where::Own(Own {
        base: PublicBase::new("http://us:8686").unwrap(),
        signer: UrlSigner::new(b"secret"),
        lifetime: Duration::from_secs(60),
        clock,
        disk: OnDisk::plain(Arc::new(disk)),
    });
    std::mem::forget(directory);
    Target::new(name, "http", place)
}

fn targets(list: Vec<Target>) -> RedirectTargets {
    RedirectTargets::new(list, TTL, Arc::new(SystemClock)).unwrap()
}

/// A client of ours near by that follows to all.
fn following() -> Following {
    Following {
        client: Follower {
            address: Some([10, 1, 2, 3].into()),
            is_stock: false,
        },
        targets: vec![b"signed".to_vec(), b"open".to_vec(), b"own".to_vec()],
        audience: Audience::Anyone,
    }
}

fn form(word: &str) -> EntryForm {
    EntryForm {
        name: name(word),
        coding: None,
        plain_len: LEN as u64,
    }
}

/// The targets that take an answer of so many bytes, each asked for alone.
fn takers(targets: &RedirectTargets, following: &Following, len: u64) -> Vec<String> {
    let names = following.targets.iter();
    let alone = names.filter(|name| {
        let alone = Following {
            targets: vec![(*name).clone()],
            ..following.clone()
        };
        targets.would_take(&alone, None, Some(len))
    });
    alone
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

fn names(advertised: Vec<RedirectTarget>) -> Vec<String> {
    advertised.into_iter().map(|target| target.name).collect()
}

async fn publish(targets: &RedirectTargets, following: &Following, form: &EntryForm) {
    let content = Arc::new(bytes(LEN));
    targets.publish(following, form, content).await.unwrap();
}

/// The target that an answer is redirected to.
async fn found(targets: &RedirectTargets, following: &Following, form: &EntryForm) -> String {
    let found = targets.find(following, form).await;
    found.map_or_else(|| "none".to_owned(), |redirect| redirect.target)
}

#[tokio::test]
async fn the_first_fitting_target_is_chosen() {
    let server = S3Server::start().await.unwrap();
    let store = Arc::new(s3_server::store(&server, |_| {}));
    let near = Target {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        priority: 1,
        stock_clients: false,
        ..own("own")
    };
    let far = Target {
        priority: 2,
        entry_bytes_max: 200_000,
        ..presigned("signed", &store)
    };
    let last = Target {
        priority: 3,
        ..open("open", &store)
    };
    let targets = targets(vec![last, far, near]);
    let check = |change: &dyn Fn(&mut Following, &mut u64), expected: &[&str]| {
        let (mut following, mut len) = (following(), LEN as u64);
        change(&mut following, &mut len);
        assert_eq!(takers(&targets, &following, len), expected, "{following:?}");
    };
    check(&|_, _| {}, &["signed", "open", "own"]);
    check(&|it, _| it.targets = vec![], &[]);
    check(
        &|it, _| it.targets = vec![b"open".to_vec(), b"x".to_vec()],
        &["open"],
    );
    let at = |address: &str| {
        let address = address.parse().unwrap();
        move |it: &mut Following, _: &mut u64| it.client.address = Some(address)
    };
    check(&at("::ffff:10.1.2.3"), &["signed", "open", "own"]);
    check(&at("11.1.2.3"), &["signed", "open"]);
    check(&at("::1"), &["signed", "open"]);
    check(&|it, _| it.client.address = None, &["signed", "open"]);
    check(&|it, _| it.client.is_stock = true, &["signed", "open"]);
    check(&|it, _| it.audience = Audience::Caller, &["signed", "own"]);
    check(&|_, len| *len = 200_001, &["open", "own"]);
    check(&|_, len| *len = 65_535, &[]);
    let told = |address: [u8; 4], is_stock| {
        let address = Some(address.into());
        names(targets.advertised(&Follower { address, is_stock }))
    };
    assert_eq!(told([10, 0, 0, 1], false), ["own", "signed", "open"]);
    assert_eq!(told([10, 0, 0, 1], true), ["signed", "open"]);
    assert_eq!(told([1, 1, 1, 1], false), ["signed", "open"]);
}

#[tokio::test]
async fn what_cannot_work_is_refused_as_configuration() {
    let server = S3Server::start().await.unwrap();
    let store = Arc::new(s3_server::store(&server, |_| {}));
    let sealed = Arc::new(s3_server::store(&server, |config| {
        config.form = Form::Sealed
    }));
    assert!(Presigner::new(&sealed, PresignConfig::default()).is_err());
    let with = |mut target: Target, change: &dyn Fn(&mut Target)| {
        change(&mut target);
        target
    };
    for (list, part) in [
        (vec![own("a"), own("a")], "two"),
        (vec![open("a", &sealed)], "sealed"),
        (vec![own("")], "no name"),
        (
            vec![with(open("a", &store), &|it| it.public = false)],
            "public",
        ),
        (
            vec![with(own("a"), &|it| {
                it.advertised.protocol = "https".to_owned()
            })],
            "not one of https",
        ),
        (
            vec![with(own("a"), &|it| {
                it.advertised.protocol = "ftp".to_owned()
            })],
            "not ftp",
        ),
    ] {
        let said = RedirectTargets::new(list, TTL, Arc::new(SystemClock)).unwrap_err();
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn an_entry_is_redirected_to_where_it_is() {
    let server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    let targets = targets(vec![presigned("signed", &cacher), own("own")]);
    let (all, a) = (following(), form("a"));
    assert_eq!(found(&targets, &all, &a).await, "none");
    let mut to_us = following();
    to_us.targets = vec![b"own".to_vec()];
    publish(&targets, &to_us, &a).await;
    let redirect = targets.find(&all, &a).await.unwrap();
    let expected = format!("http://us:8686/content/{}?expires=", a.name.to_hex());
    assert_eq!(redirect.target, "own");
    assert!(redirect.location.expose().starts_with(&expected));
    // That it was not there is remembered until it is put there by us.
    store(&*cacher, &a.name, &bytes(LEN)).await;
    assert_eq!(found(&targets, &all, &a).await, "own");
    publish(&targets, &all, &a).await;
    let redirect = targets.find(&all, &a).await.unwrap();
    assert_eq!(redirect.target, "signed");
    let answer = reqwest::get(redirect.location.expose()).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), bytes(LEN));
    assert!(!format!("{redirect:?} {targets:?}").contains("Signature"));
    // One that another server put there is found by looking; one of another
    // length is not what we would have sent, unless it is in a coding.
    store(&*cacher, &name("b"), &bytes(LEN)).await;
    store(&*cacher, &name("c"), &bytes(LEN - 1)).await;
    store(&*cacher, &name("d"), &bytes(LEN - 1)).await;
    assert_eq!(found(&targets, &all, &form("b")).await, "signed");
    assert_eq!(found(&targets, &all, &form("c")).await, "none");
    let coded = EntryForm {
        coding: Some(ContentCoding::Zstd),
        ..form("d")
    };
    assert_eq!(found(&targets, &all, &coded).await, "signed");
}

#[tokio::test]
async fn what_may_be_deleted_soon_is_not_there() {
    const HOUR_MICROS: i64 = 3_600_000_000;
    let server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    store(&*cacher, &name("a"), &bytes(LEN)).await;
    let target = Target {
        age_max: Some(Duration::from_secs(2 * 3600)),
        ..presigned("signed", &cacher)
    };
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    // Nothing that was seen is remembered, so that it is looked at each time.
    let targets = RedirectTargets::new(vec![target], Duration::ZERO, clock.clone()).unwrap();
    let found = async || found(&targets, &following(), &form("a")).await;
    assert_eq!(found().await, "signed");
    clock.advance_micros(HOUR_MICROS);
    assert_eq!(found().await, "signed");
    clock.advance_micros(HOUR_MICROS + 60_000_000);
    assert_eq!(found().await, "none");
    // What is put again is young, to a clock that is right again.
    clock.advance_micros(SystemClock.now().0 - clock.now().0);
    publish(&targets, &following(), &form("a")).await;
    assert_eq!(found().await, "signed");
}

#[tokio::test]
async fn what_was_put_there_is_not_looked_at_for_a_while() {
    let server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    let target = Target {
        age_max: Some(Duration::ZERO),
        ..presigned("signed", &cacher)
    };
    let targets = targets(vec![target]);
    store(&*cacher, &name("a"), &bytes(LEN)).await;
    assert_eq!(found(&targets, &following(), &form("a")).await, "none");
    publish(&targets, &following(), &form("a")).await;
    assert_eq!(found(&targets, &following(), &form("a")).await, "signed");
}

#[tokio::test]
async fn whoever_fetches_a_coded_entry_is_told() {
    let server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    let targets = targets(vec![presigned("signed", &cacher)]);
    let coded = EntryForm {
        coding: Some(ContentCoding::Zstd),
        ..form("a")
    };
    publish(&targets, &following(), &coded).await;
    let redirect = targets.find(&following(), &coded).await.unwrap();
    let answer = reqwest::get(redirect.location.expose()).await.unwrap();
    let header = |name: &str| answer.headers().get(name).cloned();
    assert_eq!(header("content-encoding").unwrap(), "zstd");
    assert_eq!(
        header("content-type").unwrap(),
        "application/mercurial-cbor"
    );
}

#[tokio::test]
async fn only_what_anybody_may_see_gets_to_an_open_place() {
    let server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    let targets = targets(vec![open("open", &cacher), own("own")]);
    let (anyone, a) = (following(), form("a"));
    let mut caller = following();
    caller.audience = Audience::Caller;
    publish(&targets, &caller, &a).await;
    assert!(cacher.look_up(&a.name).await.unwrap().is_none());
    assert_eq!(found(&targets, &caller, &a).await, "own");
    publish(&targets, &anyone, &a).await;
    let redirect = targets.find(&anyone, &a).await.unwrap();
    let expected = format!("http://cdn/entries/{}", a.name.to_hex());
    assert_eq!(redirect.location.expose(), expected);
    assert_eq!(found(&targets, &caller, &a).await, "own");
}

#[tokio::test]
async fn a_place_that_fails_is_passed_over() {
    let mut server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |config| {
        config.deadline = Duration::from_millis(300)
    }));
    let targets = targets(vec![presigned("signed", &cacher), own("own")]);
    let mut to_us = following();
    to_us.targets = vec![b"own".to_vec()];
    publish(&targets, &to_us, &form("a")).await;
    server.lose().await;
    assert_eq!(found(&targets, &following(), &form("a")).await, "own");
    let mut only = following();
    only.targets = vec![b"signed".to_vec()];
    assert_eq!(targets.find(&only, &form("a")).await, None);
    let content = Arc::new(bytes(LEN));
    let published = targets.publish(&only, &form("a"), content).await;
    assert!(published.is_err());
}

#[tokio::test]
async fn a_store_that_fails_again_and_again_is_left_alone() {
    let mut server = S3Server::start().await.unwrap();
    let deadline = Duration::from_millis(100);
    let cacher = Arc::new(s3_server::store(&server, |config| {
        config.deadline = deadline
    }));
    // Nothing looks whether it works: what it does when it is asked has to do.
    let targets = targets(vec![presigned("signed", &cacher)]);
    server.lose().await;
    server.hang(true);
    server.go_on().await.unwrap();
    for number in 0..20 {
        let form = form(&number.to_string());
        assert_eq!(found(&targets, &following(), &form).await, "none");
    }
    assert_eq!(takers(&targets, &following(), LEN as u64), [""; 0]);
    // And tried again after a while.
    server.lose().await;
    server.hang(false);
    server.go_on().await.unwrap();
    store(&*cacher, &name("there"), &bytes(LEN)).await;
    until("it is asked again", async || {
        found(&targets, &following(), &form("there")).await == "signed"
    })
    .await;
    assert_eq!(takers(&targets, &following(), LEN as u64), ["signed"]);
}

#[tokio::test]
async fn a_coding_goes_only_where_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let files = ObjectStore::new(ObjectStoreConfig {
        place: Place {
            url,
            ..Place::default()
        },
        ..ObjectStoreConfig::default()
    });
    let targets = targets(vec![open("open", &Arc::new(files.unwrap())), own("own")]);
    let zstd = Some(ContentCoding::Zstd);
    let mut to = following();
    for (name, carries) in [("open", false), ("own", true)] {
        to.targets = vec![name.as_bytes().to_vec()];
        assert_eq!(targets.would_take(&to, zstd, None), carries, "{name}");
        assert!(targets.would_take(&to, None, None), "{name}");
    }
}

#[tokio::test]
async fn health_follows_the_server_within_seconds() {
    let mut server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    let probed = Target {
        probe: Probe::Entry,
        ..presigned("signed", &cacher)
    };
    let refused = Target {
        probe: Probe::Url(SecretUrl::new(server.endpoint())),
        ..own("own")
    };
    let targets = Arc::new(targets(vec![probed, refused]));
    assert_eq!(takers(&targets, &following(), LEN as u64), [""; 0]);
    let config = ProbeConfig {
        interval: Duration::from_millis(50),
        deadline: Duration::from_millis(300),
        failures: 2,
    };
    let probing = tokio::spawn(probe(Arc::clone(&targets), config));
    let works = async || takers(&targets, &following(), LEN as u64) == ["signed"];
    until("it works", works).await;
    server.lose().await;
    until("it is lost", async || !works().await).await;
    assert!(targets.advertised(&following().client).is_empty());
    server.go_on().await.unwrap();
    until("it is back", works).await;
    // Hung is as bad as lost; what lies there may be deleted as well.
    server.lose().await;
    server.hang(true);
    server.go_on().await.unwrap();
    until("it hangs", async || !works().await).await;
    server.hang(false);
    server.lose().await;
    server.go_on().await.unwrap();
    until("it is back", works).await;
    probing.abort();
    assert!(!targets.all()[1].is_healthy(), "403 is no health");
}

#[tokio::test]
async fn a_probe_that_was_deleted_is_uploaded_again() {
    let server = S3Server::start().await.unwrap();
    let cacher = Arc::new(s3_server::store(&server, |_| {}));
    let probed = Target {
        probe: Probe::Entry,
        ..presigned("signed", &cacher)
    };
    let targets = Arc::new(targets(vec![probed]));
    let config = ProbeConfig {
        interval: Duration::from_millis(50),
        ..ProbeConfig::default()
    };
    let probing = tokio::spawn(probe(Arc::clone(&targets), config));
    until("it works", async || targets.all()[0].is_healthy()).await;
    let mut hex = String::new();
    for byte in b"fingerpost probe 1" {
        hex.push_str(&format!("{byte:02x}"));
    }
    let name = fingerpost_core::EntryName::from_hex(&format!("{hex:0<64}")).unwrap();
    assert!(cacher.remove(&name).await.unwrap());
    until("it is there again", async || {
        cacher.look_up(&name).await.unwrap().is_some()
    })
    .await;
    assert!(targets.all()[0].is_healthy(), "one failure is not enough");
    probing.abort();
}
