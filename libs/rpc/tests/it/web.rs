//! Browsers: gRPC-Web over HTTP/1.1, and what CORS tells them. Written by hand, since that is what arrives.

use testkit::sqlite;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{TestServer, serve_with};

const LIST: &str = "/regulars.directory.v1.DirectoryService/ListPrograms";
const PAGE: &str = "https://join.example.com";

/// Sends a request head and a body and returns everything that comes back, header names in lower case.
async fn exchange(server: &TestServer, head: String, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.running.address()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Posts an empty message as a browser does, with the administrator's key.
pub(crate) async fn grpc_web(server: &TestServer, path: &str, headers: &str) -> String {
    let key = &server.administrator;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n\
         authorization: Bearer {key}\r\norigin: {PAGE}\r\ncontent-length: 5\r\n{headers}\r\n"
    );
    exchange(server, head, &[0; 5]).await
}

async fn preflight(server: &TestServer, origin: &str) -> String {
    let head = format!(
        "OPTIONS {LIST} HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: authorization,content-type,x-grpc-web\r\n\r\n"
    );
    exchange(server, head, &[]).await.to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_calls_from_an_origin_that_is_named() {
    let server = serve_with(sqlite().await, &[], |config| config.server.cors_origins = vec![PAGE.to_owned()]).await;
    server.program("tea").await;

    let allowed = preflight(&server, PAGE).await;
    assert!(allowed.starts_with("http/1.1 200"), "{allowed}");
    assert!(allowed.contains(&format!("access-control-allow-origin: {PAGE}")), "{allowed}");
    for header in ["authorization", "content-type", "x-grpc-web", "grpc-timeout"] {
        let line = allowed.lines().find(|line| line.starts_with("access-control-allow-headers:")).unwrap();
        assert!(line.contains(header), "{line}");
    }

    let answer = grpc_web(&server, LIST, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/grpc-web+proto"), "{answer}");
    assert!(answer.contains(&format!("access-control-allow-origin: {PAGE}")), "{answer}");
    assert!(answer.contains("programs/tea"), "{answer}");
    assert!(answer.contains("grpc-status:0"), "the trailers are in the body: {answer}");
    let exposed = answer.lines().find(|line| line.starts_with("access-control-expose-headers:")).unwrap();
    assert!(exposed.contains("grpc-status-details-bin") && exposed.contains("regulars-replayed"), "{exposed}");
    server.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_told_nothing() {
    let server = serve_with(sqlite().await, &[], |config| config.server.cors_origins = vec![PAGE.to_owned()]).await;
    let answer = preflight(&server, "https://evil.example.com").await;
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    server.running.stop().await;
}
