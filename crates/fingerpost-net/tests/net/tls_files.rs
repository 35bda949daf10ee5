//! Certificate files: what is refused, and what happens when they change.

use std::os::unix::fs::symlink;

use fingerpost_core::SystemClock;
use fingerpost_net::{ClientCertificates, TlsOptions, TlsPolicy};

use crate::authority::{Authority, shake, write};
use crate::tls::serve;
use crate::world::World;

const FAILED: &str = "fingerpost_tls_reload_failed";
const DAY_S: u64 = 86_400;

fn days_left(world: &World) -> u64 {
    let left = world.metric("fingerpost_tls_certificate_expiry_seconds");
    left.div_ceil(DAY_S)
}

async fn days_left_become(world: &World, days: u64) {
    let reached = async {
        while days_left(world) != days {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(crate::world::PATIENCE, reached).await;
    assert!(outcome.is_ok(), "{} days stay", days_left(world));
}

#[tokio::test]
async fn a_new_pair_serves_new_connections_and_drops_no_old_one() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    assert_eq!(days_left(&world), 30);
    let mut old = authority.connect(&world).await;
    old.send("before\n").await;
    old.expect("before\n").await;

    authority.write(&authority.pair(60));
    days_left_become(&world, 60).await;
    authority.connect(&world).await.send("hello\n").await;

    // Another authority: whoever connects now must trust that one.
    let other = Authority::new();
    other.pair(90).write(&authority.server());
    days_left_become(&world, 90).await;
    assert!(shake(&world.address, authority.client(None)).await.is_err());
    let mut new = other.connect(&world).await;
    new.send("new\n").await;
    new.expect("new\n").await;
    old.send("after\n").await;
    old.expect("after\n").await;
    assert_eq!(world.metric(FAILED), 0);
}

#[tokio::test]
async fn a_pair_that_is_not_right_leaves_the_old_one_in_force() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let options = TlsOptions::new(authority.path("server.pem"), authority.path("server.key"));

    let next = authority.pair(60);
    next.write_certificate(&options);
    world.metric_becomes(FAILED, 1).await;
    assert_eq!(days_left(&world), 30);
    authority.connect(&world).await.send("hello\n").await;

    // The other half comes.
    next.write(&options);
    world.metric_becomes(FAILED, 0).await;
    days_left_become(&world, 60).await;

    authority.write(&authority.pair(-1));
    world.metric_becomes(FAILED, 1).await;
    assert_eq!(days_left(&world), 60);
    authority.connect(&world).await.send("hello\n").await;

    std::fs::remove_file(&options.key).expect("it is there");
    authority.pair(70).write_certificate(&options);
    assert_eq!(world.metric(FAILED), 1);
    authority.write(&authority.pair(80));
    world.metric_becomes(FAILED, 0).await;
    assert_eq!(days_left(&world), 80);
}

/// As Kubernetes does it: the files are links into a directory that is a link.
#[tokio::test]
async fn a_link_on_the_way_may_change() {
    let authority = Authority::new();
    let place = |name: &str, days| {
        let directory = authority.path(name);
        std::fs::create_dir(&directory).expect("a directory");
        let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        authority
            .pair(days)
            .write(&TlsOptions::new(certificate, key));
    };
    place("1", 30);
    place("2", 60);
    symlink("1", authority.path("data")).expect("a link");
    symlink("data/tls.crt", authority.path("tls.crt")).expect("a link");
    symlink("data/tls.key", authority.path("tls.key")).expect("a link");
    let options = TlsOptions::new(authority.path("tls.crt"), authority.path("tls.key"));
    let plan = crate::world::Plan {
        tls: Some((TlsPolicy::Required, options)),
        ..crate::world::Plan::default()
    };
    let world = plan.start();
    assert_eq!(days_left(&world), 30);
    symlink("2", authority.path("next")).expect("a link");
    std::fs::rename(authority.path("next"), authority.path("data")).expect("a swap");
    days_left_become(&world, 60).await;
    authority.connect(&world).await.send("hello\n").await;
}

/// The form that `openssl ecparam` writes lies at the end of the newer one.
#[test]
fn a_key_may_be_in_the_older_form_and_beside_its_certificate() {
    const SEC1_BYTES: usize = 0x6d;
    let authority = Authority::new();
    let pair = authority.pair(30);
    let mut options = authority.write(&pair);
    let key = pair.key_der();
    write(
        &options.key,
        "EC PRIVATE KEY",
        &key[key.len() - SEC1_BYTES..],
    );
    options.check(&SystemClock).expect("SEC1");

    let both = [&options.certificate, &options.key].map(|file| std::fs::read(file).expect("it"));
    std::fs::write(authority.path("both.pem"), both.concat()).expect("room");
    options.certificate = authority.path("both.pem");
    options.key = authority.path("both.pem");
    options.check(&SystemClock).expect("both in one file");
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let authority = Authority::new();
    let options = authority.server();
    let check = |options: &TlsOptions, expect: &str| {
        let refused = options.check(&SystemClock).expect_err(expect).to_string();
        assert!(refused.contains(expect), "{refused}");
    };
    assert!(options.check(&SystemClock).is_ok());

    let mut wrong = options.clone();
    wrong.certificate = authority.path("nowhere.pem");
    check(&wrong, "cannot read ");
    wrong.certificate = options.key.clone();
    check(&wrong, "server.key holds no certificate in PEM");
    wrong = options.clone();
    wrong.key = options.certificate.clone();
    check(&wrong, "server.pem holds no private key in PEM");
    wrong.clients = ClientCertificates::Required(authority.path("none.pem"));
    wrong.key = options.key.clone();
    check(&wrong, "cannot read ");

    write(&authority.path("bad.pem"), "CERTIFICATE", b"no DER");
    wrong = options.clone();
    wrong.certificate = authority.path("bad.pem");
    check(&wrong, "bad.pem holds a certificate that is damaged");
    std::fs::write(
        authority.path("bad.pem"),
        "-----BEGIN CERTIFICATE-----\n*\n",
    )
    .expect("room");
    check(&wrong, "bad.pem is damaged");
    std::fs::write(authority.path("bad.pem"), vec![b' '; (1 << 20) + 1]).expect("room");
    check(&wrong, "bad.pem is longer than 1 MiB");

    authority.pair(30).write_certificate(&options);
    check(&options, "do not match");
    authority.write(&authority.pair(-1));
    check(&options, "server.pem expired at 2");
    authority.write(&authority.pair_from(1, 2));
    check(&options, "server.pem is not valid before 2");
}
