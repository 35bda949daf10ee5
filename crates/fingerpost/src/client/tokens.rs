//! Commands about bearer tokens: an extension, which other servers do not have.

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_proto::client::request::{self, NewToken};
use fingerpost_hashequiv_proto::client::{BearerToken, NewBearerToken};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Session;
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The user whom it acts for; without it, oneself.
    #[arg(short, long)]
    username: Option<String>,
    /// What it is called.
    #[arg(long)]
    name: String,
    /// It ends after so many days; without it, never.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Namespaces that it is for; without any, all.
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// What it allows, as far as the user may: @read, @report, @db-admin,
    /// @user-admin or @all.
    #[arg(required = true)]
    permissions: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The user whose it is; without it, oneself.
    #[arg(short, long)]
    username: Option<String>,
    /// The token's id, the first 16 digits of its text.
    id: String,
}

pub(super) async fn token_new(session: &mut Session, args: &NewArgs) -> anyhow::Result<Exit> {
    let now = SystemClock.now().0.div_euclid(1_000_000);
    let days = args.days.map(i64::from);
    let new = NewToken {
        username: args.username.as_deref(),
        name: &args.name,
        permissions: &args.permissions,
        namespaces: &args.namespaces,
        expires: days.map(|days| now + days * 24 * 3600),
    };
    let made = session.client.call(&request::new_token(new)).await?;
    match session.json {
        true => println!("{}", serde_json::to_value(&made)?),
        false => print!("{}", shown(&made)),
    }
    Ok(Exit::Ok)
}

pub(super) async fn token_list(
    session: &mut Session,
    username: Option<&str>,
) -> anyhow::Result<Exit> {
    let asked = session.client.call(&request::get_tokens(username)).await?;
    match session.json {
        true => println!("{}", serde_json::to_value(&asked.tokens)?),
        false => print!("{}", table(&asked.tokens)),
    }
    Ok(Exit::Ok)
}

pub(super) async fn token_revoke(session: &mut Session, args: &RevokeArgs) -> anyhow::Result<Exit> {
    let request = request::revoke_token(args.username.as_deref(), &args.id);
    let revoked = session.client.call(&request).await?;
    match session.json {
        true => println!("{}", json!({"id": revoked.id})),
        false => println!("Revoked:     {}", revoked.id),
    }
    Ok(Exit::Ok)
}

fn shown(made: &NewBearerToken) -> String {
    let info = &made.info;
    format!(
        "Username:    {}\nName:        {}\nId:          {}\nPermissions: {}\nNamespaces:  {}\n\
         Ends:        {}\nToken:       {}\n",
        info.username,
        info.name,
        info.id,
        info.permissions.join(" "),
        namespaces(info),
        moment(info.expires),
        made.token
    )
}

fn table(tokens: &[BearerToken]) -> String {
    let mut out = format!(
        "{:17}{:22}{:22}{:22}What\n",
        "Id", "Ends", "Revoked", "Last use"
    );
    for token in tokens {
        out.push_str(&format!(
            "{:17}{:22}{:22}{:22}{}: {} in {}\n",
            token.id,
            moment(token.expires),
            moment(token.revoked),
            moment(token.used),
            token.name,
            token.permissions.join(" "),
            namespaces(token)
        ));
    }
    out
}

fn namespaces(token: &BearerToken) -> String {
    let names = token.namespaces.as_ref();
    names.map_or_else(|| "all".to_owned(), |names| names.join(" "))
}

/// A time in UTC, `never` without one.
fn moment(seconds: Option<i64>) -> String {
    let Some(seconds) = seconds else {
        return "never".to_owned();
    };
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_a_table() {
        let token = BearerToken {
            id: "0123456789abcdef".to_owned(),
            username: "ci".to_owned(),
            name: "nightly".to_owned(),
            permissions: vec!["@read".to_owned()],
            namespaces: None,
            created: 1,
            expires: Some(1_800_000_000),
            revoked: None,
            used: None,
        };
        assert_eq!(
            table(&[token]),
            "Id               Ends                  Revoked               Last use              What\n\
             0123456789abcdef 2027-01-15T08:00:00Z  never                 never                 \
             nightly: @read in all\n"
        );
    }
}
