//! Fewer and larger writes to sockets.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A socket that lets everything that is ready run before it writes.
///
/// The task of an HTTP/2 connection is woken by the first stream that has something to send, and the scheduler runs it
/// next: a batch of answers that come ready together would go out in a system call each, or in two. Here the task steps back once
/// before each write, behind all that is ready to run; what they have to send then goes in one call. A lone call waits for nothing.
pub struct Gather<S> {
    socket: S,
    stepped_back: bool,
}

impl<S> Gather<S> {
    /// Wraps a socket.
    pub fn new(socket: S) -> Gather<S> {
        Gather { socket, stepped_back: false }
    }
}

/// Whether it is time to write: not at the first time of asking.
fn poll_turn(stepped_back: &mut bool, context: &Context<'_>) -> Poll<()> {
    *stepped_back = !*stepped_back;
    if *stepped_back {
        // A task that wakes itself goes to the end of the queue.
        context.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(poll_turn(&mut self.stepped_back, context));
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(poll_turn(&mut self.stepped_back, context));
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: Connected> Connected for Gather<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.socket.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::Gather;

    #[tokio::test]
    async fn everything_arrives_in_order() {
        let (near, mut far) = tokio::io::duplex(7);
        let mut near = Gather::new(near);
        let said: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.map(|_| heard)
        });
        for part in said.chunks(13) {
            near.write_all(part).await.unwrap();
        }
        near.shutdown().await.unwrap();
        drop(near);
        let heard = tokio::time::timeout(Duration::from_secs(10), heard).await.expect("nothing waits for ever").unwrap().unwrap();
        assert_eq!(heard, said);
    }

    #[tokio::test]
    async fn what_is_ready_runs_before_a_write() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Gather::new(near);
        let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let writer = {
            let told = told.clone();
            tokio::spawn(async move {
                near.write_all(b"answer").await.unwrap();
                told.send("written").unwrap();
            })
        };
        // Ready behind the writer, on this test's one thread.
        tokio::spawn(async move { told.send("ready").unwrap() });
        writer.await.unwrap();
        assert_eq!([hears.recv().await, hears.recv().await], [Some("ready"), Some("written")]);
        let mut heard = [0; 6];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"answer");
    }
}
