//! TLS with a private authority, by libpq's rules.

use fingerpost_testkit::Certificates;

use super::*;

#[tokio::test]
async fn a_server_is_believed_as_far_as_sslmode_says() {
    let mut cluster = PostgresCluster::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ours = Certificates::make(directory.path()).unwrap();
    let others = directory.path().join("others");
    std::fs::create_dir(&others).unwrap();
    let others = Certificates::make(&others).unwrap();
    cluster.fresh_database().unwrap();
    cluster.require_tls(&ours).unwrap();

    let port = cluster.port();
    let check = async |host: &str, parameters: &str, works: bool| {
        let url =
            format!("postgresql://postgres@{host}:{port}/test_1?hostaddr=127.0.0.1&{parameters}");
        let mut settings = settings(&url);
        settings.acquire_timeout = Duration::from_millis(200);
        let opened = Postgres::open(settings, MIGRATIONS).await;
        assert_eq!(
            opened.is_ok(),
            works,
            "{host} {parameters}: {:?}",
            opened.err()
        );
        if let Ok(db) = opened {
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let row = db.read(
                "tls",
                |session| async move { session.query_one(sql, &[]).await },
            );
            assert!(row.await.unwrap().get::<_, bool>(0));
        }
    };
    let known = format!("sslrootcert={}", ours.authority.display());
    let unknown = format!("sslrootcert={}", others.authority.display());
    check("localhost", "sslmode=disable", false).await;
    check("localhost", "sslmode=prefer", true).await;
    check("127.0.0.1", "sslmode=require", true).await;
    check("127.0.0.1", &format!("sslmode=require&{unknown}"), false).await;
    check("127.0.0.1", &format!("sslmode=verify-ca&{known}"), true).await;
    check("127.0.0.1", &format!("sslmode=verify-ca&{unknown}"), false).await;
    check("localhost", &format!("sslmode=verify-full&{known}"), true).await;
    check(
        "localhost",
        &format!("sslmode=verify-full&{unknown}"),
        false,
    )
    .await;
    check("127.0.0.1", &format!("sslmode=verify-full&{known}"), false).await;
    check(
        "localhost",
        "sslmode=verify-full&sslrootcert=/nowhere.pem",
        false,
    )
    .await;
}

#[tokio::test]
async fn prefer_does_without_and_require_does_not() {
    let cluster = PostgresCluster::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    open(&format!("{url}?sslmode=prefer")).await;
    let mut required = settings(&format!("{url}?sslmode=require"));
    required.acquire_timeout = Duration::from_millis(200);
    assert!(Postgres::open(required, MIGRATIONS).await.is_err());
}

#[tokio::test]
async fn a_password_is_bound_to_the_channel_and_never_shown() {
    let mut cluster = PostgresCluster::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ours = Certificates::make(directory.path()).unwrap();
    let role = "CREATE ROLE farm LOGIN PASSWORD 's3cret'";
    cluster.sql("postgres", role).unwrap();
    cluster
        .sql("postgres", "CREATE DATABASE farm OWNER farm")
        .unwrap();
    cluster.require_tls(&ours).unwrap();
    let open = async |password: &str| {
        let url = format!(
            "postgresql://farm:{password}@localhost:{}/farm?hostaddr=127.0.0.1&channel_binding=require\
             &sslmode=verify-full&sslrootcert={}",
            cluster.port(),
            ours.authority.display()
        );
        Postgres::open(settings(&url), MIGRATIONS).await
    };
    insert(&open("s3cret").await.unwrap(), 1).await.unwrap();

    let started = Instant::now();
    let refused = open("s3cr3t").await.err().unwrap();
    // It is not tried again.
    assert!(started.elapsed() < Duration::from_secs(4));
    let mut text = format!("{refused:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(&refused);
    while let Some(error) = cause {
        text += &format!("\n{error}");
        cause = error.source();
    }
    assert!(text.contains("password authentication failed"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
}
