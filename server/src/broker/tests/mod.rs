//! The broker's behaviour, through frames. One file per family of requests.

mod pulls;
mod sends;
