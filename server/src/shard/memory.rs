//! How the C library keeps memory that was freed.
//!
//! A shard writes thousands of log frames a second, each in a buffer of its own that lives until the tail cache lets go
//! of it. By default glibc gives memory of that size back to the kernel when it is freed and asks for it anew, and the
//! kernel then clears every page and faults it in at its first touch: a third of a loaded shard's CPU time.
//!
//! Memory kept this way is bounded by what the shard's own bounds let it allocate (tail cache, unflushed bytes).

/// Allocations up to this size are kept when freed. Above any frame's buffer, below what only huge batches need.
const KEPT_BYTES_MAX: i32 = 4 << 20;
/// So much may lie free at the end of a heap before it shrinks: as much as a default tail cache.
const FREE_AT_END_BYTES_MAX: i32 = 64 << 20;

/// Lets freed memory be kept for the next frame. To be called before the first shard starts.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX), (libc::M_TRIM_THRESHOLD, FREE_AT_END_BYTES_MAX)]
    {
        // SAFETY: takes two numbers. A refusal leaves the default, which is slower and as correct.
        unsafe { libc::mallopt(parameter, value) };
    }
}
