//! Stands between a server and PostgreSQL, which is out of reach once it is cut.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) struct Relay {
    /// Where PostgreSQL is reached through it.
    pub(super) url: String,
    cut: watch::Sender<bool>,
}

impl Relay {
    pub(super) async fn start(url: &str) -> Relay {
        let behind = PgConnectOptions::from_str(url).unwrap();
        let address = (behind.get_host().to_owned(), behind.get_port());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        // The same but for the place: it may hold a password.
        let (there, here) = (format!("@{}:{}/", address.0, address.1), format!("@{}/", listener.local_addr().unwrap()));
        assert!(url.contains(&there), "the test server's address is user@host:port");
        let url = url.replacen(&there, &here, 1);
        let url = format!("{url}{}sslmode=disable", if url.contains('?') { '&' } else { '?' });
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (address, mut is_cut) = (address.clone(), is_cut.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = is_cut.wait_for(|cut| *cut) => {}
                        () = talk(&mut client, address) => {}
                    }
                });
            }
        });
        Relay { url, cut }
    }

    /// Ends what is said now, and whatever is begun until this is taken back.
    pub(super) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

async fn talk(client: &mut TcpStream, address: (String, u16)) {
    let mut server = TcpStream::connect(address).await.unwrap();
    // A connection that breaks is what it is for.
    drop(tokio::io::copy_bidirectional(client, &mut server).await);
}
