//! Stores over the S3 server of the testkit.

use fingerpost_content::{ObjectStore, ObjectStoreConfig, Place};
use fingerpost_testkit::S3Server;

/// A place in the bucket with the right key.
pub(crate) fn place(server: &S3Server) -> Place {
    let option = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Place {
        url: format!("s3://{}/entries", S3Server::BUCKET),
        endpoint: Some(server.endpoint()),
        client_endpoint: None,
        options: S3Server::OPTIONS.map(option).to_vec(),
    }
}

/// A store there, with its configuration changed.
pub(crate) fn store(server: &S3Server, change: impl FnOnce(&mut ObjectStoreConfig)) -> ObjectStore {
    let mut config = ObjectStoreConfig {
        place: place(server),
        ..ObjectStoreConfig::default()
    };
    change(&mut config);
    ObjectStore::new(config).unwrap()
}
