//! Certificates of clients.

use fingerpost_net::{ClientCertificates, TlsPolicy};
use rcgen::SanType;

use crate::authority::{Authority, Pair, shake};
use crate::world::{Client, Plan, World};

/// A server whose clients may or must have certificates of `authority`.
fn serve(authority: &Authority, clients: ClientCertificates) -> World {
    let mut options = authority.server();
    options.clients = clients;
    let plan = Plan {
        tls: Some((TlsPolicy::Required, options)),
        ..Plan::default()
    };
    plan.start()
}

/// What the server calls a client with this certificate; `None` when it is refused.
async fn name(world: &World, authority: &Authority, with: Option<&Pair>) -> Option<String> {
    let connected = shake(&world.address, authority.client(with)).await;
    let mut client = Client(connected.ok()?);
    // In TLS 1.3 the client is done before the server has looked.
    client.try_send("name\n").await.ok()?;
    let answer = client.line().await;
    Some(answer).filter(|answer| !answer.is_empty())
}

fn builder(authority: &Authority, days: i64) -> Pair {
    let uri = "spiffe://farm/builder".try_into().expect("ASCII");
    authority.pair_of(vec![SanType::URI(uri)], days)
}

#[tokio::test]
async fn a_certificate_that_is_optional_names_its_client() {
    let authority = Authority::new();
    let world = serve(
        &authority,
        ClientCertificates::Optional(authority.path("ca.pem")),
    );
    let pair = builder(&authority, 30);
    let named = Some("uri:spiffe://farm/builder".to_owned());
    assert_eq!(name(&world, &authority, Some(&pair)).await, named);
    assert_eq!(
        name(&world, &authority, None).await,
        Some("nobody".to_owned())
    );
}

#[tokio::test]
async fn a_certificate_that_is_wrong_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let world = serve(
        &authority,
        ClientCertificates::Optional(authority.path("ca.pem")),
    );
    let strange = builder(&other, 30);
    assert_eq!(name(&world, &authority, Some(&strange)).await, None);
    let expired = builder(&authority, -1);
    assert_eq!(name(&world, &authority, Some(&expired)).await, None);
    assert_eq!(
        world.metric(r#"fingerpost_refused_total{reason="tls_handshake"}"#),
        2
    );
}

#[tokio::test]
async fn a_certificate_that_is_required_must_be_there() {
    let authority = Authority::new();
    let world = serve(
        &authority,
        ClientCertificates::Required(authority.path("ca.pem")),
    );
    assert_eq!(name(&world, &authority, None).await, None);
    let pair = builder(&authority, 30);
    let named = Some("uri:spiffe://farm/builder".to_owned());
    assert_eq!(name(&world, &authority, Some(&pair)).await, named);
}

#[tokio::test]
async fn without_authorities_nobody_is_asked() {
    let authority = Authority::new();
    let world = serve(&authority, ClientCertificates::Off);
    let pair = builder(&authority, 30);
    assert_eq!(
        name(&world, &authority, Some(&pair)).await,
        Some("nobody".to_owned())
    );
}
