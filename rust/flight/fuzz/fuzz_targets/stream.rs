//! A descriptor and a stream of Arrow IPC, as a client sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        // libFuzzer ends at every panic, also at those of Arrow's that are caught. One that is not caught ends it still.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |input: &[u8]| {
        let _read = ruvector_flight::fuzzing::read(input);
    }
);
