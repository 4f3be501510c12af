//! Calls that block the thread until they are answered.

mod connection;
mod message;

pub use connection::{Connection, IN_FLIGHT_MAX, SERVER_REQUESTS_MAX};
pub use message::{Answer, Request, ServerRequest};
