use serde_json::{Value, json};

use super::super::testing::{NOW, Pair, World, settings};
use super::*;

#[test]
fn what_is_wrong_is_named() {
    fn check(change: impl FnOnce(&mut IssuerSettings), expected: &str) {
        let mut settings = settings();
        change(&mut settings);
        let error = Issuer::new(settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    Issuer::new(settings()).unwrap();
    for url in [
        "",
        "ci.example",
        "http://ci.example",
        "http://127.0.0.1.evil.example",
        "ftp://ci.example",
        "https://user:word@ci.example",
        "https://ci.example?a",
        "https://ci.example#a",
    ] {
        check(|settings| settings.issuer = url.to_owned(), "issuer");
        check(
            |settings| settings.jwks_url = Some(url.to_owned()),
            "jwks_url",
        );
    }
    check(|settings| settings.audiences.clear(), "audiences");
    check(|settings| settings.algorithms.clear(), "algorithms");
    check(|settings| settings.leeway_seconds = 301, "leeway_seconds");
    check(
        |settings| settings.token_bytes_max = 1 << 20,
        "token_bytes_max",
    );
    check(|settings| settings.refresh_seconds = 1, "refresh_seconds");
    check(
        |settings| settings.keep_keys_seconds = 1,
        "keep_keys_seconds",
    );
    check(|settings| settings.rules.clear(), "rules");
    check(
        |settings| settings.rules[0].matching.clear(),
        "rules[1].match",
    );
    check(
        |settings| settings.rules[0].matching = [("sub".to_owned(), "*".to_owned())].into(),
        "everybody",
    );
    check(
        |settings| settings.rules[0].matching = [("sub".to_owned(), "*x".to_owned())].into(),
        "star",
    );
    check(
        |settings| settings.rules[0].permissions = vec!["@raed".to_owned()],
        "@raed",
    );
    check(|settings| settings.rules[0].user.clear(), "user");
    check(
        |settings| settings.rules[0].namespaces = Some(Vec::new()),
        "namespaces",
    );
}

#[test]
fn misspelled_keys_and_shared_secrets_are_refused() {
    for text in [
        "issuer = 'https://a'\naudiences = ['b']\nrules = []\naudience = 'x'",
        "issuer = 'https://a'\naudiences = ['b']\nrules = []\nalgorithms = ['HS256']",
        "issuer = 'https://a'\naudiences = ['b']\nrules = []\nalgorithms = ['none']",
    ] {
        assert!(toml::from_str::<IssuerSettings>(text).is_err(), "{text}");
    }
}

/// The examples of `docs/identity.md`, as a configuration file has them.
fn example(issuer: &str) -> World {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        oidc: Vec<IssuerSettings>,
    }
    let page = include_str!("../../../../../docs/identity.md");
    let settings = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .flat_map(|text| toml::from_str::<File>(text).unwrap().oidc)
        .find(|settings| settings.issuer == issuer);
    World::with(settings.unwrap(), &[&Pair::rsa("a")])
}

async fn check(world: &World, issuer: &str, claims: Value, expected: Option<(&str, &[&str])>) {
    let mut token = json!({"iss": issuer, "aud": "https://hashes.example.com",
                           "iat": NOW, "exp": NOW + 300});
    let all = token.as_object_mut().unwrap();
    all.extend(claims.as_object().unwrap().clone());
    let verified = world.verifier.verify(&Pair::rsa("a").sign(&token)).await;
    match expected {
        Some((user, permissions)) => {
            let grant = verified.unwrap().grant;
            assert_eq!(&*grant.user, user, "{claims}");
            assert_eq!(grant.permissions.stored(), permissions, "{claims}");
        }
        None => assert_eq!(verified, Err(Refusal::NoRule), "{claims}"),
    }
}

#[tokio::test]
async fn the_example_for_github_lets_forks_read_only() {
    let issuer = "https://token.actions.githubusercontent.com";
    let world = example(issuer);
    let job = |event: &str, branch: &str| {
        json!({"repository_id": "123456789", "repository_owner_id": "9876543",
               "repository": "renamed/since", "event_name": event, "ref": branch})
    };
    let (reader, builder) = (
        Some(("github-pr", &["@read"][..])),
        Some(("github", &["@read", "@report"][..])),
    );
    for (event, branch, expected) in [
        ("push", "refs/heads/main", builder),
        ("schedule", "refs/heads/main", builder),
        ("push", "refs/heads/release/1.0", builder),
        ("pull_request", "refs/pull/7/merge", reader),
        ("pull_request", "refs/heads/main", reader),
        ("pull_request_target", "refs/heads/main", None),
        ("push", "refs/heads/wip", None),
        ("push", "refs/tags/v1", None),
    ] {
        check(&world, issuer, job(event, branch), expected).await;
    }
    for name in ["repository_id", "repository_owner_id"] {
        let mut other = job("push", "refs/heads/main");
        other[name] = json!("1");
        check(&world, issuer, other, None).await;
    }
}

#[tokio::test]
async fn the_example_for_gitlab_lets_protected_branches_report() {
    let issuer = "https://gitlab.example.com";
    let world = example(issuer);
    let job = |project: &str, protected: &str, source: &str| {
        json!({"project_id": project, "namespace_id": "72", "ref_protected": protected,
               "ref_type": "branch", "ref": "main", "pipeline_source": source})
    };
    let builder = Some(("gitlab", &["@read", "@report"][..]));
    let reader = Some(("gitlab-review", &["@read"][..]));
    for (project, protected, source, expected) in [
        ("22", "true", "push", builder),
        ("22", "true", "schedule", builder),
        ("22", "true", "merge_request_event", reader),
        ("22", "false", "push", reader),
        ("22", "false", "merge_request_event", reader),
        ("23", "true", "push", None),
    ] {
        check(&world, issuer, job(project, protected, source), expected).await;
    }
}
