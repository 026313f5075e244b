//! What a caller sees of a server, over real sockets and on both engines.

mod it {
    mod support;

    mod access;
    mod config;
    mod directory;
    mod feed;
    mod lifecycle;
    mod limits;
    mod peers;
    mod tls;
    mod web;
}
