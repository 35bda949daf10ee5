//! Users who come from the reference's database log in as they always did.

use std::process::Stdio;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fingerpost_testkit::{Server, TestFarm};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::moving::reference;
use crate::world::{farm, http, no_panic};

/// A token as the reference stores it.
fn stored(salt: &str, token: &str) -> String {
    let digest = Sha256::digest(format!("{salt}{token}"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{salt}:{digest}")
}

/// A token as the reference makes it: 64 characters.
const MADE: &str = "qL3._9uCkPzv4yVh1sJx0aWb2eRt5fGn6mKd7iTo8cXq.LpZsUwEjYrBvHgN_MAD";
/// One that an administrator chose.
const CHOSEN: &str = "a secret: with ü, and two : of them";

/// The reference's users, as (name, stored token, permissions).
fn users() -> [(&'static str, String, &'static str); 4] {
    [
        ("root", stored("00112233aabbccdd", MADE), "@all"),
        ("reader", stored("8899aabbccddeeff", CHOSEN), "@read"),
        ("nobody", stored("0123456789abcdef", "nothing"), ""),
        (
            "strange",
            stored("0123456789abcdef", "unknown").replace("sha256", "sha3"),
            "@all",
        ),
    ]
}

/// A server on what was imported, where nobody may anything without a login.
async fn moved(farm: &TestFarm) -> Result<Server> {
    let conn = reference(&farm.path("hashserv.db"), 10, 0)?;
    for (name, token, permissions) in users() {
        conn.execute(
            "INSERT INTO users (username, token, permissions) VALUES (?1, ?2, ?3)",
            [name, &token, permissions],
        )?;
    }
    drop(conn);
    let imported = std::process::Command::new(farm.binary())
        .args(["import", "hashserv.db", "--into", "moved.db"])
        .current_dir(farm.directory())
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&imported.stdout);
    ensure!(said.contains("users      4 read, 4 taken\n"), "{said}");
    ensure!(
        said.contains("\"strange\" is hashed in an unknown way"),
        "{said}"
    );
    let options = farm.server().database(farm.path("moved.db"));
    options.anonymous("@none").start().await
}

/// The status of a request with a login.
async fn status(server: &Server, path: &str, name: &str, token: &str) -> Result<u16> {
    let login = BASE64_STANDARD.encode(format!("{name}:{token}"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Authorization: Basic {login}\r\n\r\n"
    );
    let answer = http(server, &request).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    Ok(status.parse()?)
}

#[tokio::test]
async fn imported_users_log_in_over_json_and_over_the_native_protocol() -> Result<()> {
    let farm = farm();
    let server = moved(&farm).await?;
    let unknown = format!("/v1/unihashes/m/{}", "0".repeat(64));
    // (name, token, status of a look-up, status of the list of users)
    for (name, token, look_up, list) in [
        ("root", MADE, 404, 200),
        ("reader", CHOSEN, 404, 403),
        ("nobody", "nothing", 403, 403),
        ("strange", "unknown", 401, 401),
        ("root", CHOSEN, 401, 401),
        ("reader", "", 401, 401),
        ("who", MADE, 401, 401),
    ] {
        let said = status(&server, &unknown, name, token).await?;
        ensure!(said == look_up, "{name} looks up: {said}");
        let said = status(&server, "/v1/users", name, token).await?;
        ensure!(said == list, "{name} lists users: {said}");
        let native = server.login(name, token).await;
        ensure!(native.is_ok() == (look_up != 401), "{name} by auth");
        let Ok(mut session) = native else { continue };
        // The same rights behind both doors.
        let listed = session.ask(json!({"get-all-users": {}})).await;
        let listed = listed.is_ok_and(|answer| answer["users"].is_array());
        ensure!(listed == (list == 200), "{name} lists users natively");
    }
    ensure!(
        http(
            &server,
            &format!("GET {unknown} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        )
        .await?
        .starts_with("HTTP/1.1 401 ")
    );
    no_panic(&server)
}
