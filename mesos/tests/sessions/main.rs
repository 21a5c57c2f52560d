//! Sessions and clients over real sockets, against stand-ins for Mesos: small
//! HTTP servers in this process that answer what the test tells them to. What
//! they cannot show, whether Mesos itself agrees, is for tests with a real one.

#![expect(clippy::unwrap_used, reason = "a test stops where its stand-in fails")]

mod executor;
mod operator;
mod scheduler;
mod stand_in;
