//! Who waits for whom.

use std::net::Ipv4Addr;

use fingerpost_core::{Access, Availability, CachePolicy, Effect};

use super::*;

fn declaration(cost: Cost) -> Declaration {
    Declaration {
        name: "test",
        summary: "Is a test.",
        access: Access::OPEN,
        availability: Availability::Always,
        cost,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "a test" },
        answer_example: "null",
    }
}

fn asker(last: u8, user: Option<&str>) -> Asker<'_> {
    let host = Origin::Host(Ipv4Addr::new(192, 0, 2, last));
    Asker { host, user }
}

fn one_second(change: impl FnOnce(&mut AdmissionOptions)) -> Admission {
    let mut options = AdmissionOptions {
        burst_seconds: 1,
        wait_max: Duration::from_millis(50),
        ..AdmissionOptions::default()
    };
    change(&mut options);
    Admission::new(options)
}

const NOW: Duration = Duration::ZERO;

async fn admitted(admission: &Admission, cost: Cost, asker: Asker<'_>) -> bool {
    let entered = admission.enter(&declaration(cost), asker, NOW).await;
    entered.is_ok()
}

#[tokio::test]
async fn each_address_and_each_user_has_its_own_rate() {
    let rates = Rates {
        per_address: 3,
        per_user: 5,
    };
    let admission = one_second(|options| options.dear = rates);
    let mut taken = Vec::new();
    for last in [1, 1, 1, 1, 2, 2, 2] {
        taken.push(admitted(&admission, Cost::Dear, asker(last, Some("ci"))).await);
    }
    assert_eq!(taken, [true, true, true, false, true, true, false]);
    assert!(admitted(&admission, Cost::Dear, asker(2, None)).await);
    assert!(admitted(&admission, Cost::Dear, asker(3, Some("other"))).await);
    assert!(admitted(&admission, Cost::Cheap, asker(1, Some("ci"))).await);
    let mut registry = Registry::default();
    admission.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
    for counted in [
        r#"{kind="dear",by="user"} 1"#,
        r#"{kind="dear",by="address"} 1"#,
        // What did not happen yet is there too.
        r#"{kind="report",by="places"} 0"#,
    ] {
        assert!(text.contains(&format!("limited_total{counted}")), "{text}");
    }
}

#[tokio::test]
async fn who_is_patient_waits_for_the_rate() {
    let rates = Rates {
        per_address: 20,
        per_user: 0,
    };
    let admission = one_second(|options| options.reports = rates);
    let started = tokio::time::Instant::now();
    for _ in 0..24 {
        let patience = Duration::from_secs(10);
        let report = declaration(Cost::Report);
        let entered = admission.enter(&report, asker(1, None), patience).await;
        assert!(entered.is_ok());
    }
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn cheap_requests_are_never_behind_dear_ones() {
    let admission = one_second(|options| {
        options.dear_at_once = 1;
        options.waiting_max = 1;
    });
    let dear = declaration(Cost::Dear);
    let working = admission
        .enter(&dear, asker(1, None), NOW)
        .await
        .expect("a place");
    let waiting = admission.enter(&dear, asker(1, None), NOW);
    let third = async {
        tokio::task::yield_now().await;
        admission.enter(&dear, asker(1, None), NOW).await.err()
    };
    let (waited, refused) = tokio::join!(waiting, third);
    assert_eq!(refused, Some(Crowded::Places), "nobody may wait behind it");
    assert_eq!(waited.err(), Some(Crowded::Places), "it waited too long");
    assert!(admitted(&admission, Cost::Cheap, asker(1, None)).await);
    assert!(admitted(&admission, Cost::Report, asker(1, None)).await);
    drop(working);
    assert!(admitted(&admission, Cost::Dear, asker(1, None)).await);
}

#[test]
fn lines_are_paid_by_the_batch() {
    let patience = Duration::from_secs(1);
    let off = one_second(|_| {});
    assert_eq!(off.lines(asker(1, None), 1_000_000, patience), NOW);
    let rates = Rates {
        per_address: 1000,
        per_user: 0,
    };
    let admission = one_second(|options| options.cheap = rates);
    assert_eq!(admission.lines(asker(1, None), 1000, patience), NOW);
    let pause = admission.lines(asker(1, None), 500, patience);
    assert!((Duration::from_millis(400)..=Duration::from_millis(500)).contains(&pause));
    assert_eq!(admission.lines(asker(1, None), 100_000, patience), patience);
    assert_eq!(admission.lines(asker(2, None), 1000, patience), NOW);
}
