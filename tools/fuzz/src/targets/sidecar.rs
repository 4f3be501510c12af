#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ringmq_fuzz::run(ringmq_fuzz::log_checks::sidecar, input));
