//! A client that knows no contract: bytes to a path, bytes back.

use prost::bytes::{Buf, BufMut, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use proto::access::Rpc;

/// Calls an RPC with these bytes as its message. The first answer of a stream stands for all.
pub(crate) async fn call(channel: &Channel, rpc: &Rpc, secret: Option<&str>, message: Vec<u8>) -> Result<Bytes, Status> {
    assert!(!rpc.client_streaming, "no RPC takes a stream");
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(Bytes::from(message));
    if let Some(secret) = secret {
        request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    }
    let path = PathAndQuery::from_static(rpc.path);
    if rpc.server_streaming {
        let mut answers = client.server_streaming(request, path, RawCodec).await?.into_inner();
        return answers.message().await.map(Option::unwrap_or_default);
    }
    Ok(client.unary(request, path, RawCodec).await?.into_inner())
}

#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}
