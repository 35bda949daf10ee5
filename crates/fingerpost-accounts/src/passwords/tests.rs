use std::time::Instant;

use fingerpost_core::Permission::{Read, Report};

use super::*;
use crate::testing::{SECOND, World};

const READER: PermissionSet = PermissionSet::of(&[Read]);
const PASSWORD: &str = "correct horse";

async fn begin(world: World) -> (World, Passwords) {
    world.user("ann", READER).await;
    let options = PasswordOptions::default();
    let passwords = Passwords::new(world.store.clone(), world.clock.clone(), options).unwrap();
    (world, passwords)
}

async fn a_user_logs_in_with_token_or_password(world: World) {
    let (world, passwords) = begin(world).await;
    let token = world.accounts.refresh("ann").await.unwrap().unwrap();
    let login = async |secret: &str| passwords.authenticate("ann", secret).await.unwrap();
    assert_eq!(login(PASSWORD).await, None);
    assert!(passwords.set("ann", PASSWORD).await.unwrap());
    assert_eq!(login(PASSWORD).await, Some(READER));
    assert_eq!(login(token.reveal()).await, Some(READER));
    assert_eq!(login("correct hors").await, None);
    assert!(passwords.remove("ann").await.unwrap());
    assert_eq!(login(PASSWORD).await, None, "it was remembered");
    assert_eq!(login(token.reveal()).await, Some(READER));
    assert!(!passwords.remove("ann").await.unwrap());
    assert!(!passwords.set("nobody", PASSWORD).await.unwrap());
}

async fn imported_tokens_verify_as_they_did(world: World) {
    let (world, passwords) = begin(world).await;
    let row = crate::StoredUser {
        username: "old".to_owned(),
        // `printf 0011223344556677secret | sha256sum`
        token: StoredToken(
            "sha256:0011223344556677:\
             d200d375205f8194627df80c58be19c136c5daa50a79221605ee61f4bd618f79"
                .to_owned(),
        ),
        permissions: "@report".to_owned(),
    };
    assert!(world.store.0.add_user(row).await.unwrap());
    passwords.set("ann", PASSWORD).await.unwrap();
    let login = passwords.authenticate("old", "secret").await.unwrap();
    assert_eq!(login, Some(PermissionSet::of(&[Report])));
}

async fn a_password_is_remembered_for_seconds_and_until_it_changes(world: World) {
    let (world, passwords) = begin(world).await;
    passwords.set("ann", PASSWORD).await.unwrap();
    let login = async |secret: &str| passwords.authenticate("ann", secret).await.unwrap();
    assert_eq!(login(PASSWORD).await, Some(READER));
    // Nobody can compute a hash now.
    let turn = passwords.0.turns.wait().await.unwrap();
    assert_eq!(login(PASSWORD).await, Some(READER));
    drop(turn);
    passwords.set("ann", "another horse").await.unwrap();
    assert_eq!(login(PASSWORD).await, None);
    assert_eq!(login("another horse").await, Some(READER));
    world.clock.advance_micros(10 * SECOND);
    assert_eq!(login("another horse").await, Some(READER));
}

async fn who_finds_the_queue_full_is_refused_and_tokens_go_on(world: World) {
    let (world, _) = begin(world).await;
    let options = PasswordOptions {
        waiting_max: 0,
        ..PasswordOptions::default()
    };
    let passwords = Passwords::new(world.store.clone(), world.clock.clone(), options).unwrap();
    passwords.set("ann", PASSWORD).await.unwrap();
    let token = world.accounts.refresh("ann").await.unwrap().unwrap();
    let _turn = passwords.0.turns.wait().await.unwrap();
    let busy = passwords.authenticate("ann", PASSWORD).await;
    assert!(matches!(busy, Err(PasswordError::Busy)));
    let login = passwords.authenticate("ann", token.reveal()).await.unwrap();
    assert_eq!(login, Some(READER));
    // A wrong token is known as one by its form.
    let login = passwords
        .authenticate("ann", &"x".repeat(64))
        .await
        .unwrap();
    assert_eq!(login, None);
}

async fn unknown_users_cost_what_wrong_passwords_cost(world: World) {
    let (world, passwords) = begin(world).await;
    world.user("tokenless", READER).await;
    passwords.set("ann", PASSWORD).await.unwrap();
    let cost = async |username: &str| {
        let began = Instant::now();
        for _ in 0..3 {
            let login = passwords.authenticate(username, "wrong horse").await;
            assert_eq!(login.unwrap(), None);
        }
        began.elapsed()
    };
    let known = cost("ann").await;
    for username in ["nobody", "tokenless"] {
        let cost = cost(username).await;
        // A look-up alone is more than a hundred times cheaper.
        assert!(cost > known / 5, "{username}: {cost:?}, ann: {known:?}");
    }
}

async fn unfit_passwords_are_refused(world: World) {
    let (_world, passwords) = begin(world).await;
    for password in [
        "",
        "short",
        &"a".repeat(64),
        &"é".repeat(257),
        "fp_12345678",
    ] {
        let set = passwords.set("ann", password).await;
        assert!(matches!(set, Err(PasswordError::Unfit)), "{password}");
    }
}

crate::testing::on_each_store! {
    a_user_logs_in_with_token_or_password,
    imported_tokens_verify_as_they_did,
    a_password_is_remembered_for_seconds_and_until_it_changes,
    who_finds_the_queue_full_is_refused_and_tokens_go_on,
    unknown_users_cost_what_wrong_passwords_cost,
    unfit_passwords_are_refused,
}
