//! What hash equivalence is for: two builders, two task hashes, one output.

use anyhow::ensure;
use fingerpost_hashequiv_client::{Client, ClientOptions, request};
use fingerpost_hashequiv_proto::client::Report;

use super::tasks::{METHOD, sha256};

/// Does it; gives what happened as some lines.
pub(super) async fn show(options: &ClientOptions) -> anyhow::Result<String> {
    let output = sha256("what zlib:do_package makes");
    let first = sha256("zlib:do_package, as it was");
    let second = sha256("zlib:do_package, with a comment changed");
    let mut builder_1 = Client::new(options.clone());
    let answer = builder_1
        .call(&request::report(&report(&first, &output)))
        .await?;
    let mut builder_2 = Client::new(options.clone());
    let reused = builder_2
        .call(&request::report(&report(&second, &output)))
        .await?;
    ensure!(
        reused.unihash == answer.unihash,
        "builder 2 was given unihash {} and not {}",
        reused.unihash,
        answer.unihash
    );
    Ok(format!(
        "builder 1 built zlib:do_package: taskhash {}\n\
         builder 2 changed a comment:     taskhash {}, the same output {}\n\
         builder 2 reuses builder 1's result: unihash {}",
        short(&first),
        short(&second),
        short(&output),
        short(&reused.unihash.to_text())
    ))
}

fn report<'a>(taskhash: &'a str, outhash: &'a str) -> Report<'a> {
    Report {
        taskhash,
        method: METHOD,
        outhash,
        unihash: taskhash,
        pn: Some("zlib"),
        task: Some("do_package"),
        ..Report::default()
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect::<String>() + "…"
}
