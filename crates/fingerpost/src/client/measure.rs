//! Commands that measure the server from here.

use std::time::{Duration, Instant};

use anyhow::bail;
use fingerpost_hashequiv_client::{Client, ClientOptions};
use fingerpost_hashequiv_proto::client::{Report, request};
use sha2::{Digest, Sha256};

use super::Session;
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct PingArgs {
    /// How many times.
    #[arg(short = 'n', long, default_value_t = 10)]
    count: u32,
    /// Show the summary alone.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StressArgs {
    /// Clients at a time, each with a connection.
    #[arg(long, default_value_t = 10)]
    clients: u32,
    /// Look-ups of each client.
    #[arg(long, default_value_t = 1000)]
    requests: u32,
    /// Also report each task.
    #[arg(long)]
    report: bool,
    /// Beginning of the text whose SHA-256 is a taskhash; a number follows.
    #[arg(long, default_value = "", value_name = "SEED")]
    taskhash_seed: String,
    /// Beginning of the text whose SHA-256 is an outhash; a number follows.
    #[arg(long, default_value = "", value_name = "SEED")]
    outhash_seed: String,
}

pub(super) async fn ping(session: &mut Session, args: &PingArgs) -> anyhow::Result<Exit> {
    session.client.connect().await?;
    let mut times = Vec::new();
    for number in 1..=args.count {
        let started = Instant::now();
        let answer = session.client.call(&request::ping()).await?;
        let time = started.elapsed();
        if !answer.alive {
            bail!("the server says that it is not alive");
        }
        if !args.quiet {
            println!("Ping {number}: {}", milliseconds(time));
        }
        times.push(time);
    }
    if let Some(summary) = summary(&times) {
        println!("{summary}");
    }
    Ok(Exit::Ok)
}

pub(super) async fn stress(options: &ClientOptions, args: &StressArgs) -> anyhow::Result<Exit> {
    println!("{} clients, {} requests each", args.clients, args.requests);
    let started = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..args.clients {
        clients.spawn(one_client(options.clone(), args.clone()));
    }
    let mut times = Vec::new();
    while let Some(ended) = clients.join_next().await {
        times.extend(ended??);
    }
    let elapsed = started.elapsed();
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!(
        "{} requests in {:.3} s, {rate:.1} requests/s",
        times.len(),
        elapsed.as_secs_f64()
    );
    if let Some(summary) = summary(&times) {
        println!("{summary}");
    }
    Ok(Exit::Ok)
}

async fn one_client(options: ClientOptions, args: StressArgs) -> anyhow::Result<Vec<Duration>> {
    let mut client = Client::new(options);
    client.connect().await?;
    let mut times = Vec::with_capacity(args.requests as usize);
    for number in 0..args.requests {
        let taskhash = sha256(&args.taskhash_seed, number);
        let started = Instant::now();
        let task = (METHOD.to_owned(), taskhash.clone());
        client.unihashes(std::slice::from_ref(&task)).await?;
        times.push(started.elapsed());
        if args.report {
            let outhash = sha256(&args.outhash_seed, number);
            let report = Report {
                taskhash: &taskhash,
                method: METHOD,
                outhash: &outhash,
                unihash: &taskhash,
                ..Report::default()
            };
            client.call(&request::report(&report)).await?;
        }
    }
    Ok(times)
}

fn sha256(seed: &str, number: u32) -> String {
    let digest = Sha256::digest(format!("{seed}{number}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

/// The least, the mean and the most of some times.
fn summary(times: &[Duration]) -> Option<String> {
    let total: Duration = times.iter().sum();
    let mean = total / u32::try_from(times.len()).ok().filter(|count| *count > 0)?;
    let (least, most) = (times.iter().min()?, times.iter().max()?);
    Some(format!(
        "Average: {}, minimum: {}, maximum: {}",
        milliseconds(mean),
        milliseconds(*least),
        milliseconds(*most)
    ))
}

const METHOD: &str = "stress.test.method";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taskhashes_are_those_of_seed_and_number() {
        // SHA-256 of "a1".
        let expected = "f55ff16f66f43360266b95db6f8fec01d76031054306ae4a4b380598f6cfd114";
        assert_eq!(sha256("a", 1), expected);
    }

    #[test]
    fn a_summary_needs_something_to_sum_up() {
        assert_eq!(summary(&[]), None);
        let times = [Duration::from_micros(500), Duration::from_micros(1500)];
        assert_eq!(
            summary(&times).unwrap(),
            "Average: 1.000 ms, minimum: 0.500 ms, maximum: 1.500 ms"
        );
    }
}
