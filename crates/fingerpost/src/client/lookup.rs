//! Commands that only look.

use fingerpost_hashequiv_proto::client::{FullRow, SignedRow, request};
use serde_json::{Value, json};

use super::signing::{self, Counts};
use super::{Session, output};
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// Method of the outhash.
    method: String,
    /// Hash of the task's inputs.
    taskhash: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct GetOuthashArgs {
    /// Method of the outhash.
    method: String,
    /// Hash of the task's output.
    outhash: String,
    /// Hash of the task's inputs.
    taskhash: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnihashExistsArgs {
    /// Print nothing; exit with 0 if it exists, else with 1.
    #[arg(long)]
    quiet: bool,
    /// The unihash.
    unihash: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    /// Start counting anew.
    #[arg(long)]
    reset: bool,
}

pub(super) async fn get(session: &mut Session, args: &GetArgs) -> anyhow::Result<Exit> {
    if session.judges() {
        return get_signed(session, (&args.method, &args.taskhash, None)).await;
    }
    let row = session
        .client
        .call(&request::get_all(&args.method, &args.taskhash))
        .await?;
    show_row(session, row)
}

pub(super) async fn get_outhash(
    session: &mut Session,
    args: &GetOuthashArgs,
) -> anyhow::Result<Exit> {
    let request = request::get_outhash(&args.method, &args.outhash, &args.taskhash, true);
    let row = session.client.call(&request).await?;
    if session.judges() {
        // It says where to look, and nothing else of it is used.
        let taskhash = row.and_then(|row| row.taskhash);
        let taskhash = taskhash.map_or_else(|| args.taskhash.clone(), |hash| hash.to_text());
        return get_signed(session, (&args.method, &taskhash, Some(&args.outhash))).await;
    }
    show_row(session, row)
}

pub(super) async fn unihash_exists(
    session: &mut Session,
    args: &UnihashExistsArgs,
) -> anyhow::Result<Exit> {
    let answers = session
        .client
        .exist(std::slice::from_ref(&args.unihash))
        .await?;
    let exists = answers.first().is_some_and(|exists| *exists);
    if args.quiet {
        return Ok(if exists { Exit::Ok } else { Exit::Found });
    }
    println!("{exists}");
    Ok(Exit::Ok)
}

pub(super) async fn stats(session: &mut Session, args: &StatsArgs) -> anyhow::Result<Exit> {
    let request = if args.reset {
        request::reset_stats()
    } else {
        request::get_stats()
    };
    let stats = session.client.call(&request).await?.requests;
    let value = json!({
        "requests": {
            "num": stats.num,
            "total_time": stats.total_time,
            "max_time": stats.max_time,
            "average": stats.average,
            "stdev": stats.stdev,
        }
    });
    show_json(session, &value);
    Ok(Exit::Ok)
}

pub(super) async fn get_db_usage(session: &mut Session) -> anyhow::Result<Exit> {
    let usage = session.client.call(&request::get_db_usage()).await?.usage;
    if session.json {
        let tables = usage
            .iter()
            .map(|(name, table)| (name.clone(), table.rows.into()));
        show_json(session, &Value::Object(tables.collect()));
        return Ok(Exit::Ok);
    }
    let rows: Vec<_> = usage
        .iter()
        .map(|(name, table)| (name.clone(), table.rows.to_string()))
        .collect();
    let total: u64 = usage.values().map(|table| table.rows).sum();
    print!(
        "{}\nTotal rows: {total}\n",
        output::table(["Table name", "Rows"], &rows)
    );
    Ok(Exit::Ok)
}

pub(super) async fn get_db_query_columns(session: &mut Session) -> anyhow::Result<Exit> {
    let mut columns = session
        .client
        .call(&request::get_db_query_columns())
        .await?
        .columns;
    columns.sort();
    if session.json {
        show_json(session, &json!(columns));
    } else {
        for column in columns {
            println!("{column}");
        }
    }
    Ok(Exit::Ok)
}

/// Looks a row up and judges it. A miss is shown as what is not known, and said.
async fn get_signed(
    session: &mut Session,
    asked: (&str, &str, Option<&str>),
) -> anyhow::Result<Exit> {
    let told = session
        .client
        .call(&request::get_signed(asked.0, asked.1))
        .await?;
    let mut counts = Counts::new();
    let mut row = Value::Null;
    match (told, &session.trust) {
        (Some(told), Some(trust)) => {
            // What is shown is what was verified: what was asked, and not what the
            // server says was.
            let told = SignedRow {
                method: asked.0.into(),
                taskhash: asked.1.into(),
                ..told
            };
            let (is_hit, word) = trust.judge(asked, &told);
            signing::count(&mut counts, word);
            match is_hit {
                true => row = serde_json::to_value(&told)?,
                false => eprintln!("A miss, the answer is not believed: {word}"),
            }
        }
        _ => signing::count(&mut counts, "unknown"),
    }
    if session.json {
        show_json(
            session,
            &json!({"row": row, "counts": signing::to_json(&counts)}),
        );
    } else if !row.is_null() {
        show_json(session, &row);
    }
    Ok(Exit::Ok)
}

/// A row as JSON; nothing for one that is not known.
fn show_row(session: &Session, row: Option<FullRow>) -> anyhow::Result<Exit> {
    if let Some(row) = row {
        show_json(session, &serde_json::to_value(row)?);
    }
    Ok(Exit::Ok)
}

fn show_json(session: &Session, value: &Value) {
    if session.json {
        println!("{value}");
    } else {
        println!("{}", output::pretty(value));
    }
}
