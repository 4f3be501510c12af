//! What the fuzz targets share: the checks, which are those of the ordinary tests, and a bound on memory.
//!
//! libFuzzer's own `-malloc_limit_mb` needs a sanitizer's hooks, which the stable toolchain does not have. So the
//! allocator here does it: while a check runs, one allocation larger than its input explains aborts the process, and
//! libFuzzer keeps the input. That is how a decoder that reserves by a declared length is found.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What must hold for any bytes at all.
#[path = "../../../net/wire/tests/checks/mod.rs"]
pub mod checks;

/// The same for bytes read as log or sidecar.
#[path = "../../../engine/tests/checks/mod.rs"]
pub mod log_checks;

/// One allocation may have this many bytes whatever the input is, …
const ALLOCATION_BYTES_FREE: usize = 64 * 1024;
/// … and this many for each byte of it: text that is unescaped, lists that double, typed forms of small objects.
const ALLOCATION_BYTES_PER_INPUT_BYTE: usize = 64;

static ALLOCATION_BYTES_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Runs a check with the bound that belongs to its input.
pub fn run(check: checks::Check, input: &[u8]) {
    let bound = ALLOCATION_BYTES_FREE + ALLOCATION_BYTES_PER_INPUT_BYTE * input.len();
    ALLOCATION_BYTES_MAX.store(bound, Ordering::Relaxed);
    check(input);
    ALLOCATION_BYTES_MAX.store(usize::MAX, Ordering::Relaxed);
}

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn check_bound(bytes: usize) {
    let bound = ALLOCATION_BYTES_MAX.load(Ordering::Relaxed);
    if bytes > bound {
        // Reporting allocates, too.
        ALLOCATION_BYTES_MAX.store(usize::MAX, Ordering::Relaxed);
        eprintln!("one allocation of {bytes} bytes; the input explains {bound}");
        std::process::abort();
    }
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what it returns, so the contract that
// the caller keeps towards this allocator is the one that `System` needs.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check_bound(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check_bound(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        check_bound(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
