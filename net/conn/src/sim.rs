//! The network's simulated twin: the same interface, one seed, virtual time.
