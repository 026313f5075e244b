//! The one layer around every RPC: deadline, credential, role, room, message size; then the handler.

mod ending;

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use self::ending::EndingWith;
use crate::auth::{Admission, Gate};
use crate::limits::Limits;
use crate::status;

/// Puts [`Edge`] around the routes.
#[derive(Clone)]
pub(crate) struct EdgeLayer {
    pub(crate) gate: Gate,
    pub(crate) limits: Limits,
    /// Cancelled when the server stops.
    pub(crate) shutdown: CancellationToken,
}

/// Admits or refuses a call before the routes see it.
#[derive(Clone)]
pub(crate) struct Edge<S> {
    inner: S,
    /// Shared, since every call takes it along.
    layer: Arc<EdgeLayer>,
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner, layer: Arc::new(self.clone()) }
    }
}

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            // A panic is a bug, which the panic hook has told of. It costs its call an INTERNAL and nobody else anything.
            let answer = AssertUnwindSafe(admit_and_call(layer, inner, request)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Err(status::internal()));
            Ok(answer.unwrap_or_else(Status::into_http))
        })
    }
}

async fn admit_and_call<S>(layer: Arc<EdgeLayer>, mut inner: S, request: Request<Body>) -> Result<Response<Body>, Status>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let EdgeLayer { gate, limits, shutdown } = &*layer;
    let deadline = limits.deadline(request.headers())?;
    let work = async move {
        let admission = gate.admit(request.uri().path(), request.headers()).await?;
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(deadline);
        match admission {
            // Health must answer above all when the server is full. Whoever watches it must not keep the server from stopping.
            Admission::Open => {
                let answer = call(&mut inner, Request::from_parts(parts, limits.bounded(body))).await;
                Ok(answer.map(|body| Body::new(EndingWith::new(body, shutdown.clone()))))
            }
            Admission::Caller(caller) => {
                let _permit = limits.permit()?;
                let programs = caller.programs.clone();
                parts.extensions.insert(caller);
                let request = Request::from_parts(parts, limits.bounded(body));
                Ok(proto::codec::admitting(programs, call(&mut inner, request)).await)
            }
        }
    };
    tokio::time::timeout_at(deadline.0, work).await.unwrap_or_else(|_| Err(status::deadline_exceeded()))
}

async fn call<S>(inner: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    match inner.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
