//! A pulled record's bytes on their way out: the store's slice, fit for the network.

use ringmq_conn::StableBytes;
use ringmq_engine::env::Env;
use ringmq_engine::store::Slice;

/// Keeps the log buffer it points into alive until it is sent.
#[derive(Debug)]
pub struct RecordSlice<E: Env>(pub Slice<E>);

// SAFETY: a slice holds its buffer by `Rc`, directly or within the read that filled it, which is set once; and a buffer's
// memory is a heap block that is neither moved nor resized once shared (`Buffer::truncate` needs `&mut`, which
// an `Rc` with clones does not give); so the address and length are the same for as long as the slice lives, wherever
// it is moved.
unsafe impl<E: Env> StableBytes for RecordSlice<E> {
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}
