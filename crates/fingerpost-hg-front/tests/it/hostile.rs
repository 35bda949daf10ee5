//! Everything that a client can do wrong: in HTTP, in frames, in arguments, in
//! paths, and by being slow or many. Each gets its exact refusal, and nothing
//! is held up by it.

mod arguments;
mod frames;
mod http;
mod load;
mod logins;
mod paths;

/// What the recorded repository is served with here: drafts stay drafts.
const SAMPLE: &str = "[phases]\npublish = no\n[experimental]\nevolution = all\n";

pub(crate) use logins::basic;
