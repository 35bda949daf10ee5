//! What a browser is shown at the root of a site: its repositories.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::Response;
use fingerpost_accounts::Login;
use fingerpost_hg::site::{Decision, Listing, Operation};

use crate::answer;
use crate::front::Door;
use crate::refusal::Refusal;

/// The most repositories that are listed.
const LINES_MAX: usize = 10_000;
/// The longest description that is shown, in characters.
const DESCRIPTION_CHARS_MAX: usize = 200;

impl Door {
    /// The index, if `path` is the root of the site; else there is nothing.
    ///
    /// Looking at every repository is much work for a short question, so that
    /// one such answer is made at a time.
    pub(crate) async fn index(
        self: &Arc<Self>,
        path: String,
        login: Option<Login>,
    ) -> Result<Response, Refusal> {
        let is_root = self.blocking(move |door| {
            let prefix = door.catalogue.prefix(door.clock.now());
            matches!(path.strip_prefix(&prefix), Some("" | "/"))
        });
        if !is_root.await? {
            return Err(Refusal::nothing_here());
        }
        let place = self.lanes.enter_index().await?;
        let text = self.blocking(move |door| {
            // Held here: who hangs up does not end the work.
            let _place = place;
            let listing = door.catalogue.list(door.clock.now());
            index_of(&listing, login.as_ref().map(Login::name))
        });
        Ok(answer::ok("text/plain; charset=utf-8", text.await?))
    }
}

/// A line for each repository that `user` may read and that is not hidden: its
/// path, and its description if it has one.
fn index_of(listing: &Listing, user: Option<&str>) -> String {
    let served = listing.repositories.iter().flat_map(|listed| &listed.state);
    let mut shown = served.filter(|entry| {
        let settings = entry.settings();
        let decision = settings.access.decide(user, Operation::Read);
        !settings.hidden && matches!(decision, Decision::Allowed)
    });
    let mut text = String::new();
    for entry in shown.by_ref().take(LINES_MAX) {
        let description = entry.settings().description.as_deref();
        let line = [entry.url_path(), &one_line(description.unwrap_or_default())].join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    match shown.count() {
        0 => {}
        more => {
            let _ = writeln!(text, "and {more} more");
        }
    }
    text
}

/// The beginning of a text, as part of a line.
fn one_line(text: &str) -> String {
    let plain = |character: char| match character.is_control() {
        true => ' ',
        false => character,
    };
    text.chars()
        .take(DESCRIPTION_CHARS_MAX)
        .map(plain)
        .collect()
}
