mod attacks;
mod configuration;
mod http;
mod keys;
mod provider;

use std::sync::Arc;

use fingerpost_core::{Credential, Permission, PermissionSet, Timestamp};
use serde_json::json;

use super::testing::{AUDIENCE, ISSUER, NOW, Pair, World, claims};
use super::*;
use crate::testing::SECOND;

#[tokio::test]
async fn a_workload_gets_what_its_rule_says() {
    for pair in [Pair::rsa("a"), Pair::p256("a"), Pair::ed25519("a")] {
        let world = World::new(&[&pair]);
        let workload = world.verifier.verify(&pair.sign(&claims())).await.unwrap();
        assert_eq!(&*workload.grant.user, "ci");
        assert_eq!(
            workload.grant.permissions,
            PermissionSet::of(&[Permission::Read])
        );
        let credential = Credential::Workload(ISSUER.into());
        assert_eq!(workload.grant.credential, credential);
        assert_eq!(workload.grant.until, Some(Timestamp((NOW + 360) * SECOND)));
        assert_eq!(&*workload.issuer, ISSUER);
        assert_eq!(workload.subject, Some(Arc::from("job")));
        assert_eq!(workload.rule, 1);
    }
}

#[tokio::test]
async fn whom_no_rule_knows_may_nothing() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let mut other = claims();
    other["repository_id"] = json!("77");
    assert_eq!(world.refusal(&pair.sign(&other)).await, Refusal::NoRule);
}

#[tokio::test]
async fn a_remembered_token_ends_on_time() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let token = pair.sign(&claims());
    world.clock.advance_micros(350 * SECOND);
    world.verifier.verify(&token).await.unwrap();
    world.keys.has(&[&Pair::ed25519("b")]);
    world.clock.advance_micros(9 * SECOND);
    world.verifier.verify(&token).await.unwrap();
    world.clock.advance_micros(SECOND);
    assert_eq!(world.refusal(&token).await, Refusal::Expired);
}

#[tokio::test]
async fn one_of_several_audiences_may_be_ours() {
    let pair = Pair::ed25519("a");
    let world = World::new(&[&pair]);
    let mut several = claims();
    several["aud"] = json!(["https://other.example", AUDIENCE]);
    world.verifier.verify(&pair.sign(&several)).await.unwrap();
}
