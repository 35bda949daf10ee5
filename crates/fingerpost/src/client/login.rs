//! Whom to log in as: options, else `~/.netrc`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use fingerpost_hashequiv_client::{ClientOptions, Credentials};

use super::netrc;
use crate::config::Secret;

#[derive(Debug, clap::Args)]
pub(super) struct LoginArgs {
    /// User to log in as.
    #[arg(short, long, value_name = "USER")]
    login: Option<String>,
    /// Token of that user. Other users of this machine can see it: better use
    /// --password-file or ~/.netrc.
    #[arg(short, long, value_name = "TOKEN")]
    password: Option<Secret>,
    /// File that holds the token.
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,
    /// User to become after the login.
    #[arg(short, long, value_name = "USER")]
    r#become: Option<String>,
    /// Do not read ~/.netrc.
    #[arg(short, long)]
    no_netrc: bool,
}

impl LoginArgs {
    /// Puts the login for `address` into `options`.
    pub(super) fn apply(&self, address: &str, options: &mut ClientOptions) -> anyhow::Result<()> {
        options.credentials = self.credentials(address)?;
        options.become_user.clone_from(&self.r#become);
        Ok(())
    }

    fn credentials(&self, address: &str) -> anyhow::Result<Option<Credentials>> {
        if let Some(username) = &self.login {
            let token = match (&self.password, &self.password_file) {
                (Some(token), _) => token.clone(),
                (None, Some(file)) => {
                    Secret::read(file).with_context(|| format!("cannot read {}", file.display()))?
                }
                (None, None) => bail!("--login needs --password or --password-file"),
            };
            return Ok(Some(credentials(username, &token)));
        }
        if self.no_netrc {
            return Ok(None);
        }
        let login = netrc::find(address).context("cannot read ~/.netrc")?;
        Ok(login.map(|login| credentials(&login.username, &login.token)))
    }
}

fn credentials(username: &str, token: &Secret) -> Credentials {
    Credentials {
        username: username.to_owned(),
        token: token.reveal().to_owned(),
    }
}
