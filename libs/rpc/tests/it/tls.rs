//! TLS and mTLS with certificates made here.

use std::fs;
use std::path::Path;

use proto::directory::ListProgramsRequest;
use proto::directory::directory_service_client::DirectoryServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rpc::Credential;
use tempfile::TempDir;
use testkit::sqlite;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::support::{TestServer, serve_with};

/// An authority that signs certificates into files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Writes `{name}.crt` and `{name}.key`.
    fn sign(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

async fn list(server: &TestServer, tls: ClientTlsConfig) -> Result<(), Status> {
    let url = format!("https://localhost:{}", server.running.address().port());
    let endpoint = Endpoint::from_shared(url).unwrap().tls_config(tls.domain_name("localhost")).unwrap();
    let credential = Credential::new(&server.administrator).unwrap();
    let mut client = DirectoryServiceClient::new(InterceptedService::new(endpoint.connect_lazy(), credential));
    client.list_programs(ListProgramsRequest::default()).await.map(drop)
}

fn identity(folder: &Path, name: &str) -> Identity {
    let read = |suffix| fs::read(folder.join(format!("{name}.{suffix}"))).unwrap();
    Identity::from_pem(read("crt"), read("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_trust_the_authority_of_the_server_and_the_server_theirs() {
    let folder = TempDir::new().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign(folder.path(), "server");
    authority.sign(folder.path(), "client");
    stranger.sign(folder.path(), "stranger");
    fs::write(folder.path().join("ca.crt"), authority.issuer.pem()).unwrap();
    let ca = || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.issuer.pem()));
    let wrong_ca = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(stranger.issuer.pem()));

    let with_tls = |config: &mut rpc::Config| {
        config.server.tls.cert = Some(folder.path().join("server.crt"));
        config.server.tls.key = Some(folder.path().join("server.key"));
    };
    let server = serve_with(sqlite().await, &[], with_tls).await;
    list(&server, ca()).await.unwrap();
    list(&server, wrong_ca).await.unwrap_err();
    server.running.stop().await;

    let server = serve_with(sqlite().await, &[], |config| {
        with_tls(config);
        config.server.tls.client_ca = Some(folder.path().join("ca.crt"));
    })
    .await;
    list(&server, ca().identity(identity(folder.path(), "client"))).await.unwrap();
    list(&server, ca()).await.expect_err("a client without a certificate is not let in");
    list(&server, ca().identity(identity(folder.path(), "stranger"))).await.expect_err("nor one of another authority");

    // A service elsewhere comes with a certificate of its own.
    let mut config = rpc::Config::default_in(&folder.path().join("elsewhere"));
    config.peers.urls.insert("points".to_owned(), format!("https://localhost:{}", server.running.address().port()));
    config.peers.credential = Some(server.key(rpc::Role::Service, &[]).await.into());
    config.peers.ca = Some(folder.path().join("ca.crt"));
    config.peers.cert = Some(folder.path().join("client.crt"));
    config.peers.key = Some(folder.path().join("client.key"));
    let elsewhere = rpc::start(&kernel::Context::system(), config, &[]).await.unwrap();
    let mut client = DirectoryServiceClient::new(elsewhere.host().peer("points").unwrap());
    client.list_programs(ListProgramsRequest::default()).await.unwrap();
    elsewhere.stop().await;
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_read_stops_the_start() {
    let folder = TempDir::new().unwrap();
    let mut config = rpc::Config::default_in(folder.path());
    config.server.tls.cert = Some(folder.path().join("none.crt"));
    config.server.tls.key = Some(folder.path().join("none.key"));
    let refused = rpc::start(&kernel::Context::system(), config.clone(), &[]).await.err().unwrap();
    assert!(refused.to_string().contains("none.crt"), "{refused}");
    for file in ["none.crt", "none.key"] {
        fs::write(folder.path().join(file), "no certificate").unwrap();
    }
    let refused = rpc::start(&kernel::Context::system(), config, &[]).await.err().unwrap();
    assert!(refused.to_string().contains("server.tls"), "{refused}");
    let plain = rpc::Config::default_in(folder.path());
    let running = rpc::start(&kernel::Context::system(), plain, &[]).await.unwrap();
    assert!(running.first_administrator().is_some(), "a start that failed has not used up the first key");
    running.stop().await;
}
