//! A client of the points service as thin as pgbench is for the script: HTTP/2 by itself, and no more of gRPC than a call needs that has
//! one message each way.

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Request, Uri};
use prost::Message;
use rpc::Gather;
use tokio::net::TcpStream;

/// Windows as large as the suite's, so that nobody waits for room.
const WINDOW_BYTES: u32 = 1 << 20;

/// A connection, and what every call says.
#[derive(Clone)]
pub(crate) struct Wire {
    calls: SendRequest<Bytes>,
    /// Where its services are.
    services: String,
    headers: HeaderMap,
}

/// An RPC of the points service on a connection.
#[derive(Clone)]
pub(crate) struct Rpc(Uri);

impl Wire {
    /// A connection of its own.
    pub(crate) async fn connect(address: &str, secret: &str) -> anyhow::Result<Wire> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        // As the suite does: what the callers of a connection ask at once goes out at once.
        let (calls, connection) = builder.handshake(Gather::new(socket)).await?;
        // An error of the connection is one of each of its calls.
        tokio::spawn(async { _ = connection.await });
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {secret}"))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        Ok(Wire { calls, services: format!("http://{address}/regulars.points.v1."), headers })
    }

    /// An RPC of the ledger by its name.
    pub(crate) fn rpc(&self, name: &str) -> anyhow::Result<Rpc> {
        Ok(Rpc(format!("{}PointsService/{name}", self.services).parse()?))
    }

    /// An RPC of rewards and vouchers by its name.
    pub(crate) fn rpc_of_rewards(&self, name: &str) -> anyhow::Result<Rpc> {
        Ok(Rpc(format!("{}RewardsService/{name}", self.services).parse()?))
    }

    /// Makes a call: the encoded answer, or the number of the status.
    pub(crate) async fn call(&self, rpc: &Rpc, message: &impl Message) -> anyhow::Result<Result<Bytes, i32>> {
        let mut request = Request::post(rpc.0.clone()).body(())?;
        *request.headers_mut() = self.headers.clone();
        let (response, mut stream) = self.calls.clone().ready().await?.send_request(request, false)?;
        let len = message.encoded_len();
        let mut body = BytesMut::with_capacity(5 + len);
        body.put_u8(0);
        body.put_u32(u32::try_from(len)?);
        message.encode(&mut body)?;
        stream.send_data(body.freeze(), true)?;

        let (head, mut body) = response.await?.into_parts();
        if !head.status.is_success() {
            bail!("HTTP status {}", head.status);
        }
        let mut answer = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            answer.extend_from_slice(&part);
        }
        // A refusal without a message has its status in the head.
        let trailers = body.trailers().await?;
        let status = trailers.as_ref().unwrap_or(&head.headers).get("grpc-status").context("an answer without a status")?;
        match status.to_str()?.parse()? {
            0 if answer.len() > 5 => Ok(Ok(answer.split_off(5).freeze())),
            0 => bail!("an answer without a message"),
            code => Ok(Err(code)),
        }
    }
}
