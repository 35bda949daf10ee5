//! The door of Mercurial's wire protocol v2 over HTTP: the URL space, the
//! handshake, identity, and answers that stream.
//!
//! It knows no revlog and no file; what a command means is `fingerpost-hg`'s.
