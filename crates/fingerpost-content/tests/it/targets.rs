//! Which target an answer goes to, over S3 servers that come and go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_content::{
    Asking, Audience, Form, ObjectStore, Own, PresignConfig, Presigner, Probe, ProbeConfig,
    PublicBase, RedirectTargets, SecretUrl, Target, UrlSigner, Where, probe,
};
use fingerpost_core::{Cacher as _, ManualClock, Timestamp};

use crate::s3_server::S3Server;
use crate::world::{bytes, name, store, until};

const LEN: usize = 100_000;
const TTL: Duration = Duration::from_secs(60);
const ALL: &[&[u8]] = &[b"signed", b"open", b"own"];

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

fn own(name: &str) -> Target {
    let place = Where::Own(Own {
        base: PublicBase::new("http://us:8686").unwrap(),
        signer: UrlSigner::new(b"secret"),
        lifetime: Duration::from_secs(60),
        clock: Arc::new(ManualClock::new(Timestamp(1_000_000))),
    });
    Target::new(name, "http", place)
}

fn targets(list: Vec<Target>) -> RedirectTargets {
    RedirectTargets::new(list, TTL).unwrap()
}

fn asking() -> Asking<'static> {
    Asking {
        accepts: Some(ALL),
        peer: IpAddr::from([10, 1, 2, 3]),
        stock: false,
        audience: Audience::Anyone,
        len: LEN as u64,
    }
}

fn fitting(targets: &RedirectTargets, asking: &Asking<'_>) -> Vec<String> {
    let fitting = targets.fitting(asking);
    fitting
        .map(|served| served.target().advertised.name.clone())
        .collect()
}

#[tokio::test]
async fn the_first_fitting_target_is_chosen() {
    let server = S3Server::start().await;
    let store = Arc::new(server.store(|_| {}));
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
    let check = |change: &dyn Fn(&mut Asking<'static>), expected: &[&str]| {
        let mut asking = asking();
        change(&mut asking);
        assert_eq!(fitting(&targets, &asking), expected, "{asking:?}");
    };
    check(&|_| {}, &["own", "signed", "open"]);
    check(&|it| it.accepts = None, &[]);
    check(&|it| it.accepts = Some(&[]), &[]);
    check(
        &|it| it.accepts = Some(&[b"open", b"signed", b"x"]),
        &["signed", "open"],
    );
    check(
        &|it| it.peer = "::ffff:10.1.2.3".parse().unwrap(),
        &["own", "signed", "open"],
    );
    check(&|it| it.peer = [11, 1, 2, 3].into(), &["signed", "open"]);
    check(&|it| it.peer = "::1".parse().unwrap(), &["signed", "open"]);
    check(&|it| it.stock = true, &["signed", "open"]);
    check(&|it| it.audience = Audience::Caller, &["own", "signed"]);
    check(&|it| it.len = 200_001, &["own", "open"]);
    check(&|it| it.len = 65_535, &[]);
    let names = |peer, stock| -> Vec<String> {
        let advertised = targets.advertised(peer, stock);
        advertised.into_iter().map(|target| target.name).collect()
    };
    assert_eq!(
        names([10, 0, 0, 1].into(), false),
        ["own", "signed", "open"]
    );
    assert_eq!(names([10, 0, 0, 1].into(), true), ["signed", "open"]);
    assert_eq!(names([1, 1, 1, 1].into(), false), ["signed", "open"]);
}

#[tokio::test]
async fn what_cannot_work_is_refused_as_configuration() {
    let server = S3Server::start().await;
    let store = Arc::new(server.store(|_| {}));
    let sealed = Arc::new(server.store(|config| config.form = Form::Sealed));
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
            vec![with(own("a"), &|it| it.probe = Probe::Entry)],
            "by a URL",
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
        let said = RedirectTargets::new(list, TTL).unwrap_err();
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn an_entry_is_redirected_to_where_it_is() {
    let server = S3Server::start().await;
    let cacher = Arc::new(server.store(|_| {}));
    let targets = targets(vec![presigned("signed", &cacher), own("own")]);
    // It is nowhere else, so we serve it ourselves.
    let found = targets.find(&asking(), &name("a")).await.unwrap();
    assert_eq!(found.target, "own");
    let expected = format!("http://us:8686/content/{}?expires=61&", name("a").to_hex());
    assert!(found.url.expose().starts_with(&expected));
    // That it was not there is remembered until it is uploaded by us.
    store(&*cacher, &name("a"), &bytes(LEN)).await;
    let found = targets.find(&asking(), &name("a")).await.unwrap();
    assert_eq!(found.target, "own");
    let content = Arc::new(bytes(LEN));
    let served = &targets.all()[0];
    let uploaded = served.upload(Audience::Caller, &name("a"), content).await;
    assert!(uploaded.unwrap());
    let found = targets.find(&asking(), &name("a")).await.unwrap();
    assert_eq!(found.target, "signed");
    let answer = reqwest::get(found.url.expose()).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), bytes(LEN));
    assert!(!format!("{found:?} {targets:?}").contains("Signature"));
    // One that another server uploaded is found by looking; one of another
    // length is not what we would have sent.
    store(&*cacher, &name("b"), &bytes(LEN)).await;
    store(&*cacher, &name("c"), &bytes(LEN - 1)).await;
    let found = targets.find(&asking(), &name("b")).await.unwrap();
    assert_eq!(found.target, "signed");
    let found = targets.find(&asking(), &name("c")).await.unwrap();
    assert_eq!(found.target, "own");
}

#[tokio::test]
async fn only_what_anybody_may_see_gets_to_an_open_place() {
    let server = S3Server::start().await;
    let cacher = Arc::new(server.store(|_| {}));
    let targets = targets(vec![open("open", &cacher), own("own")]);
    let upload = async |audience, at: usize| {
        let content = Arc::new(bytes(LEN));
        let served = &targets.all()[at];
        served.upload(audience, &name("a"), content).await.unwrap()
    };
    assert!(!upload(Audience::Caller, 0).await);
    assert!(cacher.look_up(&name("a")).await.unwrap().is_none());
    assert!(!upload(Audience::Anyone, 1).await);
    assert!(upload(Audience::Anyone, 0).await);
    let found = targets.find(&asking(), &name("a")).await.unwrap();
    let expected = format!("http://cdn/entries/{}", name("a").to_hex());
    assert_eq!(
        (found.target.as_str(), found.url.expose()),
        ("open", &*expected)
    );
    let mut private = asking();
    private.audience = Audience::Caller;
    let found = targets.find(&private, &name("a")).await.unwrap();
    assert_eq!(found.target, "own");
}

#[tokio::test]
async fn a_place_that_fails_is_passed_over() {
    let mut server = S3Server::start().await;
    let cacher = Arc::new(server.store(|config| config.deadline = Duration::from_millis(300)));
    let targets = targets(vec![presigned("signed", &cacher), own("own")]);
    server.lose().await;
    let found = targets.find(&asking(), &name("a")).await.unwrap();
    assert_eq!(found.target, "own");
    let mut only = asking();
    only.accepts = Some(&[b"signed"]);
    assert_eq!(targets.find(&only, &name("a")).await, None);
}

#[tokio::test]
async fn health_follows_the_server_within_seconds() {
    let mut server = S3Server::start().await;
    let cacher = Arc::new(server.store(|_| {}));
    let probed = Target {
        probe: Probe::Entry,
        ..presigned("signed", &cacher)
    };
    let refused = Target {
        probe: Probe::Url(SecretUrl::new(server.endpoint())),
        ..own("own")
    };
    let targets = Arc::new(targets(vec![probed, refused]));
    assert_eq!(fitting(&targets, &asking()), [""; 0]);
    let config = ProbeConfig {
        interval: Duration::from_millis(50),
        deadline: Duration::from_millis(300),
        failures: 2,
    };
    let probing = tokio::spawn(probe(Arc::clone(&targets), config));
    let works = async || fitting(&targets, &asking()) == ["signed"];
    until("it works", works).await;
    server.lose().await;
    until("it is lost", async || !works().await).await;
    assert!(targets.advertised([10, 0, 0, 1].into(), false).is_empty());
    server.go_on().await;
    until("it is back", works).await;
    // Hung is as bad as lost; what lies there may be deleted as well.
    server.lose().await;
    server.hang(true);
    server.go_on().await;
    until("it hangs", async || !works().await).await;
    server.hang(false);
    server.lose().await;
    server.go_on().await;
    until("it is back", works).await;
    probing.abort();
    assert!(!targets.all()[1].is_healthy(), "403 is no health");
}

#[tokio::test]
async fn a_probe_that_was_deleted_is_uploaded_again() {
    let server = S3Server::start().await;
    let cacher = Arc::new(server.store(|_| {}));
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
