//! The shard loop and its start-up.

use std::net::SocketAddr;

use ringmq_engine::store::OpenReport;

use crate::config::Settings;
use crate::start_error::StartError;

/// What listens, once it does.
#[derive(Debug, Clone)]
pub enum Started {
    /// The name server.
    Namesrv {
        /// Where it listens.
        address: SocketAddr,
    },
    /// A shard.
    Shard {
        /// Which.
        index: usize,
        /// Where it listens.
        address: SocketAddr,
        /// What recovery found and chose.
        report: OpenReport,
    },
}

/// Starts everything that the settings ask for, calls `ready` once every port accepts, and returns when it has
/// stopped.
pub fn serve(_settings: Settings, _ready: impl FnOnce(&Settings, &[Started])) -> Result<(), StartError> {
    let error = "the loops are not there yet".to_owned();
    Err(StartError::Runtime { what: "start".to_owned(), error })
}
