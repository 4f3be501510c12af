//! Official, unmodified clients against our broker, with Apache's as the referee.
//!
//! ```text
//!     cargo test -p ringmq-tests --test compat -- --test-threads=1
//!     RINGMQ_BINARY=FILE …           at that binary, instead of one built for tests
//!     RINGMQ_COMPAT_AT=apache …      the same tests at Apache's broker: are the tests right?
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `delivery` | every client reads what every client sends, in every way of sending |
//! | `groups` | members join, leave and die; orderly reading; tags |
//! | `recovery` | a broker restarts under its clients; offsets out of range |
//! | `conditions` | SQL92: what consumers get, and random conditions beside Apache's evaluator |
//! | `queries` | messages by key, unique key and id; offsets by time |
//! | `headers` | odd but legal headers |
//! | `later` | delays, timers, retries and dead letters: the records beside Apache's, and the clients' own |
//! | `difference` | the same requests here and at Apache's: codes and remarks compared |
//! | `administration` | mqadmin |
//! | `command_line` | our own commands, at Apache's broker |
//! | `rust_client` | our own client at Apache's broker |
//! | `mixed` | Apache's broker with our name server, and the other way round |

mod administration;
mod command_line;
mod conditions;
mod delivery;
mod difference;
mod groups;
mod headers;
mod later;
mod mixed;
mod queries;
mod reading;
mod recovery;
mod rust_client;
