//! Commands about users.

use anyhow::bail;
use fingerpost_hashequiv_proto::client::request;
use serde_json::json;

use super::{Session, output};
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct OwnOrOther {
    /// The user; without it, oneself.
    #[arg(short, long)]
    username: Option<String>,
}

impl OwnOrOther {
    pub(super) fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// The user.
    #[arg(short, long)]
    username: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct PermissionsArgs {
    /// The user.
    #[arg(short, long)]
    username: String,
    /// @read, @report, @db-admin, @user-admin, @all or @none.
    permissions: Vec<String>,
}

pub(super) async fn refresh_token(
    session: &mut Session,
    args: &OwnOrOther,
) -> anyhow::Result<Exit> {
    let new = session
        .client
        .call(&request::refresh_token(args.username.as_deref()))
        .await?;
    show(session, &new.username, None, Some(&new.token));
    Ok(Exit::Ok)
}

pub(super) async fn set_user_perms(
    session: &mut Session,
    args: &PermissionsArgs,
) -> anyhow::Result<Exit> {
    let request = request::set_user_perms(&args.username, &args.permissions);
    let user = session.client.call(&request).await?;
    show(session, &user.username, Some(&user.permissions), None);
    Ok(Exit::Ok)
}

pub(super) async fn get_user(session: &mut Session, args: &OwnOrOther) -> anyhow::Result<Exit> {
    match session
        .client
        .call(&request::get_user(args.username.as_deref()))
        .await?
    {
        Some(user) => show(session, &user.username, Some(&user.permissions), None),
        None => match &args.username {
            Some(username) => bail!("there is no user {username}"),
            None => bail!("nobody is logged in"),
        },
    }
    Ok(Exit::Ok)
}

pub(super) async fn get_all_users(session: &mut Session) -> anyhow::Result<Exit> {
    let users = session.client.call(&request::get_all_users()).await?.users;
    if session.json {
        let users = users
            .iter()
            .map(|user| json!({"username": user.username, "permissions": user.permissions}));
        println!("{}", serde_json::Value::Array(users.collect()));
    } else {
        print!("{}", output::users(&users));
    }
    Ok(Exit::Ok)
}

pub(super) async fn new_user(
    session: &mut Session,
    args: &PermissionsArgs,
) -> anyhow::Result<Exit> {
    let new = session
        .client
        .call(&request::new_user(&args.username, &args.permissions))
        .await?;
    show(
        session,
        &new.username,
        Some(&new.permissions),
        Some(&new.token),
    );
    Ok(Exit::Ok)
}

pub(super) async fn delete_user(session: &mut Session, args: &DeleteArgs) -> anyhow::Result<Exit> {
    let gone = session
        .client
        .call(&request::delete_user(Some(&args.username)))
        .await?;
    show(session, &gone.username, None, None);
    Ok(Exit::Ok)
}

fn show(session: &Session, username: &str, permissions: Option<&[String]>, token: Option<&str>) {
    if !session.json {
        print!("{}", output::user(username, permissions, token));
        return;
    }
    let mut user = json!({"username": username});
    if let Some(permissions) = permissions {
        user["permissions"] = json!(permissions);
    }
    if let Some(token) = token {
        user["token"] = json!(token);
    }
    println!("{user}");
}
