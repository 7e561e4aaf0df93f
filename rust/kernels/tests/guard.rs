//! What the other tests rely on: memory is at hand up to its last byte, and no further.

mod common;

use common::guard::{Side, place};

/// Whether a read at so many bytes behind the start of `memory` ends the process.
fn ends_the_process(memory: &[u8], offset: isize) -> bool {
    let address = memory.as_ptr().wrapping_offset(offset);
    // SAFETY: the child of a process with several threads reads one byte, which may end it, or ends
    // at once.
    let child = unsafe {
        match libc::fork() {
            0 => {
                std::hint::black_box(address.read_volatile());
                libc::_exit(0)
            }
            child => child,
        }
    };
    assert!(child > 0, "a process can be started");
    let mut status = 0;
    // SAFETY: the status is written to a number of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFSIGNALED(status)
}

#[test]
fn no_byte_beyond_a_vector_can_be_read() {
    for side in [Side::End, Side::Begin] {
        let _placed = place(side);
        for length in [1, 12, 4096, 5000] {
            let memory = vec![1u8; length];
            let end = length as isize;
            assert!(!ends_the_process(&memory, 0) && !ends_the_process(&memory, end - 1));
            let beyond = if side == Side::End { end } else { -1 };
            assert!(ends_the_process(&memory, beyond), "{side:?}, {length} bytes");
        }
    }
}
