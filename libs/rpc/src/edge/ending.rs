use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

/// The body of an answer that may go on for ever. Once the server stops and nothing more is there at the moment, it ends with
/// UNAVAILABLE, so that the client asks another server.
pub(super) struct EndingWith {
    body: Body,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl EndingWith {
    pub(super) fn new(body: Body, shutdown: CancellationToken) -> EndingWith {
        EndingWith { body, shutdown: Box::pin(shutdown.cancelled_owned()), ended: false }
    }
}

impl http_body::Body for EndingWith {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // What the service has to say comes first: the last news of health is that it ends.
        if let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(&mut self.body), cx) {
            return Poll::Ready(frame);
        }
        std::task::ready!(self.shutdown.as_mut().poll(cx));
        self.ended = true;
        let mut trailers = HeaderMap::new();
        let ending = Status::unavailable("the server stops").add_header(&mut trailers);
        Poll::Ready(Some(ending.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}
