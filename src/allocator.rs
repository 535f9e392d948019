//! The allocator of the static binary: dlmalloc in the place of musl's own, which takes longer and more memory for what a
//! node's start asks of it. `docs/architecture.md` has the figures.

#![expect(unsafe_code, reason = "an allocator's contract is one that only its caller can keep")]
#![expect(improper_ctypes_definitions, reason = "nobody calls these functions from another language")]

use std::alloc::{GlobalAlloc, Layout};

use dlmalloc::GlobalDlmalloc;

#[global_allocator]
static ALLOCATOR: NeverUnwinds = NeverUnwinds;

/// Calls the other through functions that would end the process if they panicked. An allocator must not unwind, but where the
/// compiler does not know that, each place that frees something gets code for it: 0.2 MB in all.
struct NeverUnwinds;

// SAFETY: every call is passed on as it came, to one that keeps this contract.
unsafe impl GlobalAlloc for NeverUnwinds {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { realloc(place, layout, size) }
    }
}

#[inline(never)]
unsafe extern "C" fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: as above.
    unsafe { GlobalDlmalloc.alloc(layout) }
}

#[inline(never)]
unsafe extern "C" fn dealloc(place: *mut u8, layout: Layout) {
    // SAFETY: as above.
    unsafe { GlobalDlmalloc.dealloc(place, layout) }
}

#[inline(never)]
unsafe extern "C" fn alloc_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: as above.
    unsafe { GlobalDlmalloc.alloc_zeroed(layout) }
}

#[inline(never)]
unsafe extern "C" fn realloc(place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    // SAFETY: as above.
    unsafe { GlobalDlmalloc.realloc(place, layout, size) }
}
