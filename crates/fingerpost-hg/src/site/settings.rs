//! What a repository's own configuration files say.

use super::AccessRules;

/// Which changesets are served, the wider view first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerView {
    /// Neither hidden nor secret; `server.view = served`, the default.
    #[default]
    Served,
    /// Public ones only; `server.view = immutable`.
    Immutable,
}

/// One remark for `hg check`: what was ignored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// File and line, `/srv/hg/a/.hg/hgrc:3`.
    pub place: String,
    /// One sentence.
    pub sentence: String,
}

/// The settings of one repository that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySettings {
    /// `phases.publish`: drafts are announced as public. Taken from any file,
    /// trusted or not, as Mercurial does: it gives nobody access.
    pub publishing: bool,
    /// `web.hidden`: left out of indexes, served all the same.
    pub hidden: bool,
    /// `server.view`.
    pub view: ServerView,
    /// `server.uncompressed`: whether raw store files may be asked for at all.
    /// A repository with secret or hidden changesets never serves them.
    pub raw_store_files: bool,
    /// Who may do what.
    pub access: AccessRules,
    /// `web.name`, for people.
    pub name: Option<String>,
    /// `web.description`, for people.
    pub description: Option<String>,
    /// `web.contact`, for people.
    pub contact: Option<String>,
    /// What was ignored or is worth knowing.
    pub notes: Vec<Note>,
}

impl Default for RepositorySettings {
    fn default() -> Self {
        Self {
            publishing: true,
            hidden: false,
            view: ServerView::Served,
            raw_store_files: true,
            access: AccessRules::default(),
            name: None,
            description: None,
            contact: None,
            notes: Vec::new(),
        }
    }
}
