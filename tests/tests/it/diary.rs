//! Calls that change something, written down so that each can be made again.

use std::fmt::Debug;

use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::{Response, Status};

const REPLAYED: &str = "regulars-replayed";

type Again = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What was done, in order.
#[derive(Default)]
pub(crate) struct Diary(Vec<Again>);

impl Diary {
    /// Makes a call that must succeed and take effect now.
    pub(crate) async fn does<C, Q, T, F>(&mut self, client: C, request: Q, call: impl Fn(C, Q) -> F + Send + Sync + 'static) -> T
    where
        C: Clone + Send + Sync + 'static,
        Q: Clone + Debug + Send + Sync + 'static,
        T: Clone + Debug + PartialEq + Send + Sync + 'static,
        F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
    {
        let first = call(client.clone(), request.clone()).await.unwrap();
        assert!(!replayed(&first), "its request id is new: {request:?}");
        let first = first.into_inner();
        let answer = first.clone();
        self.0.push(Box::new(move || {
            let (calling, request, first) = (call(client.clone(), request.clone()), request.clone(), first.clone());
            async move {
                let again = calling.await.unwrap_or_else(|status| panic!("{request:?} came again: {status:?}"));
                assert!(replayed(&again), "{request:?} came again");
                assert_eq!(again.into_inner(), first, "{request:?} came again");
            }
            .boxed()
        }));
        answer
    }

    /// Makes every call again: each must be answered as it was then, with the header that says so.
    pub(crate) async fn comes_again(&self) {
        assert!(!self.0.is_empty());
        for again in &self.0 {
            again().await;
        }
    }
}

fn replayed<T>(response: &Response<T>) -> bool {
    response.metadata().get(REPLAYED).is_some_and(|value| value == "true")
}
