use fingerpost_core::Permission::{All, DbAdmin, Read, Report};
use fingerpost_core::{Principal, SystemClock};
use fingerpost_db::{Migration, Settings, Sqlite};

use super::*;
use crate::Accounts;
use crate::testing::{MIGRATIONS, SECOND, World};

const READER: PermissionSet = PermissionSet::of(&[Read]);
const BUILDER: PermissionSet = PermissionSet::of(&[Read, Report]);

async fn begin(world: World, permissions: PermissionSet) -> (World, BearerTokens) {
    world.user("ci", permissions).await;
    let tokens = BearerTokens::new(world.store.clone(), world.clock.clone()).unwrap();
    (world, tokens)
}

fn new(name: &str, permissions: PermissionSet) -> NewToken {
    NewToken {
        user: "ci".to_owned(),
        name: name.to_owned(),
        permissions,
        namespaces: Namespaces::All,
        expires: None,
    }
}

async fn refusal(tokens: &BearerTokens, text: &str) -> Option<&'static str> {
    tokens.verify(text).await.unwrap_err().label()
}

async fn a_token_gives_its_scope_as_far_as_its_user_has_it(world: World) {
    let (world, tokens) = begin(world, PermissionSet::of(&[All])).await;
    let mut wanted = new("build", BUILDER);
    wanted.namespaces = Namespaces::of(Some(vec!["main".to_owned()])).unwrap();
    let (token, info) = tokens.create(wanted).await.unwrap();
    let grant = tokens.verify(token.reveal()).await.unwrap();
    assert_eq!((&*grant.user, grant.permissions), ("ci", BUILDER));
    assert!(grant.namespaces.contains("main") && !grant.namespaces.contains("other"));
    assert!(!grant.principal(&Principal::anonymous(READER)).is_self(None));
    assert_eq!(tokens.list("ci").await.unwrap(), [info]);
    world.accounts.set_permissions("ci", READER).await.unwrap();
    tokens.forget();
    let grant = tokens.verify(token.reveal()).await.unwrap();
    assert_eq!(grant.permissions, READER);
}

async fn texts_that_are_no_token_are_told_apart(world: World) {
    let (_world, tokens) = begin(world, READER).await;
    let (token, _) = tokens.create(new("a", READER)).await.unwrap();
    let (stranger, _) = tokens.create(new("b", READER)).await.unwrap();
    let text = token.reveal();
    assert_eq!(refusal(&tokens, "").await, Some("form"));
    assert_eq!(refusal(&tokens, &text[..75]).await, Some("form"));
    let typo = text.replace(&text[70..], "000000");
    assert_eq!(refusal(&tokens, &typo).await, Some("checksum"));
    assert_eq!(
        refusal(&tokens, BearerToken::random().unwrap().reveal()).await,
        Some("unknown")
    );
    // The id of one and the secret of another, with the right checksum.
    let mixed = text::with_checksum(&format!("{}{}", &text[..20], &stranger.reveal()[20..68]));
    assert_eq!(refusal(&tokens, &mixed).await, Some("unknown"));
}

async fn a_revoked_token_ends_at_once_and_its_name_is_free(world: World) {
    let (_world, tokens) = begin(world, READER).await;
    let (token, info) = tokens.create(new("a", READER)).await.unwrap();
    tokens.verify(token.reveal()).await.unwrap();
    assert!(matches!(
        tokens.create(new("a", READER)).await,
        Err(CreateError::NameTaken)
    ));
    assert!(!tokens.revoke("other", &info.id).await.unwrap());
    assert!(tokens.revoke("ci", &info.id).await.unwrap());
    assert!(!tokens.revoke("ci", &info.id).await.unwrap());
    assert_eq!(refusal(&tokens, token.reveal()).await, Some("revoked"));
    tokens.create(new("a", READER)).await.unwrap();
}

async fn a_token_ends_on_time_even_when_it_is_remembered(world: World) {
    let (world, tokens) = begin(world, READER).await;
    let mut short = new("short", READER);
    short.expires = Some(Timestamp(world.clock.now().0 + 2 * SECOND));
    let (token, _) = tokens.create(short.clone()).await.unwrap();
    tokens.verify(token.reveal()).await.unwrap();
    world.clock.advance_micros(2 * SECOND);
    assert_eq!(refusal(&tokens, token.reveal()).await, Some("expired"));
    assert!(matches!(
        tokens.create(short).await,
        Err(CreateError::Expired)
    ));
    tokens.create(new("short", READER)).await.unwrap();
}

async fn what_another_process_revokes_ends_after_seconds(world: World) {
    let (world, tokens) = begin(world, READER).await;
    let other = BearerTokens::new(world.store.clone(), world.clock.clone()).unwrap();
    let (token, info) = tokens.create(new("a", READER)).await.unwrap();
    tokens.verify(token.reveal()).await.unwrap();
    other.revoke("ci", &info.id).await.unwrap();
    tokens.verify(token.reveal()).await.unwrap();
    world.clock.advance_micros(5 * SECOND);
    assert_eq!(refusal(&tokens, token.reveal()).await, Some("revoked"));
}

/// Nothing that is refused now can be right within seconds: texts are random.
async fn the_table_is_asked_once_in_a_while_for_a_token_that_is_refused(world: World) {
    let (world, tokens) = begin(world, READER).await;
    let (token, info) = tokens.create(new("a", READER)).await.unwrap();
    let unknown = BearerToken::random().unwrap();
    tokens.revoke("ci", &info.id).await.unwrap();
    for (text, why) in [(unknown.reveal(), "unknown"), (token.reveal(), "revoked")] {
        assert_eq!(refusal(&tokens, text).await, Some(why));
    }
    world.rename("bearer_token", "moved").await;
    for (text, why) in [(unknown.reveal(), "unknown"), (token.reveal(), "revoked")] {
        assert_eq!(refusal(&tokens, text).await, Some(why));
    }
    world.clock.advance_micros(5 * SECOND);
    assert_eq!(refusal(&tokens, unknown.reveal()).await, None);
    world.rename("moved", "bearer_token").await;
    // Who makes tokens up pushes no right one out.
    let (right, _) = tokens.create(new("b", READER)).await.unwrap();
    tokens.verify(right.reveal()).await.unwrap();
    for _ in 0..2 * REFUSED_MAX {
        let made_up = BearerToken::random().unwrap();
        assert_eq!(refusal(&tokens, made_up.reveal()).await, Some("unknown"));
    }
    world.rename("bearer_token", "moved").await;
    tokens.verify(right.reveal()).await.unwrap();
}

async fn tokens_go_with_their_user(world: World) {
    let (world, tokens) = begin(world, READER).await;
    let (token, _) = tokens.create(new("a", READER)).await.unwrap();
    world.accounts.delete("ci").await.unwrap();
    assert_eq!(world.rows("bearer_token").await, 0);
    world.user("ci", PermissionSet::of(&[All])).await;
    assert_eq!(refusal(&tokens, token.reveal()).await, Some("unknown"));
}

#[tokio::test]
async fn a_database_of_before_gets_the_tables_and_keeps_its_users() {
    let directory = tempfile::tempdir().unwrap();
    let open = |migrations: &[Migration]| {
        Sqlite::open(Settings::new(directory.path().join("old.db")), migrations).unwrap()
    };
    let old = open(&MIGRATIONS[..1]);
    let accounts = Accounts::new(old.clone());
    let secret = accounts.create("ci", READER).await.unwrap().unwrap();
    drop(accounts);
    assert!(old.close().await);
    let db = open(MIGRATIONS);
    let accounts = Accounts::new(db.clone());
    let login = accounts.authenticate("ci", secret.reveal()).await.unwrap();
    assert_eq!(login, Some(READER));
    let tokens = BearerTokens::new(db, Arc::new(SystemClock)).unwrap();
    tokens.create(new("a", READER)).await.unwrap();
    // An older program goes on with the file, and its deletions take tokens away.
    let older = Accounts::new(open(&MIGRATIONS[..1]));
    assert!(older.delete("ci").await.unwrap());
    accounts.create("ci", READER).await.unwrap().unwrap();
    assert_eq!(tokens.list("ci").await.unwrap(), []);
}

async fn what_cannot_be_made_is_said(world: World) {
    let (_world, tokens) = begin(world, READER).await;
    let check = async |new: NewToken, expected: &str| {
        let error = tokens.create(new).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let long = "x".repeat(65);
    for name in ["", " a", "a\n", &long] {
        check(new(name, READER), "1 to 64 bytes").await;
    }
    check(new("a", PermissionSet::of(&[DbAdmin])), "allow more").await;
    let mut stranger = new("a", READER);
    stranger.user = "nobody".to_owned();
    check(stranger, "no such user").await;
    for number in 0..LIVE_TOKENS_MAX {
        let made = tokens.create(new(&number.to_string(), READER)).await;
        made.unwrap();
    }
    check(new("a", READER), "too many").await;
}

async fn last_uses_are_coarse_and_stored_together(world: World) {
    let (world, tokens) = begin(world, READER).await;
    let (token, _) = tokens.create(new("a", READER)).await.unwrap();
    let used = async |after_seconds: i64| {
        world.clock.advance_micros(after_seconds * SECOND);
        tokens.verify(token.reveal()).await.unwrap();
        let stored = tokens.store_uses().await.unwrap();
        (stored, tokens.list("ci").await.unwrap()[0].used)
    };
    let first = world.clock.now();
    assert_eq!(used(0).await, (1, Some(first)));
    assert_eq!(used(599).await, (0, Some(first)));
    assert_eq!(used(6).await, (1, Some(world.clock.now())));
}

async fn ended_tokens_are_purged_in_batches(world: World) {
    let (world, tokens) = begin(world, READER).await;
    for number in 0..230 {
        let (_, info) = tokens
            .create(new(&number.to_string(), READER))
            .await
            .unwrap();
        tokens.revoke("ci", &info.id).await.unwrap();
    }
    let mut short = new("short", READER);
    short.expires = Some(Timestamp(world.clock.now().0 + SECOND));
    tokens.create(short).await.unwrap();
    let (kept, _) = tokens.create(new("kept", READER)).await.unwrap();
    world.clock.advance_micros(10 * SECOND);
    assert_eq!(tokens.purge(world.clock.now()).await.unwrap(), 231);
    assert_eq!(world.rows("bearer_token").await, 1);
    tokens.verify(kept.reveal()).await.unwrap();
}

crate::testing::on_each_store! {
    a_token_gives_its_scope_as_far_as_its_user_has_it,
    texts_that_are_no_token_are_told_apart,
    a_revoked_token_ends_at_once_and_its_name_is_free,
    a_token_ends_on_time_even_when_it_is_remembered,
    what_another_process_revokes_ends_after_seconds,
    the_table_is_asked_once_in_a_while_for_a_token_that_is_refused,
    tokens_go_with_their_user,
    what_cannot_be_made_is_said,
    last_uses_are_coarse_and_stored_together,
    ended_tokens_are_purged_in_batches,
}
