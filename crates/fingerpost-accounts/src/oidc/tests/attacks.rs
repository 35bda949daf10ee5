use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{FakeKeys, ISSUER, NOW, Pair, World, claims, encode, settings};
use super::*;

async fn check(world: &World, token: &[u8], expected: Refusal) {
    let token_text = String::from_utf8_lossy(token);
    assert_eq!(world.refusal(token).await, expected, "{token_text}");
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn claims_that_are_not_right() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    for (claims, expected) in [
        (with("iss", json!("https://evil.example")), Refusal::Issuer),
        (with("iss", json!(format!("{ISSUER}/"))), Refusal::Issuer),
        (with("iss", json!([ISSUER])), Refusal::Issuer),
        (without("iss"), Refusal::Issuer),
        (
            with("aud", json!("https://other.example")),
            Refusal::Audience,
        ),
        (with("aud", json!(["a", "b"])), Refusal::Audience),
        (without("aud"), Refusal::Audience),
        (with("exp", json!(NOW - 60)), Refusal::Expired),
        (with("exp", json!("soon")), Refusal::BadClaim("exp")),
        (without("exp"), Refusal::MissingClaim("exp")),
        (with("nbf", json!(NOW + 61)), Refusal::NotYetValid),
        (with("iat", json!(NOW + 61)), Refusal::IssuedLater),
        (without("iat"), Refusal::MissingClaim("iat")),
        (with("iat", json!(NOW - 86_400)), Refusal::LivesTooLong),
    ] {
        check(&world, &pair.sign(&claims), expected).await;
    }
    // The issuer is known before its keys are asked for: most cost it nothing.
    assert_eq!(world.keys.asked(), 0);
}

#[tokio::test]
async fn headers_that_are_not_right() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let evil = json!("https://evil.example/keys");
    for (name, value, expected) in [
        ("alg", json!("none"), Refusal::Unsigned),
        ("alg", json!("NONE"), Refusal::Unsigned),
        ("alg", json!("HS256"), Refusal::Symmetric),
        ("alg", json!("ES256K"), Refusal::Algorithm),
        ("alg", json!("ES384"), Refusal::Algorithm),
        ("alg", json!(["EdDSA"]), Refusal::Algorithm),
        ("alg", json!("ES256"), Refusal::KeyMismatch),
        ("jku", evil.clone(), Refusal::KeyInHeader),
        ("x5u", evil, Refusal::KeyInHeader),
        ("jwk", pair.jwk.clone(), Refusal::KeyInHeader),
        ("jwk", json!(null), Refusal::KeyInHeader),
        ("crit", json!(["b64"]), Refusal::Critical),
        ("typ", json!("logout+jwt"), Refusal::WrongType),
        ("kid", json!("b"), Refusal::UnknownKey),
        ("kid", json!("../../a"), Refusal::UnknownKey),
        ("kid", json!("k".repeat(257)), Refusal::NoKeyId),
        ("kid", json!(null), Refusal::NoKeyId),
    ] {
        let mut header = pair.header();
        header[name] = value;
        check(&world, &pair.sign_with(&header, &claims()), expected).await;
    }
    // A certificate chain is not looked at: the key of the name is what counts.
    let mut header = pair.header();
    header["x5c"] = json!(["AAAA"]);
    let token = pair.sign_with(&header, &claims());
    world.verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let pair = Pair::rsa("a");
    let world = World::new(&[&pair]);
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "a"});
    let signed = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims().to_string())
    );
    for secret in [pair.jwk.to_string(), pair.jwk["n"].to_string()] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
        let token = format!("{signed}.{signature}");
        check(&world, token.as_bytes(), Refusal::Symmetric).await;
    }
}

#[tokio::test]
async fn keys_of_others_sign_nothing() {
    let (ours, theirs) = (Pair::p256("a"), Pair::p256("a"));
    let world = World::new(&[&ours]);
    check(&world, &theirs.sign(&claims()), Refusal::Signature).await;
    // Two issuers, and each signs for the other.
    let other = World::new(&[&theirs]);
    check(&other, &ours.sign(&claims()), Refusal::Signature).await;
    let mut header = ours.header();
    header["kid"] = json!("of another issuer");
    let token = ours.sign_with(&header, &claims());
    check(&world, &token, Refusal::UnknownKey).await;
}

#[tokio::test]
async fn each_issuer_has_its_own_keys() {
    let (first, second) = (Pair::ed25519("a"), Pair::ed25519("a"));
    let clock = World::new(&[]).clock;
    let issuer = |url: &str, pair: &Pair| -> (Issuer, Arc<dyn KeySource>) {
        let mut settings = settings();
        settings.issuer = url.to_owned();
        let keys = FakeKeys::default();
        keys.has(&[pair]);
        (Issuer::new(settings).unwrap(), Arc::new(keys))
    };
    let other = "https://other.example";
    let issuers = vec![issuer(ISSUER, &first), issuer(other, &second)];
    let verifier = Verifier::new(issuers, clock).unwrap();
    let of_other = with("iss", json!(other));
    verifier.verify(&first.sign(&claims())).await.unwrap();
    verifier.verify(&second.sign(&of_other)).await.unwrap();
    for token in [second.sign(&claims()), first.sign(&of_other)] {
        assert_eq!(verifier.verify(&token).await, Err(Refusal::Signature));
    }
}

#[tokio::test]
async fn texts_that_are_no_token() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let token = String::from_utf8(pair.sign(&claims())).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for text in [
        "",
        ".",
        "..",
        "a.b",
        "....",
        signed,
        &format!("{token}."),
        &format!("{token}.{signature}"),
        &format!("{token}="),
        &format!(" {token}"),
        &format!("{signed}.{signature}!"),
    ] {
        let refusal = world.refusal(text.as_bytes()).await;
        let is_fine = matches!(refusal, Refusal::Form | Refusal::Json);
        assert!(is_fine, "{text}: {refusal:?}");
    }
    check(&world, format!("{signed}.").as_bytes(), Refusal::Signature).await;
    check(&world, b"\xff\xfe.a.b", Refusal::Utf8).await;
}

#[tokio::test]
async fn json_that_is_not_right() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let (header, good) = (pair.header().to_string(), claims().to_string());
    let evil = format!("{{\"repository_id\":\"7\",{}", &good[1..]);
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    let twice = format!("{{\"kid\":\"x\",{}", &header[1..]);
    for (header, claims, expected) in [
        (header.as_bytes(), evil.as_bytes(), Refusal::DuplicateField),
        (twice.as_bytes(), good.as_bytes(), Refusal::DuplicateField),
        (header.as_bytes(), nested.as_bytes(), Refusal::TooDeep),
        (nested.as_bytes(), good.as_bytes(), Refusal::TooDeep),
        (header.as_bytes(), b"{\"iss\":\"\xff\"}", Refusal::Utf8),
        (b"\xff", good.as_bytes(), Refusal::Utf8),
        (header.as_bytes(), b"[]", Refusal::Json),
        (header.as_bytes(), b"{}{}", Refusal::Json),
    ] {
        check(&world, &pair.sign_bytes(header, claims), expected).await;
    }
}

#[tokio::test]
async fn a_huge_token_is_not_read() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let huge = with("x", json!("x".repeat(8 << 10)));
    check(&world, &pair.sign(&huge), Refusal::TooLong).await;
    check(&world, &vec![b'a'; 10 << 20], Refusal::TooLong).await;
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_are_believed(token in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(run(World::new(&[&Pair::ed25519("a")]).verifier.verify(&token)).is_err());
    }

    #[test]
    fn no_parts_make_it_panic_or_are_believed(
        header in "\\{(\"(alg|kid|typ|x)\":(\"(EdDSA|none|a|JWT)\"|1|\\[\\]|\\{\\}),?){0,4}\\}?",
        claims in prop::collection::vec(any::<u8>(), 0..100),
        signature in prop::collection::vec(any::<u8>(), 0..70),
    ) {
        let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        let world = World::new(&[&Pair::ed25519("a")]);
        prop_assert!(run(world.verifier.verify(token.as_bytes())).is_err());
    }

    #[test]
    fn a_changed_token_is_refused(
        position in any::<prop::sample::Index>(),
        change in prop_oneof![
            any::<u8>().prop_map(Change::Put),
            any::<u8>().prop_map(Change::Add),
            Just(Change::Remove),
            any::<prop::sample::Index>().prop_map(Change::Swap),
        ],
    ) {
        let pair = Pair::ed25519("a");
        let token = pair.sign(&claims());
        let mut changed = token.clone();
        let place = position.index(token.len());
        match change {
            Change::Put(byte) => changed[place] = byte,
            Change::Add(byte) => changed.insert(place, byte),
            Change::Remove => drop(changed.remove(place)),
            Change::Swap(other) => changed.swap(place, other.index(token.len())),
        }
        prop_assume!(changed != token);
        let world = World::new(&[&pair]);
        prop_assert!(run(world.verifier.verify(&changed)).is_err());
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Add(u8),
    Remove,
    Swap(prop::sample::Index),
}
