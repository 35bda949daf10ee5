use std::task::Poll;

use fingerpost_core::Clock as _;
use futures_util::future::join_all;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::super::testing::{Pair, World, claims, encode, key_set, settings};
use super::*;

fn usable(keys: &Value) -> Result<usize, String> {
    let text = json!({ "keys": keys }).to_string();
    match KeySet::parse(text.as_bytes()) {
        Ok(keys) => Ok(keys.count().0),
        Err(error) => Err(error.to_string()),
    }
}

fn changed(pair: &Pair, name: &str, value: Value) -> Value {
    let mut jwk = pair.jwk.clone();
    jwk[name] = value;
    jwk
}

#[test]
fn keys_that_verify_nothing_are_skipped() {
    let (rsa, p256, ed25519) = (Pair::rsa("r"), Pair::p256("p"), Pair::ed25519("e"));
    let good = p256.jwk.clone();
    for bad in [
        json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
        json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0"}),
        json!({"kty": "RSA", "kid": "s"}),
        json!("key"),
        changed(&rsa, "use", json!("enc")),
        changed(&rsa, "key_ops", json!(["encrypt"])),
        changed(&rsa, "n", json!(encode([0xff; 128]))),
        changed(&rsa, "n", json!(encode([0xff; 1024]))),
        changed(&rsa, "e", json!("AQ")),
        changed(&rsa, "e", json!(encode([0xff; 32]))),
        changed(&p256, "x", json!(encode([0xff; 32]))),
        changed(&p256, "x", json!(encode([1; 31]))),
        changed(&p256, "y", json!("?")),
        changed(&p256, "crv", json!("secp256k1")),
        changed(&ed25519, "x", json!("")),
        changed(&ed25519, "crv", json!("X25519")),
    ] {
        assert_eq!(usable(&json!([bad, good])), Ok(1), "{bad}");
    }
    assert_eq!(usable(&json!([rsa.jwk, p256.jwk, ed25519.jwk])), Ok(3));
}

#[test]
fn sets_without_a_usable_key_or_with_too_many_are_refused() {
    assert!(usable(&json!([])).unwrap_err().contains("no key"));
    assert!(usable(&json!({})).is_err());
    let many = vec![Pair::ed25519("a").jwk; 65];
    assert!(usable(&json!(many)).unwrap_err().contains("65 keys"));
    assert!(KeySet::parse(&vec![b' '; KEYS_BYTES_MAX + 1]).is_err());
}

#[tokio::test]
async fn a_key_is_for_the_algorithm_that_it_names() {
    let mut pair = Pair::rsa("a");
    pair.jwk["alg"] = json!("PS256");
    let world = World::new(&[&pair]);
    assert_eq!(
        world.refusal(&pair.sign(&claims())).await,
        Refusal::KeyMismatch
    );
}

#[tokio::test]
async fn without_a_name_the_only_key_for_the_algorithm_is_meant() {
    let (first, mut second) = (Pair::p256("a"), Pair::p256("b"));
    second.jwk.as_object_mut().unwrap().remove("kid");
    let mut header = first.header();
    header.as_object_mut().unwrap().remove("kid");
    let token = |pair: &Pair| pair.sign_with(&header, &claims());
    let (rsa, ed25519) = (Pair::rsa("r"), Pair::ed25519("e"));
    for pair in [&first, &second] {
        let world = World::new(&[&rsa, pair]);
        world.verifier.verify(&token(pair)).await.unwrap();
    }
    for (pairs, expected) in [
        (vec![&first, &second], Refusal::NoKeyId),
        (vec![&rsa, &ed25519], Refusal::UnknownKey),
        (vec![&second], Refusal::Signature),
    ] {
        assert_eq!(World::new(&pairs).refusal(&token(&first)).await, expected);
    }
}

#[tokio::test]
async fn two_keys_of_one_name_are_told_apart_by_kind() {
    let (rsa, p256) = (Pair::rsa("a"), Pair::p256("a"));
    let world = World::new(&[&rsa, &p256]);
    for pair in [&rsa, &p256] {
        world.verifier.verify(&pair.sign(&claims())).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_come_with_it() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let world = World::new(&[&old]);
    world.verifier.verify(&old.sign(&claims())).await.unwrap();
    world.keys.has(&[&old, &new]);
    world.clock.advance_micros(30 * SECOND);
    let token = new.sign(&claims());
    let all = join_all((0..16).map(|_| world.verifier.verify(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(world.keys.asked(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_request_in_half_a_minute() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let flood = async |expected: usize| {
        let tokens = (0..100).map(|number| {
            let mut header = pair.header();
            header["kid"] = json!(format!("{number}"));
            pair.sign_with(&header, &claims())
        });
        let tokens: Vec<_> = tokens.collect();
        let all = join_all(tokens.iter().map(|token| world.verifier.verify(token))).await;
        assert!(all.iter().all(|one| *one == Err(Refusal::UnknownKey)));
        assert_eq!(world.keys.asked(), expected);
    };
    flood(1).await;
    world.clock.advance_micros(29 * SECOND);
    flood(1).await;
    world.clock.advance_micros(SECOND);
    flood(2).await;
    // Known keys are not hurt.
    world.verifier.verify(&pair.sign(&claims())).await.unwrap();
}

#[tokio::test]
async fn who_hangs_up_does_not_make_the_next_one_ask_again() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let mut header = pair.header();
    header["kid"] = json!("b");
    let token = pair.sign_with(&header, &claims());
    for _ in 0..10 {
        let verifying = world.verifier.verify(&token);
        tokio::pin!(verifying);
        let polled = std::future::poll_fn(|context| Poll::Ready(verifying.as_mut().poll(context)));
        assert!(polled.await.is_pending());
    }
    assert_eq!(world.refusal(&token).await, Refusal::UnknownKey);
    assert_eq!(world.keys.asked(), 1);
}

#[tokio::test]
async fn known_keys_outlive_their_issuer_for_a_while() {
    let pair = Pair::ed25519("a");
    let mut short = settings();
    short.keep_keys_seconds = 3600;
    let world = World::with(short, &[&pair]);
    let token = || {
        let mut claims = claims();
        let now = world.clock.now().0 / SECOND;
        (claims["iat"], claims["exp"]) = (json!(now), json!(now + 60));
        pair.sign(&claims)
    };
    world.verifier.verify(&token()).await.unwrap();
    *world.keys.answer.lock() = None;
    world.clock.advance_micros(3599 * SECOND);
    world.verifier.verify(&token()).await.unwrap();
    world.clock.advance_micros(SECOND);
    assert_eq!(world.refusal(&token()).await, Refusal::KeysUnavailable);
    assert!(Refusal::KeysUnavailable.is_ours());
    world.keys.has(&[&pair]);
    assert_eq!(world.refusal(&token()).await, Refusal::KeysUnavailable);
    world.clock.advance_micros(30 * SECOND);
    world.verifier.verify(&token()).await.unwrap();
}

#[tokio::test]
async fn how_old_keys_are_is_shown() {
    let pair = Pair::ed25519("a");
    let mut short = settings();
    short.keep_keys_seconds = 3600;
    let url = short.issuer.clone();
    let world = World::with(short, &[&pair]);
    let mut registry = Registry::with_prefix("fingerpost");
    world.verifier.register_metrics(&mut registry);
    let shows = |age: i64, keys: i64| {
        let mut text = String::new();
        encode_text(&mut text, &registry).unwrap();
        for (name, value) in [("_age_seconds", age), ("", keys)] {
            let line =
                format!("\nfingerpost_accounts_oidc_keys{name}{{issuer=\"{url}\"}} {value}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    };
    world.clock.advance_micros(40 * SECOND);
    shows(40, 0);
    world.verifier.verify(&pair.sign(&claims())).await.unwrap();
    shows(0, 1);
    world.clock.advance_micros(3599 * SECOND);
    shows(3599, 1);
    world.clock.advance_micros(SECOND);
    shows(3600, 0);
}

#[tokio::test]
async fn keys_are_fetched_before_anybody_comes() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let verifier = world.verifier.clone();
    let fresh = tokio::spawn(async move { verifier.keep_keys_fresh().await });
    for _ in 0..100 {
        if world.keys.asked() > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(world.keys.asked(), 1);
    world.verifier.verify(&pair.sign(&claims())).await.unwrap();
    assert_eq!(world.keys.asked(), 1);
    fresh.abort();
}

#[test]
fn a_set_is_read_as_issuers_write_it() {
    let pair = Pair::rsa("a");
    assert_eq!(
        KeySet::parse(key_set(&[&pair]).as_bytes()).unwrap().count(),
        (1, 0)
    );
}
